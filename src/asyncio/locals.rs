//! The names of tasks, and the local variables of the coroutines that a task runs or waits in, each with the words that
//! prove it. Knows nothing of lines and stacks, nor of what the names are for.
//!
//! Of a task that waits, the chain of awaits leads to all of its coroutines. One that runs has them on its thread.

use super::tasks::Task;
use crate::cpython::{CoroutineLook, CoroutineState, Heap, Key, Links};
use crate::memory::Fault;
use crate::model::Addr;

/// A longer chain of awaits is damage, or a recursion that nobody looks for.
const MOST_AWAITS: usize = 128;
/// More locals are damage.
const MOST_LOCALS: usize = 4096;

/// What a look for a local variable comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    Value(Addr),
    /// The task is in no coroutine of that name, or the local is not set; as proved as a value is.
    Absent,
    /// At this moment: of what runs, it would not show if that changed.
    AbsentNow,
    /// It moved on while it was looked at: nothing can be said.
    Torn,
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

/// What to call a task that nobody waits for: asyncio's number and the coroutine that it runs, `Task-17 Server.serve`; or
/// the name that the program gave it and, since many may have the same, where it is, `consumer at 0x7f12a4b3c2d0`.
pub fn root_name(heap: &Heap, task: &Task, links: &mut Links) -> Result<Option<String>, Fault> {
    if let Some(name) = given_name(heap, task, links)? {
        let name = heap.str_by(name, links)?;
        return Ok(Some(format!("{name} at {}", task.address)));
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
        "coroutine" | "generator" | "async_generator" => heap.coroutine_name_by(coroutine, links)?,
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

/// The value of a local variable of the coroutine named `qualname` that the task runs or waits in: the outermost of that
/// name that has such a local, for a decorator's wrapper mostly bears the name of what it wraps. `threads` are the thread states among which is the one that runs the task, if one does; where none is given, only
/// the outermost of what runs is looked at.
pub fn coroutine_local(
    heap: &Heap,
    task: &Task,
    (qualname, local): (&str, &str),
    threads: &[Addr],
    links: &mut Links,
) -> Result<Local, Fault> {
    let mut at = match task.is_native {
        true => heap.pointer_by(task.address, heap.offsets.task_coro, links)?,
        false => heap.attribute_by(task.address, "_coro", links)?.unwrap_or(Addr::NULL),
    };
    for _ in 0..MOST_AWAITS {
        if at.is_null() {
            return Ok(Local::Absent);
        }
        match &*heap.type_name(at)? {
            "coroutine" | "generator" | "async_generator" => {}
            // One step of an asynchronous generator, or what `__await__` of a coroutine gives: it stands first.
            "async_generator_asend" | "async_generator_athrow" | "coroutine_wrapper" => {
                at = heap.pointer_by(at, 16, links)?;
                continue;
            }
            _ => return Ok(Local::Absent),
        }
        let look = heap.coroutine_by(at, links)?;
        if is_named(heap, at, &look, qualname, links)?
            && let Some(found) = local_of(heap, &look, local, links)?
        {
            return Ok(found);
        }
        match (look.frame.state, look.awaited) {
            (CoroutineState::Executing, _) => {
                return local_inside(heap, &look, (qualname, local), threads, links);
            }
            (_, Some(awaited)) => at = awaited,
            (_, None) => return Ok(Local::Absent),
        }
    }
    Err(Fault::Implausible("chain of awaits"))
}

/// The same, of what runs inside of a coroutine that runs.
fn local_inside(
    heap: &Heap,
    outer: &CoroutineLook,
    (qualname, local): (&str, &str),
    threads: &[Addr],
    links: &mut Links,
) -> Result<Local, Fault> {
    for &thread in threads {
        let inside = match heap.running_inside(thread, outer.place) {
            Ok(Some(inside)) => inside,
            Ok(None) => continue,
            Err(fault @ (Fault::Gone | Fault::Denied | Fault::Budget)) => return Err(fault),
            // The frames changed under the walk: perhaps it was this thread.
            Err(_) => return Ok(Local::Torn),
        };
        // What runs further inside comes and goes, and proves nothing of what is looked for.
        let mut so_far = Links::new();
        for (at, mut callers) in inside {
            so_far.append(&mut callers);
            let look = heap.coroutine_by(at, &mut so_far)?;
            if look.frame.state != CoroutineState::Executing {
                return Ok(Local::Torn);
            }
            if is_named(heap, at, &look, qualname, &mut so_far)?
                && let Some(found) = local_of(heap, &look, local, &mut so_far)?
            {
                links.append(&mut so_far);
                return Ok(found);
            }
        }
        return Ok(Local::AbsentNow);
    }
    // It runs, and so it is on one of the threads; unless it stopped running meanwhile.
    Ok(match threads.is_empty() {
        true => Local::AbsentNow,
        false => Local::Torn,
    })
}

/// By its own name, as it is printed, or by its code's, which stands in stacks (from 3.11 on): of a decorator's wrapper
/// they differ.
fn is_named(
    heap: &Heap,
    coroutine: Addr,
    look: &CoroutineLook,
    qualname: &str,
    links: &mut Links,
) -> Result<bool, Fault> {
    let name = heap.coroutine_name_by(coroutine, links)?;
    if name.is_null() {
        return Ok(false);
    }
    Ok(heap.str(name)? == qualname || name_of_code(heap, look, name)?.is_some_and(|name| name == qualname))
}

/// What its code is called, if that is another text than the coroutine's own name.
fn name_of_code(heap: &Heap, look: &CoroutineLook, own: Addr) -> Result<Option<String>, Fault> {
    let Some(raw) = look.frame.raw.filter(|_| heap.version.at_least(3, 11)) else {
        return Ok(None);
    };
    let name = heap.object(raw.code, heap.offsets.code_qualname)?;
    if name == own {
        return Ok(None);
    }
    heap.str(name).map(Some)
}

/// The names under which a coroutine may be asked for.
pub fn names_of(heap: &Heap, coroutine: Addr) -> Result<Vec<String>, Fault> {
    let own = heap.coroutine_name_by(coroutine, &mut Links::new())?;
    if own.is_null() {
        return Ok(Vec::new());
    }
    let look = heap.coroutine_by(coroutine, &mut Links::new())?;
    let names = std::iter::once(heap.str(own)?).chain(name_of_code(heap, &look, own)?);
    Ok(names.collect())
}

/// None: its code has no local of that name.
fn local_of(heap: &Heap, look: &CoroutineLook, local: &str, links: &mut Links) -> Result<Option<Local>, Fault> {
    // It has ended, or what it would run with is not there yet.
    if look.frame.raw.is_none() || look.frame.state == CoroutineState::Finished {
        return Ok(Some(Local::Absent));
    }
    // Of two coroutines of one name, each may be in the other's memory next.
    let code = heap.frame_code_by(look.place, links)?;
    let Some(place) = place_of_local(heap, code, local)? else {
        return Ok(None);
    };
    let value = heap.frame_local_by(look.place, place as u64, links)?;
    if value.is_null() {
        return Ok(Some(Local::Absent));
    }
    // A local that an inner function uses too.
    if heap.is_a(value, "cell")? {
        let inside = heap.pointer_by(value, 16, links)?;
        return Ok(Some(match inside.is_null() {
            true => Local::Absent,
            false => Local::Value(inside),
        }));
    }
    Ok(Some(Local::Value(value)))
}

/// The coroutines that the task runs or waits in, outermost first; to look around, and not to prove anything.
pub fn coroutines(heap: &Heap, task: &Task, threads: &[Addr]) -> Result<Vec<Addr>, Fault> {
    let mut found = Vec::new();
    let mut at = task.coroutine;
    for _ in 0..MOST_AWAITS {
        if at.is_null() {
            break;
        }
        match &*heap.type_name(at)? {
            "coroutine" | "generator" | "async_generator" => {}
            "async_generator_asend" | "async_generator_athrow" | "coroutine_wrapper" => {
                at = heap.pointer(at, 16)?;
                continue;
            }
            _ => break,
        }
        found.push(at);
        let look = heap.coroutine_by(at, &mut Links::new())?;
        match (look.frame.state, look.awaited) {
            (CoroutineState::Executing, _) => {
                let mut inside = threads
                    .iter()
                    .filter_map(|&thread| heap.running_inside(thread, look.place).ok()?);
                found.extend(inside.next().into_iter().flatten().map(|(coroutine, _)| coroutine));
                break;
            }
            (_, Some(awaited)) => at = awaited,
            (_, None) => break,
        }
    }
    Ok(found)
}

/// A coroutine's local variables, and what they are set to.
pub type Locals = Vec<(String, Option<Addr>)>;

/// The local variables of a coroutine, those that are not set too; None: it has ended.
pub fn locals_of(heap: &Heap, coroutine: Addr) -> Result<Option<Locals>, Fault> {
    let look = heap.coroutine_by(coroutine, &mut Links::new())?;
    let (Some(raw), false) = (look.frame.raw, look.frame.state == CoroutineState::Finished) else {
        return Ok(None);
    };
    let mut found = Locals::new();
    for name in names_of_locals(heap, raw.code)? {
        let name = heap.str(name)?;
        if found.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let value = match local_of(heap, &look, &name, &mut Links::new())? {
            Some(Local::Value(value)) => Some(value),
            Some(Local::Absent | Local::AbsentNow | Local::Torn) | None => None,
        };
        found.push((name, value));
    }
    Ok(Some(found))
}

/// Which of the frame's locals has this name.
fn place_of_local(heap: &Heap, code: Addr, local: &str) -> Result<Option<usize>, Fault> {
    let names = names_of_locals(heap, code)?;
    // An argument that is a cell stands twice up to 3.10, and the cell has the value.
    for (place, &name) in names.iter().enumerate().rev() {
        if heap.str(name)? == local {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The names of the frame's locals, in their order.
fn names_of_locals(heap: &Heap, code: Addr) -> Result<Vec<Addr>, Fault> {
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
    Ok(names)
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
