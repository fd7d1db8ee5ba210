//! The walk over an ExportLogsServiceRequest.

use crate::scan::{next_entry, take, Allowance, Row, Scan};
use crate::traces::read_scope;
use crate::value::{KeyValue, Value};
use crate::wire::{tag, Reader, Result, BYTES, FIXED64};

/// Read one request into the scan; after an error the scan is of no use.
pub fn request<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8]) -> Result<()> {
    let mut left = Allowance::of(scan.projection);
    scan.begin_request();
    let mut reader = Reader::new(data, 0);
    while let Some(found) = reader.next_tag()? {
        const RESOURCE_LOGS: u32 = tag(1, BYTES);
        match found {
            RESOURCE_LOGS => resource_logs(scan, next_entry(&mut left.resources, &mut reader)?, &mut left)?,
            _ => reader.skip(found)?,
        }
    }
    scan.end_request();
    Ok(())
}

fn resource_logs<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8], left: &mut Allowance) -> Result<()> {
    let mut parts = Vec::new();
    let mut reader = Reader::new(data, 1);
    while let Some(found) = reader.next_tag()? {
        const RESOURCE: u32 = tag(1, BYTES);
        const SCOPE_LOGS: u32 = tag(2, BYTES);
        match found {
            RESOURCE => parts.push(reader.bytes()?),
            SCOPE_LOGS => scope_logs(scan, next_entry(&mut left.scopes, &mut reader)?, left)?,
            _ => reader.skip(found)?,
        }
    }
    scan.end_resource(&parts)
}

fn scope_logs<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8], left: &mut Allowance) -> Result<()> {
    let mut scope: (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(data, 2);
    while let Some(found) = reader.next_tag()? {
        const SCOPE: u32 = tag(1, BYTES);
        const RECORDS: u32 = tag(2, BYTES);
        match found {
            SCOPE => read_scope(reader.bytes()?, &mut scope)?,
            RECORDS => {
                let data = reader.bytes()?;
                let (row, wanted) = read_record(scan, data)?;
                if wanted {
                    take(&mut left.rows, data)?;
                    keep_attributes(scan, data)?;
                    scan.push(&row);
                } else {
                    scan.skipped += 1;
                }
            }
            _ => reader.skip(found)?,
        }
    }
    scan.end_scope(scope.0, scope.1);
    Ok(())
}

const TIME: u32 = tag(1, FIXED64);
const ATTRIBUTES: u32 = tag(6, BYTES);
const TRACE_ID: u32 = tag(9, BYTES);
const SPAN_ID: u32 = tag(10, BYTES);
const OBSERVED: u32 = tag(11, FIXED64);
const EVENT_NAME: u32 = tag(12, BYTES);

/// Read a LogRecord but for its attributes; the flag says whether rules want it.
fn read_record<'a>(scan: &Scan<'_, 'a>, data: &'a [u8]) -> Result<(Row<'a>, bool)> {
    let mut row = Row::default();
    let mut observed = 0;
    let (mut dotted, mut underscored) = (Value::Absent, Value::Absent);
    let mut reader = Reader::new(data, 3);
    while let Some(found) = reader.next_tag()? {
        match found {
            TIME => row.end = reader.fixed64()?,
            OBSERVED => observed = reader.fixed64()?,
            TRACE_ID => row.trace_id = reader.bytes()?,
            SPAN_ID => row.span_id = reader.bytes()?,
            EVENT_NAME => row.name = reader.bytes()?,
            ATTRIBUTES => {
                let pair = KeyValue::read(reader.bytes()?, 4)?;
                match pair.key {
                    b"event.name" => dotted = pair.value()?,
                    b"event_name" => underscored = pair.value()?,
                    _ => {}
                }
            }
            _ => reader.skip(found)?,
        }
    }
    if row.end == 0 {
        row.end = observed;
    }
    for value in [dotted, underscored] {
        if let (true, Value::String(name)) = (row.name.is_empty(), value) {
            row.name = name;
        }
    }
    let wanted = scan.projection.log_events.iter().any(|name| name == row.name);
    Ok((row, wanted))
}

fn keep_attributes<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8]) -> Result<()> {
    let mut position = 0;
    let mut reader = Reader::new(data, 3);
    while let Some(found) = reader.next_tag()? {
        if found == ATTRIBUTES {
            scan.attribute(reader.bytes()?, 4, position)?;
            position += 1;
        } else {
            reader.skip(found)?;
        }
    }
    Ok(())
}
