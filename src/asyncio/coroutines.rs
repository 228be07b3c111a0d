//! Coroutines that are suspended: what they run, and their first local. Knows nothing of tasks and sessions.

use crate::cpython::Heap;
use crate::memory::Fault;
use crate::model::Addr;

/// `co_qualname` of the code that the coroutine runs (3.11 and later).
pub fn qualified_name(heap: &Heap, coroutine: Addr) -> Result<String, Fault> {
    let frame = coroutine.offset(heap.offsets.coro_frame);
    // From 3.14 on, the low bits of a stack reference are tags.
    let code = Addr(heap.word(frame, heap.offsets.frame_executable)? & !3);
    heap.expect(code, "code")?;
    heap.str(heap.object(code, heap.offsets.code_qualname)?)
}

/// The coroutine's local number `index`; `self` is number 0 of a method. NULL where it is not set.
pub fn local(heap: &Heap, coroutine: Addr, index: u64) -> Result<Addr, Fault> {
    let frame = coroutine.offset(heap.offsets.coro_frame);
    Ok(Addr(heap.word(frame, heap.offsets.frame_localsplus + index * 8)? & !3))
}
