//! Where things lie in CPython's structures, as plain data: one row per field, one column per minor version. Knows
//! nothing of how they are read. Adding the next Python is a column here; `CONTRIBUTING.md` has the checklist.
//!
//! Provenance: 3.8–3.13 from the DWARF of pyenv's builds (3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0); 3.14 and
//! 3.15 compiled from Debian's development headers with `Py_BUILD_CORE` (3.14.10, 3.15.2); x86-64, builds with a GIL.
//! From 3.13 on, what the worker's own `_Py_DebugOffsets` and `.AsyncioDebug` tables state wins over these columns
//! (`debug_offsets.rs`). Whatever its origin, no offset is believed before `verify.rs` has checked it in the live worker.

/// The minor versions of CPython 3 that the table has, in the order of its columns.
pub const MINORS: [u8; 8] = [8, 9, 10, 11, 12, 13, 14, 15];

/// A field that this version does not have.
pub const ABSENT: u64 = u64::MAX;

macro_rules! offsets {
    ($( $(#[$doc:meta])* $field:ident: [$($value:expr),* $(,)?] ),* $(,)?) => {
        /// Byte offsets, named after CPython's own structure and member. `ABSENT` where a version has no such field.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Offsets {
            $( $(#[$doc])* pub $field: u64, )*
        }

        /// A field's name and how to reach it: lets tests shift each field in turn.
        pub type Field = (&'static str, fn(&mut Offsets) -> &mut u64);

        /// Every field of `Offsets`.
        pub const FIELDS: &[Field] = &[ $( (stringify!($field), |o| &mut o.$field), )* ];

        impl Offsets {
            /// The column for CPython 3.`minor`; None where the table has none.
            pub fn of_minor(minor: u8) -> Option<Offsets> {
                let column = MINORS.iter().position(|&m| m == minor)?;
                Some(Offsets { $( $field: { const ROW: [u64; 8] = row(&[$($value),*]); ROW[column] }, )* })
            }
        }
    };
}

/// A row of eight columns, or of one value that holds for all versions.
const fn row(values: &[i64]) -> [u64; 8] {
    let mut row = [ABSENT; 8];
    let mut i = 0;
    while i < 8 {
        let value = if values.len() == 1 { values[0] } else { values[i] };
        if value >= 0 {
            row[i] = value as u64;
        }
        i += 1;
    }
    row
}

/// In the rows below: the version has no such field.
const NO: i64 = -1;

offsets! {
    // _PyRuntimeState                   3.8   3.9   3.10  3.11  3.12  3.13  3.14  3.15
    /// `interpreters.head`
    runtime_interpreters_head:          [  32,   32,   32,   40,   40,  632,  808,  936],
    /// `ceval.gil.last_holder`; `locked` (int) follows at +8, `switch_number` at +16, `interval` stands at −8
    runtime_gil_last_holder:            [1160,  360,  360,  368,   NO,   NO,   NO,   NO],
    /// `gc.collecting` (int); `garbage` follows at +8
    runtime_gc_collecting:              [ 544,   NO,   NO,   NO,   NO,   NO,   NO,   NO],
    // PyInterpreterState
    /// `threads.head` (`tstate_head` up to 3.10)
    interp_threads_head:                [   8,    8,    8,   16,   72, 7344, 7344, 7336],
    /// `imports.modules` (`modules` up to 3.11): the dict behind `sys.modules`
    interp_modules:                     [  56,  856,  856,  888,  944, 7656, 7688, 7592],
    /// `_gil.last_holder`; neighbours as above
    interp_gil_last_holder:             [  NO,   NO,   NO,   NO, 1048, 7760, 7792, 7744],
    /// `gc.collecting` (int); `garbage` follows at +8 (3.15: at +16, behind `frame`)
    interp_gc_collecting:               [  NO,  816,  816,  848,  312, 7600, 7600, 7512],
    /// `_code_object_generation` (u64): 1 up for each code object that is freed; follows the GIL
    interp_code_generation:             [  NO,   NO,   NO,   NO,   NO,   NO, 7992, 7944],
    /// `asyncio_tasks_head`: tasks of threads that ended
    interp_asyncio_tasks_head:          [  NO,   NO,   NO,   NO,   NO,   NO,10880,10856],
    // PyThreadState
    tstate_next:                        [   8],
    tstate_interp:                      [  16],
    /// `dict`, where the running loop is up to 3.12
    tstate_dict:                        [ 152,  152,  152,  128,  112,   NO,   NO,   NO],
    /// `thread_id`, which is `pthread_self()`
    tstate_thread_id:                   [ 176,  176,  176,  152,  136,  152,  152,  176],
    /// `native_thread_id`, as the worker's own PID namespace numbers it
    tstate_native_thread_id:            [  NO,   NO,   NO,  160,  144,  160,  160,  184],
    /// `context`; `context_ver` follows at +8 and `id` at +16 in all versions
    tstate_context:                     [ 240,  240,  240,  224,  208,  208,  208,  232],
    /// `frame`: the frame object that runs
    tstate_frame:                       [  24,   24,   24,   NO,   NO,   NO,   NO,   NO],
    /// `cframe`, which lies on the C stack, and what it points to: `current_frame`
    tstate_cframe:                      [  NO,   NO,   NO,   56,   56,   NO,   NO,   NO],
    cframe_current_frame:               [  NO,   NO,   NO,    8,    0,   NO,   NO,   NO],
    tstate_current_frame:               [  NO,   NO,   NO,   NO,   NO,   72,   72,   72],
    /// `_PyThreadStateImpl.asyncio_running_loop`; in 3.13 the first field behind the `PyThreadState`, which grew by a
    /// word between 3.13.5 and 3.13.15: `debug_offsets.rs` takes its size
    tstate_asyncio_running_loop:        [  NO,   NO,   NO,   NO,   NO,  304,  864, 1024],
    /// `_PyThreadStateImpl.asyncio_tasks_head`
    tstate_asyncio_tasks_head:          [  NO,   NO,   NO,   NO,   NO,   NO,  880, 1048],
    // PyTypeObject, PyHeapTypeObject
    type_name:                          [  24],
    type_basicsize:                     [  32],
    type_flags:                         [ 168],
    type_base:                          [ 256],
    type_dict:                          [ 264],
    type_dictoffset:                    [ 288],
    heap_type_cached_keys:              [ 872,  864,  872,  872,  880,  880,  880,  888],
    // PyASCIIObject, PyCompactUnicodeObject
    str_length:                         [  16],
    /// bit field: interned (bits 0–1), kind (2–4), compact (5), ascii (6)
    str_state:                          [  32],
    str_ascii_data:                     [  48,   48,   48,   48,   40,   40,   40,   40],
    str_compact_data:                   [  72,   72,   72,   72,   56,   56,   56,   56],
    // PyLongObject: `ob_size` up to 3.11, `lv_tag` from 3.12
    int_tag:                            [  16],
    int_digits:                         [  24],
    float_value:                        [  16],
    tuple_size:                         [  16],
    tuple_items:                        [  24,   24,   24,   24,   24,   24,   32,   32],
    list_size:                          [  16],
    list_items:                         [  24],
    // PyDictObject, PyDictKeysObject, PyDictValues
    dict_used:                          [  16],
    dict_keys:                          [  32],
    dict_values:                        [  40],
    /// `dk_size` (word) up to 3.10; from 3.11 `dk_log2_size` (u8), then `dk_log2_index_bytes` and `dk_kind`
    dictkeys_size:                      [   8],
    dictkeys_nentries:                  [  32,   32,   32,   24,   24,   24,   24,   24],
    dictkeys_indices:                   [  40,   40,   40,   32,   32,   32,   32,   32],
    /// first value behind `ma_values`
    dictvalues_values:                  [   0,    0,    0,    0,    0,    8,    8,    8],
    // PySetObject: `fill` stands 8 before `used`
    set_used:                           [  24],
    set_mask:                           [  32],
    set_table:                          [  40],
    weakref_object:                     [  16],
    module_dict:                        [  16],
    /// `PyMemberDescrObject.d_member`
    member_descriptor_member:           [  40],
    /// `PyMemberDef.offset`
    member_offset:                      [  16],
    // PyContext, PyContextVar
    context_prev:                       [  16],
    context_vars:                       [  24],
    context_entered:                    [  40],
    contextvar_name:                    [  16],
    contextvar_hash:                    [  56],
    // PyHamtObject and its nodes
    hamt_root:                          [  16],
    hamt_count:                         [  32],
    hamt_bitmap_size:                   [  16],
    hamt_bitmap_bits:                   [  24],
    hamt_bitmap_array:                  [  32],
    hamt_array_array:                   [  16],
    hamt_collision_size:                [  16],
    hamt_collision_array:               [  32],
    // TaskObj of _asyncio
    task_loop:                          [  16],
    /// `task_exception`: what it ended with; NULL: a result, or no end yet
    task_exception:                     [  48],
    task_state:                         [  72,   80,   88,   88,   88,   96,  104,  104],
    task_coro:                          [ 112,  152,  160,  136,  136,  120,  128,  128],
    task_context:                       [ 128,  168,  176,  152,  152,  136,  144,  144],
    /// `task_node`, the link of the list that holds all tasks
    task_node:                          [  NO,   NO,   NO,   NO,   NO,   NO,  152,  152],
    // PyGenObject, PyCoroObject and PyAsyncGenObject, which begin alike
    /// `gi_frame`, the frame object; NULL once it has ended
    coro_frame_object:                  [  16,   16,   16,   NO,   NO,   NO,   NO,   NO],
    /// `gi_frame_state` (i8): its values are in `generators.rs`
    coro_frame_state:                   [  NO,   NO,   NO,   75,   67,   67,   67,   67],
    /// `gi_iframe`, the frame itself
    coro_frame:                         [  NO,   NO,   NO,   80,   72,   72,   72,   72],
    // _PyInterpreterFrame
    /// `f_code`, later `f_executable`
    frame_executable:                   [  NO,   NO,   NO,   32,    0,    0,    0,    0],
    frame_previous:                     [  NO,   NO,   NO,   48,    8,    8,    8,    8],
    /// `prev_instr`, later `instr_ptr`
    frame_instruction:                  [  NO,   NO,   NO,   56,   56,   56,   56,   56],
    /// `stacktop` (int, slots in use), later `stackpointer`: good while the frame does not run
    frame_stack:                        [  NO,   NO,   NO,   64,   64,   64,   64,   64],
    /// `owner` (u8)
    frame_owner:                        [  NO,   NO,   NO,   69,   70,   70,   74,   74],
    frame_localsplus:                   [  NO,   NO,   NO,   72,   72,   72,   80,   80],
    // PyFrameObject, while it was what runs
    frameobject_back:                   [  24,   24,   24,   NO,   NO,   NO,   NO,   NO],
    frameobject_code:                   [  32,   32,   32,   NO,   NO,   NO,   NO,   NO],
    frameobject_valuestack:             [  64,   64,   64,   NO,   NO,   NO,   NO,   NO],
    /// `f_stacktop` (NULL while the frame runs), in 3.10 `f_stackdepth` (int; −1 while it runs)
    frameobject_stack:                  [  72,   72,   80,   NO,   NO,   NO,   NO,   NO],
    /// `f_lasti` (int): in bytes, in 3.10 in code units; −1 before the first instruction
    frameobject_lasti:                  [ 104,  104,   96,   NO,   NO,   NO,   NO,   NO],
    frameobject_localsplus:             [ 360,  360,  352,   NO,   NO,   NO,   NO,   NO],
    // PyCodeObject, PyFunctionObject, PyBytesObject
    /// `ob_size`: code units of two bytes, inline caches included
    code_size:                          [  NO,   NO,   NO,   16,   16,   16,   16,   16],
    code_firstlineno:                   [  40,   40,   40,   72,   68,   68,   68,   68],
    /// `co_code`: the instructions as a bytes object
    code_bytecode:                      [  48,   48,   48,   NO,   NO,   NO,   NO,   NO],
    code_names:                         [  64,   64,   64,   32,   32,   32,   32,   32],
    code_filename:                      [ 104,  104,  104,  112,  112,  112,  112,  112],
    code_name:                          [ 112,  112,  112,  120,  120,  120,  120,  120],
    code_qualname:                      [  NO,   NO,   NO,  128,  128,  128,  128,  128],
    /// `co_lnotab` up to 3.9, then `co_linetable`
    code_linetable:                     [ 120,  120,  120,  136,  136,  136,  136,  136],
    /// `co_code_adaptive`: the instructions themselves, the last thing in a code object
    code_instructions:                  [  NO,   NO,   NO,  184,  192,  200,  208,  208],
    function_code:                      [  16,   16,   48,   48,   48,   48,   48,   48],
    bytes_size:                         [  16],
    bytes_data:                         [  32],
    // dequeobject of _collections: `state` is 1 up per append and 1 up per pop
    deque_size:                         [  16],
    deque_state:                        [  56],
}

/// Of one thing's neighbours: where `locked`, `switch_number` and `interval` stand, seen from `last_holder`
/// (`struct _gil_runtime_state`, 3.8–3.15, builds with a GIL).
pub const GIL_LOCKED: u64 = 8;
pub const GIL_SWITCH_NUMBER: u64 = 16;
/// The GIL's condition variables and mutexes end before this many bytes behind `last_holder`.
pub const GIL_EXTENT: u64 = 256;
/// `context_ver` and `id`, seen from `tstate.context`.
pub const CONTEXT_VERSION: u64 = 8;
pub const THREAD_ID: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_minor_has_a_column_and_nothing_else_has() {
        assert!(MINORS.iter().all(|&m| Offsets::of_minor(m).is_some()));
        assert!([7, 16].iter().all(|&m| Offsets::of_minor(m).is_none()));
        assert_eq!(Offsets::of_minor(12).map(|o| o.tstate_context), Some(208));
        assert_eq!(Offsets::of_minor(13).map(|o| o.runtime_gil_last_holder), Some(ABSENT));
    }

    #[test]
    fn fields_reach_what_they_name() {
        let mut offsets = Offsets::of_minor(15).unwrap();
        for (name, field) in FIELDS {
            let before = offsets.clone();
            *field(&mut offsets) = 12345;
            assert_ne!(offsets, before, "{name}");
            offsets = before;
        }
    }
}
