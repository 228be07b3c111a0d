//! CPython as it lies in memory: where its structures are and how its objects are read, 3.8 to 3.15. Knows nothing of
//! event loops, sessions or samples, and reads only through `memory::Memory`.

mod attributes;
mod contexts;
mod debug_offsets;
mod heap;
mod links;
mod locate;
mod objects;
mod offsets;
mod symbols;
mod threads;
mod verify;
mod version;

pub use contexts::{Binding, CONTEXT_HEAD, ContextWords};
pub use debug_offsets::{Stated, take_asyncio_debug, take_debug_offsets};
pub use heap::{Heap, ONE_WALK};
pub use links::{Builtin, Key, Links};
pub use locate::{Found, LocateError, locate};
pub use objects::{STR_HEAD, StrLayout, decode, word_at};
pub use offsets::{ABSENT, CONTEXT_VERSION, FIELDS, Field, GIL_EXTENT, MINORS, Offsets, THREAD_ID};
pub use threads::{CONTEXT_WORDS, GIL_WORDS, GilWords, Runtime, ThreadState};
pub use verify::{Refused, check, verify_core, verify_library};
pub use version::Version;
