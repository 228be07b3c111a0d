//! From a PID to a plan for reading it: interpreter found, version known, offsets proved. Knows nothing of samples.

use super::error::AttachError;
use crate::asyncio::{TaskLists, asyncio_tasks_module, verify};
use crate::cpython::{
    Found, Heap, LocateError, Offsets, Refused, Runtime, Stated, Version, locate, take_asyncio_debug,
    take_debug_offsets, verify_core, verify_library,
};
use crate::memory::{Fault, LiveMemory, Memory};
use crate::model::{Pid, Tid};
use crate::process::{self, Fingerprint, Sameness, namespaces, permission};

/// Everything that a reading thread needs to begin, as plain data.
#[derive(Clone, Debug)]
pub struct Plan {
    pub pid: Pid,
    pub version: Version,
    pub offsets: Offsets,
    pub runtime: Runtime,
    pub fingerprint: Fingerprint,
    /// The worker numbers its threads otherwise than this machine's `/proc` does.
    pub own_pid_namespace: bool,
}

/// How far the proof of the layout has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proved {
    /// The worker has not imported asyncio.
    WithoutAsyncio,
    /// There is no running loop or no task yet that would show the rest.
    InPart,
    Whole,
}

/// A PID that was looked at.
pub struct Attachment {
    pub plan: Plan,
    pub proved: Proved,
    pub heap: Heap,
    pub lists: Option<TaskLists>,
}

/// A process that runs one program after another is followed this often.
const EXECS: usize = 3;

/// Finds and proves. Opens and reads, and does nothing else to the worker.
pub fn attach(pid: Pid) -> Result<Attachment, AttachError> {
    process::whole_process(pid)?;
    for _ in 1..EXECS {
        let fingerprint = Fingerprint::of(pid)?;
        let attached = attach_to(pid, fingerprint.clone());
        match fingerprint.still_same() {
            // What was found, or missed, was of a program that it no longer runs.
            Sameness::Execed => {}
            // Whatever failed, failed for that.
            Sameness::Exited if attached.is_err() => return Err(AttachError::Gone(pid)),
            _ => return attached,
        }
    }
    attach_to(pid, Fingerprint::of(pid)?)
}

fn attach_to(pid: Pid, fingerprint: Fingerprint) -> Result<Attachment, AttachError> {
    permission::check(pid)?;
    let mappings = process::maps(pid)?;
    if mappings.is_empty() {
        let program = "nothing: it is a thread of the kernel".to_string();
        return Err(AttachError::NotPython {
            pid,
            program,
            pythons: Vec::new(),
        });
    }
    let open = || LiveMemory::open(pid).map_err(|e| AttachError::io(format!("/proc/{pid}/mem"), &e));
    let memory = open()?;
    let found = locate(pid, &memory, &mappings).map_err(|error| match error {
        LocateError::NotPython => AttachError::NotPython {
            pid,
            program: program(pid),
            pythons: process::candidates::pythons_below(pid),
        },
        LocateError::OtherArchitecture(found) => AttachError::OtherArchitecture { pid, found },
        LocateError::TooOld(version) => AttachError::TooOld {
            pid,
            version: version.map_or_else(|| "3.6 or earlier".to_string(), |version| version.to_string()),
        },
        LocateError::NoVersion => AttachError::Unknown {
            pid,
            version: "(unreadable)".to_string(),
        },
        LocateError::Fault(fault) => of_fault(pid, fault),
    })?;
    let offsets = offsets(pid, &memory, &found)?;
    let mut heap = Heap::new(Box::new(memory), offsets, found.version);
    let refused = |refused: Refused| AttachError::LayoutRefused {
        pid,
        version: found.version.to_string(),
        field: refused.field,
        detail: refused.detail,
    };
    let faulty = |fault| of_fault(pid, fault);
    let mut verdict = verify_core(&mut heap, found.runtime, &native_ids(pid)?).map_err(faulty)?;
    // Threads that start between the two looks are in the second one only: a pool that fills up is no foreign layout.
    if verdict.is_err() {
        verdict = verify_core(&mut heap, found.runtime, &native_ids(pid)?).map_err(faulty)?;
    }
    let runtime = verdict.map_err(refused)?;
    let mut lists = None;
    let proved = prove(&mut heap, &runtime, &mut lists)
        .map_err(faulty)?
        .map_err(refused)?;
    let plan = Plan {
        pid,
        version: found.version,
        offsets: heap.offsets.clone(),
        runtime,
        fingerprint,
        own_pid_namespace: namespaces::numbers(pid).len() > 1,
    };
    Ok(Attachment {
        plan,
        proved,
        heap,
        lists,
    })
}

