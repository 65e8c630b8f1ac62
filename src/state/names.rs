//! Interned strings: every name, commit, message and label set is stored once and known by a `u32`.
//!
//! Invariant: ids are dense, never reused and never change; id 0 is the empty string and stands for "absent".

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::blocks::Blocks;

/// The id of an interned string.
pub type NameId = u32;

/// The absent name.
pub const NONE: NameId = 0;

/// Finds ids by text; rebuilt from the table of names at start.
#[derive(Clone, Debug, Default)]
pub struct NameIndex {
    ids: HashTable<NameId>,
    hasher: DefaultHashBuilder,
}

/// The text of an interned string.
pub fn text(names: &Blocks<Box<str>>, id: NameId) -> &str {
    names.get(id).map_or("", |t| t)
}

impl NameIndex {
    /// Indexes a restored table.
    pub fn rebuild(names: &Blocks<Box<str>>) -> NameIndex {
        let hasher = DefaultHashBuilder::default();
        let mut ids = HashTable::with_capacity(names.len());
        for (id, name) in names.iter() {
            ids.insert_unique(hasher.hash_one(&**name), id, |&id| hasher.hash_one(text(names, id)));
        }
        NameIndex { ids, hasher }
    }

    /// The id of a text that was interned before.
    pub fn find(&self, names: &Blocks<Box<str>>, name: &str) -> Option<NameId> {
        if name.is_empty() {
            return Some(NONE);
        }
        self.ids.find(self.hasher.hash_one(name), |&id| text(names, id) == name).copied()
    }

    /// The id of a text, interning it when it is new.
    pub fn intern(&mut self, names: &mut Blocks<Box<str>>, name: &str, seq: u64) -> NameId {
        if names.is_empty() {
            names.push("".into(), seq);
        }
        if let Some(id) = self.find(names, name) {
            return id;
        }
        let id = names.push(name.into(), seq);
        let NameIndex { ids, hasher } = self;
        ids.insert_unique(hasher.hash_one(name), id, |&id| hasher.hash_one(text(names, id)));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_id_over_a_rebuild() {
        let mut names = Blocks::default();
        let mut index = NameIndex::default();
        let ids: Vec<_> = ["b", "a", "", "b", "ü"].iter().map(|n| index.intern(&mut names, n, 1)).collect();
        assert_eq!(ids, [1, 2, NONE, 1, 3]);
        let rebuilt = NameIndex::rebuild(&names);
        assert_eq!(rebuilt.find(&names, "ü"), Some(3));
        assert_eq!(rebuilt.find(&names, "c"), None);
        assert_eq!(text(&names, 2), "a");
    }
}
