//! Python's built-in values: str, int, float, tuple, list, dict, set. Knows nothing of attributes, contexts or tasks.

use super::heap::Heap;
use super::offsets::Offsets;
use crate::memory::{Fault, Scatter};
use crate::model::Addr;

/// Longer strings are cut here, with a `…`.
const MOST_CHARACTERS: usize = 4096;
/// Containers that claim more are damage, or not for us.
const MOST_ITEMS: usize = 4 << 20;
/// Of an int that has more than 128 bits.
pub const WIDER_INT: Fault = Fault::Implausible("int of more than 128 bits");

/// Where a str keeps its characters.
pub struct StrLayout {
    /// Where the first character stands, seen from the object; for one that is not compact, where the pointer to it does.
    pub data: u64,
    /// The characters follow the head. Not so in instances of subclasses (Objects/unicodeobject.c:
    /// `unicode_subtype_new`).
    pub compact: bool,
    /// Bytes a character: 1, 2, 4.
    pub width: usize,
    /// Characters.
    pub length: usize,
    /// ASCII: one byte a character, so is Latin-1.
    pub ascii: bool,
}

/// The entries of a `PyDictKeysObject`, as they stand.
pub(super) struct DictTable {
    first: Addr,
    bytes: Vec<u8>,
    width: usize,
}

impl DictTable {
    /// The keys, in order; NULL where an entry is not used.
    pub fn keys(&self) -> Vec<Addr> {
        let entries = self.bytes.chunks_exact(self.width);
        entries.map(|e| Addr(word_at(e, self.width - 16))).collect()
    }

    /// Key and value of an entry (16 bytes), and where they stand.
    pub fn entry(&self, place: usize) -> Option<(Addr, &[u8])> {
        let at = place.checked_mul(self.width)? + self.width - 16;
        Some((self.first.offset(at as u64), self.bytes.get(at..at + 16)?))
    }
}

impl StrLayout {
    /// How many of the characters are shown.
    pub fn shown(&self) -> usize {
        self.length.min(MOST_CHARACTERS)
    }

    /// From the head of the object, which must reach to the end of `state`.
    pub fn of_head(head: &[u8], offsets: &Offsets) -> Result<StrLayout, Fault> {
        let word = |at: u64| -> Option<u64> {
            Some(u64::from_le_bytes(
                head.get(at as usize..at as usize + 8)?.try_into().ok()?,
            ))
        };
        let state = head
            .get(offsets.str_state as usize)
            .copied()
            .ok_or(Fault::Implausible("str"))?;
        let length = word(offsets.str_length).ok_or(Fault::Implausible("str"))?;
        let (width, compact, ascii) = (usize::from(state >> 2 & 7), state & 0x20 != 0, state & 0x40 != 0);
        if !matches!(width, 1 | 2 | 4) || (ascii && width != 1) || length >= 1 << 40 {
            return Err(Fault::Implausible("str"));
        }
        let data = if ascii && compact {
            offsets.str_ascii_data
        } else {
            offsets.str_compact_data
        };
        Ok(StrLayout {
            data,
            compact,
            width,
            length: length as usize,
            ascii,
        })
    }
}

/// Bytes from the start of a str to the end of its state.
pub const STR_HEAD: usize = 40;

/// Decodes characters of `width` bytes; lone surrogates become U+FFFD.
pub fn decode(bytes: &[u8], width: usize) -> String {
    let from_u32 = |c: u32| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER);
    match width {
        1 => bytes.iter().map(|&b| char::from(b)).collect(),
        2 => bytes
            .chunks_exact(2)
            .map(|c| from_u32(u32::from(u16::from_le_bytes([c[0], c[1]]))))
            .collect(),
        _ => bytes
            .chunks_exact(4)
            .map(|c| from_u32(u32::from_le_bytes([c[0], c[1], c[2], c[3]])))
            .collect(),
    }
}

impl Heap {
    /// The text of an object that must be a str (or a subclass).
    pub fn str(&self, object: Addr) -> Result<String, Fault> {
        const STR_SUBCLASS: u64 = 1 << 28;
        let ty = self.type_of(object)?;
        if self.word(ty, self.offsets.type_flags)? & STR_SUBCLASS == 0 {
            return Err(Fault::Implausible("str"));
        }
        self.str_unchecked(object)
    }

