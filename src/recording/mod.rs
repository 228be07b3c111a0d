//! Recordings: every observation with the instant at which it came, so that whatever is concluded from a worker can be
//! concluded from its file. Bytes in and bytes out; knows nothing of processes, of clocks, of names of files, or of what
//! the observations mean.
//!
//! A file is `MAGIC`, the format's version (u16), and parts. All fixed numbers are little-endian.
//!
//! ```text
//! part:  kind u8 · length u32 · unpacked length u32 · from u64 · until u64 · CRC-32 u32 · deflated bytes
//! ```
//!
//! | kind | holds |
//! |---|---|
//! | 1 | what the recording is about: otop's version, the worker's command line, `Hello`; the first part, once |
//! | 2 | observations, each with how long after the one before it came (nanoseconds); `from` and `until` are when the first and the last of them came |
//! | 3 | the end: it was finished; nothing follows |
//!
//! The CRC is of all that is before it in the part's head, and of the bytes. A part is complete in itself: texts, frames,
//! stacks and keys are numbered within it (`words`), so that a part can be read without those before it, and the parts
//! of the last minutes are a recording too (`Ring`). A text has 64 KiB at most, and all that a part hands out 256 MiB, each
//! text counted wherever its number stands: so what a part becomes in memory is bounded too. A recording that was cut off is read up to its last whole part.
//!
//! A reader refuses a version that is newer than its own; each change of what is written is a new version.
//!
//! | version | has |
//! |---|---|
//! | 1 | batches, stacks, walks, who waits, names, the end of the worker |
//! | 2 | dumps too |
//! | 3 | of samples in a context that was entered within a step, whose the step is; at the end of kind 1, how the worker was judged: from which length on a block is one, how long a session stays slow, which files are own code |
//! | 4 | before a batch, what the hypervisor took |
//! | 5 | stacks that were read by interrupts are said to be |

mod bytes;
mod dump;
mod part;
mod reader;
mod reading;
mod recorder;
mod ring;
#[cfg(test)]
mod tests;
mod words;
mod writing;

pub use reader::{Arrived, Recording, RecordingError};
pub use recorder::{Part, Recorder, begin, end};
pub use ring::Ring;

/// What a recording begins with. Not text, and changed by whatever changes line feeds.
pub const MAGIC: [u8; 8] = *b"\x89otop\r\n\x1a";

/// The version of the format that is written.
pub const VERSION: u16 = 5;
