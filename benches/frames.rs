//! What the walk of a stack costs once its bytes are here: 42 frames of 3.13, half of them on the data stack and half in
//! coroutines, in a copy of four ranges. Prints nanoseconds; `cargo bench --bench frames`. Nothing here reads a process.
//!
//! The figures are medians of interleaved rounds; on a machine that does other things compare them with each other only.

use otop::cpython::{FrameWalk, Heap, Offsets, RawStack, Stacks, Version};
use otop::memory::{Image, Serve, Snapshot};
use otop::model::Addr;
use std::hint::black_box;
use std::time::Instant;

const FRAMES: u64 = 42;
const ROUNDS: usize = 200;
const TURNS: u32 = 500;

const THREAD: u64 = 0x10_0000;
const CHUNK: u64 = 0x20_0000;
const COROUTINES: u64 = 0x30_0000;
const CODES: u64 = 0x50_0000;
/// Types, strings and tables.
const OTHERS: u64 = 0x80_0000;

fn put(image: &mut Image, at: u64, word: u64) {
    image.put(Addr(at), &word.to_le_bytes());
}

/// A compact ASCII str, a bytes object, and the types that they need, as 3.13 has them.
fn object(image: &mut Image, at: u64, ty: u64, content: &[u8], text: bool) {
    put(image, at, 1);
    put(image, at + 8, ty);
    put(image, at + 16, content.len() as u64);
    image.put(Addr(at + 24), &[0; 40]);
    if text {
        put(image, at + 32, 0x64);
        image.put(Addr(at + 40), content);
    } else {
        image.put(Addr(at + 32), content);
    }
}

fn ty(image: &mut Image, at: u64, name: &str, flags: u64) {
    image.put(Addr(at), &[0; 300]);
    put(image, at + 24, at + 400);
    put(image, at + 168, flags);
    let mut text = [0; 64];
    text[..name.len()].copy_from_slice(name.as_bytes());
    image.put(Addr(at + 400), &text);
}

fn worker(o: &Offsets) -> Image {
    let mut image = Image::new();
    let (code_type, str_type, bytes_type) = (OTHERS, OTHERS + 0x1000, OTHERS + 0x2000);
    ty(&mut image, code_type, "code", 0);
    ty(&mut image, str_type, "str", 1 << 28);
    ty(&mut image, bytes_type, "bytes", 1 << 27);
    let (file, name, table) = (OTHERS + 0x3000, OTHERS + 0x4000, OTHERS + 0x5000);
    object(&mut image, file, str_type, b"/srv/worker/agents/booking.py", true);
    object(&mut image, name, str_type, b"Booking.lookup", true);
    object(&mut image, table, bytes_type, &[0x87, 0x00].repeat(12), false);
    image.put(Addr(THREAD), &[0; 320]);
    put(&mut image, THREAD + o.tstate_current_frame, CHUNK);
    let at = |n: u64| match n {
        0..21 => CHUNK + n * 120,
        n => COROUTINES + (n % 3) * 0x8000 + n * 272,
    };
    for n in 0..FRAMES {
        let code = CODES + n * 1024;
        image.put(Addr(code), &[0; 500]);
        put(&mut image, code + 8, code_type);
        put(&mut image, code + o.code_size, 96);
        put(&mut image, code + o.code_firstlineno, 10 + n);
        for (field, value) in [
            (o.code_filename, file),
            (o.code_name, name),
            (o.code_qualname, name),
            (o.code_linetable, table),
            (o.code_names, table),
        ] {
            put(&mut image, code + field, value);
        }
        image.put(Addr(at(n)), &[0; 112]);
        put(&mut image, at(n) + o.frame_executable, code);
        let previous = if n + 1 < FRAMES { at(n + 1) } else { 0 };
        put(&mut image, at(n) + o.frame_previous, previous);
        put(&mut image, at(n) + o.frame_instruction, code + o.code_instructions + 20);
    }
    image
}

fn main() {
    let version = Version::parse("3.13.0").expect("a version");
    let offsets = Offsets::of_minor(13).expect("a column");
    let image = worker(&offsets);
    let mut snapshot = Snapshot::new(Box::new(image.clone()));
    // Ranges that lie one behind the other in the image are as long as they were put.
    let covered = [(THREAD, 320), (CHUNK, 20 * 120 + 112)];
    for (n, (start, length)) in covered.into_iter().enumerate() {
        snapshot.cover(n, Addr(start), length);
    }
    for n in 21..FRAMES {
        let start = COROUTINES + (n % 3) * 0x8000 + n * 272;
        snapshot.cover(n as usize, Addr(start), 112);
    }
    assert!(snapshot.take().is_ok());
    snapshot.serve(Serve::First);
    let heap = Heap::new(Box::new(image), offsets.clone(), version);
    let walk = FrameWalk::new(&offsets, version);
    let mut raw = RawStack::default();
    let mut stacks = Stacks::new();
    walk.walk(&snapshot, Addr(THREAD), &mut raw).expect("it is all there");
    assert_eq!(raw.frames.len() as u64, FRAMES);
    let first = stacks.resolve_at_once(&heap, &raw, Some(1)).expect("code objects");
    assert_eq!(first.frames.len() as u64, FRAMES);

    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS as u64 {
        let mut timed = |which: usize, work: &mut dyn FnMut()| {
            let begin = Instant::now();
            for _ in 0..TURNS {
                work();
            }
            times[which].push(begin.elapsed().as_nanos() as f64 / f64::from(TURNS));
        };
        timed(0, &mut || {
            walk.walk(black_box(&snapshot), Addr(THREAD), &mut raw).expect("frames")
        });
        timed(1, &mut || {
            black_box(stacks.resolve_at_once(&heap, &raw, Some(1)).expect("known"));
        });
        // As after a code object was freed: all 42 are looked at again, in one read of an image.
        heap.grant(u64::MAX);
        let begin = Instant::now();
        black_box(stacks.resolve_at_once(&heap, &raw, Some(2 + round)).expect("known"));
        times[2].push(begin.elapsed().as_nanos() as f64);
        stacks.resolve_at_once(&heap, &raw, Some(1)).expect("known");
    }
    for (what, times) in ["walk of a copy", "resolve, met before", "resolve, looked at again"]
        .iter()
        .zip(&mut times)
    {
        times.sort_by(f64::total_cmp);
        println!("{what}: {:.0} ns for {FRAMES} frames", times[times.len() / 2]);
    }
}
