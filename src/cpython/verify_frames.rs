//! Proves the offsets of code objects, frames and suspended coroutines, by the means of `verify.rs`. Knows nothing of
//! tasks and loops: which threads must have frames, and which coroutines there are, it is told.

use super::codes::Code;
use super::frames::{FrameWalk, RawStack};
use super::generators::CoroutineState;
use super::heap::Heap;
use super::offsets::ABSENT;
use super::verify::{Check, Refused, check, global, holds, run};
use crate::memory::Fault;
use crate::model::Addr;

/// A worker goes on while its frames are read one by one, and a walk that came to a bad end proves nothing: so often is
/// each thread walked in one try.
const WALKS: usize = 8;

/// Proves code objects, function objects and bytes by those that every program with asyncio has.
pub(super) fn verify_code(heap: &mut Heap, runtime_address: Addr) -> Result<Result<(), Refused>, Fault> {
    let runtime = |h: &Heap| h.runtime(runtime_address);
    // `class _Environ` of os.py: its methods, in the order of the source.
    const METHODS: [&str; 6] = [
        "__init__",
        "__getitem__",
        "__setitem__",
        "__delitem__",
        "__iter__",
        "__len__",
    ];
    heap.grant(super::heap::ONE_WALK);
    let functions = match methods(heap, runtime_address, &METHODS) {
        Ok(functions) => functions,
        Err(gone @ (Fault::Gone | Fault::Denied)) => return Err(gone),
        Err(fault) => {
            return Ok(Err(Refused {
                field: "function_code".to_string(),
                detail: fault.to_string(),
            }));
        }
    };
    let codes = |h: &Heap| -> Result<Vec<Addr>, Fault> {
        let code = |&function| h.object(function, h.offsets.function_code);
        functions.iter().map(code).collect()
    };
    let getter = |h: &Heap| codes(h)?.get(1).copied().ok_or(Fault::Implausible("os.environ"));
    let checks: &[Check<'_>] = &[
        (&["bytes_size", "bytes_data"], &|h| {
            let mark = h.bytes_object(global(h, runtime_address, "codecs", "BOM_UTF8")?)?;
            holds(mark == b"\xef\xbb\xbf", "codecs.BOM_UTF8")
        }),
        (&["function_code"], &|h| h.expect(getter(h)?, "code")),
        (&["code_filename"], &|h| {
            // `…/os.py`, or `<frozen os>` from 3.11 on.
            let file = h.str(h.object(getter(h)?, h.offsets.code_filename)?)?;
            holds(file.contains("os.py") || file == "<frozen os>", "co_filename")
        }),
        (&["code_name"], &|h| {
            let name = h.str(h.object(getter(h)?, h.offsets.code_name)?)?;
            holds(name == "__getitem__", "co_name")
        }),
        (&["code_qualname"], &|h| {
            if h.offsets.code_qualname == ABSENT {
                return Ok(());
            }
            let name = h.str(h.object(getter(h)?, h.offsets.code_qualname)?)?;
            holds(name == "_Environ.__getitem__", "co_qualname")
        }),
        (&["code_names"], &|h| {
            let names = h.tuple_items(h.object(getter(h)?, h.offsets.code_names)?)?;
            holds(h.find_key(&names, "encodekey")?.is_some(), "co_names")
        }),
        (&["code_firstlineno"], &|h| {
            let line = |code| h.half(code, h.offsets.code_firstlineno);
            let lines: Vec<u32> = codes(h)?.into_iter().map(line).collect::<Result<_, _>>()?;
            holds(
                lines.is_sorted_by(|a, b| a < b) && lines.iter().all(|line| (10..20_000).contains(line)),
                "co_firstlineno",
            )
        }),
        (&["code_bytecode"], &|h| {
            if h.offsets.code_bytecode == ABSENT {
                return Ok(());
            }
            let bytecode = h.bytes_object(h.object(getter(h)?, h.offsets.code_bytecode)?)?;
            holds(!bytecode.is_empty() && bytecode.len() % 2 == 0, "co_code")
        }),
        (&["code_instructions"], &|h| {
            // What is in every code object ends where its instructions begin (Objects/codeobject.c: PyCode_Type).
            let size = h.word(h.type_of(getter(h)?)?, h.offsets.type_basicsize)?;
            let at = h.offsets.code_instructions;
            holds(at == ABSENT || at == size, "co_code_adaptive")
        }),
        (&["code_linetable"], &|h| {
            h.expect(h.object(getter(h)?, h.offsets.code_linetable)?, "bytes")
        }),
        (&["code_size"], &|h| {
            let read = |code| h.code(code);
            let methods: Vec<Code> = codes(h)?.into_iter().map(read).collect::<Result<_, _>>()?;
            for (this, next) in methods.iter().zip(methods.iter().skip(1)) {
                // Every instruction has its place in the table, and every line lies between this function and the next.
                let end = this.ranges().map(|range| range.end).max();
                holds(
                    h.offsets.code_size == ABSENT || end == Some(this.length),
                    "length of code",
                )?;
                let own = |line| (this.first_line..next.first_line).contains(&line);
                holds(this.ranges().filter_map(|range| range.line).all(own), "line table")?;
            }
            Ok(())
        }),
        (&["interp_code_generation"], &|h| {
            // It follows the GIL (Include/internal/pycore_interp_structs.h, 3.14), whose size the C library decides.
            let Some(at) = h.code_generation_at(&runtime(h)?) else {
                return Ok(());
            };
            holds(
                at == runtime(h)?.gil_last_holder.offset(200) && h.word(at, 0)? < 1 << 40,
                "_code_object_generation",
            )
        }),
    ];
    run(heap, checks)
}

