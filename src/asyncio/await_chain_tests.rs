//! Await chains over memory that no live worker shows: rings, objects that are gone, chains deeper than anybody follows.
//! The layout is 3.12's, written down here once more, independently of the table.

use super::await_chain::{Chain, ChainReader, End, MOST_LINKS};
use crate::cpython::{Heap, Offsets, Version};
use crate::memory::Image;
use crate::model::Addr;

/// `PyTypeObject.tp_name`
const TYPE_NAME: u64 = 24;
/// `gi_frame_state` and its value of a coroutine that is suspended, `gi_iframe.f_code`, `.prev_instr`, `.stacktop`, and
/// `.localsplus`, seen from the coroutine.
const FRAME_STATE: u64 = 67;
const SUSPENDED: i8 = -1;
const CODE: u64 = 72;
const INSTRUCTION: u64 = 72 + 56;
const STACK_TOP: u64 = 72 + 64;
const LOCALS: u64 = 72 + 72;
/// More than is ever read of one.
const SIZE: usize = 512;

const COROUTINE: u64 = 0x10_0000;
const FUTURE_ITER: u64 = 0x11_0000;
const FUTURE: u64 = 0x12_0000;
const A_CODE: u64 = 0x13_0000;

/// Where the coroutine number `n` lies.
fn at(n: u64) -> u64 {
    0x100_0000 + n * 0x1000
}

fn put_type(image: &mut Image, class: u64, name: &str) {
    let mut text = name.as_bytes().to_vec();
    text.resize(64, 0);
    image.put(Addr(class + 0x800), &text);
    image.put(Addr(class + TYPE_NAME), &(class + 0x800).to_le_bytes());
}

/// A coroutine with one local that awaits `awaited`.
fn put_coroutine(image: &mut Image, place: u64, instruction: u64, awaited: u64) {
    let mut object = vec![0; SIZE];
    let mut put = |at: u64, bytes: &[u8]| object[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    put(8, &COROUTINE.to_le_bytes());
    put(FRAME_STATE, &[SUSPENDED as u8]);
    put(CODE, &A_CODE.to_le_bytes());
    put(INSTRUCTION, &instruction.to_le_bytes());
    put(STACK_TOP, &2u32.to_le_bytes());
    put(LOCALS + 8, &awaited.to_le_bytes());
    image.put(Addr(place), &object);
}

/// A future's iterator, which is 24 bytes long and the last thing that is mapped.
fn put_future_iter(image: &mut Image, place: u64) {
    image.put(Addr(place + 8), &FUTURE_ITER.to_le_bytes());
    image.put(Addr(place + 16), &FUTURE.to_le_bytes());
    image.put(Addr(place), &1u64.to_le_bytes());
}

fn types() -> Image {
    let mut image = Image::new();
    put_type(&mut image, COROUTINE, "coroutine");
    put_type(&mut image, FUTURE_ITER, "_asyncio.FutureIter");
    image
}

fn heap(image: Image) -> Heap {
    let version = Version::parse("3.12.1").expect("a version");
    Heap::new(Box::new(image), Offsets::of_minor(12).expect("a column"), version)
}

fn chain(heap: &Heap, first: u64) -> Chain {
    let mut chains = ChainReader::new(heap).read(heap, &[Addr(first)]).expect("memory");
    assert_eq!(chains.len(), 1);
    chains.remove(0)
}

fn objects(chain: &Chain) -> Vec<u64> {
    chain.links.iter().map(|link| link.object.0).collect()
}

/// `at(0)` awaits `at(1)` awaits a future.
fn plain() -> Image {
    let mut image = types();
    put_coroutine(&mut image, at(0), 0x13_0010, at(1));
    put_coroutine(&mut image, at(1), 0x13_0020, at(2));
    put_future_iter(&mut image, at(2));
    image
}

#[test]
fn a_chain_goes_down_to_the_future() {
    let chain = chain(&heap(plain()), at(0));
    assert_eq!(objects(&chain), [at(0), at(1)]);
    assert_eq!(chain.end, End::Future(Addr(FUTURE)));
    let raw = chain.links.iter().map(|link| (link.raw.code.0, link.raw.instruction));
    assert_eq!(raw.collect::<Vec<_>>(), [(A_CODE, 0x13_0010), (A_CODE, 0x13_0020)]);
    assert_eq!(chain.links[0].locals, Addr(at(0) + LOCALS));
}

#[test]
fn a_ring_ends_where_it_closes() {
    let mut image = types();
    put_coroutine(&mut image, at(0), 0, at(1));
    put_coroutine(&mut image, at(1), 0, at(0));
    let ring = chain(&heap(image), at(0));
    assert_eq!((objects(&ring), ring.end), (vec![at(0), at(1)], End::Cut));
    // One that awaits itself.
    let mut image = types();
    put_coroutine(&mut image, at(0), 0, at(0));
    let ring = chain(&heap(image), at(0));
    assert_eq!((objects(&ring), ring.end), (vec![at(0)], End::Cut));
}

#[test]
fn a_chain_that_is_too_deep_is_cut_and_says_so() {
    let mut image = types();
    for n in 0..2 * MOST_LINKS as u64 {
        put_coroutine(&mut image, at(n), 0, at(n + 1));
    }
    let deep = chain(&heap(image), at(0));
    assert_eq!((deep.links.len(), deep.end), (MOST_LINKS, End::Cut));
}

#[test]
fn what_was_freed_on_the_way_costs_no_more_than_the_rest() {
    // Gone altogether.
    let mut image = plain();
    image.unmap(Addr(at(1)));
    let freed = chain(&heap(image), at(0));
    assert_eq!((objects(&freed), freed.end), (vec![at(0)], End::Unreadable));
    // Given to another object, of a type that makes no sense.
    let mut image = plain();
    image.put(Addr(at(1) + 8), &0x5555u64.to_le_bytes());
    let freed = chain(&heap(image), at(0));
    assert_eq!((objects(&freed), freed.end), (vec![at(0)], End::Object(Addr(at(1)))));
    // With a state that no version has, and with a stack that no frame has.
    for (place, bytes) in [(FRAME_STATE, &[77u8][..]), (STACK_TOP, &[0xff, 0xff, 0xff, 0x7f][..])] {
        let mut image = plain();
        image.put(Addr(at(1) + place), bytes);
        let freed = chain(&heap(image), at(0));
        assert_eq!((objects(&freed), freed.end), (vec![at(0)], End::Unreadable));
    }
}

#[test]
fn a_chain_that_moved_on_does_not_hold() {
    let before = heap(plain());
    let mut reader = ChainReader::new(&before);
    let chains = reader.read(&before, &[Addr(at(0)), Addr(at(1))]).expect("memory");
    let all = |heap: &Heap| ChainReader::new(heap).holding(heap, chains.iter()).expect("memory");
    assert_eq!(all(&before), [true, true]);
    // The outer one goes on: the chain that begins further down is as it was.
    let mut image = plain();
    put_coroutine(&mut image, at(0), 0x13_0018, at(1));
    assert_eq!(all(&heap(image)), [false, true]);
    // The inner one waits for something else.
    let mut image = plain();
    put_coroutine(&mut image, at(1), 0x13_0020, at(3));
    assert_eq!(all(&heap(image)), [false, false]);
    let mut image = plain();
    image.unmap(Addr(at(1)));
    assert_eq!(all(&heap(image)), [false, false]);
}
