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

    fn in_instance_dict(&self, object: Addr, ty: Addr, name: &str) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        let flags = self.word(ty, o.type_flags)?;
        if self.version.at_least(3, 11) && flags & MANAGED_DICT != 0 {
            // Objects/object_layout.md: the dict, or in its place the values, stand before the object's own head.
            let pre = Addr(object.0.wrapping_sub(32));
            let (values, dict) = (self.pointer(pre, 0)?, self.pointer(pre, 8)?);
            return match self.version.minor {
                11 if !values.is_null() => self.in_values(ty, values, name),
                12 if dict.0 & 1 == 1 => self.in_values(ty, dict.offset(1), name),
                11 | 12 if dict.is_null() => Ok(None),
                _ if !dict.is_null() => self.dict_get(dict, name),
                _ if flags & INLINE_VALUES != 0 => {
                    let values = object.offset(self.word(ty, o.type_basicsize)?);
                    // PyDictValues: capacity, size, embedded, valid
                    if self.byte(values, 3)? == 0 {
                        Ok(None)
                    } else {
                        self.in_values(ty, values, name)
                    }
                }
                _ => Ok(None),
            };
        }
        let offset = self.word(ty, o.type_dictoffset)? as i64;
        if !(1..=4096).contains(&offset) {
            return Ok(None);
        }
        match self.pointer(object, offset as u64)? {
            Addr::NULL => Ok(None),
            dict => self.dict_get(dict, name),
        }
    }

    fn in_values(&self, ty: Addr, values: Addr, name: &str) -> Result<Option<Addr>, Fault> {
        let keys = self.object(ty, self.offsets.heap_type_cached_keys)?;
        let items = self.keys_and_values(keys, values)?;
        let names: Vec<Addr> = items.iter().map(|&(key, _)| key).collect();
        Ok(self.find_key(&names, name)?.map(|i| items[i].1))
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
