//! Walks over frames that are made up: every version, deep ones, rings, what is missing, and any bytes at all.

use super::*;
use crate::memory::Image;
use proptest::prelude::*;

const THREAD: u64 = 0x10_0000;
const FRAMES: u64 = 0x20_0000;
const CODE: u64 = 0x90_0000;
const CFRAME: u64 = 0x11_0000;

fn layout(minor: u8) -> (Offsets, FrameWalk) {
    let version = Version::parse(&format!("3.{minor}.0")).unwrap();
    let offsets = Offsets::of_minor(minor).unwrap();
    (offsets.clone(), FrameWalk::new(&offsets, version))
}

fn put(image: &mut Image, at: u64, word: u64) {
    image.put(Addr(at), &word.to_le_bytes());
}

fn place(n: u64) -> u64 {
    FRAMES + n * 512
}

/// Frames 0 (innermost) to `count` − 1; `shims` has the numbers of those that C made. The chain ends with `last`.
fn chain(minor: u8, count: u64, shims: &[u64], last: u64) -> Image {
    let (o, _) = layout(minor);
    let mut image = Image::new();
    match minor {
        ..=10 => put(&mut image, THREAD + o.tstate_frame, place(0)),
        11 | 12 => {
            put(&mut image, THREAD + o.tstate_cframe, CFRAME);
            put(&mut image, CFRAME + o.cframe_current_frame, place(0));
        }
        _ => put(&mut image, THREAD + o.tstate_current_frame, place(0)),
    }
    for n in 0..count {
        let at = place(n);
        let previous = if n + 1 < count { place(n + 1) } else { last };
        image.put(Addr(at), &[0; 128]);
        if minor <= 10 {
            put(&mut image, at + o.frameobject_back, previous);
            put(&mut image, at + o.frameobject_code, CODE + n * 8);
            put(&mut image, at + o.frameobject_lasti, n);
            continue;
        }
        let tag = if minor >= 14 { 1 } else { 0 };
        put(&mut image, at + o.frame_executable, (CODE + n * 8) | tag);
        put(&mut image, at + o.frame_previous, previous);
        put(&mut image, at + o.frame_instruction, n);
        let owner = if shims.contains(&n) { 3 } else { n as u8 % 2 };
        image.put(Addr(at + o.frame_owner), &[owner]);
    }
    image
}

fn walk(minor: u8, image: &Image) -> (Result<(), Fault>, RawStack) {
    let mut stack = RawStack::default();
    let result = layout(minor).1.walk(image, Addr(THREAD), &mut stack);
    (result, stack)
}

#[test]
fn every_version_leads_from_the_thread_to_its_root() {
    for minor in super::super::offsets::MINORS {
        let shims: &[u64] = if minor >= 12 { &[2, 4] } else { &[] };
        let (result, stack) = walk(minor, &chain(minor, 5, shims, 0));
        assert_eq!(result, Ok(()), "3.{minor}");
        let numbers: Vec<u64> = stack.frames.iter().map(|f| (f.code.0 - CODE) / 8).collect();
        let expected: &[u64] = if minor >= 12 { &[0, 1, 3] } else { &[0, 1, 2, 3, 4] };
        assert_eq!(numbers, expected, "3.{minor}");
        assert!(stack.frames.iter().zip(expected).all(|(f, n)| f.instruction == *n));
        assert_eq!((stack.places.len(), stack.is_cut), (5, false), "3.{minor}");
    }
}

#[test]
fn what_is_deep_is_cut_and_what_is_a_ring_is_refused() {
    for minor in super::super::offsets::MINORS {
        let most = MOST_FRAMES as u64;
        for (count, cut) in [(most, false), (most + 1, true), (3 * most, true)] {
            let (result, stack) = walk(minor, &chain(minor, count, &[], 0));
            assert_eq!(result, Ok(()));
            assert_eq!((stack.frames.len(), stack.is_cut), (MOST_FRAMES, cut), "3.{minor}");
        }
        // Back to any of the frames before.
        for back in [0, 1, 7, 19] {
            let (result, stack) = walk(minor, &chain(minor, 20, &[], place(back)));
            assert_eq!(
                result,
                Err(Fault::Implausible("frame: the chain is a ring")),
                "3.{minor}"
            );
            assert!(stack.frames.len() < 100);
        }
    }
    // Endless shims are no stack either.
    let many: Vec<u64> = (0..2000).collect();
    let (result, stack) = walk(13, &chain(13, 2000, &many, 0));
    assert_eq!((result, stack.frames.len(), stack.is_cut), (Ok(()), 0, true));
}

#[test]
fn the_caller_of_a_frame_that_has_not_begun_is_not_believed_in_3_12() {
    for (minor, believed) in [(11, true), (12, false), (13, true)] {
        let (o, _) = layout(minor);
        let mut image = chain(minor, 3, &[], 0);
        let before = CODE + o.code_instructions - 2;
        put(&mut image, place(0) + o.frame_instruction, before);
        assert_eq!(walk(minor, &image).0.is_ok(), believed, "3.{minor}");
        // Deeper down it stands in its call, whatever that looks like.
        put(&mut image, place(0) + o.frame_instruction, 0);
        put(&mut image, place(1) + o.frame_instruction, before + 8);
        assert!(walk(minor, &image).0.is_ok(), "3.{minor}");
    }
}

/// What ran last at that depth of the C stack, and is suspended by now, is not what runs.
#[test]
fn a_suspended_coroutine_is_not_what_runs_in_3_11_and_3_12() {
    for (minor, believed) in [(11, false), (12, false), (13, true), (15, true)] {
        let (o, _) = layout(minor);
        let mut image = chain(minor, 1, &[], 0);
        assert!(
            walk(minor, &image).0.is_ok(),
            "3.{minor}: a function that nobody called is a thread's first"
        );
        image.put(Addr(place(0) + o.frame_owner), &[1]);
        assert_eq!(walk(minor, &image).0.is_ok(), believed, "3.{minor}");
        let mut image = chain(minor, 2, &[], 0);
        image.put(Addr(place(0) + o.frame_owner), &[1]);
        assert!(
            walk(minor, &image).0.is_ok(),
            "3.{minor}: a coroutine that something runs"
        );
    }
}

#[test]
fn what_is_missing_is_said() {
    let mut image = chain(14, 9, &[], 0);
    image.unmap(Addr(place(4)));
    let (result, stack) = walk(14, &image);
    assert_eq!(result, Err(Fault::Unmapped));
    assert_eq!(stack.last_read.0, Addr(place(4)));
    assert_eq!(stack.places, [0, 1, 2, 3].map(|n| Addr(place(n))));
}

proptest! {
    /// Whatever a frame's head holds, it is a frame, a shim, or refused; and equal stacks alone have equal hashes.
    #[test]
    fn any_bytes_are_a_frame_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), minor in 8u8..=15) {
        let (_, walk) = layout(minor);
        if let Ok(frame) = walk.of_head(&bytes) && let Some(raw) = frame.raw {
            prop_assert!(raw.code.0 >= 4096 && raw.code.0 % 8 == 0);
        }
    }

    /// A walk through any memory ends.
    #[test]
    fn any_memory_is_walked_to_an_end(
        words in proptest::collection::vec((0u64..64, 0u64..64), 1..200),
        minor in 8u8..=15,
    ) {
        let mut image = chain(minor, 6, &[], 0);
        for (at, to) in words {
            put(&mut image, FRAMES + at * 8, place(0) + to * 64);
        }
        let (_, stack) = walk(minor, &image);
        prop_assert!(stack.frames.len() <= MOST_FRAMES);
    }
}
