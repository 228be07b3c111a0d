//! From bare frames to stacks of the model: each stack that was met before is found again by its hash, so that a sample of
//! a known place costs a comparison. Knows nothing of how the frames were walked, nor of sessions.

use super::codes::Codes;
use super::frames::{RawFrame, RawStack};
use super::heap::Heap;
use super::offsets::ABSENT;
use super::threads::Runtime;
use crate::memory::Fault;
use crate::model::{Addr, Frame, Stack};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Bare frames that are remembered, of all stacks together: some megabytes. With more, it starts over.
const MOST_FRAMES_KNOWN: usize = 150_000;

/// Stacks and code objects that were met, with what is known of them.
#[derive(Default)]
pub struct Stacks {
    codes: Codes,
    /// By the hash of the bare frames.
    known: HashMap<u64, Known, Hashed>,
    /// Equal stacks are one, also where their instructions differ; by the hash of the frames' addresses.
    stacks: HashMap<u64, Arc<Stack>, Hashed>,
    frames_known: usize,
    /// `_code_object_generation` of the last sample.
    generation: Option<u64>,
}

struct Known {
    frames: Box<[RawFrame]>,
    stack: Arc<Stack>,
    /// What `Codes::check` said of its code objects.
    codes: u64,
    /// One of them may go.
    may_go: bool,
    looked_at: u64,
}

impl Stacks {
    pub fn new() -> Stacks {
        Stacks::default()
    }

    /// The stack of these bare frames, from memory where it was met before, else read from the worker, which has gone on
    /// since the walk.
    ///
    /// A frame that runs keeps its code object alive; after that another one may stand in its place. `generation` is
    /// `_code_object_generation` (3.14 on) at the instant of the walk: where it has moved, code objects are looked at
    /// again, and those that had to be read anew are not believed, for they may be others. Older versions (None) do not
    /// count: code that may go is looked at each time, and not believed where it was not known and another one stood there
    /// before; for the rest call `look_again` now and then.
    pub fn resolve(
        &mut self,
        heap: &Heap,
        runtime: &Runtime,
        raw: &RawStack,
        generation: Option<u64>,
    ) -> Result<Arc<Stack>, Fault> {
        let codes = raw.frames.iter().map(|frame| frame.code);
        let (stack, fresh) = self.find(heap, raw, generation)?;
        let moved = match generation {
            _ if fresh.is_empty() => false,
            None => fresh.iter().any(|&code| self.codes.is_reused(code)),
            counted => heap.code_generation(runtime)? != counted,
        };
        if moved {
            codes.for_each(|code| self.codes.forget(code));
            return Err(Fault::Implausible("code: one was freed meanwhile"));
        }
        Ok(stack)
    }

    /// As `resolve`, where the worker has not run since the walk: it is stopped, or the caller has kept its CPU. What is
    /// read now is what was there then.
    pub fn resolve_at_once(
        &mut self,
        heap: &Heap,
        raw: &RawStack,
        generation: Option<u64>,
    ) -> Result<Arc<Stack>, Fault> {
        self.find(heap, raw, generation).map(|(stack, _)| stack)
    }

