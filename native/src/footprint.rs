//! How much memory columns take, known before it is taken: every column has a cell for every row, however few rows
//! carry the attribute, so a small request could ask for gigabytes. `tocsin.decode.limits` decides the same.

use std::collections::HashSet;

use crate::scan::Scan;

/// What a row, a resource or a scope takes besides the columns that the projection names, in cells.
const FIXED: usize = 12;

/// The sizes of some requests' columns.
#[derive(Clone, Copy)]
pub struct Footprint {
    pub rows: usize,
    pub columns: usize,
    pub resources: usize,
    pub resource_columns: usize,
    pub scopes: usize,
}

impl Footprint {
    pub fn cells(&self) -> usize {
        self.rows * (FIXED + self.columns) + self.resources * (FIXED + self.resource_columns) + self.scopes * FIXED
    }
}

/// Which columns there are: those of the projection by their numbers, others by their keys.
#[derive(Default)]
pub struct Occupied {
    pub numbers: Vec<usize>,
    pub keys: Vec<Vec<u8>>,
}

/// What one request takes alone, and which columns those are.
pub struct Claim {
    footprint: Footprint,
    columns: Occupied,
    resource_columns: Occupied,
}

impl Claim {
    pub fn of(scan: &Scan) -> Self {
        let (columns, resource_columns) = scan.occupied();
        Claim { footprint: scan.footprint(), columns, resource_columns }
    }
}

/// Return the error of each request: its own, or that there is no room. Those that take least alone are given theirs
/// first, so that a request which asks for much harms none but its like.
pub fn refused(claims: Vec<Result<Claim, String>>, most_cells: usize) -> Vec<Option<String>> {
    let mut order: Vec<usize> = (0..claims.len()).filter(|&index| claims[index].is_ok()).collect();
    order.sort_by_key(|&index| claims[index].as_ref().map_or(0, |claim| claim.footprint.cells()));
    let mut errors: Vec<Option<String>> = claims.iter().map(|claim| claim.as_ref().err().cloned()).collect();
    let mut together = Footprint { rows: 0, columns: 0, resources: 0, resource_columns: 0, scopes: 0 };
    let (mut columns, mut resource_columns) = (Union::default(), Union::default());
    for (index, claim) in order.into_iter().filter_map(|index| claims[index].as_ref().ok().map(|claim| (index, claim)))
    {
        let own = claim.footprint;
        together.rows += own.rows;
        together.resources += own.resources;
        together.scopes += own.scopes;
        together.columns = columns.add(&claim.columns);
        together.resource_columns = resource_columns.add(&claim.resource_columns);
        if together.cells() > most_cells {
            errors[index] = Some(format!(
                "{} rows of {} attributes, {} resources and {} scopes do not fit into the {most_cells} cells that are \
                 decoded at once: send smaller batches",
                own.rows, own.columns, own.resources, own.scopes
            ));
        }
    }
    errors
}

/// The columns of several requests.
#[derive(Default)]
struct Union<'c> {
    numbers: Vec<bool>,
    keys: HashSet<&'c [u8]>,
}

impl<'c> Union<'c> {
    /// Add those of one; return how many there are.
    fn add(&mut self, columns: &'c Occupied) -> usize {
        for &number in &columns.numbers {
            if self.numbers.len() <= number {
                self.numbers.resize(number + 1, false);
            }
            self.numbers[number] = true;
        }
        self.keys.extend(columns.keys.iter().map(|key| &key[..]));
        self.numbers.iter().filter(|there| **there).count() + self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(rows: usize, columns: &[usize]) -> Result<Claim, String> {
        let footprint = Footprint { rows, columns: columns.len(), resources: 0, resource_columns: 0, scopes: 0 };
        let columns = Occupied { numbers: columns.to_vec(), keys: Vec::new() };
        Ok(Claim { footprint, columns, resource_columns: Occupied::default() })
    }

    fn kept(claims: Vec<Result<Claim, String>>, most_cells: usize) -> Vec<bool> {
        refused(claims, most_cells).iter().map(Option::is_none).collect()
    }

    #[test]
    fn a_request_that_fills_the_room_is_kept_and_one_more_row_is_refused() {
        assert_eq!(kept(vec![claim(10, &[0, 5])], 140), [true]);
        assert_eq!(kept(vec![claim(10, &[0, 5])], 139), [false]);
    }

    #[test]
    fn the_greatest_is_refused_for_those_that_came_with_it() {
        assert_eq!(kept(vec![claim(1000, &[]), claim(1, &[0, 1, 2]), claim(2, &[2])], 100), [false, true, true]);
    }

    #[test]
    fn columns_are_counted_for_the_rows_of_all() {
        assert_eq!(kept(vec![claim(10, &[0]), claim(10, &[0])], 260), [true, true]);
        assert_eq!(kept(vec![claim(10, &[0]), claim(10, &[1])], 260), [true, false]);
    }

    #[test]
    fn an_error_of_its_own_is_kept() {
        assert_eq!(refused(vec![Err("bad".to_owned())], 0), [Some("bad".to_owned())]);
    }
}
