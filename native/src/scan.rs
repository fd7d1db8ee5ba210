//! What a scan has found so far, and the parts that traces and logs share.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::column::{Cell, Columns, Dictionary};
use crate::footprint::{Footprint, Occupied};
use crate::prefixed::{Admission, Owner, Prefixed};
use crate::projection::{Projection, NONE};
use crate::value::{capped, same, value_after, KeyValue, Value};
use crate::wire::{tag, Malformed, Reader, Result, BYTES};

/// Bits of `tocsin.model.columns.Flaw`.
pub mod flaw {
    pub const TRACE_ID: u8 = 1;
    pub const SPAN_ID: u8 = 2;
    pub const PARENT_ID: u8 = 4;
}

/// Bytes that are kept of a span's name, a scope's name and a scope's version.
const NAME_CAP: usize = 256;
/// Bytes that are kept of a span's trace state; W3C's own limit.
const TRACE_STATE_CAP: usize = 512;
/// Rows that columns have room for from the beginning.
const FEW_ROWS: usize = 32;
/// How many attribute positions are guessed; spans with more look the rest up.
const GUESSED: usize = 256;

/// The fields of a span or log record, as on the wire.
#[derive(Default)]
pub struct Row<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
    pub start: u64,
    pub end: u64,
    pub kind: u64,
    pub status: u64,
    pub name: &'a [u8],
    pub trace_state: &'a [u8],
}

/// The columns that every row has.
pub struct Fixed {
    pub trace_id: Vec<u8>,
    pub span_id: Vec<u8>,
    pub parent_id: Vec<u8>,
    pub start: Vec<u64>,
    pub end: Vec<u64>,
    pub kind: Vec<u8>,
    pub status: Vec<u8>,
    pub flaw: Vec<u8>,
    pub resource: Vec<i32>,
    pub scope: Vec<i32>,
    pub name: Vec<i32>,
    pub trace_state: Vec<i32>,
}

impl Fixed {
    /// Return columns with room for some rows: a few requests need no more, and growing them costs as much as a row.
    fn with_room(rows: usize) -> Self {
        Fixed {
            trace_id: Vec::with_capacity(rows * 16),
            span_id: Vec::with_capacity(rows * 8),
            parent_id: Vec::with_capacity(rows * 8),
            start: Vec::with_capacity(rows),
            end: Vec::with_capacity(rows),
            kind: Vec::with_capacity(rows),
            status: Vec::with_capacity(rows),
            flaw: Vec::with_capacity(rows),
            resource: Vec::with_capacity(rows),
            scope: Vec::with_capacity(rows),
            name: Vec::with_capacity(rows),
            trace_state: Vec::with_capacity(rows),
        }
    }
}

/// How much more one request may bring.
pub struct Allowance {
    pub resources: usize,
    pub scopes: usize,
    pub rows: usize,
}

impl Allowance {
    pub fn of(projection: &Projection) -> Self {
        let most = projection.most_rows;
        Allowance { resources: most, scopes: most, rows: most }
    }
}

/// Return the next entry of a message, one of those that are `left`.
#[inline]
pub fn next_entry<'a>(left: &mut usize, reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let data = reader.bytes()?;
    take(left, data)?;
    Ok(data)
}

/// Count an entry; refuse the request where none is left.
#[inline]
pub fn take(left: &mut usize, data: &[u8]) -> Result<()> {
    match left.checked_sub(1) {
        Some(less) => {
            *left = less;
            Ok(())
        }
        None => Err(Malformed {
            what: "too many resources, scopes or rows in one request: send smaller batches",
            address: data.as_ptr() as usize,
        }),
    }
}

/// Name and version of an instrumentation scope.
type Scope<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A flattened list over the rows that were written so far.
#[derive(Default)]
pub struct List {
    pub count: Vec<i32>,
    pub maximum: Vec<f64>,
}

/// The last attribute at one position of a row, from which the next row's is guessed.
struct Guess<'a> {
    /// The bytes of the KeyValue before the length of its value: the key. Empty where it was written in another order.
    head: &'a [u8],
    /// Where the key's values go: index in `Scan::attributes`, or NONE.
    column: u32,
    /// Index in `Scan::list_sets`; 0 is the empty set.
    lists: u32,
    /// The bytes of the value, and what they became in the column.
    value: &'a [u8],
    cell: Cell,
}

