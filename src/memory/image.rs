//! Memory that was recorded from a live process, or made up by a test: only the bytes that were read. Knows nothing of
//! processes.
//!
//! File format, all numbers little-endian: the magic `otopmem1`; then per stretch its address (u64), its length (u32)
//! and its bytes. A file that ends inside a stretch is refused.

use super::{Fault, Memory};
use crate::model::Addr;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"otopmem1";
/// An image holds what one attach and a few walks read: some hundred kilobytes.
const MOST_BYTES: usize = 256 << 20;

/// Stretches of memory that do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    stretches: BTreeMap<u64, Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("not a memory image (its first bytes are not `otopmem1`)")]
    Foreign,
    #[error("the memory image ends in the middle")]
    Truncated,
    #[error("the memory image is larger than {MOST_BYTES} bytes")]
    TooLarge,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Image {
    pub fn new() -> Image {
        Image::default()
    }

    /// Adds bytes. Where they overlap what is there, the newer ones win.
    pub fn put(&mut self, at: Addr, bytes: &[u8]) {
        if bytes.is_empty() || at.0.checked_add(bytes.len() as u64).is_none() {
            return;
        }
        let end = at.0 + bytes.len() as u64;
        let mut start = at.0;
        let mut joined: Vec<u8> = Vec::new();
        let mut tail: Vec<u8> = Vec::new();
        // All stretches that touch the new one are joined with it.
        let touching: Vec<u64> = self
            .stretches
            .range(..=end)
            .rev()
            .take_while(|(s, b)| **s + b.len() as u64 >= at.0)
            .map(|(s, _)| *s)
            .collect();
        for s in touching.into_iter().rev() {
            let Some(old) = self.stretches.remove(&s) else { continue };
            let old_end = s + old.len() as u64;
            if s < start {
                start = s;
                joined = old[..(at.0 - s) as usize].to_vec();
            }
            if old_end > end {
                tail = old[(end - s) as usize..].to_vec();
            }
        }
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(&tail);
        self.stretches.insert(start, joined);
    }

    /// Number of bytes held.
    pub fn size(&self) -> usize {
        self.stretches.values().map(Vec::len).sum()
    }

    /// The stretches, in order of address, for tests that damage them.
    pub fn stretches_mut(&mut self) -> impl Iterator<Item = (Addr, &mut Vec<u8>)> {
        self.stretches.iter_mut().map(|(at, bytes)| (Addr(*at), bytes))
    }

    /// Removes the stretch that holds `at`.
    pub fn unmap(&mut self, at: Addr) {
        if let Some((&start, _)) = self.stretches.range(..=at.0).next_back() {
            self.stretches.remove(&start);
        }
    }

    pub fn save(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(MAGIC)?;
        for (at, bytes) in &self.stretches {
            to.write_all(&at.to_le_bytes())?;
            to.write_all(&(bytes.len() as u32).to_le_bytes())?;
            to.write_all(bytes)?;
        }
        Ok(())
    }

    pub fn load(mut from: impl Read) -> Result<Image, ImageError> {
        let mut all = Vec::new();
        from.by_ref().take(MOST_BYTES as u64 + 1).read_to_end(&mut all)?;
        if all.len() > MOST_BYTES {
            return Err(ImageError::TooLarge);
        }
        let mut rest = all.strip_prefix(MAGIC.as_slice()).ok_or(ImageError::Foreign)?;
        let mut image = Image::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(12).ok_or(ImageError::Truncated)?;
            let at = u64::from_le_bytes(head[..8].try_into().map_err(|_| ImageError::Truncated)?);
            let length = u32::from_le_bytes(head[8..].try_into().map_err(|_| ImageError::Truncated)?) as usize;
            let (bytes, after) = after.split_at_checked(length).ok_or(ImageError::Truncated)?;
            image.put(Addr(at), bytes);
            rest = after;
        }
        Ok(image)
    }
}

impl Memory for Image {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        let (start, bytes) = self.stretches.range(..=at.0).next_back().ok_or(Fault::Unmapped)?;
        let from = (at.0 - start) as usize;
        let to = from.checked_add(into.len()).ok_or(Fault::Unmapped)?;
        into.copy_from_slice(bytes.get(from..to).ok_or(Fault::Unmapped)?);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        let mut start = 0;
        for (done, &(at, length)) in ranges.iter().enumerate() {
            let Some(part) = into.get_mut(start..start + length) else {
                return Ok(done);
            };
            if self.read(at, part).is_err() {
                return Ok(done);
            }
            start += length;
        }
        Ok(ranges.len())
    }

    fn changes(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn foreign_and_truncated_files_are_refused() {
        assert!(matches!(Image::load(&b"otopmem2"[..]), Err(ImageError::Foreign)));
        let mut file = Vec::new();
        let mut image = Image::new();
        image.put(Addr(64), b"hello");
        image.save(&mut file).unwrap();
        assert_eq!(Image::load(&file[..]).unwrap(), image);
        assert!(matches!(
            Image::load(&file[..file.len() - 1]),
            Err(ImageError::Truncated)
        ));
    }

    proptest! {
        /// Whatever is put in whatever order, a byte reads as it was last put.
        #[test]
        fn reads_what_was_put(puts in proptest::collection::vec((0u64..200, 1usize..40, any::<u8>()), 1..30)) {
            let mut image = Image::new();
            let mut plain = vec![None; 300];
            for (at, length, byte) in puts {
                image.put(Addr(at), &vec![byte; length]);
                plain[at as usize..at as usize + length].fill(Some(byte));
            }
            for (at, byte) in plain.iter().enumerate() {
                let mut got = [0];
                let read = image.read(Addr(at as u64), &mut got).ok().map(|()| got[0]);
                prop_assert_eq!(read, *byte);
            }
        }
    }
}
