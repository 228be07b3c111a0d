//! Whether a frame is in a call of `gc.collect()`: it is a function of C and has no frame of its own, so the instructions of
//! the line that runs have to tell. Knows nothing of whether a collection is going on.

use super::codes::Code;
use super::frames::RawFrame;
use super::heap::Heap;
use crate::memory::Fault;

/// Of each minor version, and of each opcode: how many code units of inline cache follow it, and what its argument is.
/// Specialized forms are there too. `scripts/record-opcodes` writes it.
const OPCODES: &str = include_str!("opcodes.txt");
/// Longer functions are not looked through.
const MOST_BYTES: u64 = 1 << 20;
const NAME: &str = "collect";

/// What an instruction's argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    /// An index into `co_names` of what is loaded.
    Name(u64),
    /// An index into `co_names` of what is imported into a variable.
    Import(u64),
    Other,
}

impl Heap {
    /// Whether the innermost frame, which runs `code`, calls something named `collect`: the line that runs has loaded it.
    /// A program's own function of that name would be taken for it, were it written in C. None: that cannot be told.
    pub fn calls_collect(&self, code: &Code, frame: &RawFrame) -> Option<bool> {
        self.loads_collect(code, frame).ok().flatten()
    }

    fn loads_collect(&self, code: &Code, frame: &RawFrame) -> Result<Option<bool>, Fault> {
        let names = self.tuple_items(code.names)?;
        let Some(wanted) = self.find_key(&names, NAME)? else {
            return Ok(Some(false));
        };
        let wanted = wanted as u64;
        let now = code.offset_of(frame)?;
        let Ok(now) = u64::try_from(now) else {
            return Ok(Some(false));
        };
        if code.length > MOST_BYTES {
            return Ok(None);
        }
        let bytes = self.bytes(code.instructions, code.length as usize)?;
        let Some(arguments) = arguments(self.version.minor, &bytes) else {
            return Ok(None);
        };
        let line = code.line_at(now as i64);
        let mut imported = false;
        // A range may begin in the middle of an instruction, among its caches; so the instructions are read from the start.
        let mut ranges = code.ranges().peekable();
        for (at, argument) in arguments {
            while ranges.next_if(|range| range.end <= at).is_some() {}
            let here = ranges.peek().and_then(|range| range.line);
            if argument == Argument::Name(wanted) && here == line && at <= now {
                return Ok(Some(true));
            }
            imported |= argument == Argument::Import(wanted);
        }
        // Imported into a local variable: which of the line's is not looked at.
        Ok(if imported { None } else { Some(false) })
    }
}

/// The instructions of a function: where each begins and what its argument is. None: one is not known.
fn arguments(minor: u8, code: &[u8]) -> Option<Vec<(u64, Argument)>> {
    let row = OPCODES.lines().find_map(|line| {
        let (version, row) = line.split_once(' ')?;
        (version.strip_prefix("3.")?.parse() == Ok(minor)).then_some(row)
    })?;
    let (caches, kinds) = row.split_once(' ')?;
    let (caches, kinds) = (caches.as_bytes(), kinds.as_bytes());
    let mut found = Vec::new();
    let (mut at, mut begins, mut above) = (0usize, None, 0u64);
    while let Some(&[opcode, argument]) = code.get(at..at + 2).and_then(|unit| unit.first_chunk()) {
        let opcode = usize::from(opcode);
        let begin = begins.take().unwrap_or(at);
        let argument = above << 8 | u64::from(argument);
        above = 0;
        let caches = char::from(*caches.get(opcode)?).to_digit(16)? as usize;
        found.push((
            begin as u64,
            match kinds.get(opcode)? {
                b'e' => {
                    // It widens the argument of the one that follows.
                    (above, begins) = (argument & 0xff_ffff, Some(begin));
                    at += 2;
                    continue;
                }
                b'n' => Argument::Name(argument),
                b'h' => Argument::Name(argument >> 1),
                b'i' => Argument::Import(argument),
                _ => Argument::Other,
            },
        ));
        at += 2 + 2 * caches;
    }
    Some(found)
}
