//! Mixed 64-bit keys to rows, by the batch: the fast twin of the numpy index in `src/tocsin/windows/index.py`.
//!
//! Open addressing with linear probing at a load of at most one half; key 0 marks an empty place, and no mixed key is 0.
//! Where a key goes is secret: the mixing is public, so clients can choose ids whose keys would all go to one place.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::hash::Seed;

const FIRST_PLACES: usize = 1024;

/// Keys to rows 0, 1, 2 … in order of insertion.
#[pyclass]
pub struct KeyTable {
    keys: Vec<u64>,
    values: Vec<i32>,
    held: usize,
    rows: usize,
    seed: Seed,
}

impl KeyTable {
    /// The place of a key, or the empty one where it would go.
    fn place(&self, key: u64) -> usize {
        let mask = self.keys.len() - 1;
        let mut place = self.seed.spread(key) as usize & mask;
        while self.keys[place] != 0 && self.keys[place] != key {
            place = (place + 1) & mask;
        }
        place
    }

    fn refill(&mut self, entries: impl Iterator<Item = (u64, i32)>, places: usize) {
        self.keys = vec![0; places];
        self.values = vec![0; places];
        self.held = 0;
        for (key, value) in entries {
            let place = self.place(key);
            self.keys[place] = key;
            self.values[place] = value;
            self.held += 1;
        }
    }

    /// Return the row of a key, and whether it was given now; there is room.
    fn row_of(&mut self, key: u64) -> (i32, bool) {
        let place = self.place(key);
        let is_new = self.keys[place] == 0;
        if is_new {
            self.keys[place] = key;
            self.values[place] = self.rows as i32;
            self.rows += 1;
            self.held += 1;
        }
        (self.values[place], is_new)
    }

    /// Give keys other rows: `moved` says which, a negative one forgets the key.
    fn renumbered(&mut self, moved: impl Fn(usize) -> i32) {
        let entries = self.entries().into_iter().map(|(key, row)| (key, moved(row as usize)));
        let entries: Vec<(u64, i32)> = entries.filter(|(_, row)| *row >= 0).collect();
        self.rows = entries.iter().map(|(_, row)| *row as usize + 1).max().unwrap_or(0);
        let places = (entries.len() * 4).next_power_of_two().max(FIRST_PLACES);
        self.refill(entries.into_iter(), places);
    }

    fn reserve(&mut self, more: usize) {
        let wanted = (self.held + more) * 2;
        if wanted > self.keys.len() {
            let entries = self.entries();
            self.refill(entries.into_iter(), wanted.next_power_of_two().max(FIRST_PLACES));
        }
    }

    fn entries(&self) -> Vec<(u64, i32)> {
        self.keys.iter().zip(&self.values).filter(|(key, _)| **key != 0).map(|(key, value)| (*key, *value)).collect()
    }
}

fn sizes_differ() -> PyErr {
    PyValueError::new_err("arrays must be contiguous and of equal length")
}

#[pymethods]
impl KeyTable {
    #[new]
    fn new() -> Self {
        KeyTable { keys: vec![0; FIRST_PLACES], values: vec![0; FIRST_PLACES], held: 0, rows: 0, seed: Seed::random() }
    }

    fn __len__(&self) -> usize {
        self.held
    }

    /// How many rows were given out.
    #[getter]
    fn rows(&self) -> usize {
        self.rows
    }

    /// Write the row of each key to `out`, -1 where it is not there.
    fn find(&self, py: Python<'_>, keys: PyBuffer<u64>, out: PyBuffer<i32>) -> PyResult<()> {
        let (Some(keys), Some(out)) = (keys.as_slice(py), out.as_mut_slice(py)) else { return Err(sizes_differ()) };
        if keys.len() != out.len() {
            return Err(sizes_differ());
        }
        for (key, row) in keys.iter().zip(out) {
            let place = self.place(key.get());
            row.set(if self.keys[place] == 0 { -1 } else { self.values[place] });
        }
        Ok(())
    }

