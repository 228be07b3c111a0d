//! Pages that were read once and answer from then on: for a reader that asks thousands of objects for a word or two each,
//! which lie side by side. Knows nothing of what the bytes mean, nor of how long a copy may be believed.

use super::{Fault, Memory};
use crate::model::Addr;
use std::collections::HashMap;

const PAGE: u64 = 4096;
/// Of 4 MB at most, for otop is to be small; then they are read anew.
const MOST: usize = 1024;

#[derive(Default)]
pub struct Pages {
    copies: HashMap<u64, Box<[u8; PAGE as usize]>>,
}

impl Pages {
    /// Fills `into` from a copy, which is made of `live` where there is none yet.
    pub fn read(&mut self, live: &dyn Memory, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        let (page, begin) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        let range = begin..begin + into.len();
        if range.end > PAGE as usize {
            return live.read(at, into);
        }
        if !self.copies.contains_key(&page) {
            let mut copy = Box::new([0; PAGE as usize]);
            if live.read(Addr(page * PAGE), &mut copy[..]).is_err() {
                // Recorded memory has pieces of pages only.
                return live.read(at, into);
            }
            if self.copies.len() >= MOST {
                self.copies.clear();
            }
            self.copies.insert(page, copy);
        }
        let copy = self.copies.get(&page).and_then(|copy| copy.get(range));
        into.copy_from_slice(copy.ok_or(Fault::Unmapped)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    #[test]
    fn a_page_is_read_once_and_what_is_no_whole_page_is_read_as_it_is() {
        let mut image = Image::default();
        image.put(Addr(0x10_000), &[7; 4096]);
        image.put(Addr(0x20_010), &[9; 32]);
        let mut pages = Pages::default();
        let read = |pages: &mut Pages, image: &Image, at: u64, length: usize| {
            let mut bytes = vec![0; length];
            pages.read(image, Addr(at), &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(&mut pages, &image, 0x10_ff0, 16), Ok(vec![7; 16]));
        image.put(Addr(0x10_000), &[8; 4096]);
        assert_eq!(read(&mut pages, &image, 0x10_000, 8), Ok(vec![7; 8]), "the copy");
        assert_eq!(read(&mut pages, &image, 0x20_018, 8), Ok(vec![9; 8]));
        assert!(
            read(&mut pages, &image, 0x10_ffc, 8).is_err(),
            "over the end of what is there"
        );
        assert!(read(&mut pages, &image, 0x30_000, 8).is_err());
        assert!(read(&mut pages, &image, u64::MAX - 3, 8).is_err());
    }
}
