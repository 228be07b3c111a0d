//! The chain of frames from a thread state to its root, as bare pairs of code object and instruction. Knows nothing of
//! names and lines: `stacks.rs` finds those, later and mostly from memory.
//!
//! A walk reads through any `Memory`: the worker itself, a recorded image, or a copy of the few ranges in which the frames
//! lie, so that a walk over such a copy is as fast as the copy. What it reads may be damage: it is bounded in depth, ends
//! where a chain is a ring, and refuses what cannot be a frame.

use super::objects::word_at;
use super::offsets::{ABSENT, Offsets};
use super::version::Version;
use crate::memory::{Fault, Memory};
use crate::model::Addr;

/// Deeper stacks are cut here: what is missing are the outermost frames.
pub const MOST_FRAMES: usize = 512;
/// With the shims between C and Python, of which there is at most one a frame.
const MOST_HOPS: usize = 2 * MOST_FRAMES + 2;
/// No frame's head is longer.
const LONGEST_HEAD: usize = 128;

/// A frame as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawFrame {
    pub code: Addr,
    /// 3.8–3.10: `f_lasti`, sign-extended. From 3.11: the address that `prev_instr` or `instr_ptr` holds.
    pub instruction: u64,
}

/// What a walk finds. Reused from walk to walk, so that walking does not allocate.
#[derive(Clone, Debug, Default)]
pub struct RawStack {
    /// Innermost first, without the shims between C and Python.
    pub frames: Vec<RawFrame>,
    /// Where the frames lie, the shims included: what a copy for the next walk should hold, `FrameWalk::head` bytes each.
    pub places: Vec<Addr>,
    /// It goes deeper than `MOST_FRAMES`.
    pub is_cut: bool,
    /// Of `frames` and `is_cut`.
    pub hash: u64,
    /// Where the walk read last: after `Fault::Unmapped`, what the copy lacks.
    pub last_read: (Addr, usize),
}

impl RawStack {
    pub fn clear(&mut self) {
        self.frames.clear();
        self.places.clear();
        self.is_cut = false;
        self.hash = 0;
        self.last_read = (Addr::NULL, 0);
    }

    fn push(&mut self, frame: RawFrame) {
        // One multiplication a word: the keys are addresses, and whoever finds by the hash compares the frames too.
        for word in [frame.code.0, frame.instruction] {
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        self.frames.push(frame);
    }
}

/// How a thread state leads to its innermost frame.
#[derive(Clone, Copy, Debug)]
enum Top {
    /// The thread state has it: `frame` up to 3.10, `current_frame` from 3.13.
    Direct(u64),
    /// 3.11 and 3.12: `cframe`, which mostly lies on the C stack, and `current_frame` in that.
    ThroughCFrame(u64, u64),
}

/// How frames of one version are read: the offsets that a walk needs, worked out once.
#[derive(Clone, Copy, Debug)]
pub struct FrameWalk {
    top: Top,
    previous: usize,
    code: usize,
    instruction: usize,
    /// None up to 3.10, where frames are objects and there are no shims.
    owner: Option<usize>,
    first_shim: u8,
    last_owner: u8,
    /// Low bits of `f_executable` that are no part of the address (3.14: `_PyStackRef`).
    tags: u64,
    /// 3.12 only: a frame whose instruction is this far from its code object has not begun.
    not_begun: Option<u64>,
    /// Bytes of a frame that are read, from its start.
    pub head: usize,
}

/// Frames that C made to call Python, or Python to return to C, have an owner from here on
/// (Include/internal/pycore_frame.h: `FRAME_OWNED_BY_CSTACK` in 3.12 and 3.13, `FRAME_OWNED_BY_INTERPRETER` from 3.14).
const FIRST_SHIM: u8 = 3;
/// `FRAME_OWNED_BY_GENERATOR`, from 3.11 on.
const OWNED_BY_GENERATOR: u8 = 1;

impl FrameWalk {
    pub fn new(offsets: &Offsets, version: Version) -> FrameWalk {
        let o = offsets;
        let of_object = o.tstate_frame != ABSENT;
        let (previous, code, instruction, owner) = match of_object {
            true => (o.frameobject_back, o.frameobject_code, o.frameobject_lasti, None),
            false => (
                o.frame_previous,
                o.frame_executable,
                o.frame_instruction,
                Some(o.frame_owner as usize),
            ),
        };
        let top = match (of_object, o.tstate_cframe == ABSENT) {
            (true, _) => Top::Direct(o.tstate_frame),
            (false, true) => Top::Direct(o.tstate_current_frame),
            (false, false) => Top::ThroughCFrame(o.tstate_cframe, o.cframe_current_frame),
        };
        let ends = [previous as usize, code as usize, instruction as usize].map(|at| at.saturating_add(8));
        let head = ends.into_iter().chain(owner.map(|at| at.saturating_add(1))).max();
        FrameWalk {
            top,
            previous: previous as usize,
            code: code as usize,
            instruction: instruction as usize,
            owner,
            first_shim: FIRST_SHIM,
            // 3.11 has no shims; 3.14 has two kinds.
            last_owner: match version.minor {
                ..=11 => 2,
                14 => 4,
                _ => 3,
            },
            tags: if version.at_least(3, 14) { 3 } else { 0 },
            not_begun: (version.minor == 12).then(|| o.code_instructions.wrapping_sub(2)),
            head: head.unwrap_or(0).min(LONGEST_HEAD),
        }
    }

