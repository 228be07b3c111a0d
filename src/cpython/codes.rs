//! Code objects: read once, checked, and remembered by their address until there is reason to look again. Knows nothing
//! of threads and stacks.

use super::frames::RawFrame;
use super::heap::Heap;
use super::lines::LineFormat;
use super::objects::word_at;
use super::offsets::{ABSENT, Offsets};
use crate::memory::{AddrMap, AddrSet, Fault, QuickMap, Scatter};
use crate::model::{Addr, Frame};
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A program with more code objects than this on its stacks starts over.
const MOST_CODES: usize = 20_000;
/// The table of a function of a million lines; what is longer is damage.
const LONGEST_TABLE: u64 = 8 << 20;
/// Line tables of so many bytes in all; then they are read anew. Those of a large program are some megabytes.
const MOST_TABLES: usize = 32 << 20;
/// Longer functions are damage: `co_code` of a module of a million lines has some 20 MB.
const MOST_INSTRUCTIONS: u64 = 256 << 20;
/// A code object's members that are read end before this.
const LONGEST_HEAD: u64 = 512;
/// Lines of one function that are remembered as frames; more of them are found again each time.
const MOST_LINES: usize = 4096;

/// What a code object says.
#[derive(Clone, Debug)]
pub struct Code {
    /// `co_qualname` (3.11 on), else `co_name`.
    pub function: Arc<str>,
    /// `co_filename`.
    pub file: Arc<str>,
    /// `co_firstlineno`.
    pub first_line: u32,
    /// The `co_names` tuple.
    pub names: Addr,
    /// Bytes of instructions, the inline caches of 3.11 on included.
    pub length: u64,
    /// The first instruction: in the code object from 3.11 on, else in the bytes object `co_code`.
    pub instructions: Addr,
    format: LineFormat,
    table: Box<[u8]>,
    identity: Identity,
    /// Line → frame.
    frames: QuickMap<u32, Arc<Frame>>,
    /// The same by where the instruction is, so that the table need not be gone through again.
    frames_at: QuickMap<i64, Arc<Frame>>,
    /// The look at which it was found as it is.
    looked_at: u64,
    /// No other code object that was read has this number, whatever its address.
    serial: u64,
    /// Code that was made while the program ran, or stands where another one stood before: it may go as it came.
    may_go: bool,
}

/// The words by which a code object is told from another one at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    ty: u64,
    first_line: u32,
    /// `co_filename`, `co_name`, `co_qualname`, the line table, `co_names`, `co_code`, the number of instructions.
    words: [u64; 7],
}

impl Identity {
    /// Bytes of a code object that are read.
    fn head(o: &Offsets) -> usize {
        let ends = Identity::places(o).into_iter().filter(|&at| at != ABSENT);
        let last = ends.max().unwrap_or(0).max(o.code_firstlineno);
        last.min(LONGEST_HEAD) as usize + 8
    }

    fn places(o: &Offsets) -> [u64; 7] {
        [
            o.code_filename,
            o.code_name,
            o.code_qualname,
            o.code_linetable,
            o.code_names,
            o.code_bytecode,
            o.code_size,
        ]
    }

    fn table(&self) -> Addr {
        Addr(self.words[3])
    }

    fn of_head(head: &[u8], o: &Offsets) -> Identity {
        let word = |at: u64| match at {
            ABSENT => 0,
            at => word_at(head, at as usize),
        };
        Identity {
            ty: word_at(head, 8),
            first_line: word(o.code_firstlineno) as u32,
            words: Identity::places(o).map(word),
        }
    }
}

impl Code {
    /// How far into the code the frame's instruction is, in bytes; below 0: it has not begun.
    pub fn offset_of(&self, raw: &RawFrame) -> Result<i64, Fault> {
        let offset = match self.format {
            LineFormat::Lnotab => raw.instruction as i64,
            LineFormat::Ranges => match raw.instruction as i64 {
                units @ 0.. => units.saturating_mul(2),
                before => before,
            },
            LineFormat::Locations => raw.instruction.wrapping_sub(self.instructions.0) as i64,
        };
        if offset < -2 || offset >= self.length as i64 || (offset % 2 != 0 && offset != -1) {
            return Err(Fault::Implausible("instruction of frame"));
        }
        Ok(offset)
    }

