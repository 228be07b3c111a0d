//! asyncio as it lies in memory: loops, tasks, and which step a thread is in; stock and uvloop. Knows nothing of
//! sessions, of time, or of what the samples are for.

mod await_chain;
#[cfg(test)]
mod await_chain_tests;
mod awaiters;
mod coroutines;
mod handles;
mod libuv;
mod locals;
mod loops;
mod names;
mod steps;
mod tasks;
mod verify;
mod waits;

pub use await_chain::{Chain, ChainReader, End, Link};
pub use awaiters::waiting_chain;
pub use coroutines::{codes, local, qualified_name};
pub use handles::{Handle, HandleSlots, Handles, MOST_HANDLES, scheduled};
pub use libuv::{CallbackSlots, Libuv};
pub use locals::{
    Local, Locals, coroutine_local, coroutines, given_name, is_of_context, locals_of, names_of, root_name,
    running_tasks,
};
pub use loops::{DEQUE_HEAD, EventLoop, ReadyWords, describe, running_loop_address, running_loops};
pub use names::{task_name, task_numbers};
pub use steps::{StepTracker, StepWords};
pub use tasks::{Task, TaskLists, Tasks, task_at};
pub use verify::verify;
pub use waits::{Wait, WaitReader};

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
