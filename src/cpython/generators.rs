//! Coroutines and generators that do not run: what they run, where they stand, and what they wait for. Knows nothing of
//! tasks, and nothing of which objects are worth following.
//!
//! From 3.11 on the frame lies in the object itself, so that one read shows all of it; before, the object points to a
//! frame object.

use super::frames::RawFrame;
use super::heap::Heap;
use super::links::Links;
use super::objects::word_at;
use super::offsets::{ABSENT, Offsets};
use super::version::Version;
use crate::memory::Fault;
use crate::model::Addr;

/// Where a coroutine or generator is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoroutineState {
    /// Its first instruction has not begun.
    Created,
    /// Stands at a `yield` or an `await`.
    Suspended,
    /// Runs, or something that it called or awaits does: its stack of values is not to be read.
    Executing,
    /// Returned, raised or closed.
    Finished,
}

/// A coroutine or generator, as its frame shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoroutineFrame {
    pub state: CoroutineState,
    /// What it runs and where; `Stacks::frame` finds function and line. None: finished, the frame is gone.
    pub raw: Option<RawFrame>,
    /// Where the pointer stands to what it waits for: the top of its stack of values. None unless suspended. A coroutine
    /// that is suspended always awaits; a generator may also have yielded, then this is something else.
    pub awaited_at: Option<Addr>,
    /// It stands in an `await`, `yield from` or `async for`, and not at a `yield` of its own. None: that is not in the
    /// object before 3.13; `Heap::is_delegating` looks at the instruction.
    pub delegates: Option<bool>,
}

/// A coroutine that was looked at: its frame and where that lies, and what it awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoroutineLook {
    pub frame: CoroutineFrame,
    pub awaited: Option<Addr>,
    /// Where the frame begins (3.11 on, in the object itself), or the frame object.
    pub place: Addr,
}

/// No frame has more locals and values; what claims so is damage.
const MOST_SLOTS: u64 = 1 << 20;

/// How coroutines of one version are read: the offsets that this needs, worked out once.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorLayout {
    minor: u8,
    /// Bytes of the object that are read, from its start.
    pub head: usize,
    /// Bytes of the frame object that are read (3.8–3.10).
    pub frame_head: usize,
    state: usize,
    code: usize,
    instruction: usize,
    stack: usize,
    /// Of the first local, seen from the start of the object (3.11 on) or of the frame object.
    localsplus: u64,
    valuestack: usize,
    frame_object: usize,
    tags: u64,
}

/// The head of a coroutine object, read: all that there is, or where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadOf {
    Frame(CoroutineFrame),
    /// 3.8–3.10: the frame object, of which `frame_head` bytes tell the rest.
    FrameObject(Addr),
}

impl GeneratorLayout {
    pub fn new(o: &Offsets, version: Version) -> GeneratorLayout {
        let embedded = o.coro_frame != ABSENT;
        // `ABSENT` plus something wraps and is not used.
        let in_object = |at: u64| o.coro_frame.wrapping_add(at) as usize;
        let end = |places: &[usize]| {
            let last = places.iter().copied().max().unwrap_or(0);
            if last > 4096 { 0 } else { last + 8 }
        };
        let tags = if version.at_least(3, 14) { 3 } else { 0 };
        if embedded {
            let places = [
                in_object(o.frame_executable),
                in_object(o.frame_instruction),
                in_object(o.frame_stack),
                o.coro_frame_state as usize,
            ];
            let [code, instruction, stack, state] = places;
            return GeneratorLayout {
                minor: version.minor,
                head: end(&places),
                frame_head: 0,
                state,
                code,
                instruction,
                stack,
                localsplus: in_object(o.frame_localsplus) as u64,
                valuestack: 0,
                frame_object: 0,
                tags,
            };
        }
        let places = [o.frameobject_code, o.frameobject_lasti, o.frameobject_stack].map(|at| at as usize);
        let valuestack = o.frameobject_valuestack as usize;
        let [code, instruction, stack] = places;
        GeneratorLayout {
            minor: version.minor,
            head: end(&[o.coro_frame_object as usize]),
            frame_head: end(&places).max(end(&[valuestack])),
            state: 0,
            code,
            instruction,
            stack,
            localsplus: o.frameobject_localsplus,
            valuestack,
            frame_object: o.coro_frame_object as usize,
            tags,
        }
    }

