//! Which coroutines and generators run inside of one that runs: by the frames of its thread, with the words that prove
//! it. Knows nothing of tasks, nor of names and lines.
//!
//! A coroutine that runs says nothing of what it awaits: its stack of values is not to be read. But the frame of what it
//! awaits has it for a caller. How that frame is come by, through frames that come and go by the microsecond, proves
//! nothing; what proves it is that it runs, and each link from there back: a frame that runs has a caller that waits for
//! it, so that caller's link is good too, and so on outwards.

use super::frames::{FrameWalk, MOST_FRAMES, RawStack};
use super::heap::Heap;
use super::links::{Links, link};
use super::offsets::ABSENT;
use crate::memory::Fault;
use crate::model::Addr;

/// `FRAME_OWNED_BY_GENERATOR` (Include/internal/pycore_frame.h).
const OWNED_BY_GENERATOR: u8 = 1;

impl Heap {
    /// The coroutines and generators that run on the thread inside of the one whose frame is at `outer`, outermost first,
    /// each with the links from its frame to that of the one before it. None: that one was not met on the thread.
    pub fn running_inside(&self, thread: Addr, outer: Addr) -> Result<Option<Vec<(Addr, Links)>>, Fault> {
        let walk = FrameWalk::new(&self.offsets, self.version);
        let mut last = RawStack::default();
        let mut found: Vec<(Addr, Links)> = Vec::new();
        let mut at = walk.top(self.memory(), thread, &mut last)?;
        for hop in 0..MOST_FRAMES {
            if at == outer {
                found.reverse();
                return Ok(Some(found));
            }
            if at.is_null() {
                return Ok(None);
            }
            self.spend(walk.head)?;
            let frame = walk.read(self.memory(), at, &mut last)?;
            if hop == 0 && frame.raw.is_some_and(|raw| walk.has_not_begun(&raw)) {
                return Err(Fault::Implausible("frame that has not begun"));
            }
            found.extend(self.generator_of(at)?.map(|generator| (generator, Links::new())));
            if let Some((_, links)) = found.last_mut() {
                link(links, walk.caller_at(at), frame.previous.0);
            }
            at = frame.previous;
        }
        Ok(None)
    }

    /// The generator whose frame this is; None: it is a function's.
    fn generator_of(&self, frame: Addr) -> Result<Option<Addr>, Fault> {
        let o = &self.offsets;
        if o.coro_frame != ABSENT {
            let is_one = self.byte(frame, o.frame_owner)? == OWNED_BY_GENERATOR;
            return Ok(is_one.then(|| Addr(frame.0.wrapping_sub(o.coro_frame))));
        }
        // `f_gen`, Include/frameobject.h, in 3.10 Include/cpython/frameobject.h.
        let at = if self.version.minor == 10 { 88 } else { 96 };
        let generator = self.pointer(frame, at)?;
        Ok((!generator.is_null()).then_some(generator))
    }
}
