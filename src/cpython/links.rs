//! The readers that prove what they found: an item of a container, an attribute, a text, each with the words by which a
//! later read can tell in one go that it is still so. Knows nothing of paths and of what is looked for.
//!
//! A link is a place and the bytes that stood there. The first object is kept alive by the worker; as long as the word
//! in it that points to the next is the same, the next lives too, and so on to the end: so no freed and reused object is
//! believed, whatever it looks like. What is *not* there leaves links too: the words that would change if it came.

use super::heap::Heap;
use super::objects::{decode, word_at};
use crate::memory::Fault;
use crate::model::Addr;

/// Where words stand, and their bytes.
pub type Links = Vec<(Addr, Vec<u8>)>;

/// Dictionaries and lists with more items than this are not searched: that is on the way of a sample.
pub const MOST_SEARCHED: u64 = 4096;
/// A dictionary has more of them.
pub const LARGER_DICT: Fault = Fault::Implausible("dict (too large to be searched)");

/// A key of a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'k> {
    Text(&'k str),
    /// An attribute's name, which is a str and no subclass of it.
    Name(&'k str),
    /// The first, in order of insertion, that begins so.
    Prefix(&'k str),
    Int(i64),
}

/// Kinds of objects that are told by a bit of `tp_flags` (Include/object.h), subclasses included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    Int,
    List,
    Tuple,
    Str,
    Dict,
}

impl Heap {
    /// Which of the built-in kinds the object is of.
    pub fn builtin(&self, object: Addr) -> Result<Option<Builtin>, Fault> {
        let flags = self.word(self.type_of(object)?, self.offsets.type_flags)?;
        let kinds = [
            (1 << 24, Builtin::Int),
            (1 << 25, Builtin::List),
            (1 << 26, Builtin::Tuple),
            (1 << 28, Builtin::Str),
            (1 << 29, Builtin::Dict),
        ];
        Ok(kinds
            .into_iter()
            .find(|(bit, _)| flags & bit != 0)
            .map(|(_, kind)| kind))
    }

    /// The pointer at `offset` of the object, which may be NULL.
    pub fn pointer_by(&self, object: Addr, offset: u64, links: &mut Links) -> Result<Addr, Fault> {
        let pointer = self.pointer(object, offset)?;
        link(links, object.offset(offset), pointer.0);
        Ok(pointer)
    }

    /// The item of a tuple or a list (or a subclass); below 0 it counts from the end.
    pub fn item_by(&self, sequence: Addr, index: i64, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        let (size_at, is_list) = match self.builtin(sequence)? {
            Some(Builtin::Tuple) => (o.tuple_size, false),
            Some(Builtin::List) => (o.list_size, true),
            _ => return Err(Fault::Implausible("sequence")),
        };
        let size = self.word(sequence, size_at)?;
        if is_list {
            link(links, sequence.offset(size_at), size);
        }
        let from_end = i64::try_from(size).ok().and_then(|size| size.checked_add(index));
        let place = match index {
            0.. => Some(index as u64),
            _ => from_end.and_then(|place| u64::try_from(place).ok()),
        };
        let Some(place) = place.filter(|&place| place < size) else {
            return Ok(None);
        };
        let first = match is_list {
            true => self.pointer_by(sequence, o.list_items, links)?,
            false => sequence.offset(o.tuple_items),
        };
        let item = self.pointer_by(first, place.wrapping_mul(8), links)?;
        Ok((!item.is_null()).then_some(item))
    }

    /// The value for a key of a dict (or a subclass).
    pub fn dict_item_by(&self, dict: Addr, key: Key<'_>, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        if self.builtin(dict)? != Some(Builtin::Dict) {
            return Err(Fault::Implausible("dict"));
        }
        if self.word(dict, o.dict_used)? > MOST_SEARCHED {
            return Err(LARGER_DICT);
        }
        let keys = self.pointer_by(dict, o.dict_keys, links)?;
        let values = self.pointer_by(dict, o.dict_values, links)?;
        match values {
            Addr::NULL => {
                let entries = self.entries(keys)?;
                let table = self.dict_table(keys)?;
                match self.position(&table.keys(), key)? {
                    Some(place) => {
                        let (at, entry) = table.entry(place).ok_or(Fault::Implausible("dict"))?;
                        links.push((at, entry.to_vec()));
                        let value = Addr(word_at(entry, 8));
                        Ok((!value.is_null()).then_some(value))
                    }
                    None => {
                        links.push(entries);
                        Ok(None)
                    }
                }
            }
            values => self.split_item_by(keys, values, key, links),
        }
    }

    /// The value that an instance keeps beside the keys that its type keeps for all instances; also that of a dict
    /// which is split in that way.
    pub(super) fn split_item_by(
        &self,
        keys: Addr,
        values: Addr,
        key: Key<'_>,
        links: &mut Links,
    ) -> Result<Option<Addr>, Fault> {
        let entries = self.entries(keys)?;
        match self.position(&self.dict_table(keys)?.keys(), key)? {
            Some(place) => {
                let offset = self.offsets.dictvalues_values.wrapping_add(place as u64 * 8);
                let value = self.pointer_by(values, offset, links)?;
                Ok((!value.is_null()).then_some(value))
            }
            None => {
                links.push(entries);
                Ok(None)
            }
        }
    }

    /// How many entries there are: a key that comes makes a new one. To be read before they are searched, or a key that
    /// comes meanwhile is counted and not found.
    fn entries(&self, keys: Addr) -> Result<(Addr, Vec<u8>), Fault> {
        let at = keys.offset(self.offsets.dictkeys_nentries);
        Ok((at, self.bytes(at, 8)?))
    }

    /// Which of `keys` it is. NULL stands for an entry that is not used.
    fn position(&self, keys: &[Addr], wanted: Key<'_>) -> Result<Option<usize>, Fault> {
        let passable = |fault| matches!(fault, Fault::Implausible(_) | Fault::Unmapped);
        let used = || keys.iter().copied().enumerate().filter(|(_, key)| !key.is_null());
        // A subclass, as members of a `StrEnum` are, keeps its characters elsewhere: those are left to look at then.
        let mut only_subclasses = false;
        if let Key::Text(name) | Key::Name(name) = wanted
            && name.is_ascii()
        {
            let (places, keys): (Vec<usize>, Vec<Addr>) = used().unzip();
            if let Some(found) = self.find_key(&keys, name)?
                && let Some(&key) = keys.get(found)
                // The bytes fit; an int's might.
                && self.builtin(key)? == Some(Builtin::Str)
            {
                return Ok(places.get(found).copied());
            }
            if matches!(wanted, Key::Name(_)) {
                return Ok(None);
            }
            only_subclasses = true;
        }
        for (place, key) in used() {
            if only_subclasses && self.type_name(key).is_ok_and(|class| &*class == "str") {
                continue;
            }
            let fits = match wanted {
                Key::Text(name) | Key::Name(name) => self.str(key).map(|key| key == name),
                Key::Prefix(prefix) => self.str(key).map(|key| key.starts_with(prefix)),
                Key::Int(number) => match self.is_a(key, "int") {
                    Ok(true) => self.int(key).map(|key| key == i128::from(number)),
                    other => other,
                },
            };
            match fits {
                Ok(true) => return Ok(Some(place)),
                Ok(false) => {}
                Err(fault) if passable(fault) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(None)
    }

    /// The text of a str (or a subclass), and the bytes that make it. What CPython itself changes in one that is in use
    /// (reference count, hash, whether it is interned) is left out.
    pub fn str_by(&self, object: Addr, links: &mut Links) -> Result<String, Fault> {
        if self.builtin(object)? != Some(Builtin::Str) {
            return Err(Fault::Implausible("str"));
        }
        let (layout, data) = self.str_layout(object)?;
        link(links, object.offset(self.offsets.str_length), layout.length as u64);
        if !layout.compact {
            link(links, object.offset(layout.data), data.0);
        }
        let bytes = self.bytes(data, layout.shown() * layout.width)?;
        let mut text = decode(&bytes, layout.width);
        if layout.shown() < layout.length {
            text.push('…');
        }
        if !bytes.is_empty() {
            links.push((data, bytes));
        }
        Ok(text)
    }

    /// The bytes that say how large an int is.
    pub fn int_size_by(&self, object: Addr, links: &mut Links) -> Result<(), Fault> {
        let at = object.offset(self.offsets.int_tag);
        links.push((at, self.bytes(at, 8)?));
        Ok(())
    }

    /// As `wide_int`, and the bytes that make the value.
    pub fn int_by(&self, object: Addr, links: &mut Links) -> Result<(bool, u128), Fault> {
        let value = self.wide_int(object)?;
        let places = self.int_places(object)?;
        for (at, length) in places {
            links.push((at, self.bytes(at, length)?));
        }
        // Read again, so that the value is of the bytes that were kept, or they do not fit what stands there.
        match self.wide_int(object)? == value {
            true => Ok(value),
            false => Err(Fault::Implausible("int")),
        }
    }
}

pub(super) fn link(links: &mut Links, at: Addr, word: u64) {
    links.push((at, word.to_le_bytes().to_vec()));
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
