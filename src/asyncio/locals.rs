//! The names of tasks, and the local variables of the coroutines that a task runs or waits in, each with the words that
//! prove it. Knows nothing of lines and stacks, nor of what the names are for.
//!
//! Of a task that runs, only its own coroutine can be looked into: which others it is in, its frames on the thread would
//! tell. Of one that waits, the whole chain of awaits.

use super::tasks::Task;
use crate::cpython::{Heap, Key, Links};
use crate::memory::Fault;
use crate::model::Addr;

/// A longer chain of awaits is damage, or a recursion that nobody looks for.
const MOST_AWAITS: usize = 128;
/// More locals are damage.
const MOST_LOCALS: usize = 4096;

/// Where things stand in generators, coroutines and their frames that only this file asks for. The other fields are
/// those of `Offsets`, or neighbours of them.
struct Layout {
    /// `gi_qualname` of PyGenObject, PyCoroObject and PyAsyncGenObject (Include/genobject.h up to 3.10,
    /// Include/internal/pycore_genobject.h from 3.12 on).
    qualname: u64,
    /// `gi_frame_state` (signed byte), and its value while the frame waits in an `await`; up to 3.10 the frame tells.
    suspended: Option<(u64, i8)>,
    /// Up to 3.10 `gi_frame` is a pointer; from 3.11 on the frame is part of the object.
    frame_is_pointer: bool,
    frame: u64,
    /// `f_code`, and the first of the locals, seen from the frame.
    code: u64,
    locals: u64,
}

impl Layout {
    /// 3.8 to 3.15, from the headers of these versions.
    fn of(heap: &Heap) -> Layout {
        let o = &heap.offsets;
        let minor = heap.version.minor;
        let old = |qualname, locals| Layout {
            qualname,
            suspended: None,
            frame_is_pointer: true,
            frame: 16,
            code: 32,
            locals,
        };
        let new = |qualname, state, waiting| Layout {
            qualname,
            suspended: Some((state, waiting)),
            frame_is_pointer: false,
            frame: o.coro_frame,
            code: o.frame_executable,
            locals: o.frame_localsplus,
        };
        match minor {
            ..=9 => old(56, 360),
            10 => old(48, 352),
            11 => new(40, 75, -1),
            12..=14 => new(32, 67, -1),
            _ => new(32, 67, 2),
        }
    }

    fn frame(&self, heap: &Heap, coroutine: Addr, links: &mut Links) -> Result<Addr, Fault> {
        match self.frame_is_pointer {
            true => heap.pointer_by(coroutine, self.frame, links),
            false => Ok(coroutine.offset(self.frame)),
        }
    }
}

/// The name that the program gave to the task. None: it gave none, and asyncio numbers it.
pub fn given_name(heap: &Heap, task: &Task, links: &mut Links) -> Result<Option<Addr>, Fault> {
    let name = match task.is_native {
        // `given_name` stands before `task_context` in all versions (Modules/_asynciomodule.c: TaskObj).
        true => heap.pointer_by(task.address, heap.offsets.task_context.wrapping_sub(8), links)?,
        false => heap.attribute_by(task.address, "_name", links)?.unwrap_or(Addr::NULL),
    };
    // From 3.12 on the number alone, until somebody asks for the name; before, a text that reads `Task-1`.
    if name.is_null() || heap.is_a(name, "int")? {
        return Ok(None);
    }
    let text = heap.str(name)?;
    let number = text.strip_prefix("Task-");
    let numbered = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    Ok((!numbered).then_some(name))
}

