//! The program that copies a thread's words and the chain that hangs on them. Knows nothing of how it is run, nor of what
//! the bytes mean.

use super::Refusal;
use super::instructions::{Assembler, Condition, FRAME, Helper, Label, R0, R1, R2, R3, R6, R7, R8, R9};

/// Records of a chain that are copied at most. It is what the kernel's proof has to go through, and how long the interrupt
/// lasts: some 50 ns each.
pub const MOST_RECORDS: usize = 1026;
/// Ranges beside the chain that are copied at most, and how long each may be.
pub const MOST_RANGES: usize = 32;
pub const MOST_OF_RANGE: usize = 64;
/// Bytes of one part of what is copied.
pub(super) const PART: usize = 4096;
/// Where the first part has the words.
pub(super) const WORDS: usize = 8;
const MOST_WORDS: usize = 1024;
const MOST_POINTED: usize = 256;
const MOST_HEAD: usize = 128;

/// What to copy of a thread, by what is at an address `base` of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset from `base`, and length, of the words.
    pub words: (u64, usize),
    /// Where among the words the address is of something that is copied too, and how many bytes of it.
    pub pointed: (usize, usize),
    /// Where among the words the chain begins.
    pub top: usize,
    /// That word is not the first record's address: it stands this far from what it points at.
    pub through: Option<u64>,
    /// Bytes of a record that are copied.
    pub head: usize,
    /// Where in a record the address of the next one is; 0 ends the chain.
    pub next: usize,
}

impl Layout {
    fn check(self) -> Result<(), Refusal> {
        let inside = |at: usize, length: usize| at.checked_add(8).is_some_and(|end| end <= length);
        let fits = self.words.1 <= MOST_WORDS
            && self.words.1.is_multiple_of(8)
            && self.words.0 <= i32::MAX as u64
            && self.pointed.1 <= MOST_POINTED
            && self.head <= MOST_HEAD
            && self.through.is_none_or(|offset| offset <= i32::MAX as u64)
            && [self.pointed.0, self.top]
                .iter()
                .all(|&at| inside(at, self.words.1) && at.is_multiple_of(8))
            && inside(self.next, self.head)
            && self.next.is_multiple_of(8);
        if fits { Ok(()) } else { Err(Refusal::Layout) }
    }

    /// Where the first part has what a word points at.
    pub(super) fn pointed_at(self) -> usize {
        WORDS + self.words.1
    }

    /// Where the first part's records begin; in the others they do at 0.
    pub(super) fn first_record(self) -> usize {
        self.pointed_at() + self.pointed.1.next_multiple_of(8)
    }

    /// From record to record: its address, and its bytes.
    pub(super) fn stride(self) -> usize {
        8 + self.head.next_multiple_of(8)
    }

    /// Parts that the longest chain takes; the one behind them is that of the ranges.
    pub(super) fn parts(self) -> usize {
        let in_first = (PART - self.first_record()) / self.stride();
        1 + MOST_RECORDS.saturating_sub(in_first).div_ceil(PART / self.stride())
    }
}

/// How a run ended: the low byte of what it gives back, the number of records above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Another thread runs on that CPU, or none.
    Elsewhere = 0,
    /// The words could not be read.
    Unreadable = 1,
    /// The chain came to its end.
    Whole = 2,
    /// A record could not be read, or there are more.
    Broken = 3,
}

/// Where the part of the ranges has them, each by address and length; a length of 0 ends them. Behind `RANGES_OUT` are an
/// error, or 0, and the bytes of each.
pub(super) const RANGES_IN: usize = 0;
pub(super) const RANGES_OUT: usize = MOST_RANGES * 16;
pub(super) const RANGE_STRIDE: usize = 8 + MOST_OF_RANGE;

/// What the first word of the first part says: whether what a word points at was copied.
pub(super) const POINTED_IS_THERE: u64 = 1;

