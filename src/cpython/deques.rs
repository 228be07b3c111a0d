//! `collections.deque`: its items, from the left. Knows nothing of what they are.
//!
//! A deque is a chain of blocks of 64 pointers, filled from the middle (Modules/_collectionsmodule.c, 3.8–3.15). What
//! stands in its head between the size and the state is the same in all versions: both offsets are proved, and the four
//! words between them are `leftblock`, `rightblock`, `leftindex`, `rightindex`.

use super::heap::Heap;
use super::objects::word_at;
use crate::memory::Fault;
use crate::model::Addr;

/// `BLOCKLEN`
const BLOCK_LENGTH: u64 = 64;
/// `leftlink`, the pointers, `rightlink`.
const BLOCK: usize = 8 * (1 + BLOCK_LENGTH as usize + 1);

impl Heap {
    /// The first `most` items of a deque, and whether there are more. Whoever appends or takes meanwhile makes items
    /// stale or missing: each must be checked by itself.
    pub fn deque_items(&self, deque: Addr, most: usize) -> Result<(Vec<Addr>, bool), Fault> {
        const DEQUE: Fault = Fault::Implausible("deque");
        let o = &self.offsets;
        let mut head = [0; 64];
        self.read(deque, 0, &mut head)?;
        let word = |place: u64| word_at(&head, (o.deque_size + 8 * place) as usize);
        let (size, mut block, mut index, last) = (word(0), Addr(word(1)), word(3), word(4));
        // An empty one has its left index one behind the right one, in the middle of its block.
        if size > 1 << 40 || index > BLOCK_LENGTH || last > BLOCK_LENGTH {
            return Err(DEQUE);
        }
        let wanted = usize::try_from(size).unwrap_or(usize::MAX).min(most);
        let mut items = Vec::new();
        while items.len() < wanted {
            let mut bytes = [0; BLOCK];
            self.read(block, 0, &mut bytes)?;
            let here = bytes
                .chunks_exact(8)
                .skip(1)
                .take(BLOCK_LENGTH as usize)
                .skip(index as usize)
                .map(|word| Addr(word_at(word, 0)));
            let before = items.len();
            items.extend(here.take(wanted - items.len()));
            if items.len() == before && index < BLOCK_LENGTH {
                return Err(DEQUE);
            }
            block = Addr(word_at(&bytes, BLOCK - 8));
            index = 0;
        }
        Ok((items, size > wanted as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Offsets, Version};
    use super::*;
    use crate::memory::Image;

    const DEQUE: u64 = 0x10_0000;
    const FIRST: u64 = 0x20_0000;
    const SECOND: u64 = 0x30_0000;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn heap(image: Image) -> Heap {
        let version = Version::parse("3.12.1").unwrap();
        Heap::new(Box::new(image), Offsets::of_minor(12).unwrap(), version)
    }

    /// Items 1 to 40, in two blocks: 32 at the end of the first, 8 at the begin of the second.
    fn forty(link: u64) -> Image {
        let mut image = Image::new();
        image.put(Addr(DEQUE + 16), &words(&[40, FIRST, SECOND, 32, 7, 40]));
        let mut first = vec![0; 33];
        first.extend(1..=32);
        first.push(link);
        image.put(Addr(FIRST), &words(&first));
        let mut second: Vec<u64> = vec![FIRST];
        second.extend(33..=40);
        second.resize(65, 0);
        second.push(0);
        image.put(Addr(SECOND), &words(&second));
        image.put(Addr(DEQUE), &words(&[1, 0]));
        image
    }

    #[test]
    fn items_come_in_order_over_the_borders_of_blocks() {
        let all: Vec<Addr> = (1..=40).map(Addr).collect();
        assert_eq!(
            heap(forty(SECOND)).deque_items(Addr(DEQUE), 100),
            Ok((all.clone(), false))
        );
        assert_eq!(
            heap(forty(SECOND)).deque_items(Addr(DEQUE), 33),
            Ok((all[..33].to_vec(), true))
        );
    }

    #[test]
    fn a_chain_of_blocks_that_ends_or_turns_back_is_a_fault_and_no_hang() {
        assert!(heap(forty(0)).deque_items(Addr(DEQUE), 100).is_err());
        let mut image = forty(FIRST);
        image.put(Addr(DEQUE + 16), &words(&[1 << 39]));
        assert_eq!(
            heap(image).deque_items(Addr(DEQUE), usize::MAX),
            Err(Fault::Budget),
            "as many items as are claimed are not to be had from one block"
        );
        let mut image = forty(SECOND);
        image.put(Addr(DEQUE + 16 + 24), &words(&[65]));
        assert!(heap(image).deque_items(Addr(DEQUE), 100).is_err());
    }
}
