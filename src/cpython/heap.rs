//! Words, pointers and types of the worker's objects: the one way by which all other readers here touch memory. Knows
//! nothing of what the objects are for.
//!
//! Every read is counted against a budget that the caller grants anew for each walk, so that a cycle of pointers, or a
//! length that is damage, is an error and not a hang.

use super::offsets::{ABSENT, Offsets};
use super::version::Version;
use crate::memory::{AddrMap, Fault, Memory, Pages};
use crate::model::Addr;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

/// What one walk may read, unless the caller grants more: far more than any sane walk needs.
pub const ONE_WALK: u64 = 64 << 20;
/// A read costs at least this much of the budget, so that endless short hops end too.
const HOP: u64 = 256;
/// Names of types are kept by address; a program with more types than this starts over.
const MOST_TYPES: usize = 20_000;

pub struct Heap {
    memory: Box<dyn Memory>,
    pub offsets: Offsets,
    pub version: Version,
    budget: Cell<u64>,
    pages: RefCell<Option<Pages>>,
    type_names: RefCell<AddrMap<Arc<str>>>,
    /// Modules that were found in `sys.modules`, by name.
    pub(super) known_modules: RefCell<HashMap<&'static str, Addr>>,
}

impl Heap {
    pub fn new(memory: Box<dyn Memory>, offsets: Offsets, version: Version) -> Heap {
        Heap {
            memory,
            offsets,
            version,
            budget: Cell::new(ONE_WALK),
            pages: RefCell::default(),
            type_names: RefCell::default(),
            known_modules: RefCell::default(),
        }
    }

    /// Forgets the names of types and the places of modules, for when an offset by which they were read turned out wrong.
    pub fn forget_names(&self) {
        self.type_names.borrow_mut().clear();
        self.known_modules.borrow_mut().clear();
    }

    pub fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    /// From now on, what has been read is not read again; or is.
    pub fn keep_pages(&self, keep: bool) {
        *self.pages.borrow_mut() = keep.then(Pages::default);
    }

    /// Grants `bytes` for the next walk; what was left of the last grant is forgotten.
    pub fn grant(&self, bytes: u64) {
        self.budget.set(bytes);
    }

    /// What is left of the last grant: it shrinks with every read.
    pub fn left(&self) -> u64 {
        self.budget.get()
    }

    /// Takes `bytes` from the budget, for readers that use `memory()` themselves.
    pub fn spend(&self, bytes: usize) -> Result<(), Fault> {
        let left = self
            .budget
            .get()
            .checked_sub((bytes as u64).max(HOP))
            .ok_or(Fault::Budget)?;
        self.budget.set(left);
        Ok(())
    }

    /// Fills `into` from the field at `offset` of `object`.
    pub fn read(&self, object: Addr, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        if offset == ABSENT {
            return Err(Fault::Implausible("field of this version"));
        }
        if object.0 < 4096 {
            return Err(Fault::Implausible("pointer"));
        }
        self.spend(into.len())?;
        match &mut *self.pages.borrow_mut() {
            Some(pages) => pages.read(&*self.memory, object.offset(offset), into),
            None => self.memory.read(object.offset(offset), into),
        }
    }

    /// The `length` bytes at `at`; refuses lengths that cannot be.
    pub fn bytes(&self, at: Addr, length: usize) -> Result<Vec<u8>, Fault> {
        // Before the allocation, not after.
        if length as u64 > self.budget.get() {
            return Err(Fault::Budget);
        }
        let mut bytes = vec![0; length];
        self.read(at, 0, &mut bytes)?;
        Ok(bytes)
    }

    pub fn word(&self, object: Addr, offset: u64) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.read(object, offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub fn half(&self, object: Addr, offset: u64) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        self.read(object, offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub fn byte(&self, object: Addr, offset: u64) -> Result<u8, Fault> {
        let mut bytes = [0; 1];
        self.read(object, offset, &mut bytes)?;
        Ok(bytes[0])
    }

    /// The pointer at `offset`; may be NULL.
    pub fn pointer(&self, object: Addr, offset: u64) -> Result<Addr, Fault> {
        self.word(object, offset).map(Addr)
    }

    /// The pointer at `offset`, which must not be NULL.
    pub fn object(&self, object: Addr, offset: u64) -> Result<Addr, Fault> {
        match self.pointer(object, offset)? {
            Addr::NULL => Err(Fault::Implausible("NULL")),
            other => Ok(other),
        }
    }

    /// `ob_type` (at +8 in all versions with a GIL).
    pub fn type_of(&self, object: Addr) -> Result<Addr, Fault> {
        self.object(object, 8)
    }

    /// `tp_name` of a type object.
    pub fn name_of_type(&self, ty: Addr) -> Result<Arc<str>, Fault> {
        if let Some(name) = self.type_names.borrow().get(&ty) {
            return Ok(Arc::clone(name));
        }
        let name = self.c_string(self.object(ty, self.offsets.type_name)?)?;
        let name: Arc<str> = name.into();
        let mut names = self.type_names.borrow_mut();
        if names.len() >= MOST_TYPES {
            names.clear();
        }
        names.insert(ty, Arc::clone(&name));
        Ok(name)
    }

    /// `tp_name` of the object's type: `str`, `_asyncio.Task`, `coroutine` …
    pub fn type_name(&self, object: Addr) -> Result<Arc<str>, Fault> {
        self.name_of_type(self.type_of(object)?)
    }

    /// Fails unless the object's type has this name, with or without its module (`Context` up to 3.9,
    /// `_contextvars.Context` since).
    pub fn expect(&self, object: Addr, name: &'static str) -> Result<(), Fault> {
        if self.is_a(object, name)? {
            Ok(())
        } else {
            Err(Fault::Implausible(name))
        }
    }

    /// The object's type has this name, with or without its module.
    pub fn is_a(&self, object: Addr, name: &str) -> Result<bool, Fault> {
        let found = self.type_name(object)?;
        Ok(unqualified(&found) == name)
    }

    /// A NUL-terminated string of C, at most 200 bytes, printable ASCII: names of types and modules.
    pub fn c_string(&self, at: Addr) -> Result<String, Fault> {
        let mut text = Vec::new();
        // A short read first, and never across a page: the string may be the last thing that is mapped.
        while text.len() < 200 {
            let here = at.offset(text.len() as u64);
            let to_page_end = 4096 - (here.0 & 4095);
            let length = to_page_end.min(64);
            let mut chunk = [0; 64];
            let chunk = &mut chunk[..length as usize];
            self.read(here, 0, chunk)?;
            if let Some(end) = chunk.iter().position(|&b| b == 0) {
                text.extend_from_slice(&chunk[..end]);
                let printable = !text.is_empty() && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
                return match String::from_utf8(text) {
                    Ok(text) if printable => Ok(text),
                    _ => Err(Fault::Implausible("type name")),
                };
            }
            text.extend_from_slice(chunk);
        }
        Err(Fault::Implausible("type name"))
    }
}

/// The last part of a dotted name.
pub fn unqualified(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}
