//! What a stock loop has to do: the handles in its `_ready` queue, and the timers in its `_scheduled` heap. uvloop keeps
//! its timers in libuv, where they are not looked for. Knows nothing of sessions: a handle has a context.
//!
//! `Handle` and `TimerHandle` are classes of Python code with `__slots__` in all versions (Lib/asyncio/events.py,
//! 3.8–3.15); where their slots lie is asked of the worker's own descriptors. `BaseEventLoop.time` is `time.monotonic()`
//! in all of them, which is `CLOCK_MONOTONIC`; a loop whose class says another time has timers that mean nothing here.

use super::loops::EventLoop;
use crate::cpython::{Heap, word_at};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, LoopKind};
use std::collections::HashMap;

/// More handles than this are not looked at in one go.
pub const MOST_HANDLES: usize = 100_000;
/// Bases of a class of handles.
const MOST_BASES: usize = 16;

/// Where a handle keeps what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandleSlots {
    /// The class `Handle`, of which all handles are instances.
    class: Addr,
    callback: u64,
    args: u64,
    cancelled: u64,
    pub context: u64,
    /// `TimerHandle._when`
    when: u64,
}

/// A handle that was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Handle {
    pub address: Addr,
    pub context: Addr,
    pub callback: Addr,
    /// A tuple.
    pub args: Addr,
    /// When it is due, seconds of `CLOCK_MONOTONIC`; None: it is no timer.
    pub when: Option<f64>,
}

/// Handles, and what was not had of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handles {
    pub found: Vec<Handle>,
    /// Could not be read or made no sense: mostly handles that ran while they were looked at.
    pub unreadable: u32,
    /// There were more than were looked at.
    pub is_cut: bool,
}

impl HandleSlots {
    /// From the `__dict__` of `asyncio.events`.
    pub fn find(heap: &Heap, events_module: Addr) -> Result<HandleSlots, Fault> {
        let class = |name| {
            heap.dict_get(events_module, name)?
                .ok_or(Fault::Implausible("asyncio.events"))
        };
        let (handle, timer) = (class("Handle")?, class("TimerHandle")?);
        let slot = |class, name| heap.slot_offset(class, name)?.ok_or(Fault::Implausible("slot"));
        let slots = HandleSlots {
            class: handle,
            callback: slot(handle, "_callback")?,
            args: slot(handle, "_args")?,
            cancelled: slot(handle, "_cancelled")?,
            context: slot(handle, "_context")?,
            when: slot(timer, "_when")?,
        };
        if slots.length() > 4096 {
            return Err(Fault::Implausible("slot"));
        }
        Ok(slots)
    }

    /// Bytes from the start of a handle to the end of its slots, those of a timer too.
    fn length(&self) -> usize {
        let slots = [self.callback, self.args, self.cancelled, self.context, self.when];
        slots.into_iter().max().unwrap_or(0) as usize + 8
    }

    /// The same for one that is no timer.
    fn short_length(&self) -> usize {
        let slots = [self.callback, self.args, self.cancelled, self.context];
        slots.into_iter().max().unwrap_or(0) as usize + 8
    }

    /// When one timer is due, seconds of `CLOCK_MONOTONIC`; None: it is none of these timers.
    pub fn when(&self, heap: &Heap, timer: Addr) -> Result<Option<f64>, Fault> {
        if !is_subclass(heap, heap.type_of(timer)?, self.class) {
            return Ok(None);
        }
        let when = heap.object(timer, self.when)?;
        let when = heap.float(when).or_else(|_| heap.int(when).map(|when| when as f64))?;
        Ok(Some(when).filter(|when| when.is_finite()))
    }

    /// Which of these handles have still the callback, the arguments and the context that they were read with.
    pub fn still(&self, heap: &Heap, handles: &[Handle]) -> Result<Vec<bool>, Fault> {
        let length = self.short_length();
        let mut scatter = Scatter::new();
        for handle in handles {
            scatter.push(handle.address, length);
        }
        heap.spend(handles.len().saturating_mul(length))?;
        scatter.read_each(heap.memory())?;
        let still = handles.iter().enumerate().map(|(slot, handle)| {
            scatter.bytes(slot).is_some_and(|bytes| {
                let now = [self.context, self.callback, self.args].map(|at| Addr(word_at(bytes, at as usize)));
                now == [handle.context, handle.callback, handle.args]
            })
        });
        Ok(still.collect())
    }

