//! Words that stand at the same place for as long as the worker lives, asked for with every tick. Knows nothing of
//! threads.
//!
//! Most of them stand near each other in `PyInterpreterState`, and are read as one range: another range costs more than
//! the bytes in between.

use crate::cpython::{ABSENT, GIL_WORDS, GilWords, Heap, Runtime, word_at};
use crate::memory::Scatter;
use crate::model::Addr;

/// Words further apart than this are ranges of their own.
const GAP: u64 = 1024;

/// Where the words are.
pub(super) struct FixedWords {
    ranges: Vec<(Addr, usize)>,
    gil: Place,
    collecting: Place,
    newest: Place,
    generation: Option<Place>,
}

/// Range, and offset in it.
type Place = (usize, usize);

impl FixedWords {
    pub fn new(heap: &Heap, runtime: &Runtime) -> FixedWords {
        FixedWords::merged(heap, runtime, GAP)
    }

    /// Each word by itself, for who reads each range by itself.
    pub fn apart(heap: &Heap, runtime: &Runtime) -> FixedWords {
        FixedWords::merged(heap, runtime, 0)
    }

    fn merged(heap: &Heap, runtime: &Runtime, gap: u64) -> FixedWords {
        let o = &heap.offsets;
        let gil = (runtime.gil_last_holder, GIL_WORDS);
        let collecting = (runtime.gc_collecting, 4);
        let newest = (runtime.interpreter.offset(o.interp_threads_head), 8);
        let generation = o.interp_code_generation;
        let generation = (generation != ABSENT).then(|| (runtime.interpreter.offset(generation), 8));
        let mut ranges: Vec<(Addr, usize)> = [gil, collecting, newest].into_iter().chain(generation).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let near = next.0.0.saturating_sub(last.0.0.saturating_add(last.1 as u64)) <= gap;
            if near {
                last.1 = last.1.max((next.0.0 - last.0.0) as usize + next.1);
            }
            near
        });
        let place = |(at, _): (Addr, usize)| {
            let range = ranges.iter().rposition(|&(start, _)| start <= at).unwrap_or(0);
            let start = ranges.get(range).map_or(0, |&(start, _)| start.0);
            (range, (at.0 - start) as usize)
        };
        FixedWords {
            gil: place(gil),
            collecting: place(collecting),
            newest: place(newest),
            generation: generation.map(place),
            ranges,
        }
    }

    /// Asks for the words; the number is what the other calls want.
    pub fn push(&self, scatter: &mut Scatter) -> usize {
        let first = scatter.len();
        for &(at, length) in &self.ranges {
            scatter.push(at, length);
        }
        first
    }

    fn bytes<'s>(&self, scatter: &'s Scatter, first: usize, (range, at): Place) -> Option<&'s [u8]> {
        scatter.bytes(first + range)?.get(at..)
    }

    pub fn gil(&self, scatter: &Scatter, first: usize) -> Option<GilWords> {
        self.bytes(scatter, first, self.gil).map(GilWords::from_bytes)
    }

    /// `gc.collecting`: an int in all versions, 0, or 1 while a collection runs. None: unreadable, or neither.
    pub fn collecting(&self, scatter: &Scatter, first: usize) -> Option<bool> {
        match self.bytes(scatter, first, self.collecting)?.get(..4)? {
            [0, 0, 0, 0] => Some(false),
            [1, 0, 0, 0] => Some(true),
            _ => None,
        }
    }

    /// The newest thread state.
    pub fn newest(&self, scatter: &Scatter, first: usize) -> Option<Addr> {
        self.bytes(scatter, first, self.newest).map(|b| Addr(word_at(b, 0)))
    }

    /// `_code_object_generation`; None: the version has none.
    pub fn generation(&self, scatter: &Scatter, first: usize) -> Option<u64> {
        self.bytes(scatter, first, self.generation?).map(|b| word_at(b, 0))
    }
}
