//! The AnyValue of a projected attribute.

use crate::wire::{tag, Reader, Result, BYTES, FIXED64, VARINT};

/// The kinds of `tocsin.model.columns.ValueKind`.
pub mod kind {
    pub const ABSENT: u8 = 0;
    pub const STRING: u8 = 1;
    pub const BOOL: u8 = 2;
    pub const INT: u8 = 3;
    pub const DOUBLE: u8 = 4;
    pub const BYTES: u8 = 5;
    pub const ARRAY: u8 = 6;
    pub const KVLIST: u8 = 7;
}

/// A value as it stands on the wire; arrays and lists are not looked into.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Absent,
    String(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// BYTES, ARRAY or KVLIST.
    Raw(u8, &'a [u8]),
}

impl<'a> Value<'a> {
    /// Read the message over this value: the last field of the oneof wins, an empty message changes nothing.
    #[inline]
    pub fn merge(&mut self, data: &'a [u8]) -> Result<()> {
        let mut reader = Reader::new(data, 0);
        while let Some(found) = reader.next_tag()? {
            const STRING: u32 = tag(1, BYTES);
            const BOOL: u32 = tag(2, VARINT);
            const INT: u32 = tag(3, VARINT);
            const DOUBLE: u32 = tag(4, FIXED64);
            const ARRAY: u32 = tag(5, BYTES);
            const KVLIST: u32 = tag(6, BYTES);
            const RAW: u32 = tag(7, BYTES);
            *self = match found {
                STRING => Value::String(reader.bytes()?),
                BOOL => Value::Bool(reader.varint()? != 0),
                INT => Value::Int(reader.varint()? as i64),
                DOUBLE => Value::Double(f64::from_bits(reader.fixed64()?)),
                ARRAY => Value::Raw(kind::ARRAY, reader.bytes()?),
                KVLIST => Value::Raw(kind::KVLIST, reader.bytes()?),
                RAW => Value::Raw(kind::BYTES, reader.bytes()?),
                _ => {
                    reader.skip(found)?;
                    continue;
                }
            };
        }
        Ok(())
    }
}

/// Return `text` without what is over `cap` bytes, cut where a character begins.
///
/// A character has at most three continuation bytes, so the cut moves back by at most three.
pub fn capped(text: &[u8], cap: usize) -> &[u8] {
    if text.len() <= cap {
        return text;
    }
    let mut end = cap;
    while end > 0 && cap - end < 3 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

/// A KeyValue: its key, and its value not yet read.
pub struct KeyValue<'a> {
    pub key: &'a [u8],
    value: &'a [u8],
    /// The whole message where the value is spread over several fields.
    parts: Option<&'a [u8]>,
}

const KEY: u32 = tag(1, BYTES);
const VALUE: u32 = tag(2, BYTES);

impl<'a> KeyValue<'a> {
    /// Read a KeyValue that is `level` messages deep.
    #[inline]
    pub fn read(data: &'a [u8], level: usize) -> Result<Self> {
        let mut reader = Reader::new(data, level);
        let mut pair = KeyValue { key: &[], value: &[], parts: None };
        let mut values = 0;
        while let Some(found) = reader.next_tag()? {
            match found {
                KEY => pair.key = reader.bytes()?,
                VALUE => {
                    pair.value = reader.bytes()?;
                    values += 1;
                }
                _ => reader.skip(found)?,
            }
        }
        if values > 1 {
            pair.parts = Some(data);
        }
        Ok(pair)
    }

    /// Read the value; several `value` fields are merged as protobuf merges messages.
    #[inline]
    pub fn value(&self) -> Result<Value<'a>> {
        let mut value = Value::Absent;
        match self.parts {
            None => value.merge(self.value)?,
            Some(data) => {
                let mut reader = Reader::new(data, 0);
                while let Some(found) = reader.next_tag()? {
                    match found {
                        VALUE => value.merge(reader.bytes()?)?,
                        // This was skipped once already, at the level that counts.
                        _ => reader.skip(found)?,
                    }
                }
            }
        }
        Ok(value)
    }
}