    /// The line of an instruction; None: it belongs to none.
    pub fn line_at(&self, offset: i64) -> Option<u32> {
        self.format.line_at(&self.table, self.first_line, offset)
    }

    /// The ranges of instructions that have one line each.
    pub fn ranges(&self) -> impl Iterator<Item = super::lines::LineRange> {
        self.format.ranges(&self.table, self.first_line)
    }

    fn frame(&mut self, raw: &RawFrame) -> Result<Arc<Frame>, Fault> {
        let offset = self.offset_of(raw)?;
        if let Some(frame) = self.frames_at.get(&offset) {
            return Ok(Arc::clone(frame));
        }
        let line = self.line_at(offset).unwrap_or(0);
        let frame = match self.frames.get(&line) {
            Some(frame) => Arc::clone(frame),
            None => Arc::new(Frame {
                function: Arc::clone(&self.function),
                file: Arc::clone(&self.file),
                line,
                first_line: self.first_line,
            }),
        };
        if self.frames.len() < MOST_LINES {
            self.frames.insert(line, Arc::clone(&frame));
        }
        if self.frames_at.len() < MOST_LINES {
            self.frames_at.insert(offset, Arc::clone(&frame));
        }
        Ok(frame)
    }
}

/// The code objects that were met.
#[derive(Default)]
pub struct Codes {
    known: AddrMap<Code>,
    /// Names of files, which many code objects share.
    files: HashSet<Arc<str>>,
    /// Code objects that were found at an earlier look are looked at again before they are believed.
    look: u64,
    /// How many were read.
    read: u64,
    /// Bytes of line tables that were read since all was forgotten last.
    tables: usize,
    /// Addresses at which one code object followed another.
    reused: AddrSet,
}

impl Codes {
    /// From now on nothing is believed that was not looked at again.
    pub fn look_again(&mut self) {
        self.look += 1;
    }

    /// The number of the look that is going on.
    pub fn look(&self) -> u64 {
        self.look
    }

    /// Looks again at those of `codes` that were not looked at since `look_again`, all in one read, and forgets the ones
    /// that are no longer what they were. `each_time`: looks at those that may go in any case. Some: all are known; the
    /// number changes when one of them becomes another.
    pub fn check(
        &mut self,
        heap: &Heap,
        codes: impl Iterator<Item = Addr> + Clone,
        each_time: bool,
    ) -> Result<Option<u64>, Fault> {
        let mut scatter = Scatter::new();
        let mut asked: Vec<(Addr, usize)> = Vec::new();
        let head = Identity::head(&heap.offsets);
        for address in codes.clone() {
            let stale = |code: &&mut Code| code.looked_at != self.look || each_time && code.may_go;
            let Some(code) = self.known.get_mut(&address).filter(stale) else {
                continue;
            };
            // Asked for once; whether it holds is seen below.
            code.looked_at = self.look;
            heap.spend(head + code.table.len())?;
            let slot = scatter.push(address, head);
            scatter.push(code.identity.table().offset(heap.offsets.bytes_data), code.table.len());
            asked.push((address, slot));
        }
        if !asked.is_empty() {
            scatter.read_each(heap.memory())?;
        }
        for (address, slot) in asked {
            let same = self.known.get(&address).is_some_and(|code| {
                let now = scatter.bytes(slot).map(|head| Identity::of_head(head, &heap.offsets));
                now == Some(code.identity) && scatter.bytes(slot + 1) == Some(&*code.table)
            });
            if !same {
                self.known.remove(&address);
                if self.reused.len() >= MOST_CODES {
                    self.reused.clear();
                }
                self.reused.insert(address);
            }
        }
        let mut number = 0u64;
        for address in codes {
            let Some(code) = self.known.get(&address) else {
                return Ok(None);
            };
            number = number.rotate_left(5).wrapping_add(code.serial);
        }
        Ok(Some(number))
    }

