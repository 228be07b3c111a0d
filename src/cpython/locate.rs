//! From a PID to `_PyRuntime` and the version: which mapped file is the interpreter. Knows nothing of what is behind
//! that address.
//!
//! Three finders, the surest first: the dynamic symbols in the worker's own memory; the mapped file's sections and
//! symbols; py-spy's finder, which knows odd builds that the first two do not.

use super::symbols::{Header, MOST_FILE, Module, header};
use super::version::Version;
use crate::memory::{Fault, Memory};
use crate::model::{Addr, Pid};
use crate::process::Mapping;
use std::path::PathBuf;

/// Where the interpreter is.
#[derive(Clone, Debug)]
pub struct Found {
    /// `_PyRuntime`
    pub runtime: Addr,
    pub version: Version,
    /// `.AsyncioDebug`, 3.14 and later; None: not found, or `_asyncio` is not loaded (yet).
    pub asyncio_debug: Option<Addr>,
}

#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error("no mapped file of it is a Python interpreter")]
    NotPython,
    #[error("it is a program for {0}")]
    OtherArchitecture(String),
    /// An interpreter without `_PyRuntime`: 3.6 or earlier. What it calls itself, if that was found.
    #[error("it is a Python before 3.7")]
    TooOld(Option<Version>),
    #[error("its Python version could not be read")]
    NoVersion,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Finds the interpreter of `pid`.
pub fn locate(pid: Pid, memory: &dyn Memory, mappings: &[Mapping]) -> Result<Found, LocateError> {
    let mut modules = Vec::new();
    let mut other = None;
    let program = program_inode(pid);
    for mapping in mappings
        .iter()
        .filter(|m| m.offset == 0 && m.inode != 0 && m.path.is_some())
    {
        match header(memory, mapping) {
            Ok(Header::Module(module)) => modules.push(module),
            // A file of another architecture may be mapped as mere data; only the program itself decides.
            Ok(Header::OtherArchitecture(name)) if program == Some(mapping.inode) => other = Some(name),
            Ok(_) => {}
            Err(Fault::Unmapped | Fault::Implausible(_) | Fault::Budget) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    if let Some(name) = other {
        return Err(LocateError::OtherArchitecture(name));
    }
    // Interpreters first: there may be a thousand libraries of extension modules.
    let interpreter_first = |m: &Module| {
        let name = m.path.file_name().unwrap_or_default().to_string_lossy();
        match (name.starts_with("libpython"), name.contains("python")) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    };
    modules.sort_by_key(interpreter_first);
    let (module, runtime) = find_runtime(pid, memory, mappings, &modules)?;
    let version = find_version(memory, module, runtime)?;
    let asyncio_debug = if version.at_least(3, 14) {
        find_asyncio_debug(pid, &modules, module)
    } else {
        None
    };
    Ok(Found {
        runtime,
        version,
        asyncio_debug,
    })
}

fn program_inode(pid: Pid) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}/exe")).ok().map(|m| m.ino())
}

fn find_runtime<'m>(
    pid: Pid,
    memory: &dyn Memory,
    mappings: &[Mapping],
    modules: &'m [Module],
) -> Result<(&'m Module, Addr), LocateError> {
    for module in modules {
        if let Ok(Some(at)) = module.exported(memory, "_PyRuntime") {
            return Ok((module, at));
        }
    }
    let likely = |m: &&Module| m.path.to_string_lossy().contains("python");
    for module in modules.iter().filter(likely).chain(modules.first()) {
        if let Some(at) = module.in_file(pid, ".PyRuntime", "_PyRuntime") {
            return Ok((module, at));
        }
    }
    for module in modules {
        if let Ok(Some(_)) = module.exported(memory, "Py_GetVersion") {
            return Err(LocateError::TooOld(version_text(memory, module)));
        }
    }
    let at = second_opinion(pid, mappings).ok_or(LocateError::NotPython)?;
    let holds = |m: &&Module| {
        m.segments
            .iter()
            .any(|&(start, length, _)| (start.0..start.0.saturating_add(length)).contains(&at.0))
    };
    modules
        .iter()
        .find(holds)
        .map(|m| (m, at))
        .ok_or(LocateError::NotPython)
}