/// Everything that the requests of one call have brought.
pub struct Scan<'p, 'a> {
    pub projection: &'p Projection,
    pub fixed: Fixed,
    pub names: Dictionary<'a>,
    pub trace_states: Dictionary<'a>,
    pub attributes: Columns<'a>,
    pub lists: Vec<List>,
    /// Per wanted event time; rows after the last have none.
    pub event_times: Vec<Vec<u64>>,
    pub resource_attributes: Columns<'a>,
    pub resources: usize,
    /// Entries that were read, whether or not they were like others.
    resource_entries: usize,
    scope_entries: usize,
    known_resources: HashMap<&'a [u8], usize>,
    /// Per resource whether keys of it were left out.
    crowded_resources: Vec<bool>,
    pub prefixed: Prefixed<'a>,
    /// Of the rows of the request that is read.
    admission: Admission,
    /// Requests in which keys were left out.
    pub crowded: u64,
    pub scopes: Vec<Scope<'a>>,
    known_scopes: HashMap<Scope<'a>, usize>,
    pub skipped: u64,
    guesses: Vec<Guess<'a>>,
    list_sets: Vec<Vec<usize>>,
}

impl<'p, 'a> Scan<'p, 'a> {
    pub fn new(projection: &'p Projection) -> Self {
        let seed = projection.seed;
        let mut prefixed = Prefixed::default();
        let admission = prefixed.admission();
        Scan {
            projection,
            fixed: Fixed::with_room(FEW_ROWS),
            names: Dictionary::new(seed),
            trace_states: Dictionary::new(seed),
            attributes: Columns::new(projection.caps.len(), seed),
            lists: projection.indexed.iter().map(|_| List::default()).collect(),
            event_times: vec![Vec::new(); projection.event_times],
            resource_attributes: Columns::new(projection.caps.len(), seed),
            resources: 0,
            resource_entries: 0,
            scope_entries: 0,
            known_resources: HashMap::new(),
            crowded_resources: Vec::new(),
            prefixed,
            admission,
            crowded: 0,
            scopes: Vec::new(),
            known_scopes: HashMap::new(),
            skipped: 0,
            guesses: Vec::with_capacity(32),
            list_sets: vec![Vec::new()],
        }
    }

    pub fn rows(&self) -> usize {
        self.fixed.end.len()
    }

    /// Return what the columns will take; cheap.
    pub fn footprint(&self) -> Footprint {
        let lists = self.lists.iter().filter(|list| !list.count.is_empty()).count();
        let times = self.event_times.iter().filter(|times| !times.is_empty()).count();
        Footprint {
            rows: self.rows(),
            columns: self.attributes.columns.len() + lists + times,
            resources: self.resource_entries,
            resource_columns: self.resource_attributes.columns.len(),
            scopes: self.scope_entries,
        }
    }

    /// Return which columns of rows and of resources there are, by what means the same in every scan.
    pub fn occupied(&self) -> (Occupied, Occupied) {
        let (entries, lists) = (self.projection.caps.len(), self.lists.len());
        let mut rows = self.occupied_by(&self.attributes);
        rows.numbers.extend((0..lists).filter(|&list| !self.lists[list].count.is_empty()).map(|list| entries + list));
        let times = (0..self.event_times.len()).filter(|&event| !self.event_times[event].is_empty());
        rows.numbers.extend(times.map(|event| entries + lists + event));
        (rows, self.occupied_by(&self.resource_attributes))
    }

    fn occupied_by(&self, columns: &Columns<'a>) -> Occupied {
        let mut occupied = Occupied::default();
        for column in &columns.columns {
            match self.key_of(column.entry) {
                None => occupied.numbers.push(column.entry),
                Some(key) => occupied.keys.push(key.to_vec()),
            }
        }
        occupied
    }