    /// From the first `head` bytes of the object at `at`.
    pub fn of_head(&self, at: Addr, head: &[u8]) -> Result<HeadOf, Fault> {
        if self.frame_head > 0 {
            return Ok(match Addr(word_at(head, self.frame_object)) {
                Addr::NULL => HeadOf::Frame(FINISHED),
                frame => HeadOf::FrameObject(frame),
            });
        }
        let state_byte = head.get(self.state).copied().ok_or(Fault::Implausible("coroutine"))? as i8;
        let state = state_of(self.minor, state_byte).ok_or(Fault::Implausible("state of coroutine"))?;
        if state == CoroutineState::Finished {
            return Ok(HeadOf::Frame(FINISHED));
        }
        let code = Addr(word_at(head, self.code) & !self.tags);
        let raw = Some(RawFrame {
            code,
            instruction: word_at(head, self.instruction),
        });
        let awaited_at = match state {
            CoroutineState::Suspended => {
                let locals = at.offset(self.localsplus);
                let stack = word_at(head, self.stack);
                // One behind the last value: a number of slots (int) up to 3.13, then a pointer. In 3.15 the value that
                // is sent in has a slot of its own above what is awaited.
                let (slots, down) = match self.minor {
                    ..=13 => (u64::from(stack as u32), 1),
                    14 => (stack.wrapping_sub(locals.0) / 8, 1),
                    _ => (stack.wrapping_sub(locals.0) / 8, 2),
                };
                if slots > MOST_SLOTS {
                    return Err(Fault::Implausible("stack of coroutine"));
                }
                // None: it has neither locals nor values, as one that stands at a bare `yield`.
                slots.checked_sub(down).map(|slot| locals.offset(slot * 8))
            }
            _ => None,
        };
        let delegates = match (self.minor, state_byte) {
            (13 | 14, -1) | (15.., 2) => Some(true),
            (13.., _) => Some(false),
            _ => None,
        };
        Ok(HeadOf::Frame(CoroutineFrame {
            state,
            raw,
            awaited_at,
            delegates,
        }))
    }

    /// From the first `frame_head` bytes of the frame object at `at` (3.8–3.10).
    pub fn of_frame_object(&self, at: Addr, head: &[u8]) -> Result<CoroutineFrame, Fault> {
        let lasti = word_at(head, self.instruction) as u32 as i32;
        let raw = Some(RawFrame {
            code: Addr(word_at(head, self.code)),
            instruction: i64::from(lasti) as u64,
        });
        let bottom = Addr(word_at(head, self.valuestack));
        // 3.8 and 3.9: one behind the last value, NULL while it runs; 3.10: how many there are, −1 while it runs.
        let top = match self.minor {
            10 => match word_at(head, self.stack) as u32 as i32 {
                depth @ 0.. => Some(bottom.offset(depth as u64 * 8)),
                _ => None,
            },
            _ => Some(Addr(word_at(head, self.stack))).filter(|top| !top.is_null()),
        };
        let (state, awaited_at) = match top {
            None => (CoroutineState::Executing, None),
            Some(_) if lasti < 0 => (CoroutineState::Created, None),
            Some(top) => {
                let slots = top.0.wrapping_sub(bottom.0) / 8;
                let before = bottom.0.wrapping_sub(at.offset(self.localsplus).0) / 8;
                if slots > MOST_SLOTS || before > MOST_SLOTS {
                    return Err(Fault::Implausible("stack of coroutine"));
                }
                // No value: it stands at a `yield` of its own, which has given its value away.
                let awaited_at = (slots > 0).then(|| top.offset(0u64.wrapping_sub(8)));
                (CoroutineState::Suspended, awaited_at)
            }
        };
        Ok(CoroutineFrame {
            state,
            raw,
            awaited_at,
            delegates: None,
        })
    }

    /// Where the first local stands, seen from the start of the object (3.11 on) or of the frame object.
    pub fn first_local(&self) -> u64 {
        self.localsplus
    }

    /// The object that the word at `awaited_at` points to.
    pub fn awaited(&self, word: u64) -> Addr {
        Addr(word & !self.tags)
    }
}

const FINISHED: CoroutineFrame = CoroutineFrame {
    state: CoroutineState::Finished,
    raw: None,
    awaited_at: None,
    delegates: None,
};

/// `gi_frame_state` (Include/internal/pycore_frame.h, in 3.15 pycore_interpframe_structs.h).
fn state_of(minor: u8, state: i8) -> Option<CoroutineState> {
    use CoroutineState::{Created, Executing, Finished, Suspended};
    Some(match (minor, state) {
        (11 | 12, -2) | (13 | 14, -3) | (15.., 0) => Created,
        (11 | 12, -1) | (13 | 14, -2 | -1) | (15.., 1 | 2) => Suspended,
        // 3 is suspended and locked, for the moment that another thread looks at it; only without the GIL.
        (11..=14, 0) | (15.., 3 | 4) => Executing,
        (11..=14, 1 | 4) | (15.., 5) => Finished,
        _ => return None,
    })
}

impl Heap {
    /// A coroutine, generator or async generator: its frame, and what it awaits if it is suspended in an `await`, a
    /// `yield from` or an `async for`.
    pub fn coroutine_frame(&self, object: Addr) -> Result<(CoroutineFrame, Option<Addr>), Fault> {
        let look = self.coroutine_by(object, &mut Links::new())?;
        Ok((look.frame, look.awaited))
    }

