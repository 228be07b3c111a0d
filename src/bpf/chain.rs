//! What one look at a running thread sees: its words, what one of them points at, and the chain. Knows nothing of what the
//! bytes mean.

use super::kernel::{Map, Program, refusal};
use super::program::{
    End, MOST_OF_RANGE, MOST_RANGES, MOST_RECORDS, PART, POINTED_IS_THERE, RANGE_STRIDE, RANGES_IN, RANGES_OUT, WORDS,
    program,
};
use super::{Layout, Refusal};
use crate::memory::{Fault, Memory};
use crate::model::{Addr, Pid, Tid};
use nix::errno::Errno;
use std::cell::Cell;
use std::fs;

/// The number of the first PID namespace (include/uapi/linux/nsfs.h: `PID_NS_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Looks at threads.
pub struct ChainReader {
    layout: Layout,
    program: Program,
    map: Map,
    /// What stands in the map's list of ranges.
    ranges: Vec<(Addr, usize)>,
    /// Records that the last look saw.
    records: usize,
    /// Of the last look: the chain came to its end.
    is_whole: bool,
}

/// How a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The thread was not on that CPU just then.
    Elsewhere,
    /// It was; its words could not be read.
    Unreadable,
    /// It was, and this is what stood there. The chain may be shorter than it is.
    Seen,
}

impl ChainReader {
    /// Gives the program to the kernel. Takes `CAP_BPF` and `CAP_PERFMON`; looking takes neither, but before Linux 5.19
    /// it takes `CAP_BPF` (kernel/bpf/syscall.c, `__sys_bpf`).
    pub fn load(layout: Layout) -> Result<ChainReader, Refusal> {
        // The program compares the thread's number with what the kernel calls it.
        let here = fs::read_link("/proc/self/ns/pid").map_err(|_| Refusal::Namespace)?;
        if here.as_os_str() != FIRST_NAMESPACE {
            return Err(Refusal::Namespace);
        }
        // Its size is known before there is a map.
        program(layout, 0)?;
        let map = Map::new(layout.parts() + 1, PART)?;
        let program = Program::load(&program(layout, map.number())?)?;
        let mut reader = ChainReader {
            layout,
            program,
            map,
            ranges: Vec::new(),
            records: 0,
            is_whole: false,
        };
        // Whether it may be run is known by running it: a thread that is called so there is none.
        reader.look(Pid(0), Tid(-1), Addr::NULL, 0)?;
        Ok(reader)
    }

    /// Looks at the thread, if it is on that CPU now.
    pub fn look(&mut self, process: Pid, thread: Tid, base: Addr, cpu: u32) -> Result<Look, Refusal> {
        self.records = 0;
        let numbers = u64::from(process.0 as u32) << 32 | u64::from(thread.0 as u32);
        let end = match self.program.run(&mut self.map, cpu, [numbers, base.0]) {
            // There is no such CPU, or it is offline.
            Err(Errno::ENXIO) => return Ok(Look::Elsewhere),
            end => end.map_err(refusal)?,
        };
        let (end, records) = (end & 0xff, (end >> 8) as usize);
        if end == End::Elsewhere as u32 {
            return Ok(Look::Elsewhere);
        }
        if end == End::Unreadable as u32 {
            return Ok(Look::Unreadable);
        }
        self.records = records.min(MOST_RECORDS);
        self.is_whole = end == End::Whole as u32;
        Ok(Look::Seen)
    }

    /// What looks copy beside the chain, from now on: at most `MOST_RANGES` ranges of `MOST_OF_RANGE` bytes; what is more, or
    /// longer, is not copied.
    pub fn ask(&mut self, ranges: &[(Addr, usize)]) {
        let ranges = ranges.get(..MOST_RANGES).unwrap_or(ranges);
        if self.ranges == ranges {
            return;
        }
        self.ranges.clear();
        self.ranges.extend_from_slice(ranges);
        let number = self.layout.parts();
        let list = self
            .map
            .part_mut(number)
            .get_mut(RANGES_IN..RANGES_OUT)
            .unwrap_or_default();
        list.fill(0);
        for (into, (at, length)) in list.chunks_exact_mut(16).zip(ranges) {
            let (address, size) = into.split_at_mut(8);
            address.copy_from_slice(&at.0.to_le_bytes());
            // None would end the list.
            let length = if *length == 0 { MOST_OF_RANGE + 1 } else { *length };
            size.copy_from_slice(&(length as u64).to_le_bytes());
        }
    }

    /// One of the ranges, as the last look saw it; None: it could not be read.
    pub fn range(&self, number: usize) -> Option<&[u8]> {
        let (_, length) = self.ranges.get(number)?;
        let at = RANGES_OUT + number * RANGE_STRIDE;
        let (error, bytes) = self
            .map
            .part(self.layout.parts())
            .get(at..at + RANGE_STRIDE)?
            .split_at(8);
        bytes.get(..*length).filter(|_| error == [0; 8] && *length > 0)
    }

    /// The words that the last look saw.
    pub fn words(&self) -> &[u8] {
        self.first(WORDS, self.layout.words.1)
    }

