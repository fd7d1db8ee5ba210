//! From a finished scan to Python objects: a few byte strings that numpy reads in place, and one str per distinct value.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::column::{Cell, Column, Columns, Dictionary, Payload, ABSENT};
use crate::scan::Scan;

/// Columns of one element type, row after row of a matrix.
struct Matrix {
    bytes: Vec<u8>,
}

impl Matrix {
    fn new(columns: usize, rows: usize, size: usize) -> Self {
        Matrix { bytes: Vec::with_capacity(columns * rows * size) }
    }

    /// Append a column of `rows` elements; what `values` lacks at its end is `missing`.
    #[inline]
    fn push<const SIZE: usize>(
        &mut self,
        rows: usize,
        values: impl ExactSizeIterator<Item = [u8; SIZE]>,
        missing: [u8; SIZE],
    ) {
        let start = self.bytes.len();
        self.bytes.resize(start + rows * SIZE, 0);
        let (filled, rest) = self.bytes[start..].split_at_mut(values.len().min(rows) * SIZE);
        for (cell, value) in filled.chunks_exact_mut(SIZE).zip(values) {
            cell.copy_from_slice(&value);
        }
        for cell in rest.chunks_exact_mut(SIZE) {
            cell.copy_from_slice(&missing);
        }
    }

    fn into_python<'py>(self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }
}

/// The three matrices of attribute columns, each after columns of the same type that have other meanings.
struct Matrices {
    small: Matrix,
    codes: Matrix,
    numbers: Matrix,
}

impl Matrices {
    fn push_cells(&mut self, rows: usize, columns: &[&Column]) {
        for column in columns {
            let cells = || column.cells.iter();
            let Cell { number, code, kind } = ABSENT;
            self.small.push(rows, cells().map(|cell| [cell.kind]), [kind]);
            self.codes.push(rows, cells().map(|cell| cell.code.to_ne_bytes()), code.to_ne_bytes());
            self.numbers.push(rows, cells().map(|cell| cell.number.to_ne_bytes()), number.to_ne_bytes());
        }
    }
}

/// The buffers of a scan, laid out without the interpreter; `finish` makes the Python objects.
pub struct Export<'s, 'p, 'a> {
    scan: &'s Scan<'p, 'a>,
    columns: Vec<&'s Column<'a>>,
    lists: Vec<usize>,
    event_times: Vec<usize>,
    rows: Matrices,
    times: Matrix,
    resource_columns: Vec<&'s Column<'a>>,
    resources: Matrices,
}

impl<'s, 'p, 'a> Export<'s, 'p, 'a> {
    pub fn new(scan: &'s Scan<'p, 'a>) -> Self {
        let rows = scan.rows();
        let columns = occurring(&scan.attributes);
        let lists: Vec<usize> = (0..scan.lists.len()).filter(|&list| !scan.lists[list].count.is_empty()).collect();
        let event_times: Vec<usize> =
            (0..scan.event_times.len()).filter(|&event| !scan.event_times[event].is_empty()).collect();
        let fixed = &scan.fixed;

        let mut matrices = Matrices {
            small: Matrix::new(3 + columns.len(), rows, 1),
            codes: Matrix::new(4 + columns.len() + lists.len(), rows, 4),
            numbers: Matrix::new(columns.len() + lists.len(), rows, 8),
        };
        for column in [&fixed.kind, &fixed.status, &fixed.flaw] {
            matrices.small.push(rows, column.iter().map(|&value| [value]), [0]);
        }
        for column in [&fixed.resource, &fixed.scope, &fixed.name, &fixed.trace_state] {
            matrices.codes.push(rows, column.iter().map(|value| value.to_ne_bytes()), [0; 4]);
        }
        matrices.push_cells(rows, &columns);
        for list in lists.iter().map(|&list| &scan.lists[list]) {
            let (counts, maxima) = (list.count.iter(), list.maximum.iter());
            matrices.codes.push(rows, counts.map(|value| value.to_ne_bytes()), [0; 4]);
            matrices.numbers.push(rows, maxima.map(|value| value.to_ne_bytes()), f64::NAN.to_ne_bytes());
        }

        let mut times = Matrix::new(2 + event_times.len(), rows, 8);
        let events = event_times.iter().map(|&event| &scan.event_times[event]);
        for column in [&fixed.start, &fixed.end].into_iter().chain(events) {
            times.push(rows, column.iter().map(|value| value.to_ne_bytes()), [0; 8]);
        }

        let resource_columns = occurring(&scan.resource_attributes);
        let (height, width) = (resource_columns.len(), scan.resources);
        let mut resources = Matrices {
            small: Matrix::new(height, width, 1),
            codes: Matrix::new(height, width, 4),
            numbers: Matrix::new(height, width, 8),
        };
        resources.push_cells(width, &resource_columns);
        Export { scan, columns, lists, event_times, rows: matrices, times, resource_columns, resources }
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
        let matrices = (
            self.times.into_python(py),
            self.rows.small.into_python(py),
            self.rows.codes.into_python(py),
            self.rows.numbers.into_python(py),
        );
        let texts = (values(py, &scan.names)?, values(py, &scan.trace_states)?);
        let attributes = (names_of(py, names, &self.columns)?, values_of(py, &self.columns)?);
        let resources = (
            scan.resources,
            self.resources.small.into_python(py),
            self.resources.codes.into_python(py),
            self.resources.numbers.into_python(py),
            names_of(py, names, &self.resource_columns)?,
            values_of(py, &self.resource_columns)?,
        );
        let scopes: Vec<(&str, &str)> = scan.scopes.iter().map(|(name, version)| (&**name, &**version)).collect();
        let parts = (
            (scan.rows(), offsets, errors, scan.skipped),
            ids,
            matrices,
            texts,
            attributes,
            (self.event_times, self.lists),
            resources,
            scopes,
        );
        parts.into_pyobject(py)
    }
}

/// Return the columns that have a value, in the projection's order.
fn occurring<'s, 'a>(columns: &'s Columns<'a>) -> Vec<&'s Column<'a>> {
    let mut found: Vec<_> = columns.columns.iter().filter(|column| column.occurs()).collect();
    found.sort_unstable_by_key(|column| column.entry);
    found
}

fn names_of<'py>(py: Python<'py>, names: &[Py<PyString>], columns: &[&Column]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, columns.iter().map(|column| names[column.entry].bind(py)))
}

fn values_of<'py>(py: Python<'py>, columns: &[&Column]) -> PyResult<Bound<'py, PyList>> {
    let lists: PyResult<Vec<_>> = columns.iter().map(|column| values(py, &column.dictionary)).collect();
    PyList::new(py, lists?)
}

fn values<'py>(py: Python<'py>, dictionary: &Dictionary) -> PyResult<Bound<'py, PyList>> {
    let objects = dictionary.payloads.iter().map(|payload| match payload {
        Payload::Text(text) => PyString::new(py, text).into_any(),
        Payload::Raw(bytes) => PyBytes::new(py, bytes).into_any(),
    });
    PyList::new(py, objects)
}
