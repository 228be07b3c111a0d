//! Attributes of instances, by name: instance dictionary, inline values, slots. Runs no descriptor and no
//! `__getattr__`: only what is stored is found. Knows nothing of what the attributes mean.

use super::heap::Heap;
use super::links::{Key, Links, link};
use crate::memory::Fault;
use crate::model::Addr;

const INLINE_VALUES: u64 = 1 << 2;
const MANAGED_DICT: u64 = 1 << 4;
/// How deep a chain of base classes may be.
const MOST_BASES: usize = 64;

impl Heap {
    /// The value stored for `name` in the instance; None where there is none.
    pub fn attribute(&self, object: Addr, name: &str) -> Result<Option<Addr>, Fault> {
        let ty = self.type_of(object)?;
        if let Some(value) = self.in_instance_dict(object, ty, name)? {
            return Ok(Some(value));
        }
        self.in_slots(object, ty, name)
    }

    /// As `attribute`; `links` gets what proves it, and where there is none, what would change if it came.
    pub fn attribute_by(&self, object: Addr, name: &str, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let ty = self.type_of(object)?;
        if let Some(value) = self.in_instance_dict_by(object, ty, name, links)? {
            return Ok(Some(value));
        }
        match self.slot_offset(ty, name)? {
            Some(offset) => {
                let value = self.pointer_by(object, offset, links)?;
                Ok((!value.is_null()).then_some(value))
            }
            None => Ok(None),
        }
    }

