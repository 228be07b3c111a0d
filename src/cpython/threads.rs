//! Thread states, the GIL, `sys.modules`: what hangs on `_PyRuntime`. Knows nothing of event loops.

use super::heap::Heap;
use super::objects::word_at;
use super::offsets::{ABSENT, CONTEXT_VERSION, GIL_LOCKED, GIL_SWITCH_NUMBER, THREAD_ID};
use crate::memory::Fault;
use crate::model::Addr;

/// The modules that proofs and walks begin from.
const MODULES: [&str; 9] = [
    "_thread",
    "asyncio.events",
    "asyncio.runners",
    "asyncio.tasks",
    "builtins",
    "codecs",
    "os",
    "sys",
    "threading",
];

/// A process with more threads than this is damage.
const MOST_THREADS: usize = 20_000;

/// Where the interpreter's fixed points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `_PyRuntime`
    pub address: Addr,
    /// The main interpreter's `PyInterpreterState`. Subinterpreters are not looked at.
    pub interpreter: Addr,
    /// The field `last_holder` of the GIL.
    pub gil_last_holder: Addr,
    /// The field `collecting` (int) of the main interpreter's garbage collector: 1 while a collection runs.
    pub gc_collecting: Addr,
}

/// A `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadState {
    pub address: Addr,
    /// Never used twice in a process, as addresses are.
    pub id: u64,
    pub context: Addr,
    pub context_version: u64,
    /// `pthread_self()` of the thread.
    pub pthread: Addr,
    /// Kernel thread id in the worker's own PID namespace; 0: not in the thread state before 3.11.
    pub native_id: u64,
}

/// The words of the GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilWords {
    /// The thread state that holds it, or held it last.
    pub last_holder: Addr,
    /// 1 held, 0 free.
    pub locked: i32,
    pub switch_number: u64,
}

/// Bytes from `last_holder` to the end of `switch_number`.
pub const GIL_WORDS: usize = 24;
/// Bytes from `tstate.context` to the end of `id`.
pub const CONTEXT_WORDS: usize = 24;

impl GilWords {
    pub fn from_bytes(bytes: &[u8]) -> GilWords {
        GilWords {
            last_holder: Addr(word_at(bytes, 0)),
            locked: word_at(bytes, GIL_LOCKED as usize) as u32 as i32,
            switch_number: word_at(bytes, GIL_SWITCH_NUMBER as usize),
        }
    }
}

impl Heap {
    /// The fixed points, from the address of `_PyRuntime`. The GIL is in the runtime up to 3.11, then in the interpreter.
    pub fn runtime(&self, address: Addr) -> Result<Runtime, Fault> {
        let o = &self.offsets;
        let interpreter = self.object(address, o.runtime_interpreters_head)?;
        let gil_last_holder = if o.interp_gil_last_holder == ABSENT {
            address.offset(o.runtime_gil_last_holder)
        } else {
            interpreter.offset(o.interp_gil_last_holder)
        };
        let gc_collecting = if o.interp_gc_collecting == ABSENT {
            address.offset(o.runtime_gc_collecting)
        } else {
            interpreter.offset(o.interp_gc_collecting)
        };
        Ok(Runtime {
            address,
            interpreter,
            gil_last_holder,
            gc_collecting,
        })
    }

    /// All thread states, newest first.
    pub fn thread_states(&self, runtime: &Runtime) -> Result<Vec<ThreadState>, Fault> {
        let o = &self.offsets;
        let length = [
            o.tstate_next,
            o.tstate_interp,
            o.tstate_thread_id,
            o.tstate_context + THREAD_ID,
        ]
        .into_iter()
        .chain((o.tstate_native_thread_id != ABSENT).then_some(o.tstate_native_thread_id))
        .max()
        .map_or(0, |last| last as usize + 8);
        let mut found: Vec<ThreadState> = Vec::new();
        let mut next = self.object(runtime.interpreter, o.interp_threads_head)?;
        while !next.is_null() {
            if found.len() >= MOST_THREADS {
                return Err(Fault::Implausible("thread states"));
            }
            let bytes = self.bytes(next, length)?;
            if Addr(word_at(&bytes, o.tstate_interp as usize)) != runtime.interpreter {
                return Err(Fault::Implausible("thread state"));
            }
            let context = o.tstate_context as usize;
            let native = if o.tstate_native_thread_id == ABSENT {
                0
            } else {
                word_at(&bytes, o.tstate_native_thread_id as usize)
            };
            found.push(ThreadState {
                address: next,
                id: word_at(&bytes, context + THREAD_ID as usize),
                context: Addr(word_at(&bytes, context)),
                context_version: word_at(&bytes, context + CONTEXT_VERSION as usize),
                pthread: Addr(word_at(&bytes, o.tstate_thread_id as usize)),
                native_id: native,
            });
            next = Addr(word_at(&bytes, o.tstate_next as usize));
        }
        Ok(found)
    }

    /// The GIL now.
    pub fn gil(&self, runtime: &Runtime) -> Result<GilWords, Fault> {
        let mut bytes = [0; GIL_WORDS];
        self.read(runtime.gil_last_holder, 0, &mut bytes)?;
        Ok(GilWords::from_bytes(&bytes))
    }

    /// The dict behind `sys.modules`.
    pub fn modules(&self, runtime: &Runtime) -> Result<Addr, Fault> {
        self.object(runtime.interpreter, self.offsets.interp_modules)
    }

    /// An imported module by its name in `sys.modules`; None: not imported (yet).
    pub fn module(&self, runtime: &Runtime, name: &str) -> Result<Option<Addr>, Fault> {
        if let Some(&module) = self.known_modules.borrow().get(name) {
            return Ok(Some(module));
        }
        // `sys.modules` of a large program has thousands of names: all are asked for in one pass.
        let items = self.dict_items(self.modules(runtime)?)?;
        let keys: Vec<Addr> = items.iter().map(|&(key, _)| key).collect();
        let found = self.find_keys(&keys, &MODULES)?;
        let found = MODULES
            .iter()
            .zip(found)
            .filter_map(|(name, slot)| Some((*name, items[slot?].1)));
        let mut modules = self.known_modules.borrow_mut();
        modules.extend(found);
        match modules.get(name) {
            Some(&module) => Ok(Some(module)),
            None if MODULES.contains(&name) => Ok(None),
            None => self.dict_get(self.modules(runtime)?, name),
        }
    }

    /// The `__dict__` of an imported module.
    pub fn module_dict(&self, module: Addr) -> Result<Addr, Fault> {
        const MODULE: &str = "module";
        // A module may be an instance of a subclass; what matters is that a dict is where a module keeps it.
        let dict = self.object(module, self.offsets.module_dict)?;
        if !self.is_a(dict, "dict")? {
            return Err(Fault::Implausible(MODULE));
        }
        Ok(dict)
    }
}
