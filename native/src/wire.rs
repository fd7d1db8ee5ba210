//! The protobuf wire format, with the limits that upb (the C core of protobuf's Python) sets: both decoders accept the
//! same bytes only if these agree. `tests/fuzz.py` holds them against each other.
//!
//! - A tag has at most 5 bytes and fits 32 bits; field number 0 is an error outside of groups.
//! - A varint has at most 10 bytes; bits above the 64th are dropped.
//! - A length has at most 5 bytes and stays within the message that holds it.
//! - Groups are skipped; messages and groups together nest at most 100 deep.

/// How deep messages and groups may nest.
pub const MAX_DEPTH: usize = 100;

pub const VARINT: u32 = 0;
pub const FIXED64: u32 = 1;
pub const BYTES: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// Why bytes are not a message, and the address of the byte where that showed.
#[derive(Debug, Clone, Copy)]
pub struct Malformed {
    pub what: &'static str,
    pub address: usize,
}

pub type Result<T> = std::result::Result<T, Malformed>;

/// The tag of a field, as on the wire.
pub const fn tag(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// Reads one message; never past its end.
pub struct Reader<'a> {
    data: &'a [u8],
    position: usize,
    /// Messages around this one: what is left of MAX_DEPTH is for groups.
    level: usize,
}

impl<'a> Reader<'a> {
    /// Return a reader of a message that is `level` messages inside the one that was parsed first.
    pub fn new(data: &'a [u8], level: usize) -> Self {
        Reader { data, position: 0, level }
    }

    /// Return how many bytes of the message were read.
    #[inline(always)]
    pub fn position(&self) -> usize {
        self.position
    }

    #[cold]
    fn malformed<T>(&self, what: &'static str) -> Result<T> {
        Err(Malformed { what, address: self.data.as_ptr() as usize + self.position })
    }

    /// Return the next tag, None at the end of the message.
    #[inline(always)]
    pub fn next_tag(&mut self) -> Result<Option<u32>> {
        match self.data.get(self.position) {
            None => Ok(None),
            Some(&first) if first < 0x80 => {
                self.position += 1;
                Ok(Some(u32::from(first)))
            }
            Some(_) => self.long_u32("a tag is longer than 5 bytes").map(Some),
        }
    }

    #[inline(never)]
    fn long_u32(&mut self, too_long: &'static str) -> Result<u32> {
        let mut value = 0u64;
        for index in 0..5 {
            let Some(&byte) = self.data.get(self.position) else {
                return self.malformed("the message ends within a number");
            };
            self.position += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return match u32::try_from(value) {
                    Ok(value) => Ok(value),
                    Err(_) => self.malformed(too_long),
                };
            }
        }
        self.malformed(too_long)
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        match self.data.get(self.position) {
            Some(&first) if first < 0x80 => {
                self.position += 1;
                Ok(u64::from(first))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for index in 0..10 {
            let Some(&byte) = self.data.get(self.position) else {
                return self.malformed("the message ends within a number");
            };
            self.position += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.malformed("a number is longer than 10 bytes")
    }

    /// Return the payload of a length-delimited field.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = match self.data.get(self.position) {
            Some(&first) if first < 0x80 => {
                self.position += 1;
                first as usize
            }
            _ => self.long_u32("a length is longer than 5 bytes")? as usize,
        };
        self.take(length)
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.data[self.position..].get(..length) {
            Some(payload) => {
                self.position += length;
                Ok(payload)
            }
            None => self.malformed("a field is longer than the message that holds it"),
        }
    }

    pub fn fixed64(&mut self) -> Result<u64> {
        match self.data[self.position..].first_chunk::<8>() {
            Some(bytes) => {
                self.position += 8;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => self.malformed("the message ends within a number"),
        }
    }

    /// Skip the field whose tag was just read.
    #[inline]
    pub fn skip(&mut self, tag: u32) -> Result<()> {
        if tag >> 3 == 0 {
            return self.malformed("field number 0");
        }
        match tag & 7 {
            START_GROUP => self.skip_group(tag >> 3),
            END_GROUP => self.malformed("the end of a group that did not begin"),
            _ => self.skip_value(tag),
        }
    }

    #[inline]
    fn skip_value(&mut self, tag: u32) -> Result<()> {
        match tag & 7 {
            VARINT => self.varint().map(|_| ()),
            FIXED64 => self.take(8).map(|_| ()),
            BYTES => self.bytes().map(|_| ()),
            FIXED32 => self.take(4).map(|_| ()),
            _ => self.malformed("an unknown wire type"),
        }
    }

    #[cold]
    fn skip_group(&mut self, field: u32) -> Result<()> {
        let mut open = [0u32; MAX_DEPTH];
        let limit = MAX_DEPTH.saturating_sub(self.level);
        let mut depth = 0;
        let mut entered = Some(field);
        loop {
            if let Some(field) = entered.take() {
                if depth == limit {
                    return self.malformed("groups nest too deep");
                }
                open[depth] = field;
                depth += 1;
            }
            let Some(tag) = self.next_tag()? else {
                return self.malformed("a group does not end");
            };
            match tag & 7 {
                START_GROUP => entered = Some(tag >> 3),
                END_GROUP => {
                    if open[depth - 1] != tag >> 3 {
                        return self.malformed("the end of another group than the one that began");
                    }
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.skip_value(tag)?,
            }
        }
    }
}
