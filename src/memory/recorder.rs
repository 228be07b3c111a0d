//! Memory that keeps a copy of every byte that was read through it, so that a live attach becomes an image for tests.
//! Knows nothing of what the bytes mean.
//!
//! Two words on either side are kept too, where they can be read: a reader whose offsets are wrong by a word must find
//! in the image what it would have found in the worker.

use super::{Fault, Image, Memory};
use crate::model::Addr;
use std::sync::{Arc, Mutex, PoisonError};

pub struct Recorder<M> {
    inner: M,
    image: Arc<Mutex<Image>>,
}

impl<M: Memory> Recorder<M> {
    /// Wraps `inner`; the image grows with every read, whoever holds it.
    pub fn new(inner: M) -> (Recorder<M>, Arc<Mutex<Image>>) {
        let image = Arc::new(Mutex::new(Image::new()));
        (
            Recorder {
                inner,
                image: Arc::clone(&image),
            },
            image,
        )
    }
}

const MARGIN: u64 = 16;

impl<M: Memory> Recorder<M> {
    fn keep(&self, at: Addr, bytes: &[u8]) {
        let mut image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wider = vec![0; bytes.len() + 2 * MARGIN as usize];
        if let Some(start) = at.0.checked_sub(MARGIN)
            && self.inner.read(Addr(start), &mut wider).is_ok()
        {
            image.put(Addr(start), &wider);
        }
        // Last, so that what the reader saw is what the image has, whatever changed since.
        image.put(at, bytes);
    }
}

impl<M: Memory> Memory for Recorder<M> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        self.inner.read(at, into)?;
        self.keep(at, into);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        let whole = self.inner.read_ranges(ranges, into)?;
        let mut start = 0;
        for &(at, length) in &ranges[..whole] {
            self.keep(at, &into[start..start + length]);
            start += length;
        }
        Ok(whole)
    }
}
