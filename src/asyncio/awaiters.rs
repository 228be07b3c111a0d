//! Who waits for a task: the task that awaits it, directly or through `gather`, `wait_for`, `wait`, `shield` or a
//! TaskGroup. Which task *created* it is recorded nowhere. Knows nothing of sessions.
//!
//! A future keeps what is to be called when it is done (`fut_callback0`, then `fut_callbacks`; Modules/_asynciomodule.c),
//! and from that one comes to whoever waits: the wake-up of a task is a built-in method of it; `gather`, `wait` and
//! `shield` put a function there whose closure has the future that they wait with; `wait_for` up to 3.11 a partial with
//! one; a TaskGroup a method of itself, and it knows its parent (Lib/asyncio/tasks.py, taskgroups.py).

use super::tasks::{Task, task_at};
use crate::cpython::{Heap, Links};
use crate::memory::Fault;
use crate::model::Addr;

/// From a task to the one that waits for it: more futures in between are damage.
const MOST_FUTURES: usize = 8;
/// From a task to its root.
const MOST_TASKS: usize = 64;
/// Callbacks of one future, and cells of one closure, that are looked at.
const MOST_LOOKED_AT: usize = 16;

/// The task, the one that waits for it, and so on, up to one that nobody waits for. `links` gets what proves it.
pub fn waiting_chain(heap: &Heap, task: &Task, links: &mut Links) -> Result<Vec<Task>, Fault> {
    let mut chain = vec![*task];
    let mut at = *task;
    while let Some(next) = awaiter(heap, &at, links)? {
        if chain.iter().any(|known| known.address == next.address) || chain.len() >= MOST_TASKS {
            break;
        }
        chain.push(next);
        at = next;
    }
    Ok(chain)
}

/// The task that waits for this one. None: nobody does, or not in a way that can be read.
pub fn awaiter(heap: &Heap, task: &Task, links: &mut Links) -> Result<Option<Task>, Fault> {
    if !task.is_native {
        return Ok(None);
    }
    let mut futures = vec![task.address];
    let mut seen = 0;
    while let Some(future) = futures.pop() {
        seen += 1;
        if seen > MOST_FUTURES {
            return Ok(None);
        }
        for callback in callbacks(heap, future, links)? {
            match waiter(heap, callback, links)? {
                Waiter::Task(found) if found != task.address => {
                    if let Some(found) = task_at(heap, found)? {
                        return Ok(Some(found));
                    }
                }
                Waiter::Futures(found) => futures.extend(found.into_iter().filter(|found| *found != task.address)),
                Waiter::Task(_) | Waiter::Nobody => {}
            }
        }
    }
    Ok(None)
}

/// What is called when the future is done.
fn callbacks(heap: &Heap, future: Addr, links: &mut Links) -> Result<Vec<Addr>, Fault> {
    // FutureObj: fut_loop, fut_callback0, fut_context0, fut_callbacks, in all versions.
    let first = heap.offsets.task_loop.wrapping_add(8);
    let mut found = vec![heap.pointer_by(future, first, links)?];
    let list = heap.pointer_by(future, first.wrapping_add(16), links)?;
    if !list.is_null() && heap.is_a(list, "list")? {
        for item in heap.list_items(list)?.into_iter().take(MOST_LOOKED_AT) {
            // (callback, context)
            found.extend(heap.tuple_items(item)?.first());
        }
    }
    found.retain(|callback| !callback.is_null());
    Ok(found)
}

enum Waiter {
    Task(Addr),
    /// Futures of which one may be waited for.
    Futures(Vec<Addr>),
    Nobody,
}

/// Whom a callback wakes.
fn waiter(heap: &Heap, callback: Addr, links: &mut Links) -> Result<Waiter, Fault> {
    let class = heap.type_name(callback)?;
    let held = match class.rsplit('.').next().unwrap_or_default() {
        // 3.8: its own type, with `ww_task` first.
        "TaskWakeupMethWrapper" | "FutureIter" => heap.pointer_by(callback, 16, links)?,
        // `m_self`, `im_self`: the second word.
        "builtin_function_or_method" | "method" => heap.pointer_by(callback, 24, links)?,
        "function" => return closure(heap, callback, links).map(Waiter::Futures),
        "partial" => {
            let Some(arguments) = heap.attribute_by(callback, "args", links)? else {
                return Ok(Waiter::Nobody);
            };
            let items = heap.tuple_items(arguments)?;
            return Ok(Waiter::Futures(futures_of(heap, items.into_iter())?));
        }
        _ => return Ok(Waiter::Nobody),
    };
    if held.is_null() {
        return Ok(Waiter::Nobody);
    }
    Ok(match kind(heap, held)? {
        Kind::Task => Waiter::Task(held),
        Kind::Future => Waiter::Futures(vec![held]),
        Kind::Other if heap.is_a(held, "TaskGroup")? => match heap.attribute_by(held, "_parent_task", links)? {
            Some(parent) if kind(heap, parent)? == Kind::Task => Waiter::Task(parent),
            _ => Waiter::Nobody,
        },
        Kind::Other => Waiter::Nobody,
    })
}

/// The futures in the cells of a function's closure.
fn closure(heap: &Heap, function: Addr, links: &mut Links) -> Result<Vec<Addr>, Fault> {
    futures_of(heap, cells(heap, function, links)?.into_iter())
}

/// What is in the cells of a function's closure.
pub(super) fn cells(heap: &Heap, function: Addr, links: &mut Links) -> Result<Vec<Addr>, Fault> {
    // `func_closure`, Include/cpython/funcobject.h; before 3.10 Include/funcobject.h.
    let at = if heap.version.at_least(3, 10) { 72 } else { 48 };
    let cells = heap.pointer_by(function, at, links)?;
    if cells.is_null() {
        return Ok(Vec::new());
    }
    let mut contents = Vec::new();
    for cell in heap.tuple_items(cells)?.into_iter().take(MOST_LOOKED_AT) {
        if heap.is_a(cell, "cell")? {
            contents.push(heap.pointer_by(cell, 16, links)?);
        }
    }
    Ok(contents)
}

fn futures_of(heap: &Heap, objects: impl Iterator<Item = Addr>) -> Result<Vec<Addr>, Fault> {
    let mut found = Vec::new();
    for object in objects.take(MOST_LOOKED_AT).filter(|object| !object.is_null()) {
        // A task among them is one that is waited for, not one that waits.
        if kind(heap, object)? == Kind::Future {
            found.push(object);
        }
    }
    Ok(found)
}

#[derive(PartialEq, Eq)]
enum Kind {
    Task,
    Future,
    Other,
}

fn kind(heap: &Heap, object: Addr) -> Result<Kind, Fault> {
    let mut class = heap.type_of(object)?;
    for _ in 0..16 {
        match &*heap.name_of_type(class)? {
            "_asyncio.Task" => return Ok(Kind::Task),
            "_asyncio.Future" => return Ok(Kind::Future),
            _ => {}
        }
        class = heap.pointer(class, heap.offsets.type_base)?;
        if class.is_null() {
            break;
        }
    }
    Ok(Kind::Other)
}