    /// The handles in a `_ready` queue, in the order in which they will run.
    pub fn ready(&self, heap: &Heap, queue: Addr, most: usize) -> Result<Handles, Fault> {
        let (items, is_cut) = heap.deque_items(queue, most.min(MOST_HANDLES))?;
        let mut handles = Handles {
            is_cut,
            ..Handles::default()
        };
        let mut looked = Looked::new(self);
        for handle in looked.at(heap, &items, self.short_length())? {
            match handle {
                Some((handle, false)) => handles.found.push(handle),
                Some((_, true)) => {}
                None => handles.unreadable += 1,
            }
        }
        Ok(handles)
    }

    /// The timers of a loop that are due before `until` (seconds of `CLOCK_MONOTONIC`); None: all of them. In no
    /// particular order.
    ///
    /// `_scheduled` is a heap (`heapq`): no timer is due before the one above it, so what stands below one that is not
    /// due need not be looked at.
    pub fn timers(&self, heap: &Heap, scheduled: Addr, until: Option<f64>, most: usize) -> Result<Handles, Fault> {
        let items = heap.list_items(scheduled)?;
        let most = most.min(MOST_HANDLES);
        let mut handles = Handles::default();
        let mut looked = Looked::new(self);
        let mut level: Vec<usize> = match until {
            Some(_) => (0..items.len().min(1)).collect(),
            None => (0..items.len()).collect(),
        };
        let mut seen = 0;
        while !level.is_empty() {
            let room = most - seen;
            if level.len() > room {
                handles.is_cut = true;
                level.truncate(room);
            }
            seen += level.len();
            let addresses: Vec<Addr> = level.iter().filter_map(|&i| items.get(i).copied()).collect();
            let mut timers = looked.at(heap, &addresses, self.length())?;
            looked.read_whens(heap, &mut timers)?;
            let mut below = Vec::new();
            for (&index, timer) in level.iter().zip(timers) {
                let is_due = match timer {
                    Some((handle, cancelled)) => match (handle.when, until) {
                        (Some(when), Some(until)) if when >= until => false,
                        (None, _) => {
                            handles.unreadable += 1;
                            true
                        }
                        (Some(_), _) => {
                            if !cancelled {
                                handles.found.push(handle);
                            }
                            true
                        }
                    },
                    // It says nothing of those below it.
                    None => {
                        handles.unreadable += 1;
                        true
                    }
                };
                if is_due && until.is_some() {
                    below.extend([2 * index + 1, 2 * index + 2].into_iter().filter(|&i| i < items.len()));
                }
            }
            level = below;
        }
        Ok(handles)
    }
}

/// The list of a loop's timers; None: it has none, or times that are not `CLOCK_MONOTONIC`. To be asked again for each
/// look, because the loop makes a new list when many timers were cancelled.
pub fn scheduled(heap: &Heap, event_loop: &EventLoop) -> Result<Option<Addr>, Fault> {
    if event_loop.kind != LoopKind::Asyncio || has_own_time(heap, event_loop.address)? {
        return Ok(None);
    }
    let list = heap.attribute(event_loop.address, "_scheduled")?;
    match list {
        Some(list) if heap.is_a(list, "list")? => Ok(Some(list)),
        _ => Ok(None),
    }
}

/// The loop, or a class between its own and `BaseEventLoop`, has a `time` that is not `BaseEventLoop`'s.
fn has_own_time(heap: &Heap, event_loop: Addr) -> Result<bool, Fault> {
    if heap.attribute(event_loop, "time")?.is_some() {
        return Ok(true);
    }
    let mut class = heap.type_of(event_loop)?;
    for _ in 0..MOST_BASES {
        if &*heap.name_of_type(class)? == "BaseEventLoop" {
            return Ok(false);
        }
        let dict = heap.pointer(class, heap.offsets.type_dict)?;
        // A class that keeps its dict elsewhere is none of Python code, and nobody's loop.
        if dict.is_null() || heap.dict_get(dict, "time")?.is_some() {
            return Ok(true);
        }
        class = heap.pointer(class, heap.offsets.type_base)?;
        if class.is_null() {
            break;
        }
    }
    Ok(true)
}

/// What one look at many handles remembers from one to the next.
struct Looked<'s> {
    slots: &'s HandleSlots,
    /// Classes: instances are handles.
    classes: HashMap<Addr, bool>,
    /// The two values of `_cancelled`.
    booleans: HashMap<Addr, bool>,
    float: Option<Addr>,
    scatter: Scatter,
    /// Where each handle's `_when` is, of the last look.
    whens: Vec<Addr>,
}

