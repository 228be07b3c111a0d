//! Proves the offsets in the live worker before anything is believed: each field is used to read something whose value
//! is known. Knows nothing of event loops and tasks; `asyncio::verify` goes on with the same means.
//!
//! The checks stand in an order in which each relies only on fields that were proved before it. One that fails names
//! the field which, moved by a word, would make it pass, so that a layout that is new says where it is new.

use super::heap::Heap;
use super::offsets::{ABSENT, FIELDS};
use super::threads::Runtime;
use crate::memory::Fault;
use crate::model::Addr;

/// A layout that is not as the table says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Refused {
    pub field: String,
    pub detail: String,
}

/// The worker goes on while it is read, so a check that fails is tried again before anybody is blamed: on a machine with
/// ten programs to a CPU and a worker whose steps take microseconds, three times was not enough.
const TRIES: usize = 20;

/// Runs `test`, which relies on `fields` for the first time. A process that is gone is no verdict.
pub fn check(
    heap: &mut Heap,
    fields: &[&str],
    test: impl Fn(&Heap) -> Result<(), Fault>,
) -> Result<Result<(), Refused>, Fault> {
    let mut fault = Fault::Budget;
    for _ in 0..TRIES {
        heap.grant(super::heap::ONE_WALK);
        match test(heap) {
            Ok(()) => return Ok(Ok(())),
            Err(gone @ (Fault::Gone | Fault::Denied)) => return Err(gone),
            Err(other) => fault = other,
        }
        if !heap.memory().changes() {
            break;
        }
    }
    let mut culprit = fields.first().copied().unwrap_or("layout");
    'search: for &(name, field) in FIELDS.iter().filter(|(name, _)| fields.contains(name)) {
        let original = *field(&mut heap.offsets);
        if original == ABSENT {
            continue;
        }
        for moved in [original.checked_sub(8), original.checked_add(8)].into_iter().flatten() {
            *field(&mut heap.offsets) = moved;
            heap.forget_names();
            heap.grant(super::heap::ONE_WALK);
            let passes = test(heap).is_ok();
            *field(&mut heap.offsets) = original;
            heap.forget_names();
            if passes {
                culprit = name;
                break 'search;
            }
        }
    }
    Ok(Err(Refused {
        field: culprit.to_string(),
        detail: fault.to_string(),
    }))
}

/// Ok where `holds`; else the fault that names what was looked at.
pub(super) fn holds(holds: bool, what: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Implausible(what)) }
}

/// A check: the fields it proves, and how.
pub(super) type Check<'a> = (&'a [&'a str], &'a dyn Fn(&Heap) -> Result<(), Fault>);

