//! The cost of each span, added to a request's own bytes: the fast twin of `src/tocsin/forward/splice_reference.py`.
//!
//! One walk finds what changes, in the order of the bytes: the lengths of the messages around a span with a cost, and
//! the end of that span. A second pass copies all else.

use crate::value::{varint_size, KeyValue};
use crate::wire::{tag, Reader, Result, BYTES};

const COST_KEY: &[u8] = b"app.llm.cost_usd";
/// Span.attributes { key: COST_KEY, value { double_value } } up to the eight bytes of the number.
const COST_HEAD: &[u8] = b"\x4a\x1d\x0a\x10app.llm.cost_usd\x12\x09\x21";
const COST_SIZE: usize = COST_HEAD.len() + 8;

/// Something that is not copied from the request.
enum Edit {
    /// A message's length, which stands at `from..to` in the request.
    Length { from: usize, to: usize, value: usize },
    /// A cost, before what stands at `at` in the request.
    Cost { at: usize, cost: f64 },
}

/// What a walk has found.
pub struct Splice<'c> {
    costs: &'c [f64],
    edits: Vec<Edit>,
    /// Spans so far.
    pub spans: usize,
}

impl<'c> Splice<'c> {
    /// Walk a request; costs are those of its spans in order, none where they are not finite or missing.
    pub fn of(request: &[u8], costs: &'c [f64]) -> Result<Self> {
        let mut splice = Splice { costs, edits: Vec::new(), spans: 0 };
        splice.messages(request, 0, 0)?;
        Ok(splice)
    }

    /// Whether anything changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// How long the request becomes.
    pub fn size(&self, request: &[u8]) -> usize {
        self.edits.iter().fold(request.len(), |size, edit| match edit {
            Edit::Length { from, to, value } => size - (to - from) + varint_size(*value),
            Edit::Cost { .. } => size + COST_SIZE,
        })
    }

    /// Write the new request to `out`, which has its size.
    pub fn write(&self, request: &[u8], out: &mut [u8]) {
        let mut rest = out;
        self.pieces(request, |piece| {
            let (place, behind) = std::mem::take(&mut rest).split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = behind;
        });
    }

    /// Give the pieces of the new request one after another.
    fn pieces(&self, request: &[u8], mut give: impl FnMut(&[u8])) {
        let mut copied = 0;
        for edit in &self.edits {
            match *edit {
                Edit::Length { from, to, value } => {
                    give(request.get(copied..from).unwrap_or_default());
                    let mut number = [0; 10];
                    give(varint(value, &mut number));
                    copied = to;
                }
                Edit::Cost { at, cost } => {
                    give(request.get(copied..at).unwrap_or_default());
                    give(COST_HEAD);
                    give(&cost.to_le_bytes());
                    copied = at;
                }
            }
        }
        give(request.get(copied..).unwrap_or_default());
    }

    /// Walk a message that holds messages that hold spans; `start` is where it begins in the request. Return by how
    /// much it grows.
    fn messages(&mut self, data: &[u8], start: usize, depth: usize) -> Result<isize> {
        // ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans.
        const PATH: [u32; 3] = [tag(1, BYTES), tag(2, BYTES), tag(2, BYTES)];
        let mut growth = 0;
        let mut reader = Reader::new(data, depth);
        while let Some(found) = reader.next_tag()? {
            if found != PATH[depth] {
                reader.skip(found)?;
                continue;
            }
            let from = start + reader.position();
            let payload = reader.bytes()?;
            let to = start + reader.position() - payload.len();
            let place = self.edits.len();
            self.edits.push(Edit::Length { from, to, value: 0 });
            let inner =
                if depth + 1 == PATH.len() { self.span(payload, to)? } else { self.messages(payload, to, depth + 1)? };
            if self.edits.len() == place + 1 {
                self.edits.pop();
                continue;
            }
            let value = payload.len().saturating_add_signed(inner);
            self.edits[place] = Edit::Length { from, to, value };
            growth += inner + varint_size(value) as isize - (to - from) as isize;
        }
        Ok(growth)
    }

    fn span(&mut self, data: &[u8], start: usize) -> Result<isize> {
        const ATTRIBUTES: u32 = tag(9, BYTES);
        let mut states_it = false;
        let mut reader = Reader::new(data, 3);
        while let Some(found) = reader.next_tag()? {
            match found {
                ATTRIBUTES => states_it |= KeyValue::read(reader.bytes()?, 4)?.key == COST_KEY,
                _ => reader.skip(found)?,
            }
        }
        let cost = self.costs.get(self.spans).copied().unwrap_or(f64::NAN);
        self.spans += 1;
        if states_it || !cost.is_finite() {
            return Ok(0);
        }
        self.edits.push(Edit::Cost { at: start + data.len(), cost });
        Ok(COST_SIZE as isize)
    }
}

fn varint(mut value: usize, out: &mut [u8; 10]) -> &[u8] {
    let mut size = 0;
    while value > 0x7f {
        out[size] = value as u8 & 0x7f | 0x80;
        value >>= 7;
        size += 1;
    }
    out[size] = value as u8;
    &out[..=size]
}
