//! From a finished scan to Python objects: a few byte strings that numpy reads in place, and one str per distinct value.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::column::{Column, Columns, Dictionary, Payload};
use crate::scan::{List, Scan};

/// Tables that are smaller than this are written without giving up the interpreter lock.
const RELEASE_BYTES: usize = 1 << 20;

/// Dictionaries of this many strings or more are made Python strings by one split of a long one.
const MANY: usize = 16;

/// Columns of the same number of rows, in one byte string: those of 8 bytes a row, then of 4, then of 1. So all are
/// aligned, and `tocsin.decode.wire` knows where each begins.
struct Table<'b> {
    rows: usize,
    rest: &'b mut [u8],
}

impl<'b> Table<'b> {
    /// Write the next column: row after row from the first.
    fn push<const SIZE: usize>(&mut self, values: impl Iterator<Item = [u8; SIZE]>) {
        for (cell, value) in self.next(SIZE).chunks_exact_mut(SIZE).zip(values) {
            cell.copy_from_slice(&value);
        }
    }

    /// Write the next column: `missing` but for some rows, which ascend.
    fn scatter<const SIZE: usize>(&mut self, missing: [u8; SIZE], values: impl Iterator<Item = (u32, [u8; SIZE])>) {
        let mut cells = self.next(SIZE).chunks_exact_mut(SIZE);
        let mut at = 0;
        for (row, value) in values {
            while at < row {
                if let Some(cell) = cells.next() {
                    cell.copy_from_slice(&missing);
                }
                at += 1;
            }
            if let Some(cell) = cells.next() {
                cell.copy_from_slice(&value);
            }
            at += 1;
        }
        for cell in cells {
            cell.copy_from_slice(&missing);
        }
    }

    fn next(&mut self, size: usize) -> &'b mut [u8] {
        let (column, rest) = std::mem::take(&mut self.rest).split_at_mut(self.rows * size);
        self.rest = rest;
        column
    }

    fn numbers(&mut self, columns: &[&Column]) {
        for column in columns {
            let cells = column.cells.iter().map(|cell| (cell.row, cell.number().to_ne_bytes()));
            self.scatter(f64::NAN.to_ne_bytes(), cells);
        }
    }

    fn codes(&mut self, columns: &[&Column]) {
        for column in columns {
            let cells = column.cells.iter().map(|cell| (cell.row, cell.code().to_ne_bytes()));
            self.scatter((-1i32).to_ne_bytes(), cells);
        }
    }

    fn kinds(&mut self, columns: &[&Column]) {
        for column in columns {
            self.scatter([0], column.cells.iter().map(|cell| (cell.row, [cell.kind])));
        }
    }
}

/// Make a byte string of `rows` times `width` bytes; `fill` runs without the interpreter lock where it takes long.
fn table<'py>(
    py: Python<'py>,
    rows: usize,
    width: usize,
    fill: impl FnOnce(Table) + Send,
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, rows * width, |rest| {
        let table = Table { rows, rest };
        if rows * width < RELEASE_BYTES {
            fill(table);
        } else {
            py.detach(|| fill(table));
        }
        Ok(())
    })
}

/// What of a scan has occurred.
pub struct Export<'s, 'p, 'a> {
    scan: &'s Scan<'p, 'a>,
    columns: Vec<&'s Column<'a>>,
    lists: Vec<usize>,
    event_times: Vec<usize>,
    resource_columns: Vec<&'s Column<'a>>,
}

impl<'s, 'p, 'a> Export<'s, 'p, 'a> {
    pub fn new(scan: &'s Scan<'p, 'a>) -> Self {
        Export {
            scan,
            columns: occurring(&scan.attributes, scan),
            lists: (0..scan.lists.len()).filter(|&list| !scan.lists[list].count.is_empty()).collect(),
            event_times: (0..scan.event_times.len()).filter(|&event| !scan.event_times[event].is_empty()).collect(),
            resource_columns: occurring(&scan.resource_attributes, scan),
        }
    }

