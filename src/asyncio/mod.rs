//! asyncio as it lies in memory: loops, tasks, and which step a thread is in; stock and uvloop. Knows nothing of
//! sessions, of time, or of what the samples are for.

mod coroutines;
mod loops;
mod steps;
mod tasks;
mod verify;

pub use coroutines::{codes, local, qualified_name};
pub use loops::{DEQUE_HEAD, EventLoop, ReadyWords, describe, running_loop_address, running_loops};
pub use steps::{StepTracker, StepWords};
pub use tasks::{Task, TaskLists, Tasks};
pub use verify::verify;

use crate::cpython::{Heap, Runtime};
use crate::memory::Fault;
use crate::model::Addr;

/// The `__dict__` of `asyncio.tasks`; None: the worker has not imported asyncio (yet).
pub fn asyncio_tasks_module(heap: &Heap, runtime: &Runtime) -> Result<Option<Addr>, Fault> {
    match heap.module(runtime, "asyncio.tasks")? {
        Some(module) => heap.module_dict(module).map(Some),
        None => Ok(None),
    }
}