    /// Return the key of an entry that came in by its beginning; None for those of the projection.
    pub fn key_of(&self, entry: usize) -> Option<&'a [u8]> {
        entry.checked_sub(self.projection.caps.len()).map(|place| self.prefixed.key(place))
    }

    /// Say that the rows of another request begin.
    pub fn begin_request(&mut self) {
        if self.projection.prefixes.any() {
            self.admission = self.prefixed.admission();
            // What there was room for in the last request there may be none for in this one.
            self.guesses.clear();
        }
    }

    /// Say that a request was read to its end.
    pub fn end_request(&mut self) {
        self.crowded += u64::from(self.admission.crowded);
    }

    /// Read an attribute of the row that will be pushed next; `position` counts the row's attributes.
    ///
    /// Spans of one library have the same keys in the same order, and often the same values, so the last row's
    /// attribute at this position is most likely this one's.
    #[inline]
    pub fn attribute(&mut self, data: &'a [u8], level: usize, position: usize) -> Result<()> {
        let Some(guess) = self.guesses.get_mut(position) else {
            return self.unguessed(data, level, position);
        };
        let Some(value) = value_after(guess.head, data) else {
            return self.unguessed(data, level, position);
        };
        if guess.lists == 0 {
            if guess.column == NONE {
                return Ok(());
            }
            let row = self.fixed.end.len();
            let column = &mut self.attributes.columns[guess.column as usize];
            if same(guess.value, value) && !column.has(row) {
                column.repeat(row, guess.cell);
                return Ok(());
            }
            let (cell, replaces) = column.put(row, Value::read(value)?);
            (guess.value, guess.cell) = (value, cell);
            if replaces {
                // A code may have been taken back: no guess may bring it again.
                self.guesses.clear();
            }
            return Ok(());
        }
        let (column, lists) = (guess.column, guess.lists);
        self.keep(column, lists, Value::read(value)?);
        Ok(())
    }

    /// Read an attribute whose key is not the guessed one.
    #[inline(never)]
    fn unguessed(&mut self, data: &'a [u8], level: usize, position: usize) -> Result<()> {
        let pair = KeyValue::read(data, level)?;
        let (column, lists) = self.find(pair.key);
        // An empty value is absent, so this guess is right from the beginning.
        let guess = Guess { head: pair.head(data), column, lists, value: &[], cell: Cell::ABSENT };
        if let Some(slot) = self.guesses.get_mut(position) {
            *slot = guess;
        } else if position == self.guesses.len() && position < GUESSED {
            self.guesses.push(guess);
        }
        if column != NONE || lists != 0 {
            self.keep(column, lists, pair.value()?);
        }
        Ok(())
    }

    /// Return the column of a key, or NONE, and the set of flattened lists that it is an element of.
    fn find(&mut self, key: &'a [u8]) -> (u32, u32) {
        let mut column = NONE;
        let projection = self.projection;
        let entry = match projection.entry(key) {
            NONE if projection.prefixes.any() => self
                .prefixed
                .place(&projection.prefixes, &mut self.admission, Owner::Row, key)
                .map(|place| projection.caps.len() + place),
            NONE => None,
            entry => Some(entry as usize),
        };
        if let Some(entry) = entry {
            column = self.attributes.index(entry, projection.cap(entry)) as u32;
        }
        if self.projection.indexed.is_empty() {
            return (column, 0);
        }
        let lists = self.projection.lists(key);
        let known = self.list_sets.iter().position(|set| *set == lists);
        if known.is_none() {
            self.list_sets.push(lists);
        }
        (column, known.unwrap_or(self.list_sets.len() - 1) as u32)
    }

    fn keep(&mut self, column: u32, lists: u32, value: Value<'a>) {
        let row = self.fixed.end.len();
        if column != NONE {
            let (_, replaces) = self.attributes.columns[column as usize].put(row, value);
            if replaces {
                self.guesses.clear();
            }
        }
        for &list in &self.list_sets[lists as usize] {
            self.lists[list].put(row, value);
        }
    }

    /// Push a row; its attributes were read before.
    pub fn push(&mut self, row: &Row<'a>) {
        let fixed = &mut self.fixed;
        let mut flaws = 0;
        flaws |= push_id::<16>(&mut fixed.trace_id, row.trace_id, flaw::TRACE_ID);
        flaws |= push_id::<8>(&mut fixed.span_id, row.span_id, flaw::SPAN_ID);
        match <[u8; 8]>::try_from(row.parent_id) {
            Ok(id) => fixed.parent_id.extend_from_slice(&id),
            Err(_) => {
                fixed.parent_id.extend_from_slice(&[0; 8]);
                flaws |= if row.parent_id.is_empty() { 0 } else { flaw::PARENT_ID };
            }
        }
        fixed.flaw.push(flaws);
        fixed.start.push(row.start);
        fixed.end.push(row.end);
        fixed.kind.push(enumerator(row.kind, 5));
        fixed.status.push(enumerator(row.status, 2));
        fixed.name.push(text_code(&mut self.names, row.name, NAME_CAP));
        fixed.trace_state.push(text_code(&mut self.trace_states, row.trace_state, TRACE_STATE_CAP));
    }

    /// Say that all rows without a scope yet have this one.
    pub fn end_scope(&mut self, name: &'a [u8], version: &'a [u8]) {
        self.scope_entries += 1;
        // As text, for what is not UTF-8 may become equal when it is replaced.
        let scope =
            (String::from_utf8_lossy(capped(name, NAME_CAP)), String::from_utf8_lossy(capped(version, NAME_CAP)));
        let index = match self.known_scopes.get(&scope) {
            Some(&known) => known,
            None => {
                self.scopes.push(scope.clone());
                self.known_scopes.insert(scope, self.scopes.len() - 1);
                self.scopes.len() - 1
            }
        };
        let rows = self.rows();
        self.fixed.scope.resize(rows, index as i32);
    }

    /// Read a resource, and say that all rows without one yet have it.
    ///
    /// A resource whose bytes were seen before is the same; one in several parts (which are merged) is always new.
    pub fn end_resource(&mut self, parts: &[&'a [u8]]) -> Result<()> {
        self.resource_entries += 1;
        let index = match parts {
            [] => self.resource(&[], &[])?,
            [part] => self.resource(part, parts)?,
            _ => self.new_resource(parts)?,
        };
        self.admission.crowded |= self.crowded_resources[index];
        let rows = self.rows();
        self.fixed.resource.resize(rows, index as i32);
        Ok(())
    }

    fn resource(&mut self, key: &'a [u8], parts: &[&'a [u8]]) -> Result<usize> {
        if let Some(&known) = self.known_resources.get(key) {
            return Ok(known);
        }
        let index = self.new_resource(parts)?;
        self.known_resources.insert(key, index);
        Ok(index)
    }

    fn new_resource(&mut self, parts: &[&'a [u8]]) -> Result<usize> {
        let row = self.resources;
        let projection = self.projection;
        let mut admission = self.prefixed.admission();
        for part in parts {
            let mut reader = Reader::new(part, 0);
            while let Some(found) = reader.next_tag()? {
                const ATTRIBUTES: u32 = tag(1, BYTES);
                if found != ATTRIBUTES {
                    reader.skip(found)?;
                    continue;
                }
                let pair = KeyValue::read(reader.bytes()?, 1)?;
                let entry = match projection.entry(pair.key) {
                    NONE if projection.prefixes.any() => self
                        .prefixed
                        .place(&projection.prefixes, &mut admission, Owner::Resource, pair.key)
                        .map(|place| projection.caps.len() + place),
                    NONE => None,
                    entry => Some(entry as usize),
                };
                if let Some(entry) = entry {
                    self.resource_attributes.of(entry, projection.cap(entry)).put(row, pair.value()?);
                }
            }
        }
        self.crowded_resources.push(admission.crowded);
        self.resources += 1;
        Ok(row)
    }
}

