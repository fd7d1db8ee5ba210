//! The walk over an ExportTraceServiceRequest.

use crate::projection::EventName;
use crate::scan::{next_entry, Allowance, Row, Scan};
use crate::value::KeyValue;
use crate::wire::{tag, Reader, Result, BYTES, FIXED64, VARINT};

/// Read one request into the scan; after an error the scan is of no use.
pub fn request<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8]) -> Result<()> {
    let mut left = Allowance::of(scan.projection);
    scan.begin_request();
    let mut reader = Reader::new(data, 0);
    while let Some(found) = reader.next_tag()? {
        const RESOURCE_SPANS: u32 = tag(1, BYTES);
        match found {
            RESOURCE_SPANS => resource_spans(scan, next_entry(&mut left.resources, &mut reader)?, &mut left)?,
            _ => reader.skip(found)?,
        }
    }
    scan.end_request();
    Ok(())
}

fn resource_spans<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8], left: &mut Allowance) -> Result<()> {
    let mut parts = Vec::new();
    let mut reader = Reader::new(data, 1);
    while let Some(found) = reader.next_tag()? {
        const RESOURCE: u32 = tag(1, BYTES);
        const SCOPE_SPANS: u32 = tag(2, BYTES);
        match found {
            RESOURCE => parts.push(reader.bytes()?),
            SCOPE_SPANS => scope_spans(scan, next_entry(&mut left.scopes, &mut reader)?, left)?,
            _ => reader.skip(found)?,
        }
    }
    scan.end_resource(&parts)
}

fn scope_spans<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8], left: &mut Allowance) -> Result<()> {
    let mut scope: (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(data, 2);
    while let Some(found) = reader.next_tag()? {
        const SCOPE: u32 = tag(1, BYTES);
        const SPANS: u32 = tag(2, BYTES);
        match found {
            SCOPE => read_scope(reader.bytes()?, &mut scope)?,
            SPANS => span(scan, next_entry(&mut left.rows, &mut reader)?)?,
            _ => reader.skip(found)?,
        }
    }
    scan.end_scope(scope.0, scope.1);
    Ok(())
}

/// Merge an InstrumentationScope into (name, version).
pub fn read_scope<'a>(data: &'a [u8], scope: &mut (&'a [u8], &'a [u8])) -> Result<()> {
    let mut reader = Reader::new(data, 3);
    while let Some(found) = reader.next_tag()? {
        const NAME: u32 = tag(1, BYTES);
        const VERSION: u32 = tag(2, BYTES);
        match found {
            NAME => scope.0 = reader.bytes()?,
            VERSION => scope.1 = reader.bytes()?,
            _ => reader.skip(found)?,
        }
    }
    Ok(())
}

fn span<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8]) -> Result<()> {
    let mut row = Row::default();
    let (mut attributes, mut events) = (0, 0);
    let mut reader = Reader::new(data, 3);
    while let Some(found) = reader.next_tag()? {
        const TRACE_ID: u32 = tag(1, BYTES);
        const SPAN_ID: u32 = tag(2, BYTES);
        const TRACE_STATE: u32 = tag(3, BYTES);
        const PARENT_ID: u32 = tag(4, BYTES);
        const NAME: u32 = tag(5, BYTES);
        const KIND: u32 = tag(6, VARINT);
        const START: u32 = tag(7, FIXED64);
        const END: u32 = tag(8, FIXED64);
        const ATTRIBUTES: u32 = tag(9, BYTES);
        const EVENTS: u32 = tag(11, BYTES);
        const STATUS: u32 = tag(15, BYTES);
        // Apart, for it is what most fields are.
        if found == ATTRIBUTES {
            scan.attribute(reader.bytes()?, 4, attributes)?;
            attributes += 1;
            continue;
        }
        match found {
            TRACE_ID => row.trace_id = reader.bytes()?,
            SPAN_ID => row.span_id = reader.bytes()?,
            TRACE_STATE => row.trace_state = reader.bytes()?,
            PARENT_ID => row.parent_id = reader.bytes()?,
            NAME => row.name = reader.bytes()?,
            KIND => row.kind = reader.varint()?,
            START => row.start = reader.fixed64()?,
            END => row.end = reader.fixed64()?,
            STATUS => read_status(reader.bytes()?, &mut row.status)?,
            EVENTS => {
                let data = reader.bytes()?;
                if !scan.projection.events.is_empty() {
                    event(scan, data, events)?;
                    events += 1;
                }
            }
            _ => reader.skip(found)?,
        }
    }
    scan.push(&row);
    Ok(())
}

fn read_status(data: &[u8], status: &mut u64) -> Result<()> {
    let mut reader = Reader::new(data, 4);
    while let Some(found) = reader.next_tag()? {
        const CODE: u32 = tag(3, VARINT);
        match found {
            CODE => *status = reader.varint()?,
            _ => reader.skip(found)?,
        }
    }
    Ok(())
}

const EVENT_TIME: u32 = tag(1, FIXED64);
const EVENT_NAME: u32 = tag(2, BYTES);
const EVENT_ATTRIBUTES: u32 = tag(3, BYTES);

/// Read an event of the row that will be pushed next; `ordinal` counts the row's events.
fn event<'a>(scan: &mut Scan<'_, 'a>, data: &'a [u8], ordinal: usize) -> Result<()> {
    let (mut name, mut time): (&[u8], u64) = (&[], 0);
    let mut reader = Reader::new(data, 0);
    while let Some(found) = reader.next_tag()? {
        match found {
            EVENT_TIME => time = reader.fixed64()?,
            EVENT_NAME => name = reader.bytes()?,
            EVENT_ATTRIBUTES => {
                KeyValue::read(reader.bytes()?, 1)?;
            }
            _ => reader.skip(found)?,
        }
    }
    let projection = scan.projection;
    let Some(wanted) = projection.events.iter().find(|event| event.name == name) else {
        return Ok(());
    };
    if let Some(index) = wanted.time {
        keep_earliest(&mut scan.event_times[index], scan.fixed.end.len(), time);
    }
    if wanted.attributes.is_empty() {
        return Ok(());
    }
    event_attributes(scan, wanted, data, ordinal)
}

fn event_attributes<'a>(scan: &mut Scan<'_, 'a>, wanted: &EventName, data: &'a [u8], ordinal: usize) -> Result<()> {
    let row = scan.rows();
    let mut reader = Reader::new(data, 0);
    while let Some(found) = reader.next_tag()? {
        if found != EVENT_ATTRIBUTES {
            reader.skip(found)?;
            continue;
        }
        let pair = KeyValue::read(reader.bytes()?, 1)?;
        for &(_, entry) in wanted.attributes.iter().filter(|(key, _)| key == pair.key) {
            let value = pair.value()?;
            let column = scan.attributes.of(entry, scan.projection.caps[entry]);
            let taken = column.has(row) && column.event != ordinal;
            if !taken {
                column.put(row, value);
                column.event = ordinal;
            }
        }
    }
    Ok(())
}

/// Note an event's time; 0 is none.
fn keep_earliest(times: &mut Vec<u64>, row: usize, time: u64) {
    if time == 0 {
        return;
    }
    if times.len() <= row {
        times.resize(row + 1, 0);
    }
    if times[row] == 0 || time < times[row] {
        times[row] = time;
    }
}