impl<'s> Looked<'s> {
    fn new(slots: &'s HandleSlots) -> Looked<'s> {
        Looked {
            slots,
            classes: HashMap::new(),
            booleans: HashMap::new(),
            float: None,
            scatter: Scatter::new(),
            whens: Vec::new(),
        }
    }

    /// The handles at `addresses`, each with whether it was cancelled; None: not readable, or no handle.
    fn at(&mut self, heap: &Heap, addresses: &[Addr], length: usize) -> Result<Vec<Option<(Handle, bool)>>, Fault> {
        self.scatter.clear();
        for &address in addresses {
            self.scatter.push(address, length);
        }
        heap.spend(addresses.len().saturating_mul(length))?;
        self.scatter.read_each(heap.memory())?;
        self.whens.clear();
        let mut found = Vec::with_capacity(addresses.len());
        for (slot, &address) in addresses.iter().enumerate() {
            let Some(bytes) = self.scatter.bytes(slot) else {
                self.whens.push(Addr::NULL);
                found.push(None);
                continue;
            };
            let slots = self.slots;
            let pointer = |at: u64| Addr(word_at(bytes, at as usize));
            let class = pointer(8);
            let is_handle = *self
                .classes
                .entry(class)
                .or_insert_with(|| is_subclass(heap, class, slots.class));
            let cancelled = pointer(slots.cancelled);
            let cancelled = match self.booleans.get(&cancelled) {
                Some(&known) => Some(known),
                None => {
                    let value = heap.bool(cancelled).ok();
                    if let Some(value) = value {
                        self.booleans.insert(cancelled, value);
                    }
                    value
                }
            };
            self.whens.push(pointer(slots.when));
            let handle = Handle {
                address,
                context: pointer(slots.context),
                callback: pointer(slots.callback),
                args: pointer(slots.args),
                when: None,
            };
            found.push(cancelled.filter(|_| is_handle).map(|cancelled| (handle, cancelled)));
        }
        Ok(found)
    }

    /// Reads when the handles of the last look are due.
    fn read_whens(&mut self, heap: &Heap, timers: &mut [Option<(Handle, bool)>]) -> Result<(), Fault> {
        let length = heap.offsets.float_value as usize + 8;
        self.scatter.clear();
        for &when in &self.whens {
            self.scatter.push(when, length);
        }
        heap.spend(self.whens.len().saturating_mul(length))?;
        self.scatter.read_each(heap.memory())?;
        for (slot, timer) in timers.iter_mut().enumerate() {
            let (Some((handle, _)), Some(bytes)) = (timer, self.scatter.bytes(slot)) else {
                continue;
            };
            let class = Addr(word_at(bytes, 8));
            if self.float.is_none() && heap.name_of_type(class).is_ok_and(|name| &*name == "float") {
                self.float = Some(class);
            }
            handle.when = match self.float == Some(class) {
                true => Some(f64::from_bits(word_at(bytes, heap.offsets.float_value as usize))),
                // `call_at(10, …)` keeps the int.
                false => self
                    .whens
                    .get(slot)
                    .and_then(|&when| heap.int(when).ok())
                    .map(|when| when as f64),
            }
            .filter(|when| when.is_finite());
        }
        Ok(())
    }
}

/// `class` is `ancestor` or derives from it by its first bases.
fn is_subclass(heap: &Heap, class: Addr, ancestor: Addr) -> bool {
    let mut at = class;
    for _ in 0..MOST_BASES {
        if at == ancestor {
            return true;
        }
        match heap.pointer(at, heap.offsets.type_base) {
            Ok(next) if !next.is_null() => at = next,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::{Offsets, Version};
    use crate::memory::Image;

    #[test]
    fn a_handle_whose_memory_is_anothers_is_not_the_same() {
        let slots = HandleSlots {
            class: Addr(0x1000),
            callback: 16,
            args: 24,
            cancelled: 32,
            context: 40,
            when: 48,
        };
        let handles = [0x10_000, 0x20_000, 0x30_000].map(|address| Handle {
            address: Addr(address),
            context: Addr(3),
            callback: Addr(1),
            args: Addr(2),
            when: None,
        });
        let mut image = Image::default();
        let words = |words: [u64; 6]| words.map(u64::to_le_bytes).concat();
        image.put(Addr(0x10_000), &words([1, 0x1000, 1, 2, 0, 3]));
        // Its context is another's; the third is not there any more.
        image.put(Addr(0x20_000), &words([1, 0x1000, 1, 2, 0, 4]));
        let version = Version::parse("3.12.1").expect("a version");
        let heap = Heap::new(Box::new(image), Offsets::of_minor(12).expect("a column"), version);
        heap.grant(1 << 20);
        assert_eq!(slots.still(&heap, &handles), Ok(vec![true, false, false]));
    }
}