    /// Where the word is that a walk begins with: (offset in the thread state).
    pub fn top_in_thread_state(&self) -> u64 {
        match self.top {
            Top::Direct(at) | Top::ThroughCFrame(at, _) => at,
        }
    }

    /// 3.11 and 3.12: how far `current_frame` stands from what the thread state's word points at. None: that word is the
    /// frame itself.
    pub fn through(&self) -> Option<u64> {
        match self.top {
            Top::Direct(_) => None,
            Top::ThroughCFrame(_, at) => Some(at),
        }
    }

    /// Where a frame has the address of its caller.
    pub fn caller_in_frame(&self) -> usize {
        self.previous
    }

    /// 3.11 and 3.12: where `current_frame` stands, from the value of the thread state's word. None: that word is the
    /// frame itself.
    pub fn current_frame_at(&self, word: u64) -> Option<Addr> {
        match self.top {
            Top::Direct(_) => None,
            Top::ThroughCFrame(_, at) => Some(Addr(word).offset(at)),
        }
    }

    /// The innermost frame of a thread, a shim perhaps; NULL: it runs no Python code.
    pub fn top<M: Memory + ?Sized>(&self, memory: &M, thread: Addr, into: &mut RawStack) -> Result<Addr, Fault> {
        let word = read_word(memory, thread.offset(self.top_in_thread_state()), into)?;
        match self.current_frame_at(word) {
            None => Ok(Addr(word)),
            Some(_) if word == 0 => Ok(Addr::NULL),
            Some(at) => read_word(memory, at, into).map(Addr),
        }
    }

    /// Walks from the thread state at `thread` to the root. No frames: the thread runs no Python code.
    pub fn walk<M: Memory + ?Sized>(&self, memory: &M, thread: Addr, into: &mut RawStack) -> Result<(), Fault> {
        into.clear();
        let top = self.top(memory, thread, into)?;
        self.walk_from(memory, top, into)
    }

    /// Walks from the innermost frame of a thread to the root.
    pub fn walk_from<M: Memory + ?Sized>(&self, memory: &M, top: Addr, into: &mut RawStack) -> Result<(), Fault> {
        let last_read = into.last_read;
        into.clear();
        into.last_read = last_read;
        let mut at = top;
        // A ring is found by what was seen at the last hop whose number is a power of two (Brent).
        let (mut seen, mut until) = (Addr::NULL, 1);
        for hop in 0..MOST_HOPS {
            if at.is_null() {
                return Ok(());
            }
            if at == seen {
                return Err(Fault::Implausible("frame: the chain is a ring"));
            }
            if hop == until {
                (seen, until) = (at, until * 2);
            }
            let frame = self.read(memory, at, into)?;
            into.places.push(at);
            if let Some(raw) = frame.raw {
                if hop == 0 && self.has_not_begun(&raw) {
                    return Err(Fault::Implausible("frame that has not begun"));
                }
                if hop == 0 && self.is_of_long_ago(&frame) {
                    return Err(Fault::Implausible("suspended coroutine as the frame that runs"));
                }
                if into.frames.len() == MOST_FRAMES {
                    break;
                }
                into.push(raw);
            }
            at = frame.previous;
        }
        into.is_cut = true;
        into.hash = !into.hash;
        Ok(())
    }