/// Proves the fields that every Python process has an example of. `native_ids` are the threads of the worker as its own PID namespace
/// numbers them.
pub fn verify_core(
    heap: &mut Heap,
    runtime_address: Addr,
    native_ids: &[u64],
) -> Result<Result<Runtime, Refused>, Fault> {
    let runtime = |h: &Heap| h.runtime(runtime_address);
    let modules = |h: &Heap| h.modules(&h.runtime(runtime_address)?);
    let global = |h: &Heap, module, name| global(h, runtime_address, module, name);
    let checks: &[Check<'_>] = &[
        (
            &[
                "runtime_interpreters_head",
                "interp_threads_head",
                "tstate_interp",
                "tstate_next",
            ],
            &|h| {
                let runtime = runtime(h)?;
                // `interpreters.main` follows `head` and is the same unless there are subinterpreters; what stands before
                // is a lock. `threads.head` likewise follows a counter (from 3.11 on) or the link to the next interpreter.
                let before = h.word(runtime_address, h.offsets.runtime_interpreters_head.wrapping_sub(8))?;
                holds(before != runtime.interpreter.0, "interpreters")?;
                let before = h.pointer(runtime.interpreter, h.offsets.interp_threads_head.wrapping_sub(8))?;
                holds(
                    h.word(before, h.offsets.tstate_interp) != Ok(runtime.interpreter.0),
                    "threads",
                )?;
                // With one thread, `prev` is NULL too. Before them all, in all versions: `prev`, `next`, `interp`.
                holds(h.offsets.tstate_next + 8 == h.offsets.tstate_interp, "thread states")?;
                holds(!h.thread_states(&runtime)?.is_empty(), "thread states")
            },
        ),
        (&["tstate_native_thread_id"], &|h| {
            let threads = h.thread_states(&runtime(h)?)?;
            let known = threads.iter().filter(|t| native_ids.contains(&t.native_id)).count();
            // Threads come and go between the two looks; one that is starting has none yet.
            holds(
                h.offsets.tstate_native_thread_id == ABSENT || 2 * known >= threads.len(),
                "native thread ids",
            )
        }),
        (&["tstate_thread_id"], &|h| {
            // A `pthread_t` points to the thread's control block, whose first word points to itself (glibc, musl).
            let threads = h.thread_states(&runtime(h)?)?;
            let own = |t: &super::threads::ThreadState| h.word(t.pthread, 0) == Ok(t.pthread.0);
            holds(
                2 * threads.iter().filter(|t| own(t)).count() >= threads.len(),
                "pthread_t",
            )
        }),
        (&["interp_modules", "type_name"], &|h| {
            let modules = modules(h)?;
            h.expect(h.type_of(h.type_of(modules)?)?, "type")?;
            h.expect(modules, "dict")
        }),
        (&["type_flags"], &|h| {
            // Of `dict` and of `type`: which of int, list, tuple, bytes, str, dict, exception and type they derive from.
            let dict = h.type_of(modules(h)?)?;
            let derives = |ty| h.word(ty, h.offsets.type_flags).map(|flags| flags >> 24 & 0xff);
            holds(
                derives(dict)? == 0x20 && derives(h.type_of(dict)?)? == 0x80,
                "type flags",
            )
        }),
        (
            &[
                "dict_keys",
                "dict_values",
                "dict_used",
                "dictkeys_size",
                "dictkeys_nentries",
                "dictkeys_indices",
            ],
            &|h| dict_layout(h, modules(h)?),
        ),
        (&["str_length", "str_state", "str_ascii_data"], &|h| {
            for name in ["sys", "builtins", "_thread"] {
                holds(h.dict_get(modules(h)?, name)?.is_some(), name)?;
            }
            Ok(())
        }),
        (&["str_compact_data"], &|h| {
            // utf8_length, utf8 and, up to 3.11, wstr_length stand between (PyCompactUnicodeObject).
            let between = if h.version.at_least(3, 12) { 16 } else { 24 };
            holds(h.offsets.str_compact_data == h.offsets.str_ascii_data + between, "str")
        }),
        (&["module_dict"], &|h| {
            let text = h.str(global(h, "sys", "version")?)?;
            holds(super::version::Version::parse(&text) == Some(h.version), "sys.version")
        }),
        (&["int_tag", "int_digits"], &|h| {
            holds(h.int(global(h, "sys", "maxunicode")?)? == 0x10ffff, "sys.maxunicode")?;
            holds(
                h.int(global(h, "sys", "maxsize")?)? == i128::from(i64::MAX),
                "sys.maxsize",
            )
        }),
        (&["tuple_size", "tuple_items"], &|h| {
            let items = h.tuple_items(global(h, "sys", "version_info")?)?;
            holds(
                items.len() == 5 && h.int(items[1])? == i128::from(h.version.minor),
                "sys.version_info",
            )?;
            holds(h.int(items[2])? == i128::from(h.version.micro), "sys.version_info")
        }),
        (&["float_value"], &|h| {
            let info = h.tuple_items(global(h, "sys", "float_info")?)?;
            holds(
                h.float(*info.first().ok_or(Fault::Implausible("sys.float_info"))?)? == f64::MAX,
                "sys.float_info",
            )
        }),
        (&["list_size", "list_items"], &|h| {
            let items = h.list_items(global(h, "sys", "meta_path")?)?;
            holds(!items.is_empty() && items.len() < 1000, "sys.meta_path")?;
            items.iter().try_for_each(|&item| h.type_name(item).map(drop))
        }),
        (&["runtime_gc_collecting", "interp_gc_collecting"], &|h| {
            let collecting = runtime(h)?.gc_collecting;
            holds(h.half(collecting, 0)? <= 1, "gc.collecting")?;
            if h.version.at_least(3, 15) {
                // `generation_stats` before it, `frame` behind it.
                h.byte(h.object(Addr(collecting.0.wrapping_sub(8)), 0)?, 0)?;
                return h.expect(h.object(collecting, 16)?, "list");
            }
            if h.version.at_least(3, 9) {
                return h.expect(h.object(collecting, 8)?, "list");
            }
            // In 3.8 the list `garbage` is there only once `gc` was imported. Before `collecting` stand the statistics of
            // three generations, and before those the permanent one, whose head links a ring.
            let permanent = Addr(collecting.0.wrapping_sub(3 * 24 + 24));
            let first = h.object(permanent, 0)?;
            holds(h.word(first, 8)? & !3 == permanent.0, "permanent generation")
        }),
        (&["type_basicsize"], &|h| {
            let float = h.type_of(h.tuple_items(global(h, "sys", "float_info")?)?[0])?;
            let dict = h.type_of(modules(h)?)?;
            let size = |ty| h.word(ty, h.offsets.type_basicsize);
            holds(size(float)? == 24 && size(dict)? == 48, "type sizes")
        }),
        (&["type_dictoffset"], &|h| {
            let module = h.dict_get(modules(h)?, "sys")?.ok_or(Fault::Implausible("sys"))?;
            holds(
                h.word(h.type_of(module)?, h.offsets.type_dictoffset)? == h.offsets.module_dict,
                "module type",
            )
        }),
        (&["type_base"], &|h| {
            let boolean = h.type_of(global(h, "sys", "dont_write_bytecode")?)?;
            holds(
                &*h.name_of_type(h.object(boolean, h.offsets.type_base)?)? == "int",
                "base of bool",
            )
        }),
        (&["runtime_gil_last_holder", "interp_gil_last_holder"], &|h| {
            let runtime = runtime(h)?;
            let gil = h.gil(&runtime)?;
            let threads = h.thread_states(&runtime)?;
            let interval = h.word(Addr(runtime.gil_last_holder.0 - 8), 0)?;
            holds(
                matches!(gil.locked, 0 | 1) && (1..10_000_000_000).contains(&interval),
                "GIL",
            )?;
            // The last holder may have ended; that it is no pointer at all is what must be caught.
            let known = threads.iter().any(|t| t.address == gil.last_holder);
            let ended = || h.word(gil.last_holder, h.offsets.tstate_interp) == Ok(runtime.interpreter.0);
            holds(known || ended(), "GIL holder")
        }),
    ];
    match run(heap, checks)? {
        Ok(()) => heap.runtime(runtime_address).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

/// The module's global `name`; a module that is not there, or has none, is a fault that says so.
pub(super) fn global(h: &Heap, runtime: Addr, module: &'static str, name: &'static str) -> Result<Addr, Fault> {
    let module = h
        .module(&h.runtime(runtime)?, module)?
        .ok_or(Fault::Implausible(module))?;
    h.dict_get(h.module_dict(module)?, name)?
        .ok_or(Fault::Implausible(name))
}

pub(super) fn run(heap: &mut Heap, checks: &[Check<'_>]) -> Result<Result<(), Refused>, Fault> {
    for (fields, test) in checks {
        if let Err(refused) = check(heap, fields, test)? {
            return Ok(Err(refused));
        }
    }
    Ok(Ok(()))
}

/// Proves the fields for which the modules that asyncio imports give an example.
pub fn verify_library(heap: &mut Heap, runtime_address: Addr) -> Result<Result<(), Refused>, Fault> {
    let global = |h: &Heap, module, name| global(h, runtime_address, module, name);
    let checks: &[Check<'_>] = &[
        (&["set_used", "set_mask", "set_table"], &|h| {
            let set = global(h, "os", "supports_fd")?;
            let items = h.set_items(set)?;
            let functions = items
                .iter()
                .filter(|&&i| h.is_a(i, "builtin_function_or_method") == Ok(true))
                .count();
            let used = h.word(set, h.offsets.set_used)? as usize;
            // `fill`, which counts removed items too, `used`, `mask`, `table`: where none was removed the first two are equal.
            holds(h.offsets.set_used + 8 == h.offsets.set_mask, "os.supports_fd")?;
            holds(
                functions > 0 && functions == items.len() && used == items.len(),
                "os.supports_fd",
            )
        }),
        (&["type_dict"], &|h| {
            let class = h.type_of(global(h, "os", "environ")?)?;
            let dict = h.object(class, h.offsets.type_dict)?;
            holds(h.dict_get(dict, "__getitem__")?.is_some(), "class of os.environ")
        }),
        (&["heap_type_cached_keys"], &|h| {
            let class = h.type_of(global(h, "os", "environ")?)?;
            let keys = h.object(class, h.offsets.heap_type_cached_keys)?;
            // Split tables of a class hold names only.
            let names: Vec<Addr> = h.dict_entry_keys(keys)?;
            holds(h.find_key(&names, "encodekey")?.is_some(), "keys of os.environ")
        }),
        (&["dictvalues_values"], &|h| {
            let environ = global(h, "os", "environ")?;
            let data = h
                .attribute(environ, "_data")?
                .ok_or(Fault::Implausible("os.environ._data"))?;
            h.expect(data, "dict")?;
            // Should its values have become a dict of their own, the next line is what is left to go by:
            // PyDictValues has had a head of four bytes, padded to eight, since 3.13.
            holds(
                h.offsets.dictvalues_values == if h.version.at_least(3, 13) { 8 } else { 0 },
                "instance values",
            )
        }),
        (&["weakref_object"], &|h| {
            let threads = h.attribute(global(h, "threading", "_dangling")?, "data")?;
            let items = h.set_items(threads.ok_or(Fault::Implausible("threading._dangling"))?)?;
            let mut alive = 0;
            for item in items {
                let object = h.pointer(item, h.offsets.weakref_object)?;
                if !object.is_null() && h.attribute(object, "_ident").is_ok_and(|ident| ident.is_some()) {
                    alive += 1;
                }
            }
            holds(alive > 0, "threading._dangling")
        }),
        (&["member_descriptor_member", "member_offset"], &|h| {
            // `Handle.__slots__` has had these two in all versions.
            let class = h.object(global(h, "asyncio.events", "Handle")?, h.offsets.type_dict)?;
            let offset = |name| -> Result<u64, Fault> {
                let descriptor = h.dict_get(class, name)?.ok_or(Fault::Implausible("slot"))?;
                h.expect(descriptor, "member_descriptor")?;
                h.word(
                    h.object(descriptor, h.offsets.member_descriptor_member)?,
                    h.offsets.member_offset,
                )
            };
            let (first, second) = (offset("_callback")?, offset("_context")?);
            let plausible = |o| (16..4096).contains(&o) && o % 8 == 0;
            holds(
                plausible(first) && plausible(second) && first != second,
                "slots of Handle",
            )
        }),
    ];
    match run(heap, checks)? {
        Ok(()) => super::verify_frames::verify_code(heap, runtime_address),
        refused => Ok(refused),
    }
}

/// The invariants of a dict with str keys that is no split one: `sys.modules`.
fn dict_layout(h: &Heap, dict: Addr) -> Result<(), Fault> {
    let o = &h.offsets;
    let keys = h.object(dict, o.dict_keys)?;
    holds(
        h.pointer(dict, o.dict_values)?.is_null() && o.dict_values == o.dict_keys + 8,
        "ma_values",
    )?;
    // `dk_usable` stands before `dk_nentries`; together they are two thirds of the slots (USABLE_FRACTION).
    let usable = h.word(keys, o.dictkeys_nentries.wrapping_sub(8))?;
    let entries = h.word(keys, o.dictkeys_nentries)?;
    let slots = match h.version.at_least(3, 11) {
        true => 1u64.checked_shl(u32::from(h.byte(keys, o.dictkeys_size)?)).unwrap_or(0),
        false => h.word(keys, o.dictkeys_size)?,
    };
    holds(
        slots > 0 && slots < 1 << 40 && usable.wrapping_add(entries) == slots * 2 / 3,
        "dict keys",
    )?;
    let items = h.dict_items(dict)?;
    holds(
        !items.is_empty() && items.len() as u64 == h.word(dict, o.dict_used)?,
        "ma_used",
    )?;
    for (key, value) in items.iter().take(8) {
        h.expect(*key, "str")?;
        h.type_name(*value)?;
    }
    Ok(())
}