/// Proves what needs asyncio, as far as there is something to prove it by. To be called again while it is not whole.
pub fn prove(
    heap: &mut Heap,
    runtime: &Runtime,
    lists: &mut Option<TaskLists>,
) -> Result<Result<Proved, Refused>, Fault> {
    heap.grant(crate::cpython::ONE_WALK);
    if lists.is_none() {
        let Some(module) = asyncio_tasks_module(heap, runtime)? else {
            return Ok(Ok(Proved::WithoutAsyncio));
        };
        // The import may be half done: its globals, and the modules that give examples, come one by one.
        if !imported(heap, runtime)? {
            return Ok(Ok(Proved::WithoutAsyncio));
        }
        if let Err(refused) = verify_library(heap, runtime.address)? {
            return Ok(Err(refused));
        }
        *lists = Some(TaskLists::find(heap, module)?);
    }
    let Some(lists) = lists else {
        return Ok(Ok(Proved::WithoutAsyncio));
    };
    let complete = verify(heap, runtime.address, lists)?;
    Ok(complete.map(|complete| if complete { Proved::Whole } else { Proved::InPart }))
}

/// `asyncio.runners` is the last but few of the modules that asyncio imports.
fn imported(heap: &Heap, runtime: &Runtime) -> Result<bool, Fault> {
    for name in ["asyncio.events", "asyncio.runners", "os", "threading"] {
        if heap.module(runtime, name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn offsets(pid: Pid, memory: &dyn Memory, found: &Found) -> Result<Offsets, AttachError> {
    let version = found.version;
    let known = || AttachError::Unknown {
        pid,
        version: version.to_string(),
    };
    if !version.at_least(3, 8) {
        return Err(AttachError::TooOld {
            pid,
            version: version.to_string(),
        });
    }
    let mut offsets = if version.major == 3 {
        Offsets::of_minor(version.minor)
    } else {
        None
    }
    .ok_or_else(known)?;
    let stated = take_debug_offsets(memory, found.runtime, version.minor, &mut offsets);
    match stated.map_err(|fault| of_fault(pid, fault))? {
        Stated::FreeThreaded => {
            return Err(AttachError::FreeThreaded {
                pid,
                version: version.to_string(),
            });
        }
        Stated::Nothing | Stated::Taken(_) => {}
    }
    if let Some(table) = found.asyncio_debug {
        take_asyncio_debug(memory, table, &mut offsets).map_err(|fault| of_fault(pid, fault))?;
    }
    Ok(offsets)
}

/// The worker's threads as its own PID namespace numbers them.
fn native_ids(pid: Pid) -> Result<Vec<u64>, AttachError> {
    Ok(process::threads(pid)?.into_iter().map(own_number).collect())
}

/// A thread's number in the innermost PID namespace that it is in, which is what CPython notes.
pub fn own_number(tid: Tid) -> u64 {
    let innermost = namespaces::numbers(Pid(tid.0)).last().copied();
    innermost.unwrap_or(tid.0) as u64
}

fn program(pid: Pid) -> String {
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    path.map_or_else(
        |_| "an unknown program".to_string(),
        |path| format!("{:?}", path.display().to_string()),
    )
}

/// What a fault means for an attach.
pub fn of_fault(pid: Pid, fault: Fault) -> AttachError {
    match fault {
        Fault::Gone => AttachError::Gone(pid),
        other => AttachError::Io {
            what: format!("the memory of process {pid}"),
            detail: other.to_string(),
        },
    }
}
