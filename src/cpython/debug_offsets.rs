//! The worker's own tables of offsets: `_Py_DebugOffsets` at the start of `_PyRuntime` (3.13 and later) and
//! `.AsyncioDebug` of `_asyncio` (3.14 and later). Knows nothing of what is read with them.
//!
//! Both are rows of u64 whose order differs by minor version (Include/internal/pycore_runtime.h of 3.13.0,
//! pycore_debug_offsets.h of 3.14.10 and 3.15.2; Modules/_asynciomodule.c). They win over our own table, because a
//! build may have options that move fields.

use super::objects::word_at;
use super::offsets::Offsets;
use crate::memory::{Fault, Memory};
use crate::model::Addr;

/// What the head of `_Py_DebugOffsets` says.
#[derive(Debug, PartialEq, Eq)]
pub enum Stated {
    /// No table there (3.12 and earlier).
    Nothing,
    /// Fields that were taken over.
    Taken(usize),
    /// A build without a GIL, whose structures are others.
    FreeThreaded,
}

type Group = (&'static str, &'static [&'static str]);

const MINOR_13: &[Group] = &[
    ("runtime", &["size", "finalizing", "interpreters_head"]),
    (
        "interp",
        &[
            "size",
            "id",
            "next",
            "threads_head",
            "gc",
            "imports_modules",
            "sysdict",
            "builtins",
            "ceval_gil",
            "gil_runtime_state",
            "gil_enabled",
            "gil_locked",
            "gil_holder",
        ],
    ),
    ("thread", THREAD),
    (
        "frame",
        &["size", "previous", "executable", "instr_ptr", "localsplus", "owner"],
    ),
    ("code", CODE),
    ("object", &["size", "ob_type"]),
    ("type", &["size", "tp_name", "tp_repr", "tp_flags"]),
    ("tuple", &["size", "ob_item", "ob_size"]),
    ("list", &["size", "ob_item", "ob_size"]),
    ("dict", &["size", "ma_keys", "ma_values"]),
    ("float", &["size", "ob_fval"]),
    ("long", &["size", "lv_tag", "ob_digit"]),
    ("bytes", &["size", "ob_size", "ob_sval"]),
    ("unicode", &["size", "state", "length", "asciiobject_size"]),
    ("gc", &["size", "collecting"]),
];

const MINOR_14: &[Group] = &[
    ("runtime", &["size", "finalizing", "interpreters_head"]),
    ("interp", INTERP),
    ("thread", THREAD),
    ("frame", FRAME),
    ("code", CODE_TLBC),
    ("object", &["size", "ob_type"]),
    ("type", &["size", "tp_name", "tp_repr", "tp_flags"]),
    ("tuple", &["size", "ob_item", "ob_size"]),
    ("list", &["size", "ob_item", "ob_size"]),
    ("set", &["size", "used", "table", "mask"]),
    ("dict", &["size", "ma_keys", "ma_values"]),
    ("float", &["size", "ob_fval"]),
    ("long", &["size", "lv_tag", "ob_digit"]),
    ("bytes", &["size", "ob_size", "ob_sval"]),
    ("unicode", &["size", "state", "length", "asciiobject_size"]),
    ("gc", &["size", "collecting"]),
    ("gen", &["size", "gi_name", "gi_iframe", "gi_frame_state"]),
];

const MINOR_15: &[Group] = &[
    ("runtime", &["size", "finalizing", "interpreters_head"]),
    ("interp", INTERP),
    (
        "thread",
        &[
            "size",
            "prev",
            "next",
            "interp",
            "current_frame",
            "base_frame",
            "last_profiled_frame",
            "last_profiled_frame_seq",
            "thread_id",
            "native_thread_id",
            "datastack_chunk",
            "status",
            "holds_gil",
            "gil_requested",
            "current_exception",
            "exc_state",
        ],
    ),
    ("err_stackitem", &["exc_value"]),
    ("frame", FRAME),
    ("code", CODE_TLBC),
    ("object", &["size", "ob_type"]),
    (
        "type",
        &[
            "size",
            "tp_name",
            "tp_repr",
            "tp_flags",
            "tp_basicsize",
            "tp_dictoffset",
        ],
    ),
    ("heap_type", &["size", "ht_cached_keys"]),
    ("tuple", &["size", "ob_item", "ob_size"]),
    ("list", &["size", "ob_item", "ob_size"]),
    ("set", &["size", "used", "table", "mask"]),
    ("dict", &["size", "ma_keys", "ma_values"]),
    ("float", &["size", "ob_fval"]),
    ("long", &["size", "lv_tag", "ob_digit"]),
    ("bytes", &["size", "ob_size", "ob_sval"]),
    (
        "unicode",
        &[
            "size",
            "state",
            "length",
            "asciiobject_size",
            "compactunicodeobject_size",
        ],
    ),
    (
        "gc",
        &[
            "size",
            "collecting",
            "frame",
            "generation_stats_size",
            "generation_stats",
        ],
    ),
    ("gen", &["size", "gi_name", "gi_iframe", "gi_frame_state"]),
];

const INTERP: &[&str] = &[
    "size",
    "id",
    "next",
    "threads_head",
    "threads_main",
    "gc",
    "imports_modules",
    "sysdict",
    "builtins",
    "ceval_gil",
    "gil_runtime_state",
    "gil_enabled",
    "gil_locked",
    "gil_holder",
    "code_object_generation",
    "tlbc_generation",
];
const THREAD: &[&str] = &[
    "size",
    "prev",
    "next",
    "interp",
    "current_frame",
    "thread_id",
    "native_thread_id",
    "datastack_chunk",
    "status",
];
const FRAME: &[&str] = &[
    "size",
    "previous",
    "executable",
    "instr_ptr",
    "localsplus",
    "owner",
    "stackpointer",
    "tlbc_index",
];
const CODE: &[&str] = &[
    "size",
    "filename",
    "name",
    "qualname",
    "linetable",
    "firstlineno",
    "argcount",
    "localsplusnames",
    "localspluskinds",
    "co_code_adaptive",
];
const CODE_TLBC: &[&str] = &[
    "size",
    "filename",
    "name",
    "qualname",
    "linetable",
    "firstlineno",
    "argcount",
    "localsplusnames",
    "localspluskinds",
    "co_code_adaptive",
    "co_tlbc",
];

/// No field of a structure lies further in than this.
const FURTHEST: u64 = 1 << 20;

/// Takes over what `_Py_DebugOffsets` at `runtime` states.
pub fn take_debug_offsets(memory: &dyn Memory, runtime: Addr, minor: u8, into: &mut Offsets) -> Result<Stated, Fault> {
    let groups = match minor {
        13 => MINOR_13,
        14 => MINOR_14,
        15 => MINOR_15,
        _ => return Ok(Stated::Nothing),
    };
    let words: usize = 3 + groups.iter().map(|(_, fields)| fields.len()).sum::<usize>();
    let mut bytes = vec![0; words * 8];
    memory.read(runtime, &mut bytes)?;
    if bytes[..8] != *b"xdebugpy" {
        return Ok(Stated::Nothing);
    }
    if word_at(&bytes, 16) != 0 {
        return Ok(Stated::FreeThreaded);
    }
    let mut taken = 0;
    let mut gc = 0;
    let mut at = 24;
    for (group, fields) in groups {
        for field in *fields {
            let value = word_at(&bytes, at);
            at += 8;
            // `collecting` is stated by its place in `gc`, and that by its place in the interpreter.
            let value = match (*group, *field) {
                ("interp", "gc") => {
                    gc = value;
                    continue;
                }
                ("gc", "collecting") => value.saturating_add(gc),
                _ => value,
            };
            if let Some(ours) = field_of(into, minor, group, field)
                && value < FURTHEST
            {
                *ours = value;
                taken += 1;
            }
        }
    }
    Ok(Stated::Taken(taken))
}

fn field_of<'o>(o: &'o mut Offsets, minor: u8, group: &str, field: &str) -> Option<&'o mut u64> {
    Some(match (group, field) {
        ("runtime", "interpreters_head") => &mut o.runtime_interpreters_head,
        ("interp", "threads_head") => &mut o.interp_threads_head,
        ("interp", "imports_modules") => &mut o.interp_modules,
        ("interp", "gil_holder") => &mut o.interp_gil_last_holder,
        // `_PyThreadStateImpl` of 3.13 begins with the `PyThreadState`, and goes on with `asyncio_running_loop`
        // (Include/internal/pycore_tstate.h).
        ("thread", "size") if minor == 13 => &mut o.tstate_asyncio_running_loop,
        ("thread", "next") => &mut o.tstate_next,
        ("thread", "interp") => &mut o.tstate_interp,
        ("thread", "thread_id") => &mut o.tstate_thread_id,
        ("thread", "native_thread_id") => &mut o.tstate_native_thread_id,
        ("interp", "code_object_generation") => &mut o.interp_code_generation,
        ("thread", "current_frame") => &mut o.tstate_current_frame,
        ("frame", "executable") => &mut o.frame_executable,
        ("frame", "previous") => &mut o.frame_previous,
        ("frame", "instr_ptr") => &mut o.frame_instruction,
        ("frame", "stackpointer") => &mut o.frame_stack,
        ("frame", "owner") => &mut o.frame_owner,
        ("frame", "localsplus") => &mut o.frame_localsplus,
        ("code", "filename") => &mut o.code_filename,
        ("code", "name") => &mut o.code_name,
        ("code", "qualname") => &mut o.code_qualname,
        ("code", "linetable") => &mut o.code_linetable,
        ("code", "firstlineno") => &mut o.code_firstlineno,
        ("code", "co_code_adaptive") => &mut o.code_instructions,
        ("bytes", "ob_size") => &mut o.bytes_size,
        ("bytes", "ob_sval") => &mut o.bytes_data,
        ("type", "tp_name") => &mut o.type_name,
        ("type", "tp_flags") => &mut o.type_flags,
        ("type", "tp_basicsize") => &mut o.type_basicsize,
        ("type", "tp_dictoffset") => &mut o.type_dictoffset,
        ("heap_type", "ht_cached_keys") => &mut o.heap_type_cached_keys,
        ("tuple", "ob_item") => &mut o.tuple_items,
        ("tuple", "ob_size") => &mut o.tuple_size,
        ("list", "ob_item") => &mut o.list_items,
        ("list", "ob_size") => &mut o.list_size,
        ("set", "used") => &mut o.set_used,
        ("set", "table") => &mut o.set_table,
        ("set", "mask") => &mut o.set_mask,
        ("dict", "ma_keys") => &mut o.dict_keys,
        ("dict", "ma_values") => &mut o.dict_values,
        ("float", "ob_fval") => &mut o.float_value,
        ("long", "lv_tag") => &mut o.int_tag,
        ("long", "ob_digit") => &mut o.int_digits,
        ("unicode", "state") => &mut o.str_state,
        ("unicode", "length") => &mut o.str_length,
        ("unicode", "asciiobject_size") => &mut o.str_ascii_data,
        ("unicode", "compactunicodeobject_size") => &mut o.str_compact_data,
        ("gc", "collecting") => &mut o.interp_gc_collecting,
        ("gen", "gi_iframe") => &mut o.coro_frame,
        ("gen", "gi_frame_state") => &mut o.coro_frame_state,
        _ => return None,
    })
}

