//! Attributes of instances, by name: instance dictionary, inline values, slots. Runs no descriptor and no
//! `__getattr__`: only what is stored is found. Knows nothing of what the attributes mean.

use super::heap::Heap;
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
}
