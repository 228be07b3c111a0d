//! Bytes of another process: one read, one scatter read, and nothing else. Knows nothing of CPython, and never writes,
//! stops or signals. Everything above reads through `Memory`, so it can be shown a live worker or a recorded image.

mod addr_map;
mod image;
mod live;
mod pages;
mod prediction;
mod recorder;
mod scatter;
mod snapshot;

pub use addr_map::{AddrMap, AddrSet, QuickMap};
pub use image::{Image, ImageError};
pub use live::LiveMemory;
pub use pages::Pages;
pub use prediction::{Key, Predictions, Range};
pub use recorder::Recorder;
pub use scatter::Scatter;
pub use snapshot::{Serve, Snapshot};

use crate::model::Addr;

/// Why bytes could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing is mapped there (any more).
    #[error("unmapped memory")]
    Unmapped,
    /// The process is gone, or runs another program.
    #[error("the process is gone")]
    Gone,
    /// The kernel refuses.
    #[error("not permitted")]
    Denied,
    /// The bytes were there, and make no sense as what they should be; the word says as what.
    #[error("implausible {0}")]
    Implausible(&'static str),
    /// A walk took more bytes or hops than anything sane needs (a cycle, or memory that changed under it).
    #[error("read budget used up")]
    Budget,
}

/// Read access to a process's memory.
pub trait Memory: Send {
    /// Fills `into` with the bytes at `at`.
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault>;

    /// Reads the ranges (address, length), in this order and as close together in time as can be, one behind the other
    /// into `into`, whose length is the sum of theirs. Returns how many leading ranges are whole; the first one that
    /// is not ends the read. Only a process that cannot be read at all is an error.
    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault>;

    /// Whether the same read may give other bytes later: where not, to try again is no use.
    fn changes(&self) -> bool {
        true
    }
}

impl<M: Memory + ?Sized> Memory for Box<M> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        (**self).read(at, into)
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        (**self).read_ranges(ranges, into)
    }

    fn changes(&self) -> bool {
        (**self).changes()
    }
}
