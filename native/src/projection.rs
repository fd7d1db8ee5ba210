//! What to extract, and finding the target of an attribute key fast.

use crate::hash::Seed;
use crate::prefixed::Prefixes;

/// Stands for "no entry".
pub const NONE: u32 = u32::MAX;

/// What rules read of one event name.
pub struct EventName {
    pub name: Vec<u8>,
    /// Index among the wanted event times.
    pub time: Option<usize>,
    /// (key, entry) of the wanted attributes.
    pub attributes: Vec<(Vec<u8>, usize)>,
}

/// `tocsin.model.columns.Projection`, compiled. Entries are the attributes, then the attributes of events.
pub struct Projection {
    keys: Vec<Vec<u8>>,
    pub caps: Vec<usize>,
    slots: Vec<u32>,
    longest: usize,
    pub indexed: Vec<(Vec<u8>, Vec<u8>)>,
    pub events: Vec<EventName>,
    pub event_times: usize,
    pub log_events: Vec<Vec<u8>>,
    pub prefixes: Prefixes,
    /// The cap of attributes that come in by their beginning.
    pub prefixed_cap: usize,
    pub most_rows: usize,
    pub most_cells: usize,
    pub seed: Seed,
}

/// The parts of a projection as Python hands them over.
pub struct Parts {
    pub attributes: Vec<(String, usize)>,
    pub indexed: Vec<(String, String)>,
    pub event_times: Vec<String>,
    pub event_attributes: Vec<(String, String)>,
    pub event_cap: usize,
    pub log_events: Vec<String>,
    pub prefixes: Vec<String>,
    pub barred: Vec<String>,
    pub most_prefixed: usize,
    pub most_rows: usize,
    pub most_cells: usize,
}

impl Projection {
    pub fn new(parts: Parts) -> Self {
        let seed = Seed::random();
        let mut caps: Vec<usize> = parts.attributes.iter().map(|(_, cap)| *cap).collect();
        let keys: Vec<Vec<u8>> = parts.attributes.into_iter().map(|(key, _)| key.into_bytes()).collect();
        let mut events: Vec<EventName> = Vec::new();
        for (index, name) in parts.event_times.iter().enumerate() {
            event_of(&mut events, name).time = Some(index);
        }
        for (name, key) in &parts.event_attributes {
            event_of(&mut events, name).attributes.push((key.as_bytes().to_vec(), caps.len()));
            caps.push(parts.event_cap);
        }
        let of_events = parts.event_attributes.iter().map(|(name, key)| format!("{name}/{key}"));
        let prefixes = Prefixes::new(parts.prefixes, parts.barred, parts.most_prefixed, of_events);
        let mut slots = vec![0; (keys.len() * 4).next_power_of_two().max(4)];
        for (index, key) in keys.iter().enumerate() {
            let mask = slots.len() - 1;
            let mut slot = seed.hash(key) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = index as u32 + 1;
        }
        Projection {
            longest: keys.iter().map(Vec::len).max().unwrap_or(0),
            keys,
            caps,
            slots,
            indexed: pairs(parts.indexed),
            events,
            event_times: parts.event_times.len(),
            log_events: parts.log_events.into_iter().map(String::into_bytes).collect(),
            prefixes,
            prefixed_cap: parts.event_cap,
            most_rows: parts.most_rows,
            most_cells: parts.most_cells,
            seed,
        }
    }

    /// Return the entry of an attribute key, or NONE.
    #[inline]
    pub fn entry(&self, key: &[u8]) -> u32 {
        if key.len() > self.longest {
            return NONE;
        }
        let mask = self.slots.len() - 1;
        let mut slot = self.seed.hash(key) as usize & mask;
        while self.slots[slot] != 0 {
            let index = self.slots[slot] - 1;
            if self.keys[index as usize] == key {
                return index;
            }
            slot = (slot + 1) & mask;
        }
        NONE
    }

    /// Return the cap of an entry; those after the last are attributes that came in by their beginning.
    #[inline]
    pub fn cap(&self, entry: usize) -> usize {
        self.caps.get(entry).copied().unwrap_or(self.prefixed_cap)
    }

    /// Return which flattened lists a key is an element of.
    pub fn lists(&self, key: &[u8]) -> Vec<usize> {
        let holds = |(prefix, suffix): &(Vec<u8>, Vec<u8>)| {
            let digits = key.strip_prefix(&prefix[..]).and_then(|rest| rest.strip_suffix(&suffix[..]));
            digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        };
        let found = self.indexed.iter().enumerate().filter(|(_, pattern)| holds(pattern));
        found.map(|(index, _)| index).collect()
    }
}

fn event_of<'e>(events: &'e mut Vec<EventName>, name: &str) -> &'e mut EventName {
    let known = events.iter().position(|event| event.name == name.as_bytes());
    let index = known.unwrap_or_else(|| {
        events.push(EventName { name: name.as_bytes().to_vec(), time: None, attributes: Vec::new() });
        events.len() - 1
    });
    &mut events[index]
}

fn pairs(pairs: Vec<(String, String)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.into_iter().map(|(left, right)| (left.into_bytes(), right.into_bytes())).collect()
}
