//! Memory that keeps a copy of every byte that was read through it, so that a live attach becomes an image for tests.
//! Knows nothing of what the bytes mean.

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

impl<M: Memory> Memory for Recorder<M> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        self.inner.read(at, into)?;
        self.image.lock().unwrap_or_else(PoisonError::into_inner).put(at, into);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        let whole = self.inner.read_ranges(ranges, into)?;
        let mut image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = 0;
        for &(at, length) in &ranges[..whole] {
            image.put(at, &into[start..start + length]);
            start += length;
        }
        Ok(whole)
    }
}
