//! Columns under construction: one cell a row, payloads in a dictionary.

use std::borrow::Cow;

use crate::hash::Seed;
use crate::value::{capped, kind, same, Value};

/// A distinct payload.
pub enum Payload<'a> {
    /// Valid UTF-8. As bytes, for it is made a string only once, at the end.
    Text(Cow<'a, [u8]>),
    Raw(&'a [u8]),
}

impl Payload<'_> {
    #[inline(always)]
    fn is(&self, text: bool, bytes: &[u8]) -> bool {
        match self {
            Payload::Text(own) => text && same(own, bytes),
            Payload::Raw(own) => !text && *own == bytes,
        }
    }
}

/// Payloads of this many or fewer are searched one after the other, without a table.
const FEW: usize = 8;

/// Distinct payloads in order of first appearance.
pub struct Dictionary<'a> {
    pub payloads: Vec<Payload<'a>>,
    hashes: Vec<u32>,
    /// Open addressing, a power of two in size: index in `payloads` plus 1, or 0. Empty while there are few.
    slots: Vec<u32>,
    last: usize,
    seed: Seed,
}

impl<'a> Dictionary<'a> {
    pub fn new(seed: Seed) -> Self {
        Dictionary { payloads: Vec::new(), hashes: Vec::new(), slots: Vec::new(), last: 0, seed }
    }

