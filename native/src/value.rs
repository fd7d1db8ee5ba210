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
    /// Read a message.
    #[inline(always)]
    pub fn read(data: &'a [u8]) -> Result<Self> {
        // Short strings and numbers are most of what there is, and take the whole message.
        match data {
            [0x0a, length, text @ ..] if *length < 0x80 && text.len() == *length as usize => Ok(Value::String(text)),
            [0x18, number] if *number < 0x80 => Ok(Value::Int(i64::from(*number))),
            [0x18, low, high] if *low >= 0x80 && *high < 0x80 => {
                Ok(Value::Int(i64::from(*low & 0x7f) | i64::from(*high) << 7))
            }
            _ => {
                let mut value = Value::Absent;
                value.merge(data)?;
                Ok(value)
            }
        }
    }

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

/// Return the value of a KeyValue that begins with `head` (see `KeyValue::head`) and ends with the value.
#[inline(always)]
pub fn value_after<'a>(head: &[u8], data: &'a [u8]) -> Option<&'a [u8]> {
    let found = data.get(..head.len())?;
    if head.is_empty() || !same(head, found) {
        return None;
    }
    let rest = &data[head.len()..];
    match rest {
        [length, value @ ..] if *length < 0x80 => (value.len() == *length as usize).then_some(value),
        [low, high, value @ ..] if *high < 0x80 => {
            let length = (*low as usize & 0x7f) | (*high as usize) << 7;
            (value.len() == length).then_some(value)
        }
        [low, middle, high, value @ ..] if *high < 0x80 => {
            let length = (*low as usize & 0x7f) | (*middle as usize & 0x7f) << 7 | (*high as usize) << 14;
            (value.len() == length).then_some(value)
        }
        _ => None,
    }
}

/// Whether two short byte strings are equal; words at a time, which for keys beats a call of memcmp.
#[inline(always)]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (Some(left_end), Some(right_end)) = (left.last_chunk::<8>(), right.last_chunk::<8>()) else {
        return left.iter().zip(right).all(|(left, right)| left == right);
    };
    if left_end != right_end {
        return false;
    }
    let (mut left, mut right) = (left, right);
    while let (Some((left_word, left_rest)), Some((right_word, right_rest))) =
        (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
    {
        if left_word != right_word {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    true
}

pub fn varint_size(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
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

    /// Return what stands before the length of the value where the KeyValue is a key and then a value, as everyone
    /// writes it; else nothing.
    pub fn head(&self, data: &'a [u8]) -> &'a [u8] {
        let (key, value) = (self.key.len(), self.value.len());
        let length = varint_size(key);
        let head = length + key + 2;
        let canonical = self.parts.is_none()
            && data.len() == head + varint_size(value) + value
            && data[0] == KEY as u8
            && data[head - 1] == VALUE as u8;
        let head = if canonical { &data[..head] } else { &[] };
        // The key must stand where it is expected, not its like elsewhere.
        if head.get(1 + length..1 + length + key).is_some_and(|found| found.as_ptr() == self.key.as_ptr()) {
            head
        } else {
            &[]
        }
    }

    /// Read the value; several `value` fields are merged as protobuf merges messages.
    #[inline]
    pub fn value(&self) -> Result<Value<'a>> {
        let mut value = Value::Absent;
        match self.parts {
            None => value = Value::read(self.value)?,
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
