//! Makes the bytes of a recording, part by part, as the observations come. Knows nothing of where the bytes go.

use super::bytes::Out;
use super::part::{self, kind};
use super::words::MOST_HANDED_OUT;
use super::writing::{self, Writing};
use super::{MAGIC, VERSION};
use crate::model::{Hello, Nanos, Observation, Origin};

/// A part covers no more time than this, so that a kill loses less than a second: the last part, and what was on its way.
const LONGEST: Nanos = Nanos(800_000_000);
/// A part that has grown to this is full, before it is packed: thousands of sessions are named in every walk.
const FULL: usize = 4 << 20;
/// And so is one whose texts have grown to this where they are read, far from what a reader takes for damage.
const FULL_TEXTS: usize = MOST_HANDED_OUT / 4;

/// What a recording begins with: magic, version, and what it is about.
pub fn begin(origin: &Origin, hello: &Hello) -> Vec<u8> {
    let mut about = Out::default();
    about.text(&origin.otop);
    about.maybe(origin.command.as_deref(), Out::text);
    writing::hello(&mut about, hello);
    about.maybe(origin.judging.as_ref(), writing::judging);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let at = hello.attached_at;
    bytes.extend(part::pack(kind::ABOUT, (at, at), &about.bytes).unwrap_or_default());
    bytes
}

/// What a recording ends with, if it is finished at `at`.
pub fn end(at: Nanos) -> Vec<u8> {
    part::pack(kind::END, (at, at), &[]).unwrap_or_default()
}

/// A part of a recording that is complete.
#[derive(Clone, Debug)]
pub struct Part {
    pub bytes: Vec<u8>,
    /// When the first and the last observation in it came.
    pub from: Nanos,
    pub until: Nanos,
}

/// Gathers observations into parts.
#[derive(Debug, Default)]
pub struct Recorder {
    part: Option<Open>,
    left_out: u64,
}

/// The part that is being filled.
#[derive(Debug)]
struct Open {
    writing: Writing,
    out: Out,
    from: Nanos,
    until: Nanos,
}

impl Recorder {
    /// Takes an observation that came at this instant; returns the part that it completed, if it did.
    pub fn take(&mut self, came: Nanos, observation: &Observation) -> Option<Part> {
        let open = self.part.get_or_insert_with(|| Open {
            writing: Writing::default(),
            out: Out::default(),
            from: came,
            until: came,
        });
        let came = came.max(open.until);
        open.out.number((came - open.until).0);
        open.until = came;
        open.writing.observation(&mut open.out, observation);
        let is_full =
            came - open.from >= LONGEST || open.out.bytes.len() >= FULL || open.writing.handed_out() >= FULL_TEXTS;
        if is_full { self.close() } else { None }
    }

    /// What has been taken since the last part.
    pub fn close(&mut self) -> Option<Part> {
        let Open {
            writing,
            out,
            from,
            until,
        } = self.part.take()?;
        // A reader would take it for damage, and end there.
        let is_readable = writing.handed_out() <= MOST_HANDED_OUT;
        let bytes = is_readable.then(|| part::pack(kind::OBSERVATIONS, (from, until), &out.bytes));
        let bytes = bytes.flatten();
        self.left_out += u64::from(bytes.is_none());
        Some(Part {
            bytes: bytes?,
            from,
            until,
        })
    }

    /// Bytes that wait to become a part, before they are packed.
    pub fn waiting(&self) -> usize {
        self.part.as_ref().map_or(0, |open| open.out.bytes.len())
    }

    /// Parts that were too large to be kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
