//! The first read of a tick: the words of every thread at one instant, with what stands around them. Knows nothing of
//! what they prove.
//!
//! A thread runs Python code, and enters contexts, only while it holds the GIL, and `switch_number` moves whenever another
//! thread takes it than had it last (Python/ceval_gil.c: `take_gil`). So where neither has changed since the last tick, no
//! thread has but the one that had it last, and the words of all others are still those that were read then. In a worker
//! with forty threads in a pool that saves most of the read.

use super::fixed::FixedWords;
use super::still::{Words, WordsAt};
use super::threads::{Thread, Threads};
use crate::cpython::GilWords;
use crate::memory::{Fault, Memory, Scatter};
use crate::model::{Addr, Nanos};

pub(super) struct FirstRead {
    pub at: WordsAt,
    fixed: FixedWords,
    slot: usize,
    /// The loops' threads, the fixed words, and what the caller adds.
    pub scatter: Scatter,
    /// Where each loop's words are that count.
    counting: Vec<usize>,
    others: Scatter,
    /// Of each thread, as last read; None: it ended, or another one took its place.
    words: Vec<Option<Words>>,
    /// `last_holder` and `switch_number` when they were read.
    gil: Option<(Addr, u64)>,
    /// The fixed words alone.
    again: Scatter,
}

impl FirstRead {
    pub fn new(at: WordsAt, fixed: FixedWords) -> FirstRead {
        FirstRead {
            at,
            fixed,
            slot: 0,
            scatter: Scatter::new(),
            counting: Vec::new(),
            others: Scatter::new(),
            words: Vec::new(),
            gil: None,
            again: Scatter::new(),
        }
    }

    /// To be called before the list of threads changes.
    pub fn forget(&mut self) {
        self.gil = None;
        self.words.clear();
    }

    /// Begins.
    pub fn begin(&mut self) {
        self.scatter.clear();
        self.counting.clear();
    }

    /// Asks for the words of the next loop's thread, behind all that the caller has asked for by then: these are the ones that
    /// count. To be called once for each, in the order of the threads.
    pub fn push_loop(&mut self, thread: &Thread) {
        let slot = self.at.push(thread.state.address, &mut self.scatter);
        self.counting.push(slot);
    }

    /// Reads it, and says when.
    pub fn take(
        &mut self,
        threads: &mut Threads,
        memory: &dyn Memory,
        now: impl Fn() -> Nanos,
    ) -> Result<Nanos, Fault> {
        self.slot = self.fixed.push(&mut self.scatter);
        self.scatter.read_each(memory)?;
        let at = now();
        let newest = self.fixed.newest(&self.scatter, self.slot);
        threads.stale |= newest.is_some_and(|newest| newest != threads.newest);
        let own = |thread: &Thread, words: Option<Words>| words.filter(|words| words.id == thread.state.id);
        self.words.resize(threads.all.len(), None);
        let mut counting = self.counting.iter();
        for (thread, words) in threads.all.iter().zip(&mut self.words) {
            if thread.event_loop.is_some() {
                let slot = counting.next();
                *words = slot.and_then(|&slot| own(thread, self.at.take(&self.scatter, slot)));
            }
        }
        let gil = self.gil().map(|gil| (gil.last_holder, gil.switch_number));
        let all = gil.is_none() || gil != self.gil;
        let last_holder = gil.map_or(Addr::NULL, |(holder, _)| holder);
        let moved = |thread: &Thread| thread.event_loop.is_none() && (all || thread.state.address == last_holder);
        self.gil = gil;
        self.others.clear();
        for thread in threads.all.iter().filter(|thread| moved(thread)) {
            self.at.push(thread.state.address, &mut self.others);
        }
        if !self.others.is_empty() {
            self.others.read_each(memory)?;
            let mut slot = 0;
            for (thread, words) in threads.all.iter().zip(&mut self.words) {
                if moved(thread) {
                    *words = own(thread, self.at.take(&self.others, slot));
                    slot += 1;
                }
            }
        }
        threads.stale |= self.words.iter().any(Option::is_none);
        Ok(at)
    }

    /// Who had the GIL last, and with what number; None: not known.
    pub fn last_gil(&self) -> Option<(Addr, u64)> {
        self.gil
    }

    /// Nobody else has taken the GIL since the last read.
    pub fn gil_is_unmoved(&mut self, memory: &dyn Memory) -> Result<bool, Fault> {
        self.again.clear();
        let slot = self.fixed.push(&mut self.again);
        self.again.read_each(memory)?;
        Ok(self.gil_was_unmoved(&self.again, slot))
    }

    /// Asks for the GIL once more; the number is what `gil_was_unmoved` wants.
    pub fn push_gil(&self, scatter: &mut Scatter) -> usize {
        self.fixed.push(scatter)
    }

    /// Nobody else had taken the GIL by then.
    pub fn gil_was_unmoved(&self, scatter: &Scatter, slot: usize) -> bool {
        let now = self.fixed.gil(scatter, slot);
        now.is_some() && now.map(|gil| (gil.last_holder, gil.switch_number)) == self.gil
    }

    /// A thread's words.
    pub fn words(&self, thread: usize) -> Option<Words> {
        *self.words.get(thread)?
    }

    pub fn gil(&self) -> Option<GilWords> {
        self.fixed.gil(&self.scatter, self.slot)
    }

    /// The thread state that holds the GIL; NULL: none does, or it is not known.
    pub fn holder(&self) -> Addr {
        let held = self.gil().filter(|gil| gil.locked == 1);
        held.map_or(Addr::NULL, |gil| gil.last_holder)
    }

    pub fn collecting(&self) -> Option<bool> {
        self.fixed.collecting(&self.scatter, self.slot)
    }

    pub fn generation(&self) -> Option<u64> {
        self.fixed.generation(&self.scatter, self.slot)
    }
}