/// The program. It is called with two words: the numbers of the process (high half) and the thread, and `base`.
pub(super) fn program(layout: Layout, map: i32) -> Result<Vec<[u8; 8]>, Refusal> {
    layout.check()?;
    let mut p = Assembler::default();
    let [here, elsewhere, unreadable, chain, walk, next, fits, whole, broken, end] = std::array::from_fn(|_| p.label());
    let [range, too_long] = std::array::from_fn(|_| p.label());

    p.load(R6, R1, 0);
    p.load(R7, R1, 8);
    p.call(Helper::GetCurrentPidTgid);
    p.jump_if(R0, Condition::Equal, R6, here);
    p.place(elsewhere);
    p.set_value(R0, End::Elsewhere as i32);
    p.exit();
    p.place(unreadable);
    p.set_value(R0, End::Unreadable as i32);
    p.exit();

    p.place(here);
    // The ranges: r6 is how far into the list, r9 how far into what is copied.
    part(&mut p, map, layout.parts() as i32, unreadable);
    p.set_value(R6, RANGES_IN as i32);
    p.set_value(R9, RANGES_OUT as i32);
    p.place(range);
    p.jump_if_value(R6, Condition::Above, (RANGES_OUT - 16) as i32, chain);
    p.set(R1, R8);
    p.add(R1, R6);
    p.load(R3, R1, 0);
    p.load(R2, R1, 8);
    p.jump_if_value(R2, Condition::Equal, 0, chain);
    p.set_value(R0, -1);
    p.jump_if_value(R2, Condition::Above, MOST_OF_RANGE as i32, too_long);
    p.set(R1, R8);
    p.add(R1, R9);
    p.add_value(R1, 8);
    p.call(Helper::ProbeReadUser);
    p.place(too_long);
    p.set(R1, R8);
    p.add(R1, R9);
    p.store(R1, 0, R0);
    p.add_value(R6, 16);
    p.add_value(R9, RANGE_STRIDE as i32);
    p.jump(range);
    p.place(chain);
    part(&mut p, map, 0, unreadable);
    // The words.
    p.store_value(R8, 0, 0);
    p.set(R3, R7);
    p.add_value(R3, layout.words.0 as i32);
    read(&mut p, WORDS as i32, layout.words.1 as i32);
    p.jump_if_value(R0, Condition::NotEqual, 0, unreadable);
    // What one of them points at.
    let nothing = p.label();
    p.load(R3, R8, (WORDS + layout.pointed.0) as i16);
    p.jump_if_value(R3, Condition::Equal, 0, nothing);
    read(&mut p, layout.pointed_at() as i32, layout.pointed.1 as i32);
    p.jump_if_value(R0, Condition::NotEqual, 0, nothing);
    p.store_value(R8, 0, POINTED_IS_THERE as i32);
    p.place(nothing);
    // The chain: r9 is the next record, r6 counts records, r7 is where the next goes, in the part at r8.
    p.set_value(R6, 0);
    p.load(R9, R8, (WORDS + layout.top) as i16);
    if let Some(offset) = layout.through {
        p.jump_if_value(R9, Condition::Equal, 0, whole);
        p.set(R1, FRAME);
        p.add_value(R1, -16);
        p.set_value(R2, 8);
        p.set(R3, R9);
        p.add_value(R3, offset as i32);
        p.call(Helper::ProbeReadUser);
        p.jump_if_value(R0, Condition::NotEqual, 0, broken);
        p.load(R9, FRAME, -16);
    }
    p.store_value(FRAME, -24, 0);
    p.set_value(R7, layout.first_record() as i32);
    p.place(walk);
    p.jump_if_value(R9, Condition::Equal, 0, whole);
    p.jump_if_value(R6, Condition::Above, MOST_RECORDS as i32 - 1, broken);
    p.jump_if_value(R7, Condition::Above, (PART - layout.stride()) as i32, next);
    p.place(fits);
    p.set(R1, R8);
    p.add(R1, R7);
    p.store(R1, 0, R9);
    p.add_value(R1, 8);
    p.set_value(R2, layout.head as i32);
    p.set(R3, R9);
    p.call(Helper::ProbeReadUser);
    p.jump_if_value(R0, Condition::NotEqual, 0, broken);
    p.set(R1, R8);
    p.add(R1, R7);
    p.load(R9, R1, 8 + layout.next as i16);
    p.add_value(R6, 1);
    p.add_value(R7, layout.stride() as i32);
    p.jump(walk);
    p.place(next);
    // The number of the part stands on the stack, at -24.
    p.load(R1, FRAME, -24);
    p.add_value(R1, 1);
    p.store(FRAME, -24, R1);
    p.store_half(FRAME, -4, R1);
    lookup(&mut p, map, broken);
    p.set_value(R7, 0);
    p.jump(fits);

    p.place(whole);
    p.set_value(R0, End::Whole as i32);
    p.jump(end);
    p.place(broken);
    p.set_value(R0, End::Broken as i32);
    p.place(end);
    p.shift_left(R6, 8);
    p.or(R0, R6);
    p.exit();
    p.finish().ok_or(Refusal::Layout)
}

/// r8 is the part with that number.
fn part(p: &mut Assembler, map: i32, number: i32, otherwise: Label) {
    p.set_value(R1, number);
    p.store_half(FRAME, -4, R1);
    lookup(p, map, otherwise);
}

/// r8 is the part whose number stands at -4 of the stack.
fn lookup(p: &mut Assembler, map: i32, otherwise: Label) {
    p.set_map(R1, map);
    p.set(R2, FRAME);
    p.add_value(R2, -4);
    p.call(Helper::MapLookupElem);
    p.jump_if_value(R0, Condition::Equal, 0, otherwise);
    p.set(R8, R0);
}

/// Reads `length` bytes at the address in r3 to `at` in the part at r8. r0: 0, or an error.
fn read(p: &mut Assembler, at: i32, length: i32) {
    p.set(R1, R8);
    p.add_value(R1, at);
    p.set_value(R2, length);
    p.call(Helper::ProbeReadUser);
}