/// What py-spy finds. It opens files and reads memory, and neither stops nor enters the worker. It opens by the path in the
/// worker's root, waits where that is a pipe, and reads however much there is: so it is asked only where there is none.
fn second_opinion(pid: Pid, mappings: &[Mapping]) -> Option<Addr> {
    let is_opened = |m: &&Mapping| {
        m.path
            .as_ref()
            .is_some_and(|path| path.to_string_lossy().contains("python"))
    };
    if !mappings.iter().filter(is_opened).all(|mapping| is_plain(pid, mapping)) {
        return None;
    }
    let process = remoteprocess::Process::new(pid.0).ok()?;
    let found = py_spy::python_process_info::PythonProcessInfo::new(&process).ok()?;
    found.get_symbol("_PyRuntime").map(|&at| Addr(at))
}

/// What stands at the mapping's path, in the worker's root, is a file of a size to be read.
fn is_plain(pid: Pid, mapping: &Mapping) -> bool {
    let Some(path) = mapping.path.as_deref().filter(|_| !mapping.deleted) else {
        return false;
    };
    let rooted = PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path));
    std::fs::metadata(rooted).is_ok_and(|about| about.is_file() && about.len() <= MOST_FILE)
}

fn find_version(memory: &dyn Memory, module: &Module, runtime: Addr) -> Result<Version, LocateError> {
    // 3.13 and later: `_Py_DebugOffsets` at the start of `_PyRuntime`.
    let mut head = [0; 16];
    memory.read(runtime, &mut head)?;
    if head[..8] == *b"xdebugpy"
        && let Some(version) = Version::from_hex(super::objects::word_at(&head, 8) as u32)
    {
        return Ok(version);
    }
    // 3.11 and later export `Py_Version`.
    if let Ok(Some(at)) = module.exported(memory, "Py_Version") {
        let mut hex = [0; 4];
        memory.read(at, &mut hex)?;
        if let Some(version) = Version::from_hex(u32::from_le_bytes(hex)) {
            return Ok(version);
        }
    }
    // Before: `Py_GetVersion` keeps what `sys.version` says in a static buffer of the interpreter's own data.
    version_text(memory, module).ok_or(LocateError::NoVersion)
}

/// Looks for `3.8.18 (default, …) \n[GCC …]` in the module's writable segments.
fn version_text(memory: &dyn Memory, module: &Module) -> Option<Version> {
    const MOST: u64 = 16 << 20;
    for &(start, length, _) in module.segments.iter().filter(|s| s.2) {
        // A hole in the segment costs the page it is in.
        let mut data = vec![0; length.min(MOST) as usize];
        for page in (0..data.len()).step_by(4096) {
            let end = (page + 4096).min(data.len());
            let _ = memory.read(start.offset(page as u64), &mut data[page..end]);
        }
        for at in 0..data.len().saturating_sub(8) {
            if matches!(&data[at..at + 2], b"3." | b"2.") && (at == 0 || data[at - 1] == 0) {
                let end = (at + 120).min(data.len());
                let text: &[u8] = &data[at..end];
                let text = text.split(|&b| b == 0).next().unwrap_or_default();
                let text = std::str::from_utf8(text).unwrap_or_default();
                if text.contains(" (")
                    && let Some(version) = Version::parse(text)
                {
                    return Some(version);
                }
            }
        }
    }
    None
}

/// `_asyncio` is a library of its own, or part of the interpreter.
fn find_asyncio_debug(pid: Pid, modules: &[Module], interpreter: &Module) -> Option<Addr> {
    let is_asyncio = |m: &&Module| {
        m.path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("_asyncio."))
    };
    modules
        .iter()
        .filter(is_asyncio)
        .chain([interpreter])
        .find_map(|module| {
            module
                .in_file(pid, ".AsyncioDebug", "_Py_AsyncioDebug")
                .or_else(|| module.in_file(pid, ".AsyncioDebug", "_AsyncioDebug"))
        })
}