    /// Return what `tocsin.decode.wire` unpacks; the order is theirs and ours alone. `names` are the entries' names.
    pub fn finish<'py>(
        self,
        py: Python<'py>,
        names: &[Py<PyString>],
        offsets: Vec<usize>,
        errors: Vec<Option<String>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let scan = self.scan;
        let fixed = &scan.fixed;
        let ids =
            (PyBytes::new(py, &fixed.trace_id), PyBytes::new(py, &fixed.span_id), PyBytes::new(py, &fixed.parent_id));
        let texts = (values(py, &scan.names)?, values(py, &scan.trace_states)?);
        let attributes = (names_of(py, names, &self.columns, scan)?, values_of(py, &self.columns)?);
        let resources = (
            scan.resources,
            self.resources(py)?,
            names_of(py, names, &self.resource_columns, scan)?,
            values_of(py, &self.resource_columns)?,
        );
        let rows = self.rows(py)?;
        let scopes: Vec<(&str, &str)> = scan.scopes.iter().map(|(name, version)| (&**name, &**version)).collect();
        let parts = (
            (scan.rows(), offsets, errors, scan.skipped, scan.crowded),
            ids,
            rows,
            texts,
            attributes,
            (self.event_times, self.lists),
            resources,
            scopes,
        );
        parts.into_pyobject(py)
    }

    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let fixed = &self.scan.fixed;
        let lists: Vec<&List> = self.lists.iter().map(|&list| &self.scan.lists[list]).collect();
        let times: Vec<&[u64]> = self.event_times.iter().map(|&event| &self.scan.event_times[event][..]).collect();
        let columns = &self.columns;
        let longs = 2 + times.len() + columns.len() + lists.len();
        let width = 8 * longs + 4 * (4 + columns.len() + lists.len()) + 3 + columns.len();
        table(py, self.scan.rows(), width, |mut table| {
            for column in [&fixed.start[..], &fixed.end].into_iter().chain(times) {
                // What is missing at the end is 0, as the byte string is from the beginning.
                table.push(column.iter().map(|value| value.to_ne_bytes()));
            }
            table.numbers(columns);
            for list in &lists {
                let missing = std::iter::repeat(&f64::NAN);
                table.push(list.maximum.iter().chain(missing).map(|value| value.to_ne_bytes()));
            }
            for column in [&fixed.resource, &fixed.scope, &fixed.name, &fixed.trace_state] {
                table.push(column.iter().map(|value| value.to_ne_bytes()));
            }
            table.codes(columns);
            for list in &lists {
                table.push(list.count.iter().map(|value| value.to_ne_bytes()));
            }
            for column in [&fixed.kind, &fixed.status, &fixed.flaw] {
                table.push(column.iter().map(|&value| [value]));
            }
            table.kinds(columns);
        })
    }

    fn resources<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let columns = &self.resource_columns;
        table(py, self.scan.resources, 13 * columns.len(), |mut table| {
            table.numbers(columns);
            table.codes(columns);
            table.kinds(columns);
        })
    }
}

/// Return the columns that have a value, in the projection's order; those that came in by their beginning by name.
fn occurring<'s, 'a>(columns: &'s Columns<'a>, scan: &Scan<'_, 'a>) -> Vec<&'s Column<'a>> {
    let mut found: Vec<_> = columns.columns.iter().filter(|column| column.occurs()).collect();
    found.sort_unstable_by_key(|column| match scan.key_of(column.entry) {
        None => (column.entry, &[][..]),
        Some(key) => (usize::MAX, key),
    });
    found
}

fn names_of<'py>(
    py: Python<'py>,
    names: &[Py<PyString>],
    columns: &[&Column],
    scan: &Scan,
) -> PyResult<Bound<'py, PyList>> {
    let name = |column: &&Column| match scan.key_of(column.entry) {
        None => names[column.entry].bind(py).clone(),
        Some(key) => PyString::new(py, &String::from_utf8_lossy(key)),
    };
    PyList::new(py, columns.iter().map(name))
}

fn values_of<'py>(py: Python<'py>, columns: &[&Column]) -> PyResult<Bound<'py, PyList>> {
    let lists: PyResult<Vec<_>> = columns.iter().map(|column| values(py, &column.dictionary)).collect();
    PyList::new(py, lists?)
}

fn values<'py>(py: Python<'py>, dictionary: &Dictionary) -> PyResult<Bound<'py, PyAny>> {
    if let Some(joined) = joined(&dictionary.payloads) {
        return PyString::new(py, &joined).call_method1("split", ("\0",));
    }
    let objects = dictionary.payloads.iter().map(|payload| match payload {
        Payload::Text(text) => PyString::new(py, &String::from_utf8_lossy(text)).into_any(),
        Payload::Raw(bytes) => PyBytes::new(py, bytes).into_any(),
    });
    Ok(PyList::new(py, objects)?.into_any())
}

/// Return many strings as one, with zeros between them; None where they can't be, or where other than ASCII is among
/// them: the long string would take up to four times the memory.
fn joined(payloads: &[Payload]) -> Option<String> {
    if payloads.len() < MANY {
        return None;
    }
    let mut bytes = Vec::with_capacity(payloads.len() * 32);
    for payload in payloads {
        match payload {
            Payload::Text(text) => bytes.extend_from_slice(text),
            Payload::Raw(_) => return None,
        }
        bytes.push(0);
    }
    bytes.pop();
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    if zeros + 1 == payloads.len() && bytes.is_ascii() {
        String::from_utf8(bytes).ok()
    } else {
        None
    }
}