/// Takes over what `.AsyncioDebug` at `table` states: thirteen words, without a cookie.
pub fn take_asyncio_debug(memory: &dyn Memory, table: Addr, into: &mut Offsets) -> Result<usize, Fault> {
    let mut bytes = [0; 13 * 8];
    memory.read(table, &mut bytes)?;
    let word = |index: usize| Some(word_at(&bytes, index * 8)).filter(|&v| v > 0 && v < FURTHEST);
    let stated = [
        // task: size, name, awaited_by, is_task, awaited_by_is_set, coro, node
        (&mut into.task_coro, word(5)),
        (&mut into.task_node, word(6)),
        // In every version `task_context` follows `task_name`.
        (&mut into.task_context, word(1).map(|name| name + 8)),
        // interpreter: size, tasks_head; thread: size, running_loop, running_task, tasks_head
        (&mut into.interp_asyncio_tasks_head, word(8)),
        (&mut into.tstate_asyncio_running_loop, word(10)),
        (&mut into.tstate_asyncio_tasks_head, word(12)),
    ];
    let mut taken = 0;
    for (ours, value) in stated {
        if let Some(value) = value {
            *ours = value;
            taken += 1;
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::offsets::MINORS;
    use crate::memory::Image;

    /// A version whose own table is there and is not looked at would be read by ours alone, and a build without a GIL
    /// would not be told.
    #[test]
    fn every_minor_that_has_a_table_of_its_own_is_read_by_it() {
        let mut image = Image::new();
        let mut words = vec![0u64; 200];
        words[0] = u64::from_le_bytes(*b"xdebugpy");
        let put = |image: &mut Image, words: &[u64]| {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            image.put(Addr(0x1000), &bytes);
        };
        for minor in MINORS.into_iter().filter(|minor| *minor >= 13) {
            let mut offsets = Offsets::of_minor(minor).unwrap();
            put(&mut image, &words);
            let stated = take_debug_offsets(&image, Addr(0x1000), minor, &mut offsets).unwrap();
            assert!(matches!(stated, Stated::Taken(n) if n > 20), "3.{minor}: {stated:?}");
            words[2] = 1;
            put(&mut image, &words);
            let stated = take_debug_offsets(&image, Addr(0x1000), minor, &mut offsets).unwrap();
            assert_eq!(stated, Stated::FreeThreaded, "3.{minor}");
            words[2] = 0;
        }
    }
}
