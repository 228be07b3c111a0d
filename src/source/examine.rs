//! What an attach has found in a worker, for whoever wants to be told (`otop doctor`): which file is the interpreter, how
//! far its layout is proved, what it has imported. Knows nothing of verdicts, and measures nothing.

use super::attach::{Attachment, Proved, attach};
use super::error::AttachError;
use crate::cpython::Heap;
use crate::memory::Fault;
use crate::model::{Addr, Pid};
use crate::process::{self, Mapping};
use std::path::PathBuf;

/// What is known of a worker that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// The file that the interpreter is in; None: it is in none that is mapped.
    pub interpreter: Option<Interpreter>,
    /// Version as the worker's own memory states it, `3.12.1`.
    pub python: String,
    pub proved: Proved,
    /// `uvloop.__version__`, where it is imported; the text may hold anything, and is not fit for a terminal.
    pub uvloop: Option<String>,
}

/// The file that `_PyRuntime` lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// As the worker's own mount namespace names it.
    pub path: PathBuf,
    /// The file is no longer at that path: deleted, or replaced by another.
    pub deleted: bool,
    /// It is the program itself, with the interpreter linked into it, and no `libpython`.
    pub is_program: bool,
}

/// Attaches to `pid` and lets go again.
pub fn examine(pid: Pid) -> Result<Examination, AttachError> {
    let Attachment { plan, proved, heap, .. } = attach(pid)?;
    let mappings = process::maps(pid)?;
    Ok(Examination {
        interpreter: interpreter(pid, &mappings, plan.runtime.address),
        python: plan.version.to_string(),
        proved,
        // What cannot be read here is not known, and nothing else hangs on it.
        uvloop: heap
            .modules(&plan.runtime)
            .and_then(|modules| version_of(&heap, modules, "uvloop"))
            .unwrap_or_default(),
    })
}

/// The file whose mapping holds the address, or after whose last mapping it lies: `.bss` has no file.
fn interpreter(pid: Pid, mappings: &[Mapping], runtime: Addr) -> Option<Interpreter> {
    let before = mappings.iter().take_while(|mapping| mapping.start <= runtime.0);
    let mapping = before.filter(|mapping| mapping.path.is_some()).last()?;
    let program = std::fs::metadata(format!("/proc/{pid}/exe")).ok();
    Some(Interpreter {
        path: mapping.path.clone()?,
        deleted: mapping.deleted,
        is_program: program.is_some_and(|file| {
            use std::os::unix::fs::MetadataExt;
            file.ino() == mapping.inode
        }),
    })
}

/// `__version__` of an imported module.
fn version_of(heap: &Heap, modules: Addr, name: &str) -> Result<Option<String>, Fault> {
    let Some(module) = heap.dict_get(modules, name)? else {
        return Ok(None);
    };
    match heap.dict_get(heap.module_dict(module)?, "__version__")? {
        Some(text) => heap.str(text).map(Some),
        None => Ok(None),
    }
}