    /// As `str`, for what is known to be one: a key of `sys.modules`, a name in a code object.
    pub fn str_unchecked(&self, object: Addr) -> Result<String, Fault> {
        let (layout, data) = self.str_layout(object)?;
        let length = layout.length.min(MOST_CHARACTERS);
        let bytes = self.bytes(data, length * layout.width)?;
        let mut text = decode(&bytes, layout.width);
        if length < layout.length {
            text.push('…');
        }
        Ok(text)
    }

    /// How a str is laid out, and where its characters are.
    pub(super) fn str_layout(&self, object: Addr) -> Result<(StrLayout, Addr), Fault> {
        let mut head = [0; STR_HEAD];
        self.read(object, 0, &mut head)?;
        let layout = StrLayout::of_head(&head, &self.offsets)?;
        let data = match layout.compact {
            true => object.offset(layout.data),
            false => self.object(object, layout.data)?,
        };
        Ok((layout, data))
    }

    /// The value of an int that fits.
    pub fn int(&self, object: Addr) -> Result<i128, Fault> {
        let (negative, value) = self.wide_int(object)?;
        let value = i128::try_from(value).map_err(|_| Fault::Implausible("int"))?;
        Ok(if negative { -value } else { value })
    }

    /// Whether an int is below zero, and its absolute value, which may have 128 bits; `WIDER_INT` where it has more.
    pub fn wide_int(&self, object: Addr) -> Result<(bool, u128), Fault> {
        let (digits, negative) = self.int_digits(object)?;
        let bytes = self.bytes(object.offset(self.offsets.int_digits), digits * 4)?;
        let mut value: u128 = 0;
        for digit in bytes.chunks_exact(4).rev() {
            let digit = u32::from_le_bytes([digit[0], digit[1], digit[2], digit[3]]) & 0x3fff_ffff;
            let shifted = value.checked_mul(1 << 30).ok_or(WIDER_INT)?;
            value = shifted | u128::from(digit);
        }
        Ok((negative, value))
    }

    /// Where the bytes are that make the value of an int.
    pub fn int_places(&self, object: Addr) -> Result<Vec<(Addr, usize)>, Fault> {
        let (digits, _) = self.int_digits(object)?;
        let mut places = vec![(object.offset(self.offsets.int_tag), 8)];
        places.push((object.offset(self.offsets.int_digits), digits * 4));
        places.retain(|&(_, length)| length > 0);
        Ok(places)
    }

    /// How many digits of 30 bits, and whether it is below zero.
    fn int_digits(&self, object: Addr) -> Result<(usize, bool), Fault> {
        const INT_SUBCLASS: u64 = 1 << 24;
        let ty = self.type_of(object)?;
        if self.word(ty, self.offsets.type_flags)? & INT_SUBCLASS == 0 {
            return Err(Fault::Implausible("int"));
        }
        let tag = self.word(object, self.offsets.int_tag)?;
        // 3.12: lv_tag = digits << 3 | sign (0 positive, 1 zero, 2 negative); before: a signed count of digits.
        let (digits, negative) = if self.version.at_least(3, 12) {
            if tag & 3 == 1 {
                (0, false)
            } else {
                (tag >> 3, tag & 3 == 2)
            }
        } else {
            ((tag as i64).unsigned_abs(), (tag as i64) < 0)
        };
        if digits > 5 {
            return Err(WIDER_INT);
        }
        Ok((digits as usize, negative))
    }

    /// The value of a float.
    pub fn float(&self, object: Addr) -> Result<f64, Fault> {
        self.expect(object, "float")?;
        Ok(f64::from_bits(self.word(object, self.offsets.float_value)?))
    }

    /// True or False.
    pub fn bool(&self, object: Addr) -> Result<bool, Fault> {
        self.expect(object, "bool")?;
        Ok(self.int(object)? != 0)
    }

    fn pointers(&self, at: Addr, count: u64, what: &'static str) -> Result<Vec<Addr>, Fault> {
        if count as usize > MOST_ITEMS {
            return Err(Fault::Implausible(what));
        }
        let bytes = self.bytes(at, count as usize * 8)?;
        Ok(bytes.chunks_exact(8).map(|b| Addr(word_at(b, 0))).collect())
    }