    /// 3.12 makes a new frame the current one before it sets its `previous`: while its first instruction has not begun,
    /// what stands there may be a caller of long ago.
    pub(super) fn has_not_begun(&self, frame: &RawFrame) -> bool {
        self.not_begun
            .is_some_and(|before| frame.code.0.wrapping_add(before) == frame.instruction)
    }

    /// 3.11 and 3.12 make a new `_PyCFrame` the thread's a few instructions before they set its `current_frame`
    /// (Python/ceval.c, `_PyEval_EvalFrameDefault`): until then there stands what ran last at that depth of the C stack, such
    /// as a coroutine that is suspended meanwhile. One that runs was called by something.
    fn is_of_long_ago(&self, frame: &FrameHead) -> bool {
        matches!(self.top, Top::ThroughCFrame(..)) && frame.is_generators && frame.previous.is_null()
    }

    /// Where the word stands that names the caller of the frame at `at`.
    pub(super) fn caller_at(&self, at: Addr) -> Addr {
        at.offset(self.previous as u64)
    }

    /// Reads the frame at `at`.
    pub fn read<M: Memory + ?Sized>(&self, memory: &M, at: Addr, into: &mut RawStack) -> Result<FrameHead, Fault> {
        if at.0 < 4096 || !at.0.is_multiple_of(8) {
            return Err(Fault::Implausible("frame"));
        }
        let mut head = [0; LONGEST_HEAD];
        let head = head.get_mut(..self.head).ok_or(Fault::Implausible("frame"))?;
        into.last_read = (at, self.head);
        memory.read(at, head)?;
        self.of_head(head)
    }

    /// A frame from its first `head` bytes.
    pub fn of_head(&self, head: &[u8]) -> Result<FrameHead, Fault> {
        let previous = Addr(word_at(head, self.previous));
        let word = word_at(head, self.code);
        let Some(owner) = self.owner else {
            let lasti = word_at(head, self.instruction) as u32 as i32;
            let raw = raw(Addr(word), i64::from(lasti) as u64)?;
            return Ok(FrameHead {
                previous,
                is_generators: false,
                raw: Some(raw),
            });
        };
        let owner = head.get(owner).copied().ok_or(Fault::Implausible("frame"))?;
        if owner > self.last_owner {
            return Err(Fault::Implausible("owner of frame"));
        }
        if owner >= self.first_shim {
            return Ok(FrameHead {
                previous,
                is_generators: false,
                raw: None,
            });
        }
        let raw = raw(Addr(word & !self.tags), word_at(head, self.instruction))?;
        Ok(FrameHead {
            previous,
            is_generators: owner == OWNED_BY_GENERATOR,
            raw: Some(raw),
        })
    }
}

/// One frame, and who called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub previous: Addr,
    /// From 3.11 on: it is a generator's or coroutine's own.
    pub is_generators: bool,
    /// None: a shim between C and Python.
    pub raw: Option<RawFrame>,
}

fn raw(code: Addr, instruction: u64) -> Result<RawFrame, Fault> {
    if code.0 < 4096 || !code.0.is_multiple_of(8) {
        return Err(Fault::Implausible("code of frame"));
    }
    Ok(RawFrame { code, instruction })
}

fn read_word<M: Memory + ?Sized>(memory: &M, at: Addr, into: &mut RawStack) -> Result<u64, Fault> {
    let mut word = [0; 8];
    into.last_read = (at, 8);
    memory.read(at, &mut word)?;
    Ok(u64::from_le_bytes(word))
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