/// What to call a task that nobody waits for: the name that the program gave it, or asyncio's number and the coroutine
/// that it runs, `Task-17 Server.serve`.
pub fn root_name(heap: &Heap, task: &Task, links: &mut Links) -> Result<Option<String>, Fault> {
    if let Some(name) = given_name(heap, task, links)? {
        return heap.str_by(name, links).map(Some);
    }
    let (name, coroutine) = match task.is_native {
        true => (
            heap.pointer_by(task.address, heap.offsets.task_context.wrapping_sub(8), links)?,
            heap.pointer_by(task.address, heap.offsets.task_coro, links)?,
        ),
        false => (
            heap.attribute_by(task.address, "_name", links)?.unwrap_or(Addr::NULL),
            heap.attribute_by(task.address, "_coro", links)?.unwrap_or(Addr::NULL),
        ),
    };
    if name.is_null() || coroutine.is_null() {
        return Ok(None);
    }
    let number = match heap.is_a(name, "int")? {
        true => format!("Task-{}", heap.int_by(name, links)?.1),
        false => heap.str_by(name, links)?,
    };
    // What is no coroutine of Python code (Cython's, say) has no name that can be read.
    let qualname = match &*heap.type_name(coroutine)? {
        "coroutine" | "generator" | "async_generator" => {
            heap.pointer_by(coroutine, Layout::of(heap).qualname, links)?
        }
        _ => return Ok(Some(number)),
    };
    Ok(Some(format!("{number} {}", heap.str_by(qualname, links)?)))
}

/// Proves that this is the task of the context, as it is while it lives: what is freed loses its fields first
/// (`TaskObj_clear`). False: it is another's.
pub fn is_of_context(heap: &Heap, task: &Task, context: Addr, links: &mut Links) -> Result<bool, Fault> {
    let found = match task.is_native {
        true => heap.pointer_by(task.address, heap.offsets.task_context, links)?,
        false => heap
            .attribute_by(task.address, "_context", links)?
            .unwrap_or(Addr::NULL),
    };
    Ok(found == context)
}

/// The value of a local variable of the coroutine named `qualname` that the task runs or waits in, the outermost of that
/// name. None: it is in no such coroutine, or the local is not set.
pub fn coroutine_local(
    heap: &Heap,
    task: &Task,
    qualname: &str,
    local: &str,
    links: &mut Links,
) -> Result<Option<Addr>, Fault> {
    let layout = Layout::of(heap);
    let mut at = match task.is_native {
        true => heap.pointer_by(task.address, heap.offsets.task_coro, links)?,
        false => heap.attribute_by(task.address, "_coro", links)?.unwrap_or(Addr::NULL),
    };
    for _ in 0..MOST_AWAITS {
        if at.is_null() {
            return Ok(None);
        }
        match &*heap.type_name(at)? {
            "coroutine" | "generator" | "async_generator" => {}
            // One step of an asynchronous generator, or what `__await__` of a coroutine gives: it stands first.
            "async_generator_asend" | "async_generator_athrow" | "coroutine_wrapper" => {
                at = heap.pointer_by(at, 16, links)?;
                continue;
            }
            _ => return Ok(None),
        }
        // A coroutine that is freed loses its names first (Objects/genobject.c: `gen_dealloc`).
        let name = heap.pointer_by(at, layout.qualname, links)?;
        if !name.is_null() && heap.str(name)? == qualname {
            return local_of(heap, &layout, at, local, links);
        }
        at = awaited(heap, &layout, at, links)?;
    }
    Err(Fault::Implausible("chain of awaits"))
}

fn local_of(
    heap: &Heap,
    layout: &Layout,
    coroutine: Addr,
    local: &str,
    links: &mut Links,
) -> Result<Option<Addr>, Fault> {
    let frame = layout.frame(heap, coroutine, links)?;
    if frame.is_null() {
        return Ok(None);
    }
    // From 3.14 on, the low bits of a stack reference are tags.
    let code = Addr(heap.pointer_by(frame, layout.code, links)?.0 & !3);
    let Some(place) = place_of_local(heap, code, local)? else {
        return Ok(None);
    };
    let value = heap.pointer_by(frame, layout.locals.wrapping_add(place as u64 * 8), links)?;
    let value = Addr(value.0 & !3);
    if value.is_null() {
        return Ok(None);
    }
    // A local that an inner function uses too.
    if heap.is_a(value, "cell")? {
        let inside = heap.pointer_by(value, 16, links)?;
        return Ok((!inside.is_null()).then_some(inside));
    }
    Ok(Some(value))
}