    /// Items of a tuple (or a subclass).
    pub fn tuple_items(&self, tuple: Addr) -> Result<Vec<Addr>, Fault> {
        const TUPLE_SUBCLASS: u64 = 1 << 26;
        let ty = self.type_of(tuple)?;
        if self.word(ty, self.offsets.type_flags)? & TUPLE_SUBCLASS == 0 {
            return Err(Fault::Implausible("tuple"));
        }
        let size = self.word(tuple, self.offsets.tuple_size)?;
        self.pointers(tuple.offset(self.offsets.tuple_items), size, "tuple")
    }

    /// Items of a list.
    pub fn list_items(&self, list: Addr) -> Result<Vec<Addr>, Fault> {
        self.expect(list, "list")?;
        let size = self.word(list, self.offsets.list_size)?;
        if size == 0 {
            return Ok(Vec::new());
        }
        self.pointers(self.object(list, self.offsets.list_items)?, size, "list")
    }

    /// Keys of a set, in no order.
    pub fn set_items(&self, set: Addr) -> Result<Vec<Addr>, Fault> {
        self.expect(set, "set")?;
        let o = &self.offsets;
        let mut head = [0; 48];
        self.read(set, 0, &mut head)?;
        let used = word_at(&head, o.set_used as usize);
        let mask = word_at(&head, o.set_mask as usize);
        let table = Addr(word_at(&head, o.set_table as usize));
        let slots = mask.wrapping_add(1);
        if !slots.is_power_of_two() || slots as usize > MOST_ITEMS || used > slots {
            return Err(Fault::Implausible("set"));
        }
        let bytes = self.bytes(table, slots as usize * 16)?;
        // An entry is key and hash; a removed one has the key `dummy`, whose hash is -1.
        let items = bytes
            .chunks_exact(16)
            .filter(|e| word_at(e, 0) != 0 && word_at(e, 8) != u64::MAX);
        Ok(items.map(|e| Addr(word_at(e, 0))).collect())
    }

    /// Keys and values of a dict (or a subclass), in order of insertion.
    pub fn dict_items(&self, dict: Addr) -> Result<Vec<(Addr, Addr)>, Fault> {
        const DICT_SUBCLASS: u64 = 1 << 29;
        let ty = self.type_of(dict)?;
        if self.word(ty, self.offsets.type_flags)? & DICT_SUBCLASS == 0 {
            return Err(Fault::Implausible("dict"));
        }
        let keys = self.object(dict, self.offsets.dict_keys)?;
        let values = self.pointer(dict, self.offsets.dict_values)?;
        let used = self.word(dict, self.offsets.dict_used)?;
        let items = self.keys_and_values(keys, values)?;
        // A dict of the same instant has exactly as many; one that is just being changed may be off by some.
        if used as usize > items.len() + 8 {
            return Err(Fault::Implausible("dict"));
        }
        Ok(items)
    }

    /// Entries of a `PyDictKeysObject`; the values are in the entries, or, for a split table, in `values`.
    pub fn keys_and_values(&self, keys: Addr, values: Addr) -> Result<Vec<(Addr, Addr)>, Fault> {
        let o = &self.offsets;
        let entries = self.dict_entries(keys)?;
        if values.is_null() {
            return Ok(entries
                .into_iter()
                .filter(|(k, v)| !k.is_null() && !v.is_null())
                .collect());
        }
        let split = self.pointers(values.offset(o.dictvalues_values), entries.len() as u64, "dict values")?;
        Ok(entries
            .into_iter()
            .zip(split)
            .map(|((k, _), v)| (k, v))
            .filter(|(k, v)| !k.is_null() && !v.is_null())
            .collect())
    }

