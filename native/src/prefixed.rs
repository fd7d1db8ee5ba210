//! Attributes that are wanted by the beginning of their keys; `tocsin.decode.prefixed` decides the same.

use std::collections::{HashMap, HashSet};

/// Bytes of a key that comes in by its beginning.
const MOST_KEY_BYTES: usize = 256;

/// Which keys a projection wants by their beginning.
pub struct Prefixes {
    prefixes: Vec<Vec<u8>>,
    names: HashSet<Vec<u8>>,
    beginnings: Vec<Vec<u8>>,
    ends: Vec<Vec<u8>>,
    most: usize,
}

impl Prefixes {
    /// `events` are the names of the columns of events: they have to stay theirs.
    pub fn new(prefixes: Vec<String>, barred: Vec<String>, most: usize, events: impl Iterator<Item = String>) -> Self {
        let mut names: HashSet<Vec<u8>> = events.map(String::into_bytes).collect();
        let (mut beginnings, mut ends) = (Vec::new(), Vec::new());
        for pattern in barred {
            if let Some(beginning) = pattern.strip_suffix('*') {
                beginnings.push(beginning.as_bytes().to_vec());
            }
            if let Some(end) = pattern.strip_prefix('*') {
                ends.push(end.as_bytes().to_vec());
            }
            if !pattern.contains('*') {
                names.insert(pattern.into_bytes());
            }
        }
        let prefixes = prefixes.into_iter().map(String::into_bytes).collect();
        Prefixes { prefixes, names, beginnings, ends, most }
    }

    #[inline]
    pub fn any(&self) -> bool {
        !self.prefixes.is_empty()
    }

    fn want(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
            && key.len() <= MOST_KEY_BYTES
            && !self.names.contains(key)
            && !self.beginnings.iter().any(|beginning| key.starts_with(beginning))
            && !self.ends.iter().any(|end| key.ends_with(end))
            && std::str::from_utf8(key).is_ok()
    }
}

/// The keys of one request's rows, or of one resource.
#[derive(Clone, Copy)]
pub struct Admission {
    /// Stands in `Known::seen` of the keys that were admitted.
    number: u32,
    keys: usize,
    /// Whether a key was left out for want of room.
    pub crowded: bool,
}

/// A key that came in.
struct Known<'a> {
    key: &'a [u8],
    /// The last admission to rows, and to a resource.
    seen: [u32; 2],
}

/// Whose attribute it is.
#[derive(Clone, Copy)]
pub enum Owner {
    Row = 0,
    Resource = 1,
}

/// All keys that came in by their beginning, in order.
#[derive(Default)]
pub struct Prefixed<'a> {
    known: Vec<Known<'a>>,
    places: HashMap<&'a [u8], usize>,
    admissions: u32,
}

impl<'a> Prefixed<'a> {
    pub fn admission(&mut self) -> Admission {
        self.admissions += 1;
        Admission { number: self.admissions, keys: 0, crowded: false }
    }

    pub fn key(&self, place: usize) -> &'a [u8] {
        self.known[place].key
    }

    /// Return which of the keys this is, where it is wanted and there is room for it.
    pub fn place(
        &mut self,
        wanted: &Prefixes,
        admission: &mut Admission,
        owner: Owner,
        key: &'a [u8],
    ) -> Option<usize> {
        let known = self.places.get(key).copied();
        if known.is_some_and(|place| self.known[place].seen[owner as usize] == admission.number) {
            return known;
        }
        if known.is_none() && !wanted.want(key) {
            return None;
        }
        if admission.keys >= wanted.most {
            admission.crowded = true;
            return None;
        }
        admission.keys += 1;
        let place = known.unwrap_or_else(|| {
            self.known.push(Known { key, seen: [0; 2] });
            self.places.insert(key, self.known.len() - 1);
            self.known.len() - 1
        });
        self.known[place].seen[owner as usize] = admission.number;
        Some(place)
    }
}