/// The functions that are methods of the class of `os.environ`.
fn methods(h: &Heap, runtime_address: Addr, names: &[&str]) -> Result<Vec<Addr>, Fault> {
    const CLASS: &str = "class of os.environ";
    let class = h.type_of(global(h, runtime_address, "os", "environ")?)?;
    let (keys, values): (Vec<Addr>, Vec<Addr>) =
        h.dict_items(h.object(class, h.offsets.type_dict)?)?.into_iter().unzip();
    let found = h.find_keys(&keys, names)?.into_iter();
    let function = |place: Option<usize>| -> Result<Addr, Fault> {
        let function = place
            .and_then(|place| values.get(place))
            .ok_or(Fault::Implausible(CLASS))?;
        h.expect(*function, "function")?;
        Ok(*function)
    };
    found.map(function).collect()
}

/// Proves the chain of frames. `running` are thread states that have two frames or more: those whose loop is written in
/// Python. Without any there is nothing to prove by.
pub fn verify_frames(
    heap: &mut Heap,
    running: &dyn Fn(&Heap) -> Result<Vec<Addr>, Fault>,
) -> Result<Result<(), Refused>, Fault> {
    // Whether one of many walks comes to its root and all of it is as it should be.
    let some_walk = |h: &Heap, what: &'static str, good: &dyn Fn(&RawStack) -> Result<bool, Fault>| {
        let mut stack = RawStack::default();
        let mut last = Fault::Implausible(what);
        let threads = running(h)?;
        for _ in 0..WALKS {
            h.grant(super::heap::ONE_WALK);
            for &thread in &threads {
                let walk = FrameWalk::new(&h.offsets, h.version);
                match walk.walk(h.memory(), thread, &mut stack).and_then(|()| good(&stack)) {
                    Ok(true) => return Ok(()),
                    Ok(false) => last = Fault::Implausible(what),
                    Err(gone @ (Fault::Gone | Fault::Denied)) => return Err(gone),
                    Err(other) => last = other,
                }
            }
            if !h.memory().changes() {
                break;
            }
        }
        if threads.is_empty() { Ok(()) } else { Err(last) }
    };
    let tests: &[Check<'_>] = &[
        (
            &[
                "tstate_frame",
                "tstate_cframe",
                "cframe_current_frame",
                "tstate_current_frame",
                "frame_executable",
                "frame_previous",
                "frame_owner",
                "frameobject_back",
                "frameobject_code",
            ],
            &|h| {
                some_walk(h, "chain of frames", &|stack| {
                    for frame in &stack.frames {
                        h.expect(frame.code, "code")?;
                    }
                    if h.offsets.tstate_frame != ABSENT {
                        for &frame in &stack.places {
                            h.expect(frame, "frame")?;
                        }
                    }
                    // From 3.12 on, the root is a shim that C made.
                    let walk = FrameWalk::new(&h.offsets, h.version);
                    let root = match stack.places.last() {
                        Some(&root) => walk.read(h.memory(), root, &mut RawStack::default())?.raw,
                        None => return Ok(false),
                    };
                    Ok(stack.frames.len() > 1 && root.is_none() == h.version.at_least(3, 12) && !stack.is_cut)
                })
            },
        ),
        (&["frame_instruction", "frameobject_lasti"], &|h| {
            some_walk(h, "instructions of frames", &|stack| {
                for (depth, frame) in stack.frames.iter().enumerate() {
                    let offset = h.code(frame.code)?.offset_of(frame)?;
                    // To call it has to load what it calls first.
                    if depth > 0 && offset <= 0 {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
        }),
        (&["frame_stack"], &|h| {
            let o = &h.offsets;
            holds(
                o.frame_stack == ABSENT || o.frame_stack == o.frame_instruction + 8,
                "stack of frames",
            )
        }),
        (&["frameobject_localsplus"], &|h| {
            if h.offsets.frameobject_localsplus == ABSENT {
                return Ok(());
            }
            some_walk(h, "locals of frames", &|stack| {
                let ty = h.type_of(*stack.places.first().ok_or(Fault::Implausible("frame"))?)?;
                // The first local is in the structure (Objects/frameobject.c: PyFrame_Type).
                Ok(h.word(ty, h.offsets.type_basicsize)? == h.offsets.frameobject_localsplus + 8)
            })
        }),
        (&["frameobject_valuestack", "frameobject_stack"], &|h| {
            let o = &h.offsets;
            if o.frameobject_valuestack == ABSENT {
                return Ok(());
            }
            let between = if h.version.at_least(3, 10) { 16 } else { 8 };
            holds(
                o.frameobject_stack == o.frameobject_valuestack + between,
                "stack of frames",
            )?;
            some_walk(h, "values of frames", &|stack| {
                for &frame in &stack.places {
                    let slots = h.word(frame, 16)?;
                    let bottom = h.word(frame, o.frameobject_valuestack)?;
                    let into = bottom.wrapping_sub(frame.offset(o.frameobject_localsplus).0);
                    if into % 8 != 0 || slots > 1 << 20 || into > slots * 8 {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
        }),
    ];
    run(heap, tests)
}

/// Proves what is read of coroutines that do not run. `coroutines` are those of pending tasks.
pub fn verify_suspended(
    heap: &mut Heap,
    coroutines: &dyn Fn(&Heap) -> Result<Vec<Addr>, Fault>,
) -> Result<Result<(), Refused>, Fault> {
    check(
        heap,
        &[
            "coro_frame_object",
            "coro_frame_state",
            "frame_stack",
            "frameobject_stack",
        ],
        |h| {
            let o = &h.offsets;
            // Include/cpython/genobject.h: the last byte but four before the frame (3.11–3.15).
            holds(
                o.coro_frame == ABSENT || o.coro_frame_state + 5 == o.coro_frame,
                "state of coroutines",
            )?;
            let found = coroutines(h)?;
            let good = found.iter().filter(|&&coroutine| {
                let Ok((frame, awaited)) = h.coroutine_frame(coroutine) else {
                    return false;
                };
                if let Some(raw) = frame.raw
                    && h.code(raw.code).and_then(|code| code.offset_of(&raw)).is_err()
                {
                    return false;
                }
                match (frame.state, awaited) {
                    (CoroutineState::Suspended, Some(awaited)) => h.type_name(awaited).is_ok(),
                    // A pending task's coroutine is not finished.
                    (CoroutineState::Suspended, None) | (CoroutineState::Finished, _) => false,
                    _ => true,
                }
            });
            // The others may have gone on or ended while they were looked at; with another layout none is good.
            holds(2 * good.count() >= found.len(), "coroutines")
        },
    )
}