    /// What a word points at; None: nothing, or it could not be read.
    pub fn pointed(&self) -> Option<&[u8]> {
        let flags = self.first(0, 8);
        let is_there = flags.first().is_some_and(|&low| u64::from(low) & POINTED_IS_THERE != 0);
        is_there.then(|| self.first(self.layout.pointed_at(), self.layout.pointed.1))
    }

    fn first(&self, at: usize, length: usize) -> &[u8] {
        self.map.part(0).get(at..at + length).unwrap_or(&[])
    }

    /// The chain that the last look saw, as memory in which it is walked.
    pub fn chain(&self) -> Chain<'_> {
        Chain {
            reader: self,
            at: Cell::new(0),
        }
    }

    /// All of the chain was seen. Else a record could not be read, or there are more than `MOST_RECORDS`.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Where a record is: in which part, and where in it.
    fn place(&self, record: usize) -> (usize, usize) {
        let (stride, first) = (self.layout.stride(), self.layout.first_record());
        let in_first = (PART - first) / stride;
        match record.checked_sub(in_first) {
            None => (0, first + record * stride),
            Some(rest) => (1 + rest / (PART / stride), rest % (PART / stride) * stride),
        }
    }

    fn record(&self, number: usize) -> Option<(Addr, &[u8])> {
        if number >= self.records {
            return None;
        }
        let (part, at) = self.place(number);
        let bytes = self.map.part(part).get(at..at + 8 + self.layout.head)?;
        let (address, bytes) = bytes.split_first_chunk()?;
        Some((Addr(u64::from_le_bytes(*address)), bytes))
    }
}

/// The records of a chain: memory that answers who asks for one after the other.
pub struct Chain<'r> {
    reader: &'r ChainReader,
    at: Cell<usize>,
}

impl Chain<'_> {
    /// The first record's address; NULL: there is none.
    pub fn top(&self) -> Addr {
        self.reader.record(0).map_or(Addr::NULL, |(address, _)| address)
    }
}

