//! Proves the offsets of contexts, tasks and queues in the live worker, once there is something to prove them by: a
//! running loop, and tasks. Goes on where `cpython::verify` ends, by the same rules. Knows nothing of sessions.

use super::loops::{DEQUE_HEAD, ReadyWords, running_loops};
use super::tasks::{Task, TaskLists};
use crate::cpython::{ABSENT, CONTEXT_VERSION, Heap, Refused, check, verify_frames, verify_suspended};
use crate::memory::Fault;
use crate::model::{Addr, LoopKind};

/// How many tasks and contexts are looked at: enough that some are of every shape, few enough to be quick.
const LOOKED_AT: usize = 24;
/// Of variables, which are many in each context, and mostly the same.
const VARIABLES_LOOKED_AT: usize = 8;

fn holds(holds: bool, what: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Implausible(what)) }
}

/// Nine in ten must do: the others may have ended while they were looked at.
fn most<T>(items: &[T], what: &'static str, good: impl Fn(&T) -> Result<bool, Fault>) -> Result<(), Fault> {
    let good = items.iter().filter(|item| good(item).unwrap_or(false)).count();
    holds(10 * good >= 9 * items.len(), what)
}

/// The object's type or one of its bases has a name that says loop.
fn looks_like_a_loop(h: &Heap, object: Addr) -> Result<bool, Fault> {
    let mut class = h.type_of(object)?;
    for _ in 0..16 {
        if h.name_of_type(class)?.to_ascii_lowercase().contains("loop") {
            return Ok(true);
        }
        class = h.pointer(class, h.offsets.type_base)?;
        if class.is_null() {
            break;
        }
    }
    Ok(false)
}

