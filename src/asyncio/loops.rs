//! Event loops: which thread runs which, and their `_ready` queues. Knows nothing of tasks and sessions.

use super::libuv::Libuv;
use crate::cpython::{ABSENT, Heap, ThreadState, word_at};
use crate::memory::Fault;
use crate::model::{Addr, LoopKind};

/// A loop that a thread runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLoop {
    pub address: Addr,
    /// The thread state that runs it.
    pub thread_state: Addr,
    pub kind: LoopKind,
    /// Its `_ready` deque; None: not found (a subclass renamed it).
    pub ready: Option<Addr>,
    /// uvloop: the context that its idle handler enters before it runs the ready handles; such a handle is therefore
    /// entered from there, a timer or socket callback is not.
    pub idle_context: Option<Addr>,
    /// The descriptor that the loop waits on: a thread that sleeps in `epoll_wait` on it is idle, whatever context it is
    /// in, and that context is the one the loop was started in.
    pub selector: Option<u64>,
    /// uvloop: address of libuv's `loop_count`, which moves with every turn of the loop.
    pub turns: Option<Addr>,
    /// uvloop: where libuv's callbacks can be told apart.
    pub libuv: Option<Libuv>,
}

/// The words of a `_ready` deque.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyWords {
    pub size: u64,
    /// Handles taken from the queue so far; None where the words were read in the middle of a change.
    pub taken: Option<u64>,
}

/// Bytes from the start of a deque that hold both words.
pub const DEQUE_HEAD: usize = 64;
/// How much of a uvloop loop object is searched: its Python objects stand at its front, before 250 KB of buffer.
const UVLOOP_FRONT: usize = 512;

impl ReadyWords {
    /// `state` counts appends and pops both, so pops = (state − size) / 2 (Modules/_collectionsmodule.c, 3.8–3.15).
    pub fn of_deque(heap: &Heap, head: &[u8]) -> Option<ReadyWords> {
        let size = word_at(head, heap.offsets.deque_size as usize);
        let state = word_at(head, heap.offsets.deque_state as usize);
        if size > 1 << 40 {
            return None;
        }
        let both = state.checked_sub(size).filter(|d| d % 2 == 0);
        Some(ReadyWords {
            size,
            taken: both.map(|d| d / 2),
        })
    }
}

/// The loops that run now, at most one a thread.
pub fn running_loops(heap: &Heap, threads: &[ThreadState]) -> Vec<EventLoop> {
    threads
        .iter()
        .filter_map(|thread| running_loop(heap, thread).ok().flatten())
        .collect()
}

fn running_loop(heap: &Heap, thread: &ThreadState) -> Result<Option<EventLoop>, Fault> {
    match running_loop_address(heap, thread)? {
        Some(address) => describe(heap, address, thread.address).map(Some),
        None => Ok(None),
    }
}

/// The loop object that the thread runs.
pub fn running_loop_address(heap: &Heap, thread: &ThreadState) -> Result<Option<Addr>, Fault> {
    let o = &heap.offsets;
    let address = if o.tstate_asyncio_running_loop != ABSENT {
        heap.pointer(thread.address, o.tstate_asyncio_running_loop)?
    } else {
        // Modules/_asynciomodule.c, `set_running_loop`: up to 3.11 the dict holds a `PyRunningLoopHolder`, whose
        // `rl_loop` stands at +16; in 3.12 the loop itself.
        let dict = heap.pointer(thread.address, o.tstate_dict)?;
        if dict.is_null() {
            return Ok(None);
        }
        match heap.dict_get(dict, "__asyncio_running_event_loop__")? {
            Some(holder) if !heap.version.at_least(3, 12) => heap.pointer(holder, 16)?,
            Some(address) => address,
            None => return Ok(None),
        }
    };
    if address.is_null() || heap.is_a(address, "NoneType")? {
        return Ok(None);
    }
    Ok(Some(address))
}

/// What is to be known of a loop object before its steps can be followed.
pub fn describe(heap: &Heap, address: Addr, thread_state: Addr) -> Result<EventLoop, Fault> {
    let kind = kind_of(heap, address)?;
    let mut found = EventLoop {
        address,
        thread_state,
        kind,
        ready: None,
        idle_context: None,
        selector: None,
        turns: None,
        libuv: None,
    };
    if kind == LoopKind::Uvloop {
        let front = heap.bytes(address, UVLOOP_FRONT)?;
        found.ready = object_in(heap, &front, |name| name == "collections.deque");
        // `UVIdle` holds the handle (`h`) that it runs, and a handle its context (uvloop/handles/idle.pxd, cbhandles.pxd).
        found.idle_context = object_in(heap, &front, |name| name.ends_with(".UVIdle"))
            .and_then(|idle| object_in(heap, &heap.bytes(idle, 128).ok()?, |name| name.ends_with(".Handle")))
            .and_then(|handle| object_in(heap, &heap.bytes(handle, 96).ok()?, |n| n.ends_with("Context")));
        // `Loop.uvloop` is a `uv_loop_t *`, whose first word points back to the Loop; its `internal_fields` at +40,
        // and `loop_metrics_t.metrics.loop_count` there at +8 (libuv 1.48; uvloop 0.23).
        let uv_loop = Addr(word_at(&front, 24));
        if heap.word(uv_loop, 0) == Ok(address.0) {
            let fields = heap.object(uv_loop, 40).ok();
            found.turns = fields.map(|fields| fields.offset(8));
            found.libuv = fields.map(|fields| Libuv { uv_loop, fields });
            // `backend_fd` follows `internal_fields`, `stop_flag` and `flags`.
            found.selector = heap.half(uv_loop, 64).ok().map(u64::from);
        }
        return Ok(found);
    }
    // `selectors.EpollSelector` keeps a `select.epoll`, whose `epfd` follows the object's head.
    if let Ok(Some(epoll)) = heap.attribute_path(address, &["_selector", "_selector"])
        && heap.is_a(epoll, "epoll")?
    {
        found.selector = heap.half(epoll, 16).ok().map(u64::from);
    }
    if let Some(ready) = heap.attribute(address, "_ready")?
        && heap.is_a(ready, "deque")?
    {
        found.ready = Some(ready);
    }
    Ok(found)
}

fn kind_of(heap: &Heap, address: Addr) -> Result<LoopKind, Fault> {
    let mut class = heap.type_of(address)?;
    for _ in 0..16 {
        let name = heap.name_of_type(class)?;
        if name.starts_with("uvloop.") {
            return Ok(LoopKind::Uvloop);
        }
        if &*name == "BaseEventLoop" {
            return Ok(LoopKind::Asyncio);
        }
        class = heap.pointer(class, heap.offsets.type_base)?;
        if class.is_null() {
            break;
        }
    }
    Ok(LoopKind::Other)
}

/// The first word of `bytes` that points to an object whose type's name fits.
fn object_in(heap: &Heap, bytes: &[u8], fits: impl Fn(&str) -> bool) -> Option<Addr> {
    let words = bytes.chunks_exact(8).skip(2).map(|w| Addr(word_at(w, 0)));
    let plausible = words.filter(|w| w.0 > 4096 && w.0 % 8 == 0 && w.0 < 1 << 47);
    plausible
        .into_iter()
        .find(|&w| heap.type_name(w).is_ok_and(|name| fits(&name)))
}