    /// Write the row of each key to `out`, giving new ones, and to `fresh` whether it was given now.
    fn find_or_insert(
        &mut self,
        py: Python<'_>,
        keys: PyBuffer<u64>,
        out: PyBuffer<i32>,
        fresh: PyBuffer<u8>,
    ) -> PyResult<()> {
        let (Some(keys), Some(out), Some(fresh)) = (keys.as_slice(py), out.as_mut_slice(py), fresh.as_mut_slice(py))
        else {
            return Err(sizes_differ());
        };
        if keys.len() != out.len() || keys.len() != fresh.len() {
            return Err(sizes_differ());
        }
        self.reserve(keys.len());
        for ((key, row), fresh) in keys.iter().zip(out).zip(fresh) {
            let (given, is_new) = self.row_of(key.get());
            row.set(given);
            fresh.set(u8::from(is_new));
        }
        Ok(())
    }

    /// Write all keys to `out`, which has room for `len()` of them; in no order.
    fn keys(&self, py: Python<'_>, out: PyBuffer<u64>) -> PyResult<()> {
        let Some(out) = out.as_mut_slice(py) else { return Err(sizes_differ()) };
        if out.len() != self.held {
            return Err(sizes_differ());
        }
        for (key, place) in self.keys.iter().filter(|key| **key != 0).zip(out) {
            place.set(*key);
        }
        Ok(())
    }

    /// Write the keys of the first `out.len()` rows to `out`, each at its row; 0 where no key has a row.
    fn keys_by_row(&self, py: Python<'_>, out: PyBuffer<u64>) -> PyResult<()> {
        let Some(out) = out.as_mut_slice(py) else { return Err(sizes_differ()) };
        for place in out {
            place.set(0);
        }
        for (key, row) in self.keys.iter().zip(&self.values).filter(|(key, _)| **key != 0) {
            if let Some(place) = out.get(*row as usize) {
                place.set(*key);
            }
        }
        Ok(())
    }

    /// Give every key the row `moved[its row]`, forgetting those where it is negative; rows go on after the last.
    fn renumber(&mut self, py: Python<'_>, moved: PyBuffer<i32>) -> PyResult<()> {
        let Some(moved) = moved.as_slice(py) else { return Err(sizes_differ()) };
        if moved.len() < self.rows {
            return Err(sizes_differ());
        }
        self.renumbered(|row| moved[row].get());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(keys: impl Iterator<Item = u64>) -> KeyTable {
        let mut table = KeyTable::new();
        for key in keys {
            table.reserve(1);
            table.row_of(key);
        }
        table
    }

    fn found(table: &KeyTable, key: u64) -> Option<i32> {
        let place = table.place(key);
        (table.keys[place] == key).then(|| table.values[place])
    }

    #[test]
    fn rows_are_given_in_order_and_kept_as_the_table_grows() {
        let table = filled((1..=10_000).chain(1..=10_000));
        assert_eq!((table.held, table.rows), (10_000, 10_000));
        assert!((1..=10_000).all(|key| found(&table, key) == Some(key as i32 - 1)));
        assert_eq!(found(&table, 10_001), None);
    }

    #[test]
    fn renumbering_forgets_moves_and_goes_on_after_the_last() {
        let mut table = filled(1..=5000);
        table.renumbered(|row| if row % 2 == 0 { row as i32 / 2 } else { -1 });
        assert_eq!((table.held, table.rows), (2500, 2500));
        assert!((1..=5000).all(|key| found(&table, key) == (key % 2 == 1).then_some((key as i32 - 1) / 2)));
        assert_eq!(table.row_of(7777), (2500, true));
        assert_eq!(table.row_of(7777), (2500, false));
    }

    #[test]
    fn keys_that_are_alike_in_their_low_bits_do_not_crowd() {
        let table = filled((1..=10_000).map(|key| key << 40));
        let mask = table.keys.len() - 1;
        let crowded = table.keys.iter().enumerate().filter(|(place, key)| {
            let wanted = table.seed.spread(**key) as usize & mask;
            **key != 0 && place.wrapping_sub(wanted) & mask > 64
        });
        assert_eq!(crowded.count(), 0);
    }
}