    /// The keys of a `PyDictKeysObject`, in order.
    pub fn dict_entry_keys(&self, keys: Addr) -> Result<Vec<Addr>, Fault> {
        Ok(self
            .dict_entries(keys)?
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| !key.is_null())
            .collect())
    }

    /// All entries of a `PyDictKeysObject`, used or not.
    fn dict_entries(&self, keys: Addr) -> Result<Vec<(Addr, Addr)>, Fault> {
        let table = self.dict_table(keys)?;
        let entries = table.bytes.chunks_exact(table.width);
        let entries = entries.map(|e| (Addr(word_at(e, table.width - 16)), Addr(word_at(e, table.width - 8))));
        Ok(entries.collect())
    }

    /// The table behind a `PyDictKeysObject`: entries of key and value, before them a hash or not.
    pub(super) fn dict_table(&self, keys: Addr) -> Result<DictTable, Fault> {
        let o = &self.offsets;
        let mut head = [0; 40];
        self.read(keys, 0, &mut head)?;
        let nentries = word_at(&head, o.dictkeys_nentries as usize) as usize;
        let size = o.dictkeys_size as usize;
        let (index_bytes, hashed) = if self.version.at_least(3, 11) {
            // dk_log2_size, dk_log2_index_bytes, dk_kind (0 general, 1 str keys, 2 split)
            let (log2_size, log2_index_bytes, kind) = (head[size], head[size + 1], head[size + 2]);
            if log2_size > 40 || log2_index_bytes > 44 || log2_index_bytes < log2_size || kind > 2 {
                return Err(Fault::Implausible("dict keys"));
            }
            (1u64 << log2_index_bytes, kind == 0)
        } else {
            let slots = word_at(&head, size);
            if !slots.is_power_of_two() {
                return Err(Fault::Implausible("dict keys"));
            }
            let width = match slots {
                0..=0xff => 1,
                0x100..=0xffff => 2,
                0x1_0000..=0xffff_ffff => 4,
                _ => 8,
            };
            (slots * width, true)
        };
        if nentries > MOST_ITEMS || nentries as u64 > index_bytes {
            return Err(Fault::Implausible("dict keys"));
        }
        let width = if hashed { 24 } else { 16 };
        let first = keys.offset(o.dictkeys_indices + index_bytes);
        let bytes = self.bytes(first, nentries * width)?;
        Ok(DictTable { first, bytes, width })
    }

    /// The value of `name` in a dict with str keys.
    pub fn dict_get(&self, dict: Addr, name: &str) -> Result<Option<Addr>, Fault> {
        let items = self.dict_items(dict)?;
        let keys: Vec<Addr> = items.iter().map(|&(key, _)| key).collect();
        Ok(self.find_key(&keys, name)?.map(|i| items[i].1))
    }

    /// Which of `keys` is the ASCII str `name`. All are compared in one read, because a dict of modules has thousands.
    pub fn find_key(&self, keys: &[Addr], name: &str) -> Result<Option<usize>, Fault> {
        let found = self.find_keys(keys, &[name])?;
        Ok(found[0])
    }

    /// As `find_key`, for several names at once.
    pub fn find_keys(&self, keys: &[Addr], names: &[&str]) -> Result<Vec<Option<usize>>, Fault> {
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let length = self.offsets.str_ascii_data as usize + longest;
        self.spend(keys.len().saturating_mul(length))?;
        let mut scatter = Scatter::new();
        for &key in keys {
            scatter.push(key, length);
        }
        scatter.read_near(self.memory())?;
        let mut found = vec![None; names.len()];
        for (slot, &key) in keys.iter().enumerate() {
            // The key may be the last thing before an unmapped page, so that the longest name reaches too far.
            let Some(bytes) = scatter.bytes(slot) else {
                let Ok(text) = self.str_unchecked(key) else {
                    continue;
                };
                if let Some(n) = names.iter().position(|name| *name == text) {
                    found[n] = Some(slot);
                }
                continue;
            };
            let Ok(layout) = StrLayout::of_head(bytes, &self.offsets) else {
                continue;
            };
            if !layout.ascii || !layout.compact {
                continue;
            }
            let data = &bytes[self.offsets.str_ascii_data as usize..];
            for (n, name) in names.iter().enumerate() {
                if layout.length == name.len() && &data[..name.len()] == name.as_bytes() {
                    found[n] = Some(slot);
                }
            }
        }
        Ok(found)
    }
}

/// The little-endian word at `at`; 0 beyond the end.
pub fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