    /// The stack, and the code objects that had to be read for it.
    fn find(&mut self, heap: &Heap, raw: &RawStack, generation: Option<u64>) -> Result<(Arc<Stack>, Vec<Addr>), Fault> {
        if generation != self.generation {
            self.generation = generation;
            self.codes.look_again();
        }
        let look = self.codes.look();
        let codes = raw.frames.iter().map(|frame| frame.code);
        let each_time = generation.is_none();
        let known = self.known.get_mut(&raw.hash);
        let known = known.filter(|known| *known.frames == *raw.frames && known.stack.is_cut == raw.is_cut);
        if let Some(known) = known {
            if known.looked_at == look && !(each_time && known.may_go) {
                return Ok((Arc::clone(&known.stack), Vec::new()));
            }
            if self.codes.check(heap, codes.clone(), each_time)? == Some(known.codes) {
                known.looked_at = look;
                return Ok((Arc::clone(&known.stack), Vec::new()));
            }
        } else {
            self.codes.check(heap, codes.clone(), each_time)?;
        }
        let fresh = codes.clone().filter(|&code| !self.codes.knows(code)).collect();
        let frames: Vec<Arc<Frame>> = raw
            .frames
            .iter()
            .map(|frame| self.codes.frame(heap, frame))
            .collect::<Result<_, _>>()?;
        let stack = self.intern(frames, raw.is_cut);
        // None: there are more code objects in one stack than are remembered at all.
        if let Some(number) = self.codes.check(heap, codes, false)? {
            self.remember(raw, &stack, number, look);
        }
        Ok((stack, fresh))
    }

    /// What is remembered is looked at again before it is believed: for versions that do not count freed code objects
    /// (up to 3.13), to be called now and then.
    pub fn look_again(&mut self) {
        self.codes.look_again();
    }

    /// One frame, of a coroutine that is suspended for instance.
    pub fn frame(&mut self, heap: &Heap, raw: &RawFrame) -> Result<Arc<Frame>, Fault> {
        self.codes
            .check(heap, std::iter::once(raw.code), self.generation.is_none())?;
        self.codes.frame(heap, raw)
    }

    /// Whether the innermost frame of a walk calls `gc.collect()`; None: that cannot be told (`Heap::calls_collect`).
    pub fn calls_collect(&mut self, heap: &Heap, innermost: &RawFrame) -> Option<bool> {
        let code = self.codes.get(heap, innermost.code).ok()?;
        heap.calls_collect(code, innermost)
    }

    /// The code objects that were met.
    pub fn codes(&mut self) -> &mut Codes {
        &mut self.codes
    }

    fn intern(&mut self, frames: Vec<Arc<Frame>>, is_cut: bool) -> Arc<Stack> {
        let mut hash = u64::from(is_cut);
        for frame in &frames {
            let word = Arc::as_ptr(frame) as usize as u64;
            hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        if let Some(stack) = self.stacks.get(&hash)
            && stack.is_cut == is_cut
            && stack.frames.len() == frames.len()
            && stack.frames.iter().zip(&frames).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return Arc::clone(stack);
        }
        let stack = Arc::new(Stack {
            frames: frames.into(),
            is_cut,
        });
        self.stacks.insert(hash, Arc::clone(&stack));
        stack
    }

    fn remember(&mut self, raw: &RawStack, stack: &Arc<Stack>, codes: u64, look: u64) {
        if self.frames_known + raw.frames.len() > MOST_FRAMES_KNOWN {
            self.known.clear();
            self.stacks.clear();
            self.frames_known = 0;
        }
        let known = Known {
            frames: raw.frames.as_slice().into(),
            stack: Arc::clone(stack),
            codes,
            may_go: raw.frames.iter().any(|frame| self.codes.may_go(frame.code)),
            looked_at: look,
        };
        self.frames_known += raw.frames.len();
        if let Some(old) = self.known.insert(raw.hash, known) {
            self.frames_known = self.frames_known.saturating_sub(old.frames.len());
        }
    }
}

impl Heap {
    /// `_code_object_generation`: how many code objects were freed. None up to 3.13.
    pub fn code_generation(&self, runtime: &Runtime) -> Result<Option<u64>, Fault> {
        match self.code_generation_at(runtime) {
            None => Ok(None),
            Some(at) => self.word(at, 0).map(Some),
        }
    }

    /// Where that counter stands.
    pub fn code_generation_at(&self, runtime: &Runtime) -> Option<Addr> {
        let at = self.offsets.interp_code_generation;
        (at != ABSENT).then(|| runtime.interpreter.offset(at))
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);
type Hashed = BuildHasherDefault<AsItIs>;

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        // The upper half is the better one; the table uses both ends.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