impl List {
    /// Count an element of `row`, and keep the largest number.
    fn put(&mut self, row: usize, value: Value) {
        if self.count.len() <= row {
            self.count.resize(row + 1, 0);
            self.maximum.resize(row + 1, f64::NAN);
        }
        self.count[row] = self.count[row].saturating_add(1);
        let number = match value {
            Value::Int(number) => number as f64,
            Value::Double(number) => number,
            _ => return,
        };
        let maximum = &mut self.maximum[row];
        if maximum.is_nan() || number > *maximum {
            *maximum = number;
        }
    }
}

#[inline]
fn push_id<const N: usize>(ids: &mut Vec<u8>, id: &[u8], flaw: u8) -> u8 {
    match <[u8; N]>::try_from(id) {
        Ok(id) if id != [0; N] => {
            ids.extend_from_slice(&id);
            0
        }
        _ => {
            ids.extend_from_slice(&[0; N]);
            flaw
        }
    }
}

/// Return an enum's number, 0 where it is over `greatest`. Enums are the low 32 bits of their varint.
fn enumerator(value: u64, greatest: u32) -> u8 {
    let value = value as u32;
    if value <= greatest {
        value as u8
    } else {
        0
    }
}

#[inline]
fn text_code<'a>(dictionary: &mut Dictionary<'a>, text: &'a [u8], cap: usize) -> i32 {
    if text.is_empty() {
        -1
    } else {
        dictionary.text(capped(text, cap))
    }
}
