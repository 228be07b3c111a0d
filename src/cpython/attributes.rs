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
        self.attribute_by(object, name, &mut Links::new())
    }

    /// As `attribute`; `links` gets what proves it, and where there is none, what would change if it came.
    pub fn attribute_by(&self, object: Addr, name: &str, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let ty = self.type_of(object)?;
        if let Some(value) = self.in_instance_dict(object, ty, name, links)? {
            return Ok(Some(value));
        }
        self.in_slots(object, ty, name, links)
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

    fn in_instance_dict(&self, object: Addr, ty: Addr, name: &str, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        let flags = self.word(ty, o.type_flags)?;
        if self.version.at_least(3, 11) && flags & MANAGED_DICT != 0 {
            // Objects/object_layout.md: the dict, or in its place the values, stand before the object's own head.
            let pre = Addr(object.0.wrapping_sub(32));
            let (values, dict) = (self.pointer(pre, 0)?, self.pointer(pre, 8)?);
            if self.version.minor == 11 {
                link(links, pre, values.0);
            }
            link(links, pre.offset(8), dict.0);
            return match self.version.minor {
                11 if !values.is_null() => self.in_values(ty, values, name, links),
                12 if dict.0 & 1 == 1 => self.in_values(ty, dict.offset(1), name, links),
                11 | 12 if dict.is_null() => Ok(None),
                _ if !dict.is_null() => self.dict_item_by(dict, Key::Name(name), links),
                _ if flags & INLINE_VALUES != 0 => {
                    let values = object.offset(self.word(ty, o.type_basicsize)?);
                    // PyDictValues: capacity, size, embedded, valid
                    let valid = self.byte(values, 3)?;
                    links.push((values.offset(3), vec![valid]));
                    match valid {
                        0 => Ok(None),
                        _ => self.in_values(ty, values, name, links),
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

    fn in_values(&self, ty: Addr, values: Addr, name: &str, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let keys = self.object(ty, self.offsets.heap_type_cached_keys)?;
        self.split_item_by(keys, values, Key::Name(name), links)
    }

    fn in_slots(&self, object: Addr, ty: Addr, name: &str, links: &mut Links) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        let mut class = ty;
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
                let value = self.pointer_by(object, offset, links)?;
                return Ok((!value.is_null()).then_some(value));
            }
            class = self.pointer(class, o.type_base)?;
            if class.is_null() {
                break;
            }
        }
        Ok(None)
    }

    /// The names under which the instance stores something, `most` at most: what a misspelt name may have meant.
    pub fn attribute_names(&self, object: Addr, most: usize) -> Result<Vec<String>, Fault> {
        let o = &self.offsets;
        let ty = self.type_of(object)?;
        let flags = self.word(ty, o.type_flags)?;
        let mut keys: Vec<Addr> = Vec::new();
        if self.version.at_least(3, 11) && flags & MANAGED_DICT != 0 {
            keys = self.dict_entry_keys(self.object(ty, o.heap_type_cached_keys)?)?;
            let dict = self.pointer(Addr(object.0.wrapping_sub(32)), 8)?;
            if !dict.is_null() && dict.0 & 1 == 0 {
                keys.extend(self.dict_items(dict)?.into_iter().map(|(key, _)| key));
            }
        } else if let offset @ 1..=4096 = self.word(ty, o.type_dictoffset)?
            && let dict = self.pointer(object, offset)?
            && !dict.is_null()
        {
            keys = self.dict_items(dict)?.into_iter().map(|(key, _)| key).collect();
        }
        let mut class = ty;
        for _ in 0..MOST_BASES {
            let dict = self.pointer(class, o.type_dict)?;
            let items = if dict.is_null() {
                Vec::new()
            } else {
                self.dict_items(dict)?
            };
            let is_slot = |&(_, value): &(Addr, Addr)| self.is_a(value, "member_descriptor") == Ok(true);
            keys.extend(items.into_iter().filter(is_slot).map(|(key, _)| key));
            class = self.pointer(class, o.type_base)?;
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
        // Slots, and keys that the type keeps for others of its instances.
        names.retain(|name| matches!(self.attribute(object, name), Ok(Some(_))));
        Ok(names)
    }
}