    /// The attributes `names` must all be there, for callers that have no use for a part.
    pub fn attribute_path(&self, object: Addr, names: &[&str]) -> Result<Option<Addr>, Fault> {
        let mut at = object;
        for name in names {
            match self.attribute(at, name)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The values stored for each of `names` in the instance: one look at its dictionary does for all.
    pub fn attributes<const N: usize>(&self, object: Addr, names: [&str; N]) -> Result<[Option<Addr>; N], Fault> {
        let ty = self.type_of(object)?;
        let items = self.instance_items(object, ty)?;
        let keys: Vec<Addr> = items.iter().map(|&(key, _)| key).collect();
        let mut values = [None; N];
        for (value, found) in values.iter_mut().zip(self.find_keys(&keys, &names)?) {
            *value = found.and_then(|slot| items.get(slot)).map(|&(_, value)| value);
        }
        for (value, name) in values.iter_mut().zip(names).filter(|(value, _)| value.is_none()) {
            *value = self.in_slots(object, ty, name)?;
        }
        Ok(values)
    }

    fn in_instance_dict(&self, object: Addr, ty: Addr, name: &str) -> Result<Option<Addr>, Fault> {
        let items = self.instance_items(object, ty)?;
        let keys: Vec<Addr> = items.iter().map(|&(key, _)| key).collect();
        Ok(self.find_key(&keys, name)?.map(|i| items[i].1))
    }

    /// Names and values of an instance's dictionary, or of what it has in its place.
    fn instance_items(&self, object: Addr, ty: Addr) -> Result<Vec<(Addr, Addr)>, Fault> {
        let o = &self.offsets;
        let none = || Ok(Vec::new());
        let flags = self.word(ty, o.type_flags)?;
        if self.version.at_least(3, 11) && flags & MANAGED_DICT != 0 {
            // Objects/object_layout.md: the dict, or in its place the values, stand before the object's own head.
            let pre = Addr(object.0.wrapping_sub(32));
            let (values, dict) = (self.pointer(pre, 0)?, self.pointer(pre, 8)?);
            return match self.version.minor {
                11 if !values.is_null() => self.split_items(ty, values),
                12 if dict.0 & 1 == 1 => self.split_items(ty, dict.offset(1)),
                11 | 12 if dict.is_null() => none(),
                _ if !dict.is_null() => self.dict_items(dict),
                _ if flags & INLINE_VALUES != 0 => {
                    let values = object.offset(self.word(ty, o.type_basicsize)?);
                    // PyDictValues: capacity, size, embedded, valid
                    if self.byte(values, 3)? == 0 {
                        none()
                    } else {
                        self.split_items(ty, values)
                    }
                }
                _ => none(),
            };
        }
        let offset = self.word(ty, o.type_dictoffset)? as i64;
        if !(1..=4096).contains(&offset) {
            return none();
        }
        match self.pointer(object, offset as u64)? {
            Addr::NULL => none(),
            dict => self.dict_items(dict),
        }
    }

    fn split_items(&self, ty: Addr, values: Addr) -> Result<Vec<(Addr, Addr)>, Fault> {
        let keys = self.object(ty, self.offsets.heap_type_cached_keys)?;
        self.keys_and_values(keys, values)
    }

    fn in_slots(&self, object: Addr, ty: Addr, name: &str) -> Result<Option<Addr>, Fault> {
        let Some(offset) = self.slot_offset(ty, name)? else {
            return Ok(None);
        };
        let value = self.pointer(object, offset)?;
        Ok((!value.is_null()).then_some(value))
    }

    /// Where instances of a class keep the attribute `name` of its `__slots__`, or of a base's; None: it is no slot.
    pub fn slot_offset(&self, class: Addr, name: &str) -> Result<Option<u64>, Fault> {
        let o = &self.offsets;
        let mut class = class;
        for _ in 0..MOST_BASES {
            // From 3.12 on, static types keep their dict elsewhere; slots are made by classes of Python code.
            let dict = self.pointer(class, o.type_dict)?;
            if !dict.is_null()
                && let Some(descriptor) = self.dict_get(dict, name)?
            {
                if !self.is_a(descriptor, "member_descriptor")? {
                    return Ok(None);
                }
                let member = self.object(descriptor, o.member_descriptor_member)?;
                let offset = self.word(member, o.member_offset)?;
                if !(16..1 << 20).contains(&offset) {
                    return Err(Fault::Implausible("slot offset"));
                }
                return Ok(Some(offset));
            }
            class = self.pointer(class, o.type_base)?;
            if class.is_null() {
                break;
            }
        }
        Ok(None)
    }

    fn in_instance_dict_by(
        &self,
        object: Addr,
        ty: Addr,
        name: &str,
        links: &mut Links,
    ) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        let flags = self.word(ty, o.type_flags)?;
        let split = |values, links: &mut Links| {
            let keys = self.object(ty, o.heap_type_cached_keys)?;
            self.split_item_by(keys, values, Key::Name(name), links)
        };
        if self.version.at_least(3, 11) && flags & MANAGED_DICT != 0 {
            // Objects/object_layout.md: the dict, or in its place the values, stand before the object's own head.
            let pre = Addr(object.0.wrapping_sub(32));
            let (values, dict) = (self.pointer(pre, 0)?, self.pointer(pre, 8)?);
            if self.version.minor == 11 {
                link(links, pre, values.0);
            }
            link(links, pre.offset(8), dict.0);
            return match self.version.minor {
                11 if !values.is_null() => split(values, links),
                12 if dict.0 & 1 == 1 => split(dict.offset(1), links),
                11 | 12 if dict.is_null() => Ok(None),
                _ if !dict.is_null() => self.dict_item_by(dict, Key::Name(name), links),
                _ if flags & INLINE_VALUES != 0 => {
                    let values = object.offset(self.word(ty, o.type_basicsize)?);
                    // PyDictValues: capacity, size, embedded, valid
                    let valid = self.byte(values, 3)?;
                    links.push((values.offset(3), vec![valid]));
                    match valid {
                        0 => Ok(None),
                        _ => split(values, links),
                    }
                }
                _ => Ok(None),
            };
        }
        let offset = self.word(ty, o.type_dictoffset)? as i64;
        if !(1..=4096).contains(&offset) {
            return Ok(None);
        }
        match self.pointer_by(object, offset as u64, links)? {
            Addr::NULL => Ok(None),
            dict => self.dict_item_by(dict, Key::Name(name), links),
        }
    }

    /// The names under which the instance stores something, `most` at most: what a misspelt name may have meant.
    pub fn attribute_names(&self, object: Addr, most: usize) -> Result<Vec<String>, Fault> {
        let ty = self.type_of(object)?;
        let mut keys: Vec<Addr> = self
            .instance_items(object, ty)?
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let mut class = ty;
        for _ in 0..MOST_BASES {
            let dict = self.pointer(class, self.offsets.type_dict)?;
            let items = if dict.is_null() {
                Vec::new()
            } else {
                self.dict_items(dict)?
            };
            let is_slot = |&(_, value): &(Addr, Addr)| self.is_a(value, "member_descriptor") == Ok(true);
            keys.extend(items.into_iter().filter(is_slot).map(|(key, _)| key));
            class = self.pointer(class, self.offsets.type_base)?;
            if class.is_null() {
                break;
            }
        }
        let mut names: Vec<String> = keys
            .into_iter()
            .take(most)
            .filter_map(|key| self.str(key).ok())
            .collect();
        names.sort();
        names.dedup();
        // A slot may not be set.
        names.retain(|name| matches!(self.attribute(object, name), Ok(Some(_))));
        Ok(names)
    }
}