impl Memory for Chain<'_> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        let number = self.at.get();
        let (_, bytes) = self
            .reader
            .record(number)
            .filter(|(address, _)| *address == at)
            .ok_or(Fault::Unmapped)?;
        into.copy_from_slice(bytes.get(..into.len()).ok_or(Fault::Unmapped)?);
        self.at.set(number + 1);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        let mut start = 0;
        for (done, &(at, length)) in ranges.iter().enumerate() {
            let part = into.get_mut(start..start + length);
            if part.is_none_or(|part| self.read(at, part).is_err()) {
                return Ok(done);
            }
            start += length;
        }
        Ok(ranges.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
    use nix::unistd::Pid as Process;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// A record: the next one's address, a number, and one more word.
    type Record = [u64; 3];

    const LAYOUT: Layout = Layout {
        words: (8, 32),
        pointed: (16, 12),
        top: 24,
        through: None,
        head: 17,
        next: 0,
    };

    fn at<T>(what: &T) -> u64 {
        std::ptr::from_ref(what) as u64
    }

    /// Looks at a thread of this process that spins, until it is seen; None: that is not permitted here.
    fn seen(layout: Layout, words: &[u64; 5]) -> Option<ChainReader> {
        seen_with(layout, words, &[])
    }

    fn seen_with(layout: Layout, words: &[u64; 5], ranges: &[(Addr, usize)]) -> Option<ChainReader> {
        let mut reader = match ChainReader::load(layout) {
            Ok(reader) => reader,
            Err(refusal @ Refusal::Layout) => panic!("{refusal}"),
            Err(refusal) => {
                eprintln!("not tested here: {refusal}");
                return None;
            }
        };
        reader.ask(ranges);
        // Who looks must not be on the CPU that is looked at: beside other tests the two would share one for long.
        let own = Process::from_raw(0);
        let allowed = sched_getaffinity(own).expect("own CPUs");
        let mut cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true));
        let (Some(here), Some(there)) = (cpus.next(), cpus.next()) else {
            eprintln!("not tested here: there is one CPU");
            return None;
        };
        let bind = |cpu| {
            let mut one = CpuSet::new();
            one.set(cpu).expect("a CPU");
            sched_setaffinity(own, &one).expect("it is allowed");
        };
        let (stop, tid) = (AtomicBool::new(false), AtomicU32::new(0));
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                bind(there);
                tid.store(nix::unistd::gettid().as_raw() as u32, Ordering::Relaxed);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            bind(here);
            // Beside other tests it is not always on its CPU.
            let seen = (0..200_000).any(|_| {
                std::thread::sleep(std::time::Duration::from_micros(100));
                let thread = Tid(tid.load(Ordering::Relaxed) as i32);
                let own = Pid(std::process::id() as i32);
                thread.0 != 0 && reader.look(own, thread, Addr(at(words)), there as u32) == Ok(Look::Seen)
            });
            stop.store(true, Ordering::Relaxed);
            sched_setaffinity(own, &allowed).expect("it was allowed");
            seen
        });
        assert!(seen);
        Some(reader)
    }

    fn numbers(reader: &ChainReader) -> Vec<u64> {
        let chain = reader.chain();
        let (mut found, mut next) = (Vec::new(), chain.top());
        while !next.is_null() {
            let mut record = [0; 17];
            if chain.read(next, &mut record).is_err() {
                break;
            }
            let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
            found.push(word(8));
            next = Addr(word(0));
        }
        found
    }

    /// Records each of which names the next; they do not move any more.
    fn chain_of(length: usize) -> Vec<Record> {
        let mut records: Vec<Record> = (0..length as u64).map(|number| [0, number, !0]).collect();
        for number in 1..length {
            records[number - 1][0] = at(&records[number]);
        }
        records
    }

    #[test]
    fn a_thread_that_runs_is_seen_with_what_its_words_point_at_and_the_whole_chain() {
        for length in [0, 1, 100, MOST_RECORDS] {
            let records = chain_of(length);
            let pointed = [0x1122_3344_5566_7788_u64, 0x99];
            let top = records.first().map_or(0, at);
            let words = [1, 2, 3, at(&pointed), top];
            let Some(reader) = seen(LAYOUT, &words) else { return };
            let expected: Vec<u8> = words[1..].iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(reader.words(), expected);
            let expected: Vec<u8> = pointed.iter().flat_map(|word| word.to_le_bytes()).take(12).collect();
            assert_eq!(reader.pointed(), Some(&expected[..]));
            assert_eq!(numbers(&reader), (0..length as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_points_nowhere_is_not_there_and_what_has_no_end_is_cut() {
        let mut records = chain_of(3);
        records[2][0] = 16;
        let Some(reader) = seen(LAYOUT, &[0, 0, 0, 16, at(&records[0])]) else {
            return;
        };
        assert_eq!((reader.pointed(), numbers(&reader)), (None, vec![0, 1, 2]));
        // A ring.
        records[2][0] = at(&records[0]);
        let Some(reader) = seen(LAYOUT, &[0, 0, 0, 0, at(&records[0])]) else {
            return;
        };
        assert_eq!((reader.pointed(), numbers(&reader).len()), (None, MOST_RECORDS));
        // Through another word, as 3.11 and 3.12 have it.
        let holder = [0, 0, at(&records[1])];
        records[2][0] = 0;
        let through = Layout {
            through: Some(16),
            ..LAYOUT
        };
        let Some(reader) = seen(through, &[0, 0, 0, 0, at(&holder)]) else {
            return;
        };
        assert_eq!(numbers(&reader), [1, 2]);
        for top in [0, 16] {
            let Some(reader) = seen(through, &[0, 0, 0, 0, top]) else {
                return;
            };
            assert!(numbers(&reader).is_empty());
        }
    }

    #[test]
    fn ranges_come_along_and_a_bad_one_costs_itself_alone() {
        let bytes: Vec<u8> = (0..200).collect();
        let start = Addr(bytes.as_ptr() as u64);
        let asked = [
            (start, 64),
            (Addr(16), 8),
            (start, 65),
            (start, 0),
            (start.offset(7), 11),
        ];
        let words = [0; 5];
        let Some(mut reader) = seen_with(LAYOUT, &words, &asked) else {
            return;
        };
        let got: Vec<Option<&[u8]>> = (0..asked.len() + 1).map(|number| reader.range(number)).collect();
        assert_eq!(got, [Some(&bytes[..64]), None, None, None, Some(&bytes[7..18]), None]);
        // As many as there is room for, and no more.
        let many: Vec<(Addr, usize)> = (0..40).map(|i| (start.offset(i), 64)).collect();
        reader.ask(&many);
        let Some(reader) = seen_with(LAYOUT, &words, &many) else {
            return;
        };
        for number in 0..many.len() {
            let expected = (number < MOST_RANGES).then(|| &bytes[number..number + 64]);
            assert_eq!(reader.range(number), expected);
        }
    }

    #[test]
    fn a_thread_that_sleeps_or_is_on_another_cpu_is_not_seen() {
        let Ok(mut reader) = ChainReader::load(LAYOUT) else {
            return;
        };
        let own = Pid(std::process::id() as i32);
        // Whoever asks is there, and is not the one that is asked for.
        let cpu = sched_getcpu().expect("a CPU") as u32;
        assert_eq!(reader.look(own, Tid(1), Addr(0), cpu), Ok(Look::Elsewhere));
        assert!(reader.chain().top().is_null());
        assert_eq!(reader.look(own, Tid(1), Addr(0), u32::MAX), Ok(Look::Elsewhere));
    }

    #[test]
    fn records_for_which_there_is_no_room_are_refused_before_anything_is_asked_for() {
        let odd = [
            Layout { head: 500, ..LAYOUT },
            Layout { next: 12, ..LAYOUT },
            Layout { top: 32, ..LAYOUT },
            Layout {
                words: (u64::MAX, 32),
                ..LAYOUT
            },
            Layout {
                words: (0, 1 << 20),
                ..LAYOUT
            },
        ];
        for layout in odd {
            assert_eq!(program(layout, 0), Err(Refusal::Layout));
        }
    }
}