    /// Return the code of a string; what is not UTF-8 in it becomes U+FFFD.
    #[inline]
    pub fn text(&mut self, bytes: &'a [u8]) -> i32 {
        if self.payloads.get(self.last).is_some_and(|last| last.is(true, bytes)) {
            return self.last as i32;
        }
        let hash = self.seed.hash(bytes);
        if let Some(code) = self.find(hash, true, bytes) {
            return code;
        }
        if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
            self.insert(hash, Payload::Text(Cow::Borrowed(bytes)))
        } else {
            self.replaced(bytes)
        }
    }

    #[cold]
    fn replaced(&mut self, bytes: &'a [u8]) -> i32 {
        let text = String::from_utf8_lossy(bytes).into_owned().into_bytes();
        let hash = self.seed.hash(&text);
        match self.find(hash, true, &text) {
            Some(code) => code,
            None => self.insert(hash, Payload::Text(Cow::Owned(text))),
        }
    }

    /// Return the code of a byte string.
    pub fn raw(&mut self, bytes: &'a [u8]) -> i32 {
        let hash = !self.seed.hash(bytes);
        match self.find(hash, false, bytes) {
            Some(code) => code,
            None => self.insert(hash, Payload::Raw(bytes)),
        }
    }

    #[inline]
    fn find(&mut self, hash: u32, text: bool, bytes: &[u8]) -> Option<i32> {
        if self.slots.is_empty() {
            for (index, &own) in self.hashes.iter().enumerate() {
                if own == hash && self.payloads[index].is(text, bytes) {
                    self.last = index;
                    return Some(index as i32);
                }
            }
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            let index = self.slots[slot] as usize - 1;
            if self.hashes[index] == hash && self.payloads[index].is(text, bytes) {
                self.last = index;
                return Some(index as i32);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    fn insert(&mut self, hash: u32, payload: Payload<'a>) -> i32 {
        let code = self.payloads.len();
        if code == 0 {
            self.payloads.reserve(FEW);
            self.hashes.reserve(FEW);
        }
        self.payloads.push(payload);
        self.hashes.push(hash);
        self.last = code;
        if self.payloads.len() * 2 > self.slots.len() && self.payloads.len() > FEW {
            self.rebuild();
        } else if !self.slots.is_empty() {
            self.occupy(code);
        }
        code as i32
    }

    fn rebuild(&mut self) {
        let size = (self.payloads.len() * 4).next_power_of_two();
        self.slots.clear();
        self.slots.resize(size, 0);
        for code in 0..self.payloads.len() {
            self.occupy(code);
        }
    }

    fn occupy(&mut self, code: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.hashes[code] as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = code as u32 + 1;
    }

    /// Forget the payload that came last. What came before it was never displaced by it, so its slot may be emptied.
    fn forget_newest(&mut self) {
        let Some(hash) = self.hashes.pop() else {
            return;
        };
        self.payloads.pop();
        self.last = 0;
        if !self.slots.is_empty() {
            let newest = self.hashes.len() as u32 + 1;
            let mask = self.slots.len() - 1;
            let mut slot = hash as usize & mask;
            while self.slots[slot] != newest {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = 0;
        }
    }
}

/// One value of an attribute column.
#[derive(Clone, Copy)]
pub struct Cell {
    /// A number's bits, or a payload's code; which of them, `kind` says.
    bits: u64,
    pub row: u32,
    pub kind: u8,
}

impl Cell {
    pub const ABSENT: Cell = Cell { bits: 0, row: 0, kind: kind::ABSENT };

    pub fn number(&self) -> f64 {
        match self.kind {
            kind::BOOL | kind::INT | kind::DOUBLE => f64::from_bits(self.bits),
            _ => f64::NAN,
        }
    }

    pub fn code(&self) -> i32 {
        match self.kind {
            kind::STRING | kind::BYTES | kind::ARRAY | kind::KVLIST => self.bits as i32,
            _ => -1,
        }
    }
}

/// An attribute: cells of the rows that carry it, and of no others, so its memory is bounded by what was sent.
pub struct Column<'a> {
    /// Which of the projection's entries this is.
    pub entry: usize,
    /// In ascending order of rows.
    pub cells: Vec<Cell>,
    pub dictionary: Dictionary<'a>,
    /// The event that wrote the last cell, for attributes of events.
    pub event: usize,
    /// Whether the last cell brought a new payload.
    fresh: bool,
    cap: usize,
}

impl<'a> Column<'a> {
    pub fn new(entry: usize, cap: usize, seed: Seed) -> Self {
        Column { entry, cells: Vec::with_capacity(16), dictionary: Dictionary::new(seed), event: 0, fresh: false, cap }
    }

    /// Whether a row, which is not before the last one, has a cell.
    #[inline(always)]
    pub fn has(&self, row: usize) -> bool {
        self.cells.last().is_some_and(|cell| cell.row == row as u32)
    }

    /// Write the value of a row that is not before the last one; it replaces what the row had, and the result says
    /// whether it did.
    #[inline(always)]
    pub fn put(&mut self, row: usize, value: Value<'a>) -> (Cell, bool) {
        let replaces = self.has(row);
        if replaces {
            self.take_back();
        }
        let known = self.dictionary.payloads.len();
        let cell = self.cell(row, value);
        self.fresh = self.dictionary.payloads.len() > known;
        self.cells.push(cell);
        (cell, replaces)
    }

    /// Write a cell that this column has had before, to a row after the last one.
    #[inline(always)]
    pub fn repeat(&mut self, row: usize, cell: Cell) {
        self.fresh = false;
        self.cells.push(Cell { row: row as u32, ..cell });
    }

    #[inline(always)]
    fn cell(&mut self, row: usize, value: Value<'a>) -> Cell {
        let (kind, bits) = match value {
            Value::Absent => (kind::ABSENT, 0),
            Value::String(text) => (kind::STRING, self.dictionary.text(capped(text, self.cap)) as u64),
            Value::Bool(value) => (kind::BOOL, f64::from(u8::from(value)).to_bits()),
            Value::Int(value) => (kind::INT, (value as f64).to_bits()),
            Value::Double(value) => (kind::DOUBLE, value.to_bits()),
            Value::Raw(kind, payload) => {
                (kind, self.dictionary.raw(if payload.len() > self.cap { &[] } else { payload }) as u64)
            }
        };
        Cell { bits, row: row as u32, kind }
    }

    /// Undo the last cell, so that a value which a later one replaced leaves no trace.
    #[cold]
    fn take_back(&mut self) {
        self.cells.pop();
        if self.fresh {
            self.dictionary.forget_newest();
            self.fresh = false;
        }
    }

    /// Whether any row has a value.
    pub fn occurs(&self) -> bool {
        self.cells.iter().any(|cell| cell.kind != kind::ABSENT)
    }
}

/// The columns of the entries that have occurred.
pub struct Columns<'a> {
    /// Per entry of the projection, and then per key that came in by its beginning: index in `columns` plus 1, or 0.
    slots: Vec<u32>,
    pub columns: Vec<Column<'a>>,
    seed: Seed,
}

impl<'a> Columns<'a> {
    pub fn new(entries: usize, seed: Seed) -> Self {
        Columns { slots: vec![0; entries], columns: Vec::with_capacity(entries.min(16)), seed }
    }

    /// Return the column of an entry; a new one is empty.
    pub fn of(&mut self, entry: usize, cap: usize) -> &mut Column<'a> {
        let index = self.index(entry, cap);
        &mut self.columns[index]
    }

    /// Return where the column of an entry is in `columns`.
    pub fn index(&mut self, entry: usize, cap: usize) -> usize {
        if entry >= self.slots.len() {
            self.slots.resize(entry + 1, 0);
        }
        if self.slots[entry] == 0 {
            self.columns.push(Column::new(entry, cap, self.seed));
            self.slots[entry] = self.columns.len() as u32;
        }
        self.slots[entry] as usize - 1
    }
}
