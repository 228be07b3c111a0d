//! Coroutines that are suspended: what they run, and their first local. Knows nothing of tasks and sessions.

use crate::cpython::Heap;
use crate::memory::{Fault, Scatter};
use crate::model::Addr;

/// The code object that each coroutine runs, in one read (3.11 and later); None where it could not be read.
pub fn codes(heap: &Heap, coroutines: &[Addr]) -> Result<Vec<Option<Addr>>, Fault> {
    let offset = heap.offsets.coro_frame.wrapping_add(heap.offsets.frame_executable);
    let mut scatter = Scatter::new();
    for coroutine in coroutines {
        scatter.push(coroutine.offset(offset), 8);
    }
    heap.spend(coroutines.len() * 8)?;
    scatter.read_near(heap.memory())?;
    // From 3.14 on, the low bits of a stack reference are tags.
    let code = |slot| scatter.u64(slot, 0).map(|word| Addr(word & !3));
    Ok((0..coroutines.len()).map(code).collect())
}

/// `co_qualname` of a code object (3.11 and later).
pub fn qualified_name(heap: &Heap, code: Addr) -> Result<String, Fault> {
    heap.expect(code, "code")?;
    heap.str(heap.object(code, heap.offsets.code_qualname)?)
}

/// The coroutine's local number `index`; `self` is number 0 of a method. NULL where it is not set.
pub fn local(heap: &Heap, coroutine: Addr, index: u64) -> Result<Addr, Fault> {
    let frame = coroutine.offset(heap.offsets.coro_frame);
    Ok(Addr(heap.word(frame, heap.offsets.frame_localsplus + index * 8)? & !3))
}