    /// The same, and where the frame is; with the words that would change if it ran on, or stopped running: its state,
    /// how high its stack of values is, and the value on top.
    pub fn coroutine_by(&self, object: Addr, links: &mut Links) -> Result<CoroutineLook, Fault> {
        let layout = GeneratorLayout::new(&self.offsets, self.version);
        let head = self.bytes(object, layout.head)?;
        let mut keep = |at: Addr, head: &[u8], place: usize, length: usize| {
            let bytes = head.get(place..place.saturating_add(length)).unwrap_or_default();
            links.push((at.offset(place as u64), bytes.to_vec()));
        };
        let stack_width = if (10..=13).contains(&self.version.minor) { 4 } else { 8 };
        let (place, frame) = match layout.of_head(object, &head)? {
            HeadOf::Frame(frame) => {
                match layout.frame_head {
                    0 => keep(object, &head, layout.state, 1),
                    _ => keep(object, &head, layout.frame_object, 8),
                }
                if frame.state == CoroutineState::Suspended {
                    keep(object, &head, layout.stack, stack_width);
                }
                (object.offset(self.offsets.coro_frame), frame)
            }
            HeadOf::FrameObject(at) => {
                keep(object, &head, layout.frame_object, 8);
                let head = self.bytes(at, layout.frame_head)?;
                keep(at, &head, layout.stack, stack_width);
                (at, layout.of_frame_object(at, &head)?)
            }
        };
        let mut look = CoroutineLook {
            frame,
            awaited: None,
            place,
        };
        let (Some(at), Some(raw)) = (frame.awaited_at, frame.raw) else {
            return Ok(look);
        };
        let delegates = match frame.delegates {
            Some(known) => known,
            None => self.is_a(object, "coroutine")? || self.is_delegating(&raw)?,
        };
        if delegates {
            let awaited = layout.awaited(self.pointer_by(at, 0, links)?.0);
            look.awaited = Some(awaited).filter(|object| !object.is_null());
        }
        Ok(look)
    }

    /// The local variable number `index` of a frame, NULL where it is not set.
    pub fn frame_local_by(&self, frame: Addr, index: u64, links: &mut Links) -> Result<Addr, Fault> {
        let o = &self.offsets;
        let first = if o.coro_frame == ABSENT {
            o.frameobject_localsplus
        } else {
            o.frame_localsplus
        };
        let word = self.pointer_by(frame, first.wrapping_add(index.wrapping_mul(8)), links)?;
        Ok(GeneratorLayout::new(o, self.version).awaited(word.0))
    }

    /// The code of the frame at `frame` (`CoroutineLook::place`): the word that would be another if the memory were reused.
    pub fn frame_code_by(&self, frame: Addr, links: &mut Links) -> Result<Addr, Fault> {
        let o = &self.offsets;
        let at = if o.coro_frame == ABSENT {
            o.frameobject_code
        } else {
            o.frame_executable
        };
        let word = self.pointer_by(frame, at, links)?;
        Ok(GeneratorLayout::new(o, self.version).awaited(word.0))
    }

    /// `gi_qualname` (Include/genobject.h up to 3.10, later Include/internal/pycore_genobject.h). NULL: it is being
    /// freed, which is where a coroutine loses its names first (`gen_dealloc`).
    pub fn coroutine_name_by(&self, coroutine: Addr, links: &mut Links) -> Result<Addr, Fault> {
        let at = match self.version.minor {
            ..=9 => 56,
            10 => 48,
            11 => 40,
            _ => 32,
        };
        self.pointer_by(coroutine, at, links)
    }

    /// Whether a suspended frame stands in an `await`, `yield from` or `async for`, by the instruction that is next
    /// (`_PyGen_yf` in Objects/genobject.c, 3.8–3.12).
    pub fn is_delegating(&self, raw: &RawFrame) -> Result<bool, Fault> {
        const YIELD_FROM: u8 = 72;
        // What follows a `yield` is a RESUME whose argument says after what: 1 a yield, 2 a yield from, 3 an await.
        const AFTER_YIELD_FROM: u8 = 2;
        let mut next = [0; 2];
        if self.version.at_least(3, 11) {
            self.read(Addr(raw.instruction), 2, &mut next)?;
            return Ok(next[1] & 3 >= AFTER_YIELD_FROM);
        }
        let unit = if self.version.at_least(3, 10) { 2 } else { 1 };
        let bytecode = self.object(raw.code, self.offsets.code_bytecode)?;
        let at = raw.instruction.wrapping_mul(unit).wrapping_add(2);
        if at.wrapping_add(2) > self.word(bytecode, self.offsets.bytes_size)? {
            return Err(Fault::Implausible("instruction of frame"));
        }
        self.read(bytecode, self.offsets.bytes_data.wrapping_add(at), &mut next)?;
        Ok(next[0] == YIELD_FROM)
    }
}