    /// The code object at `address`, read if it is not known. One that is known is not looked at again: `check` does that.
    pub fn get(&mut self, heap: &Heap, address: Addr) -> Result<&mut Code, Fault> {
        let is_full = self.known.len().max(self.files.len()) >= MOST_CODES || self.tables >= MOST_TABLES;
        if is_full && !self.known.contains_key(&address) {
            self.known.clear();
            self.files.clear();
            self.tables = 0;
        }
        match self.known.entry(address) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let mut code = heap.code(address)?;
                self.read += 1;
                self.tables = self.tables.saturating_add(code.table.len());
                (code.serial, code.looked_at) = (self.read, self.look);
                code.may_go = is_made(&code.file) || self.reused.contains(&address);
                if let Some(file) = self.files.get(&code.file) {
                    code.file = Arc::clone(file);
                } else {
                    self.files.insert(Arc::clone(&code.file));
                }
                Ok(place.insert(code))
            }
        }
    }

    /// Forgets the code object at `address`.
    pub fn forget(&mut self, address: Addr) {
        self.known.remove(&address);
    }

    /// Whether the code object at `address` is known.
    pub fn knows(&self, address: Addr) -> bool {
        self.known.contains_key(&address)
    }

    /// Whether one code object after another was found at `address`.
    pub fn is_reused(&self, address: Addr) -> bool {
        self.reused.contains(&address)
    }

    /// Whether a code object that is known may go: it was made while the program ran, or stands where another one stood.
    pub fn may_go(&self, address: Addr) -> bool {
        self.known.get(&address).is_none_or(|code| code.may_go)
    }

    /// The frame of the model for a frame as it lies in memory.
    pub fn frame(&mut self, heap: &Heap, raw: &RawFrame) -> Result<Arc<Frame>, Fault> {
        self.get(heap, raw.code)?.frame(raw)
    }
}

/// Code of no file: from `exec`, `eval` or a template. Functions of modules stay as long as their module.
fn is_made(file: &str) -> bool {
    file.starts_with('<') && !file.starts_with("<frozen ")
}

impl Heap {
    /// Reads the code object at `address`.
    pub fn code(&self, address: Addr) -> Result<Code, Fault> {
        self.expect(address, "code")?;
        let o = &self.offsets;
        let head = self.bytes(address, Identity::head(o))?;
        let identity = Identity::of_head(&head, o);
        let [file, name, qualname, table, names, bytecode, units] = identity.words;
        let function = if o.code_qualname == ABSENT { name } else { qualname };
        let (instructions, length) = match o.code_instructions {
            ABSENT => (
                Addr(bytecode).offset(o.bytes_data),
                self.word(Addr(bytecode), o.bytes_size)?,
            ),
            at => (address.offset(at), units.saturating_mul(2)),
        };
        if length == 0 || length > MOST_INSTRUCTIONS || length % 2 != 0 {
            return Err(Fault::Implausible("length of code"));
        }
        let code = Code {
            function: self.str(Addr(function))?.into(),
            file: self.str(Addr(file))?.into(),
            first_line: identity.first_line,
            names: Addr(names),
            length,
            instructions,
            format: LineFormat::of(self.version),
            table: self.bytes_object(Addr(table))?.into(),
            identity,
            frames: QuickMap::default(),
            frames_at: QuickMap::default(),
            looked_at: 0,
            serial: 0,
            may_go: false,
        };
        // It may have been freed, and another one made there, while it was read.
        let again = self.bytes(address, head.len())?;
        if Identity::of_head(&again, o) != identity {
            return Err(Fault::Implausible("code: it changed"));
        }
        Ok(code)
    }

    /// The content of a bytes object.
    pub fn bytes_object(&self, object: Addr) -> Result<Vec<u8>, Fault> {
        self.expect(object, "bytes")?;
        let size = self.word(object, self.offsets.bytes_size)?;
        if size > LONGEST_TABLE {
            return Err(Fault::Implausible("bytes"));
        }
        match size {
            0 => Ok(Vec::new()),
            size => self.bytes(object.offset(self.offsets.bytes_data), size as usize),
        }
    }
}
