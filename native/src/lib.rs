//! OTLP bytes to the columns that rules ask for: the fast twin of `src/tocsin/decode/reference.py`.
//!
//! A request is walked once. What the projection names is copied to columns, strings through a dictionary a column;
//! all else is skipped by its length, unread. Every access is a checked slice, so hostile bytes end as `Malformed`.

#![forbid(unsafe_code)]

mod column;
mod export;
mod footprint;
mod hash;
mod index;
mod logs;
mod prefixed;
mod projection;
mod scan;
mod splice;
mod traces;
mod value;
mod wire;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString, PyTuple};

use export::Export;
use footprint::Claim;
use projection::{Parts, Projection};
use scan::Scan;
use splice::Splice;
use wire::Malformed;

/// Requests that are smaller than this together are read without giving up the interpreter lock: they take fewer
/// microseconds than getting it back can.
const RELEASE_BYTES: usize = 32 * 1024;

type Walk = for<'p, 'a> fn(&mut Scan<'p, 'a>, &'a [u8]) -> Result<(), Malformed>;

/// A compiled projection; may be used from several threads at once.
#[pyclass(frozen)]
struct Scanner {
    projection: Projection,
    /// Per entry, the name of its column.
    names: Vec<Py<PyString>>,
}

#[pymethods]
impl Scanner {
    #[new]
    #[pyo3(signature = (*, attributes, indexed, event_times, event_attributes, event_cap, log_events, most_rows, most_cells,
        prefixes = Vec::new(), barred = Vec::new(), most_prefixed = 0))]
    #[allow(clippy::too_many_arguments)] // They are the fields of the Python class Projection, by name.
    fn new(
        py: Python<'_>,
        attributes: Vec<(String, usize)>,
        indexed: Vec<(String, String)>,
        event_times: Vec<String>,
        event_attributes: Vec<(String, String)>,
        event_cap: usize,
        log_events: Vec<String>,
        most_rows: usize,
        most_cells: usize,
        prefixes: Vec<String>,
        barred: Vec<String>,
        most_prefixed: usize,
    ) -> Self {
        let plain = attributes.iter().map(|(key, _)| PyString::new(py, key));
        let of_events = event_attributes.iter().map(|(event, key)| PyString::new(py, &format!("{event}/{key}")));
        let names = plain.chain(of_events).map(Bound::unbind).collect();
        let projection = Projection::new(Parts {
            attributes,
            indexed,
            event_times,
            event_attributes,
            event_cap,
            log_events,
            prefixes,
            barred,
            most_prefixed,
            most_rows,
            most_cells,
        });
        Scanner { projection, names }
    }

    /// Decode serialized ExportTraceServiceRequest messages.
    fn traces<'py>(&self, py: Python<'py>, requests: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyTuple>> {
        self.decode(py, &requests, traces::request)
    }

    /// Decode serialized ExportLogsServiceRequest messages.
    fn logs<'py>(&self, py: Python<'py>, requests: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyTuple>> {
        self.decode(py, &requests, logs::request)
    }
}

impl Scanner {
    fn decode<'py>(&self, py: Python<'py>, requests: &[PyBackedBytes], walk: Walk) -> PyResult<Bound<'py, PyTuple>> {
        let requests: Vec<&[u8]> = requests.iter().map(|request| &request[..]).collect();
        let size: usize = requests.iter().map(|request| request.len()).sum();
        let work = || Outcome::of(&self.projection, &requests, walk);
        let outcome = if size < RELEASE_BYTES { work() } else { py.detach(work) };
        Export::new(&outcome.scan).finish(py, &self.names, outcome.offsets, outcome.errors)
    }
}

/// What came of the requests of one call.
struct Outcome<'p, 'a> {
    scan: Scan<'p, 'a>,
    offsets: Vec<usize>,
    errors: Vec<Option<String>>,
}

impl<'p, 'a> Outcome<'p, 'a> {
    /// Read all requests into one scan.
    ///
    /// Where one is malformed or they are too much together, which is rare, each is tried alone and the good ones are
    /// read again: three times the work at most, and nothing of a bad request is left in the columns.
    fn of(projection: &'p Projection, requests: &[&'a [u8]], walk: Walk) -> Self {
        let all = vec![None; requests.len()];
        if let Some((scan, offsets)) = Self::attempt(projection, requests, walk, &all) {
            return Outcome { scan, offsets, errors: all };
        }
        let alone = |request: &&'a [u8]| {
            let mut scan = Scan::new(projection);
            match walk(&mut scan, request) {
                Ok(()) => Ok(Claim::of(&scan)),
                Err(error) => Err(message(&error, request)),
            }
        };
        let errors = footprint::refused(requests.iter().map(alone).collect(), projection.most_cells);
        match Self::attempt(projection, requests, walk, &errors) {
            Some((scan, offsets)) => Outcome { scan, offsets, errors },
            // A request is good or bad by itself, so this is not reached; if it were, refusing all is safe.
            None => Outcome {
                scan: Scan::new(projection),
                offsets: vec![0; requests.len() + 1],
                errors: vec![Some("a request could not be read twice".to_owned()); requests.len()],
            },
        }
    }

    /// Read the requests that have no error; None where one is malformed or they are too much.
    fn attempt(
        projection: &'p Projection,
        requests: &[&'a [u8]],
        walk: Walk,
        errors: &[Option<String>],
    ) -> Option<(Scan<'p, 'a>, Vec<usize>)> {
        let mut scan = Scan::new(projection);
        let mut offsets = Vec::with_capacity(requests.len() + 1);
        offsets.push(0);
        for (request, error) in requests.iter().zip(errors) {
            if error.is_none() {
                walk(&mut scan, request).ok()?;
                if scan.footprint().cells() > projection.most_cells {
                    return None;
                }
            }
            offsets.push(scan.rows());
        }
        Some((scan, offsets))
    }
}

fn message(error: &Malformed, request: &[u8]) -> String {
    let offset = error.address.saturating_sub(request.as_ptr() as usize);
    format!("{} (byte {} of {})", error.what, offset.min(request.len()), request.len())
}

/// Return how many spans a request has, and the request with their costs added; None where nothing changes.
///
/// `costs` are doubles in the machine's own byte order, one a span.
#[pyfunction]
#[pyo3(name = "splice")]
fn splice_costs<'py>(
    py: Python<'py>,
    request: PyBackedBytes,
    costs: PyBackedBytes,
) -> PyResult<(usize, Option<Bound<'py, PyBytes>>)> {
    let costs: Vec<f64> =
        costs.chunks_exact(8).map(|bytes| f64::from_ne_bytes(bytes.try_into().unwrap_or_default())).collect();
    let request: &[u8] = &request;
    let work = || Splice::of(request, &costs).map_err(|error| message(&error, request));
    let long = request.len() >= RELEASE_BYTES;
    let splice = if long { py.detach(work) } else { work() }.map_err(PyValueError::new_err)?;
    if splice.is_empty() {
        return Ok((splice.spans, None));
    }
    let changed = PyBytes::new_with(py, splice.size(request), |out| {
        if long {
            py.detach(|| splice.write(request, out));
        } else {
            splice.write(request, out);
        }
        Ok(())
    })?;
    Ok((splice.spans, Some(changed)))
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::index::KeyTable;
    #[pymodule_export]
    use super::splice_costs;
    #[pymodule_export]
    use super::Scanner;
}