/// Proves what it can. True: everything that is read later had an example; false: there is no running loop or no task
/// yet, and it must be called again before tasks are believed.
pub fn verify(heap: &mut Heap, runtime_address: Addr, lists: &TaskLists) -> Result<Result<bool, Refused>, Fault> {
    let threads = |h: &Heap| h.thread_states(&h.runtime(runtime_address)?);
    let pending = |h: &Heap| -> Result<Vec<Task>, Fault> {
        let tasks = lists.walk(h, &h.runtime(runtime_address)?, &threads(h)?, &[])?;
        holds(tasks.unreadable as usize <= tasks.pending.len(), "tasks")?;
        Ok(tasks.pending.into_iter().take(LOOKED_AT).collect())
    };
    let contexts = |h: &Heap| -> Result<Vec<Addr>, Fault> {
        let of_threads = threads(h)?.into_iter().map(|t| t.context).filter(|c| !c.is_null());
        Ok(pending(h)?.into_iter().map(|t| t.context).chain(of_threads).collect())
    };
    let variables = |h: &Heap| -> Result<Vec<Addr>, Fault> {
        let mut distinct: Vec<Addr> = Vec::new();
        for context in contexts(h)? {
            let vars = h.context(context).map_or(Addr::NULL, |context| context.vars);
            if !distinct.contains(&vars) {
                distinct.push(vars);
            }
        }
        distinct.truncate(VARIABLES_LOOKED_AT);
        Ok(distinct)
    };
    type Test<'a> = (&'a [&'a str], &'a dyn Fn(&Heap) -> Result<(), Fault>);
    let tests: &[Test<'_>] = &[
        (&["tstate_asyncio_tasks_head", "interp_asyncio_tasks_head"], &|h| {
            if h.offsets.task_node == ABSENT {
                return Ok(());
            }
            let runtime = h.runtime(runtime_address)?;
            let of_threads = threads(h)?
                .into_iter()
                .map(|t| t.address.offset(h.offsets.tstate_asyncio_tasks_head));
            for head in of_threads.chain([runtime.interpreter.offset(h.offsets.interp_asyncio_tasks_head)]) {
                // A circular list: what follows the head points back to it.
                holds(h.word(h.object(head, 0)?, 8)? == head.0, "list of tasks")?;
            }
            Ok(())
        }),
        (
            &["task_loop", "task_coro", "task_context", "task_node", "task_state"],
            &|h| {
                let tasks = pending(h)?;
                most(&tasks, "loops of tasks", |t| looks_like_a_loop(h, t.event_loop))?;
                most(&tasks, "coroutines of tasks", |t| {
                    Ok(looks_awaitable(&h.type_name(t.coroutine)?))
                })?;
                most(&tasks, "contexts of tasks", |t| h.is_a(t.context, "Context"))
            },
        ),
        (&["task_state", "task_exception"], &|h| {
            // What stands between the two differs by version, and no pending task shows it (Modules/_asynciomodule.c).
            let between = match h.version.minor {
                8 => 40,
                9 | 10 => 72,
                11 | 12 => 48,
                _ => 24,
            };
            let o = &h.offsets;
            holds(
                o.task_coro.wrapping_sub(o.task_state) == between && o.task_exception == o.task_loop + 32,
                "state of tasks",
            )
        }),
        (&["tstate_dict", "tstate_asyncio_running_loop"], &|h| {
            let threads = threads(h)?;
            let o = &h.offsets;
            if o.tstate_asyncio_running_loop == ABSENT {
                return most(&threads, "thread dict", |t| {
                    let dict = h.pointer(t.address, o.tstate_dict)?;
                    Ok(dict.is_null() || h.is_a(dict, "dict")?)
                });
            }
            let running = running_loops(h, &threads);
            if !running.is_empty() {
                return most(&running, "running loop", |l| looks_like_a_loop(h, l.address));
            }
            // None runs: believed only where no neighbouring word is a loop that has tasks.
            for task in pending(h)? {
                for thread in &threads {
                    for near in [-8i64, 8] {
                        let word =
                            h.pointer(thread.address, o.tstate_asyncio_running_loop.wrapping_add_signed(near))?;
                        holds(word != task.event_loop, "running loop")?;
                    }
                }
            }
            Ok(())
        }),
        (&["tstate_context"], &|h| {
            let threads = threads(h)?;
            // A loop whose work comes from other threads has no context of its own between two steps
            // (`run_coroutine_threadsafe`); that the number behind it is no pointer tells the field then.
            most(&threads, "contexts of threads", |t| {
                let version = h.word(t.address, h.offsets.tstate_context + CONTEXT_VERSION)?;
                let are_numbers = t.id < 1 << 40 && version < 1 << 40;
                Ok(are_numbers && (t.context.is_null() || h.is_a(t.context, "Context")?))
            })?;
            let runs = |t: &&crate::cpython::ThreadState| running_loops(h, &[**t]).iter().any(|l| l.ready.is_some());
            let looping: Vec<_> = threads.iter().filter(runs).collect();
            most(&looping, "contexts of threads", |t| {
                let version = h.word(t.address, h.offsets.tstate_context + CONTEXT_VERSION)?;
                // It counts what was entered and left.
                Ok(!t.context.is_null() || version > 0)
            })
        }),
        (&["context_vars"], &|h| {
            most(&contexts(h)?, "variables of contexts", |&c| {
                h.is_a(h.context(c)?.vars, "hamt")
            })
        }),
        (&["context_prev", "context_entered"], &|h| {
            let o = &h.offsets;
            // Include/internal/pycore_context.h: ctx_prev, ctx_vars, ctx_weakreflist, ctx_entered, in all versions.
            holds(
                o.context_prev + 8 == o.context_vars && o.context_entered == o.context_vars + 16,
                "contexts",
            )?;
            most(&contexts(h)?, "contexts", |&c| {
                let words = h.context(c)?;
                Ok(words.previous.is_null() || (words.entered && h.is_a(words.previous, "Context")?))
            })
        }),
        (
            &[
                "hamt_root",
                "hamt_count",
                "hamt_bitmap_size",
                "hamt_bitmap_bits",
                "hamt_bitmap_array",
                "hamt_array_array",
                "hamt_collision_size",
                "hamt_collision_array",
            ],
            &|h| {
                let o = &h.offsets;
                // Python/hamt.c: a trie without array or collision nodes shows nothing of theirs.
                holds(o.hamt_count == o.hamt_root + 16, "hamt")?;
                holds(o.hamt_array_array == 16, "hamt array node")?;
                holds(
                    o.hamt_bitmap_size == 16 && o.hamt_bitmap_bits == 24 && o.hamt_bitmap_array == 32,
                    "hamt node",
                )?;
                holds(
                    o.hamt_collision_size == 16 && o.hamt_collision_array == 32,
                    "hamt collision node",
                )?;
                most(&variables(h)?, "hamt", |&vars| {
                    for binding in h.bindings(vars)? {
                        h.expect(binding.variable, "ContextVar")?;
                    }
                    Ok(true)
                })
            },
        ),
        (&["contextvar_name", "contextvar_hash"], &|h| {
            holds(
                h.offsets.contextvar_hash == h.offsets.contextvar_name + 40,
                "ContextVar",
            )?;
            most(&variables(h)?, "hash of ContextVar", |&vars| {
                for binding in h.bindings(vars)?.into_iter().take(5) {
                    let (_, hash) = h.context_variable(binding.variable)?;
                    holds(h.binding(vars, binding.variable, hash)? == Some(binding), "ContextVar")?;
                }
                Ok(true)
            })
        }),
        (&["deque_size", "deque_state"], &|h| {
            for ready in running_loops(h, &threads(h)?).into_iter().filter_map(|l| l.ready) {
                let head = h.bytes(ready, DEQUE_HEAD)?;
                let words = ReadyWords::of_deque(h, &head).ok_or(Fault::Implausible("ready queue"))?;
                holds(words.taken.is_some_and(|taken| taken > 0), "ready queue")?;
                // `maxlen` follows `state` and is -1: the queue has no bound.
                holds(h.word(ready, h.offsets.deque_state + 8)? == u64::MAX, "ready queue")?;
            }
            Ok(())
        }),
        (
            &["coro_frame", "frame_localsplus", "frame_executable", "code_qualname"],
            &|h| {
                if h.offsets.coro_frame == ABSENT {
                    return Ok(());
                }
                let coroutines: Vec<Addr> = pending(h)?
                    .iter()
                    .map(|t| t.coroutine)
                    .filter(|&c| h.is_a(c, "coroutine") == Ok(true))
                    .collect();
                if let Some(&coroutine) = coroutines.first() {
                    // The fixed part of a coroutine object ends where its frame's locals begin (Objects/genobject.c:
                    // PyCoro_Type.tp_basicsize).
                    let size = h.word(h.type_of(coroutine)?, h.offsets.type_basicsize)?;
                    holds(
                        size == h.offsets.coro_frame + h.offsets.frame_localsplus,
                        "locals of frames",
                    )?;
                }
                let codes = super::coroutines::codes(h, &coroutines)?;
                most(&codes, "frames of coroutines", |code| {
                    let code = code.ok_or(Fault::Implausible("frame"))?;
                    Ok(super::coroutines::qualified_name(h, code).is_ok())
                })
            },
        ),
    ];
    for (fields, test) in tests {
        if let Err(refused) = check(heap, fields, test)? {
            return Ok(Err(refused));
        }
    }
    // A loop written in Python is a frame of its thread, and who called it another.
    let in_python = |h: &Heap| -> Result<Vec<Addr>, Fault> {
        let loops = running_loops(h, &threads(h)?);
        let stock = loops.iter().filter(|l| l.kind == LoopKind::Asyncio);
        Ok(stock.map(|l| l.thread_state).collect())
    };
    let suspended = |h: &Heap| -> Result<Vec<Addr>, Fault> {
        let coroutines = pending(h)?.into_iter().map(|t| t.coroutine);
        Ok(coroutines.filter(|&c| h.is_a(c, "coroutine") == Ok(true)).collect())
    };
    let frames = verify_frames(heap, &in_python)?;
    if frames.is_err() {
        return Ok(frames.map(|()| false));
    }
    let coroutines = verify_suspended(heap, &suspended)?;
    if coroutines.is_err() {
        return Ok(coroutines.map(|()| false));
    }
    heap.grant(crate::cpython::ONE_WALK);
    // Tasks that change too fast now are looked at again with the next walk.
    let complete =
        pending(heap).is_ok_and(|tasks| !tasks.is_empty()) && !running_loops(heap, &threads(heap)?).is_empty();
    Ok(Ok(complete))
}

/// What a task may run is a coroutine of Python, or anything else that has `send`; a heap-allocated type name that
/// ends in one of these covers what asyncio, Cython and the standard library make.
fn looks_awaitable(type_name: &str) -> bool {
    let name = type_name.to_ascii_lowercase();
    ["coroutine", "generator", "asend", "athrow", "anext", "await"]
        .iter()
        .any(|part| name.contains(part))
}
