//! The line tables of code objects, in the four forms that 3.8 to 3.15 have had. Knows nothing of where a table lies.
//!
//! The bytes are foreign: any bytes at all are some table, and cost no more than their length.

use super::version::Version;

/// How `co_lnotab` or `co_linetable` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// 3.8, 3.9: pairs of how far the instructions go on (u8) and, behind that, the line (i8). Objects/lnotab_notes.txt
    Lnotab,
    /// 3.10: pairs of how long a range is (u8), and by how much its line differs (i8; −128: it has none).
    Ranges,
    /// 3.11 on: entries of one location each, with columns. Objects/locations.md, InternalDocs/code_objects.md
    Locations,
}

impl LineFormat {
    pub fn of(version: Version) -> LineFormat {
        match (version.at_least(3, 10), version.at_least(3, 11)) {
            (false, _) => LineFormat::Lnotab,
            (true, false) => LineFormat::Ranges,
            (true, true) => LineFormat::Locations,
        }
    }

    /// The ranges of instructions of one line each, in order and without gaps, from 0 on.
    pub fn ranges(self, table: &[u8], first_line: u32) -> Lines<'_> {
        Lines {
            format: self,
            rest: table,
            line: i64::from(first_line),
            at: 0,
            open: self == LineFormat::Lnotab,
        }
    }

    /// The line of the instruction at byte `offset`, as `PyCode_Addr2Line` says it; before the first instruction that is
    /// where the function begins. None: it belongs to no line.
    pub fn line_at(self, table: &[u8], first_line: u32, offset: i64) -> Option<u32> {
        let Ok(offset) = u64::try_from(offset) else {
            return Some(first_line);
        };
        self.ranges(table, first_line)
            .find(|range| offset < range.end)
            .and_then(|range| range.line)
    }
}

/// Instructions that follow each other and have the same place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRange {
    /// In bytes from the first instruction; `end` is behind the last one.
    pub start: u64,
    pub end: u64,
    /// None: it belongs to no line.
    pub line: Option<u32>,
}

/// Reads a table range by range.
#[derive(Clone, Debug)]
pub struct Lines<'t> {
    format: LineFormat,
    rest: &'t [u8],
    line: i64,
    at: u64,
    /// `co_lnotab` does not say where the last range ends.
    open: bool,
}

impl Lines<'_> {
    fn lnotab(&mut self) -> Option<LineRange> {
        let mut length = 0;
        while let [advance, delta, rest @ ..] = self.rest {
            self.rest = rest;
            length += u64::from(*advance);
            // What is longer than a byte can say is split, also in the middle of an instruction.
            if *delta == 0 {
                continue;
            }
            let range = (length > 0).then(|| self.range(length, true));
            self.line += i64::from(*delta as i8);
            if range.is_some() {
                return range;
            }
        }
        std::mem::take(&mut self.open).then(|| LineRange {
            end: u64::MAX,
            ..self.range(0, true)
        })
    }

    fn pair(&mut self) -> Option<LineRange> {
        let [length, delta, rest @ ..] = self.rest else {
            return None;
        };
        self.rest = rest;
        let has_line = *delta != 0x80;
        if has_line {
            self.line += i64::from(*delta as i8);
        }
        Some(self.range(u64::from(*length), has_line))
    }

    /// One entry: a byte with its high bit set, which has the form (bits 3–6) and the length in code units less one
    /// (bits 0–2); what follows up to the next such byte is its own.
    fn entry(&mut self) -> Option<LineRange> {
        let (head, rest) = self.rest.split_first()?;
        let end = rest.iter().position(|byte| byte & 0x80 != 0).unwrap_or(rest.len());
        let (own, rest) = rest.split_at(end);
        self.rest = rest;
        let form = head >> 3 & 15;
        self.line += match form {
            // The column alone; or the line goes on by 0, 1, 2.
            0..=9 | NO_LINE => 0,
            10..=12 => i64::from(form) - 10,
            _ => signed_varint(own),
        };
        Some(self.range(u64::from(head & 7) * 2 + 2, form != NO_LINE))
    }

    fn range(&mut self, length: u64, has_line: bool) -> LineRange {
        let start = self.at;
        self.at += length;
        // `co_firstlineno` may be anything that a program gave to `code.replace`, and 0 and below are no lines.
        let line = u32::try_from(self.line).ok().filter(|line| has_line && *line > 0);
        LineRange {
            start,
            end: self.at,
            line,
        }
    }
}

/// The form of an entry without a line.
const NO_LINE: u8 = 15;

/// Six bits a byte, the least first, bit 6 set while there are more; bit 0 of the whole is the sign.
fn signed_varint(bytes: &[u8]) -> i64 {
    let mut value: u64 = 0;
    // Lines are ints of C: what is longer is damage.
    for (place, byte) in bytes.iter().take(6).enumerate() {
        value |= u64::from(byte & 63) << (6 * place);
        if byte & 64 == 0 {
            break;
        }
    }
    let absolute = (value >> 1) as i64;
    if value & 1 == 1 { -absolute } else { absolute }
}

impl Iterator for Lines<'_> {
    type Item = LineRange;

    fn next(&mut self) -> Option<LineRange> {
        match self.format {
            LineFormat::Lnotab => self.lnotab(),
            LineFormat::Ranges => self.pair(),
            LineFormat::Locations => self.entry(),
        }
    }
}
