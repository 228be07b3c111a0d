//! CPython as it lies in memory: where its structures are and how its objects are read, 3.8 to 3.15. Knows nothing of
//! event loops, sessions or samples, and reads only through `memory::Memory`.

mod attributes;
mod codes;
mod collects;
mod contexts;
mod debug_offsets;
mod deques;
mod frames;
mod generators;
mod heap;
mod library;
mod lines;
mod links;
mod locate;
mod objects;
mod offsets;
mod rseq;
mod running;
mod stacks;
mod symbols;
mod threads;
mod verify;
mod verify_frames;
mod version;

pub use codes::{Code, Codes};
pub use contexts::{Binding, CONTEXT_HEAD, ContextWords};
pub use debug_offsets::{Stated, take_asyncio_debug, take_debug_offsets};
pub use frames::{FrameHead, FrameWalk, MOST_FRAMES, RawFrame, RawStack};
pub use generators::{CoroutineFrame, CoroutineLook, CoroutineState, GeneratorLayout, HeadOf};
pub use heap::{Heap, ONE_WALK, unqualified};
pub use lines::{LineFormat, LineRange, Lines};
pub use links::{Builtin, Key, LARGER_DICT, Links, MOST_SEARCHED};
pub use locate::{Found, LocateError, locate};
pub use objects::{STR_HEAD, StrLayout, WIDER_INT, decode, word_at};
pub use offsets::{ABSENT, CONTEXT_VERSION, FIELDS, Field, GIL_EXTENT, MINORS, Offsets, THREAD_ID};
pub use rseq::{cpu_of, rseq_at, rseq_cpu};
pub use stacks::Stacks;
pub use threads::{CONTEXT_WORDS, GIL_WORDS, GilWords, Runtime, ThreadState};
pub use verify::{Refused, check, verify_core, verify_library};
pub use verify_frames::{verify_frames, verify_suspended};
pub use version::Version;