/// Which of the frame's locals has this name.
fn place_of_local(heap: &Heap, code: Addr, local: &str) -> Result<Option<usize>, Fault> {
    heap.expect(code, "code")?;
    // Include/cpython/code.h: up to 3.10 `co_varnames`, `co_freevars`, `co_cellvars`, and the frame keeps cells before
    // free variables; from 3.11 on `co_localsplusnames`.
    let tuples: &[u64] = match heap.version.minor {
        ..=10 => &[72, 88, 80],
        _ => &[96],
    };
    let mut names = Vec::new();
    for &offset in tuples {
        names.extend(heap.tuple_items(heap.object(code, offset)?)?);
    }
    if names.len() > MOST_LOCALS {
        return Err(Fault::Implausible("code"));
    }
    // An argument that is a cell stands twice up to 3.10, and the cell has the value.
    for (place, &name) in names.iter().enumerate().rev() {
        if heap.str(name)? == local {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// What a suspended coroutine waits for: the top of its frame's stack. NULL: it waits for nothing, or runs.
fn awaited(heap: &Heap, layout: &Layout, coroutine: Addr, links: &mut Links) -> Result<Addr, Fault> {
    if let Some((state, waiting)) = layout.suspended
        && heap.byte(coroutine, state)? as i8 != waiting
    {
        return Ok(Addr::NULL);
    }
    let frame = layout.frame(heap, coroutine, &mut Links::new())?;
    if frame.is_null() {
        return Ok(Addr::NULL);
    }
    let top = match heap.version.minor {
        ..=9 => {
            // `f_stacktop` is NULL while the frame runs, and the stack's begin where nothing is on it.
            let (first, top) = (heap.pointer(frame, 64)?, heap.pointer(frame, 72)?);
            if top.0 <= first.0 {
                return Ok(Addr::NULL);
            }
            top.0.wrapping_sub(8)
        }
        10 => {
            let depth = heap.half(frame, 80)? as i32;
            if !(1..=1 << 16).contains(&depth) {
                return Ok(Addr::NULL);
            }
            let first = heap.pointer(frame, 64)?;
            first.0.wrapping_add(depth as u64 * 8).wrapping_sub(8)
        }
        11..=13 => {
            // `stacktop` counts the locals too.
            let depth = heap.half(frame, 64)? as i32;
            if !(1..=1 << 16).contains(&depth) {
                return Ok(Addr::NULL);
            }
            let first = frame.offset(layout.locals);
            first.0.wrapping_add(depth as u64 * 8).wrapping_sub(8)
        }
        14 => heap.pointer(frame, 64)?.0.wrapping_sub(8),
        // SEND keeps one more value above.
        _ => heap.pointer(frame, 64)?.0.wrapping_sub(16),
    };
    Ok(Addr(heap.pointer_by(Addr(top), 0, links)?.0 & !3))
}

/// The tasks that run now, by what the running thread and `asyncio.tasks` say: all of this thread's from 3.14 on, those
/// of all loops before. Whose context is looked for is among them, if it is a task's.
pub fn running_tasks(heap: &Heap, thread_state: Addr, asyncio_tasks: Option<Addr>) -> Result<Vec<Addr>, Fault> {
    if heap.version.at_least(3, 14) {
        // `_PyThreadStateImpl.asyncio_running_task` follows `asyncio_running_loop`.
        let at = heap.offsets.tstate_asyncio_running_loop.wrapping_add(8);
        let task = heap.pointer(thread_state, at)?;
        return Ok(if task.is_null() { Vec::new() } else { vec![task] });
    }
    let Some(module) = asyncio_tasks else {
        return Ok(Vec::new());
    };
    let Some(tasks) = heap.dict_item_by(module, Key::Text("_current_tasks"), &mut Links::new())? else {
        return Ok(Vec::new());
    };
    Ok(heap.dict_items(tasks)?.into_iter().map(|(_, task)| task).collect())
}
