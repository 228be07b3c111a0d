//! What a task waits for, in asyncio's own words: a sleep, a lock, a queue, a socket, other tasks. Told by the innermost
//! frames of asyncio's own modules and their locals, else by the future itself. Knows nothing of sessions.
//!
//! Frames of Lib/asyncio, 3.8–3.15: `self` is local 0 of every method, and the arguments that are looked at have kept
//! their places (`sleep(delay, …)`, `wait_for(fut, …)`, `_wait(fs, …)`, `to_thread(func, …)`, `sock_…(self, sock, …)`).

use super::await_chain::{Chain, End, Link};
use super::awaiters::cells;
use super::handles::HandleSlots;
use super::names::task_name;
use super::tasks::Task;
use crate::cpython::{ABSENT, Heap, Links, unqualified};
use crate::memory::Fault;
use crate::model::{Addr, Frame, WaitKind, WaitsFor};
use std::sync::Arc;

/// Tasks that are named; of more than these only some are.
const MOST_NAMED: usize = 20;
/// `asyncio.sleep` keeps its timer in one of its first locals.
const LOCALS_OF_SLEEP: u64 = 8;
/// Bases of a class.
const MOST_BASES: usize = 16;
/// Words of a coroutine of Cython in which its names are.
const WORDS_OF_CYTHON: u64 = 20;

/// What is known of a wait, and since when it lasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    pub waits_for: WaitsFor,
    /// Seconds.
    pub waited: Option<f64>,
}

/// Looks at waits.
pub struct WaitReader<'h> {
    pub heap: &'h Heap,
    /// None: asyncio's handles cannot be read.
    pub slots: Option<HandleSlots>,
    /// Seconds of `CLOCK_MONOTONIC`.
    pub now: f64,
}

impl WaitsFor {
    fn of(kind: WaitKind) -> WaitsFor {
        WaitsFor {
            kind,
            what: None,
            tasks: Vec::new(),
            left_s: None,
            fd: None,
            pid: None,
        }
    }
}

impl WaitReader<'_> {
    /// What the task waits for. `frames` are those of the chain, outermost first.
    pub fn wait(&self, task: &Task, chain: &Chain, frames: &[Arc<Frame>]) -> Result<Wait, Fault> {
        if let Some(wait) = self.by_frames(chain, frames)? {
            return Ok(wait);
        }
        let future = match chain.end {
            End::Future(future) => future,
            _ => task.waiter,
        };
        let mut waits_for = match future {
            Addr::NULL => WaitsFor::of(WaitKind::Other),
            future => self.by_future(future, task.address)?,
        };
        if let End::Object(object) = chain.end
            && object != future
        {
            self.by_foreign(object, &mut waits_for)?;
        }
        Ok(Wait {
            waits_for,
            waited: None,
        })
    }

    /// Whether a future is done; None: not to be told.
    pub fn is_done(&self, future: Addr) -> Result<Option<bool>, Fault> {
        if self.is_native_future(future)? {
            // `fut_state` stands in futures where it stands in tasks, which begin with a future's fields.
            return Ok(Some(self.heap.half(future, self.heap.offsets.task_state)? != 0));
        }
        let Some(state) = self.heap.attribute(future, "_state")? else {
            // A pending future of Python code shows its class's.
            let is_python = self.has_base(future, |name| name == "Future")?;
            return Ok(is_python.then_some(false));
        };
        Ok(Some(self.heap.str(state)? != "PENDING"))
    }

    /// By the outermost of asyncio's own frames in which the chain ends: a semaphore's `acquire` in its `__aenter__`, a
    /// barrier's condition. But a condition's methods, which wait for a future of their own, wait for its lock before that
    /// and, once they were notified, behind it.
    fn by_frames(&self, chain: &Chain, frames: &[Arc<Frame>]) -> Result<Option<Wait>, Fault> {
        let mut found: Option<Wait> = None;
        for (link, frame) in chain.links.iter().zip(frames).rev() {
            let Some(module) = asyncio_module(&frame.file) else {
                break;
            };
            let Some(wait) = self.by_frame(link, module, &frame.function)? else {
                continue;
            };
            match &mut found {
                Some(inner) if wait.waits_for.kind == WaitKind::Condition && inner.waits_for.kind == WaitKind::Lock => {
                    inner.waits_for.what = Some("Condition's lock".to_owned());
                }
                _ => found = Some(wait),
            }
        }
        Ok(found)
    }

    fn by_frame(&self, link: &Link, module: &str, function_with_class: &str) -> Result<Option<Wait>, Fault> {
        let function = unqualified(function_with_class);
        let own = || self.local(link, 0);
        let what = |text: String| Some(text);
        let mut waits_for = match (module, function) {
            ("tasks.py", "sleep") => return self.sleep(link).map(Some),
            ("tasks.py", "wait_for") => {
                // Up to 3.11 it waits for a future of its own, with a task beside it that does the work.
                let inner = own()?;
                if !self.is_task(inner)? {
                    return Ok(None);
                }
                WaitsFor {
                    what: what("wait_for".to_owned()),
                    ..self.tasks(WaitKind::Task, &[inner])
                }
            }
            ("tasks.py", "_wait") => WaitsFor {
                what: what("wait".to_owned()),
                ..self.tasks_of_set(own()?)?
            },
            ("taskgroups.py", "__aexit__" | "_aexit") => match self.heap.attribute(own()?, "_tasks")? {
                Some(tasks) => WaitsFor {
                    what: what("TaskGroup".to_owned()),
                    ..self.tasks_of_set(tasks)?
                },
                None => return Ok(None),
            },
            ("locks.py", _) => {
                let bases = self.bases(own()?)?;
                let Some(kind) = kind_of_lock(function_with_class, &bases) else {
                    return Ok(None);
                };
                let class = bases.first().map_or("", |class| unqualified(class));
                WaitsFor {
                    // `async with lock` says no more than the lock.
                    what: match function.starts_with("__") {
                        true => what(class.to_owned()),
                        false => what(format!("{class}.{}", function.trim_start_matches('_'))),
                    },
                    ..WaitsFor::of(kind)
                }
            }
            ("queues.py", _) => WaitsFor {
                what: what(format!("{}.{function}", unqualified(&self.heap.type_name(own()?)?))),
                ..WaitsFor::of(WaitKind::Queue)
            },
            ("threads.py", "to_thread") => WaitsFor {
                what: self.function_name(own()?),
                ..WaitsFor::of(WaitKind::Thread)
            },
            ("streams.py", _) => {
                let transport = self.heap.attribute(own()?, "_transport")?;
                // A socket's transport has the one, a pipe's the other (selector_events.py, unix_events.py).
                let fd = transport.and_then(|transport| {
                    let field = |name| self.heap.attribute(transport, name).ok()?;
                    field("_sock_fd").or_else(|| field("_fileno"))
                });
                WaitsFor {
                    what: what(format!("{}.{function}", unqualified(&self.heap.type_name(own()?)?))),
                    fd: fd.and_then(|fd| i32::try_from(self.heap.int(fd).ok()?).ok()),
                    ..WaitsFor::of(WaitKind::Stream)
                }
            }
            ("selector_events.py", name) if name.trim_start_matches('_').starts_with("sock_") => WaitsFor {
                what: what(name.trim_start_matches('_').to_owned()),
                fd: self.socket(self.local(link, 1)?),
                ..WaitsFor::of(WaitKind::Socket)
            },
            ("base_subprocess.py" | "subprocess.py", "_wait" | "wait" | "communicate") => {
                let owner = own()?;
                let pid = match self.heap.attribute(owner, "_pid")? {
                    Some(pid) => Some(pid),
                    None => self.heap.attribute(owner, "pid")?,
                };
                WaitsFor {
                    pid: pid.and_then(|pid| i64::try_from(self.heap.int(pid).ok()?).ok()),
                    ..WaitsFor::of(WaitKind::Process)
                }
            }
            _ => return Ok(None),
        };
        waits_for.what = waits_for.what.filter(|what| !what.is_empty());
        Ok(Some(Wait {
            waits_for,
            waited: None,
        }))
    }

    /// `asyncio.sleep(delay)` keeps the timer that ends it: from both follows when it began.
    fn sleep(&self, link: &Link) -> Result<Wait, Fault> {
        let delay = self.local(link, 0)?;
        let delay = self
            .heap
            .float(delay)
            .or_else(|_| self.heap.int(delay).map(|delay| delay as f64));
        let delay = delay.ok().filter(|delay| delay.is_finite() && *delay >= 0.0);
        let mut due = None;
        if let Some(slots) = &self.slots {
            for index in 1..LOCALS_OF_SLEEP {
                let local = match self.local(link, index) {
                    Ok(local) => local,
                    Err(_) => continue,
                };
                if self.heap.is_a(local, "TimerHandle") == Ok(true) {
                    due = slots.when(self.heap, local)?;
                    break;
                }
            }
        }
        let left = due.map(|due| due - self.now);
        let waited = delay.zip(left).map(|(delay, left)| (delay - left).max(0.0));
        Ok(Wait {
            waits_for: WaitsFor {
                what: delay.map(|delay| format!("{delay} s")),
                left_s: left,
                ..WaitsFor::of(WaitKind::Sleep)
            },
            waited,
        })
    }

    /// By what kind of future it is, and who asked to be told when it is done.
    fn by_future(&self, future: Addr, waits: Addr) -> Result<WaitsFor, Fault> {
        if self.is_task(future)? {
            return Ok(self.tasks(WaitKind::Task, &[future]));
        }
        if self.heap.is_a(future, "_GatheringFuture")? {
            let children = match self.heap.attribute(future, "_children")? {
                Some(children) => self.heap.list_items(children)?,
                None => Vec::new(),
            };
            let pending = children
                .into_iter()
                .filter(|&child| self.is_done(child) != Ok(Some(true)));
            let pending: Vec<Addr> = pending.take(MOST_NAMED + 1).collect();
            return Ok(self.tasks(WaitKind::Gather, &pending));
        }
        if !self.is_native_future(future)? {
            return Ok(WaitsFor::of(WaitKind::Future));
        }
        // `fut_callback0` follows `fut_loop` in all versions (Modules/_asynciomodule.c: `FutureObj_HEAD`).
        let callback = self.heap.pointer(future, self.heap.offsets.task_loop + 8)?;
        let asked_by = match callback {
            Addr::NULL => None,
            callback => self.function_name(callback),
        };
        Ok(match asked_by.as_deref().map(unqualified) {
            // The future stands for one of `concurrent.futures`, and asks that one to be cancelled with it
            // (Lib/asyncio/futures.py: `_chain_future`).
            Some("_call_check_cancel") => WaitsFor::of(WaitKind::Thread),
            // Or for what `asyncio.shield` keeps from being cancelled with it (Lib/asyncio/tasks.py).
            Some("_outer_done_callback") => self.shielded(callback, waits)?,
            _ => WaitsFor::of(WaitKind::Future),
        })
    }

    /// The task in the closure of a function of `asyncio.shield`, beside the one that waits (3.14 on).
    fn shielded(&self, function: Addr, waits: Addr) -> Result<WaitsFor, Fault> {
        for object in cells(self.heap, function, &mut Links::new())? {
            if !object.is_null() && object != waits && self.is_task(object)? {
                return Ok(WaitsFor {
                    what: Some("shield".to_owned()),
                    ..self.tasks(WaitKind::Task, &[object])
                });
            }
        }
        Ok(WaitsFor::of(WaitKind::Future))
    }

    /// An awaitable that is no coroutine of Python: of Cython it has the name, and from that what it does.
    fn by_foreign(&self, object: Addr, waits_for: &mut WaitsFor) -> Result<(), Fault> {
        let class = self.heap.type_name(object)?;
        if !class.starts_with("_cython") {
            if waits_for.kind == WaitKind::Future || waits_for.kind == WaitKind::Other {
                waits_for.what = Some(class.to_string());
            }
            return Ok(());
        }
        // `gi_name`, then `gi_qualname`, are the only strings in it (Cython/Utility/Coroutine.c).
        let mut names = Vec::new();
        for word in 2..WORDS_OF_CYTHON {
            let word = self.heap.pointer(object, word * 8)?;
            if word.0 >= 4096 && word.0 % 8 == 0 && self.heap.is_a(word, "str") == Ok(true) {
                names.push(self.heap.str(word)?);
            }
        }
        let Some(name) = names.into_iter().nth(1) else {
            return Ok(());
        };
        if waits_for.kind == WaitKind::Future && unqualified(&name).trim_start_matches('_').starts_with("sock_") {
            waits_for.kind = WaitKind::Socket;
        }
        waits_for.what = Some(name);
        Ok(())
    }

    fn tasks_of_set(&self, set: Addr) -> Result<WaitsFor, Fault> {
        let tasks = self.heap.set_items(set)?;
        let pending = tasks.into_iter().filter(|&task| self.is_done(task) != Ok(Some(true)));
        let pending: Vec<Addr> = pending.take(MOST_NAMED + 1).collect();
        Ok(self.tasks(WaitKind::Tasks, &pending))
    }

    fn tasks(&self, kind: WaitKind, tasks: &[Addr]) -> WaitsFor {
        let names = tasks.iter().take(MOST_NAMED).filter_map(|&task| self.name_of(task));
        let mut names: Vec<String> = names.collect();
        names.sort();
        WaitsFor {
            tasks: names,
            ..WaitsFor::of(kind)
        }
    }

    /// The name of a task; None: it is a future, or cannot be read.
    fn name_of(&self, task: Addr) -> Option<String> {
        let name = match self.is_native_task(task).ok()? {
            true => self
                .heap
                .object(task, self.heap.offsets.task_context.wrapping_sub(8))
                .ok()?,
            false => self.heap.attribute(task, "_name").ok()??,
        };
        task_name(self.heap, name).ok()
    }

    fn is_task(&self, object: Addr) -> Result<bool, Fault> {
        self.has_base(object, |name| matches!(name, "_asyncio.Task" | "Task"))
    }

    fn is_native_task(&self, object: Addr) -> Result<bool, Fault> {
        self.has_base(object, |name| name == "_asyncio.Task")
    }

    fn is_native_future(&self, object: Addr) -> Result<bool, Fault> {
        self.has_base(object, |name| matches!(name, "_asyncio.Future" | "_asyncio.Task"))
    }

    /// The names of its class and of that one's bases, the first base of each.
    fn bases(&self, object: Addr) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        self.has_base(object, |name| {
            names.push(name.to_owned());
            false
        })?;
        Ok(names)
    }

    fn has_base(&self, object: Addr, mut fits: impl FnMut(&str) -> bool) -> Result<bool, Fault> {
        let mut class = self.heap.type_of(object)?;
        for _ in 0..MOST_BASES {
            if fits(&self.heap.name_of_type(class)?) {
                return Ok(true);
            }
            class = self.heap.pointer(class, self.heap.offsets.type_base)?;
            if class.is_null() {
                break;
            }
        }
        Ok(false)
    }

    /// The descriptor of a `socket.socket`: the first field of `_socket.socket` (Modules/socketmodule.h: `sock_fd`).
    fn socket(&self, object: Addr) -> Option<i32> {
        let is_socket = self.has_base(object, |name| name == "_socket.socket").ok()?;
        is_socket.then_some(())?;
        Some(self.heap.half(object, 16).ok()? as i32).filter(|fd| *fd >= 0)
    }

    fn local(&self, link: &Link, index: u64) -> Result<Addr, Fault> {
        let tags = if self.heap.version.at_least(3, 14) { 3 } else { 0 };
        match self.heap.word(link.locals, index * 8)? & !tags {
            0 => Err(Fault::Implausible("local")),
            local => Ok(Addr(local)),
        }
    }

    /// The name of what is called: of functions, methods, partial objects.
    pub fn function_name(&self, object: Addr) -> Option<String> {
        let code = self.code_of(object).ok()??;
        let o = &self.heap.offsets;
        let name = if o.code_qualname == ABSENT {
            o.code_name
        } else {
            o.code_qualname
        };
        self.heap.str(self.heap.object(code, name).ok()?).ok()
    }

    /// The code object that a call of this would run; None: it is no Python code.
    pub fn code_of(&self, callable: Addr) -> Result<Option<Addr>, Fault> {
        // Fields of these have stayed where they are (Include/cpython/{funcobject,classobject}.h, Modules/_functoolsmodule.c);
        // a function's code moved behind its names in 3.10.
        let mut at = callable;
        for _ in 0..8 {
            let class = self.heap.type_name(at)?;
            at = match &*class {
                "function" => {
                    let code = self
                        .heap
                        .object(at, if self.heap.version.at_least(3, 10) { 48 } else { 16 })?;
                    self.heap.expect(code, "code")?;
                    return Ok(Some(code));
                }
                "method" | "functools.partial" => self.heap.object(at, 16)?,
                _ => return Ok(None),
            };
        }
        Ok(None)
    }

    /// The task whose next step a callback is: `Task.__step` and its wake-ups, of C and of Python.
    pub fn task_of_step(&self, callable: Addr) -> Option<Addr> {
        let class = self.heap.type_name(callable).ok()?;
        let task = match unqualified(&class) {
            // `sw_task` (Modules/_asynciomodule.c: `TaskStepMethWrapper`, `TaskWakeupMethWrapper`).
            "TaskStepMethWrapper" | "TaskWakeupMethWrapper" => self.heap.object(callable, 16).ok()?,
            // `m_self` of a builtin method, `im_self` of one of Python.
            "builtin_function_or_method" | "builtin_method" => {
                let definition = self.heap.object(callable, 16).ok()?;
                let name = self.heap.c_string(self.heap.object(definition, 0).ok()?).ok()?;
                (name == "task_wakeup").then_some(())?;
                self.heap.object(callable, 24).ok()?
            }
            "method" => {
                let name = self.function_name(callable)?;
                matches!(unqualified(&name), "__step" | "__wakeup").then_some(())?;
                self.heap.object(callable, 24).ok()?
            }
            _ => return None,
        };
        self.is_task(task).ok()?.then_some(task)
    }
}

/// What a method of `asyncio/locks.py` waits in. From 3.11 on its name has the class that it is defined in. Else it is the
/// last of the object's classes with a known name: the worker's own may be named like one of asyncio's and be another.
fn kind_of_lock(function_with_class: &str, bases: &[String]) -> Option<WaitKind> {
    let kind = |class: &str| {
        Some(match class {
            "Lock" => WaitKind::Lock,
            "Event" => WaitKind::Event,
            "Condition" => WaitKind::Condition,
            "Semaphore" | "BoundedSemaphore" => WaitKind::Semaphore,
            "Barrier" => WaitKind::Barrier,
            _ => return None,
        })
    };
    let defined_in = function_with_class
        .rsplit_once('.')
        .map(|(class, _)| unqualified(class));
    let by_class = || bases.iter().rev().find_map(|class| kind(unqualified(class)));
    defined_in.and_then(kind).or_else(by_class)
}

/// `locks.py` of `…/asyncio/locks.py`.
fn asyncio_module(file: &str) -> Option<&str> {
    let (folder, module) = file.rsplit_once('/')?;
    (folder.ends_with("/asyncio") || folder == "asyncio").then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subclass_waits_as_the_class_of_asyncio_does() {
        let kind = |function: &str, bases: &[&str]| {
            let bases: Vec<String> = bases.iter().map(|&name| name.to_owned()).collect();
            kind_of_lock(function, &bases)
        };
        assert_eq!(
            kind("acquire", &["Lock", "_ContextManagerMixin", "object"]),
            Some(WaitKind::Lock)
        );
        assert_eq!(kind("acquire", &["TracedLock", "Lock", "object"]), Some(WaitKind::Lock));
        assert_eq!(kind("wait", &["Gate", "Event", "object"]), Some(WaitKind::Event));
        let limiter = ["Limiter", "BoundedSemaphore", "Semaphore", "object"];
        assert_eq!(kind("acquire", &limiter), Some(WaitKind::Semaphore));
        assert_eq!(
            kind("acquire", &["Event", "Lock", "object"]),
            Some(WaitKind::Lock),
            "an Event of the worker's own"
        );
        // A mixin that stands first hides the class from those who see only first bases.
        let mixed = ["Traced", "Mixin", "object"];
        assert_eq!(kind("acquire", &mixed), None);
        assert_eq!(kind("Lock.acquire", &mixed), Some(WaitKind::Lock));
        assert_eq!(
            kind("Barrier._block", &["Bar", "Barrier", "object"]),
            Some(WaitKind::Barrier)
        );
        assert_eq!(
            kind("_ContextManagerMixin.__aenter__", &["TracedLock", "Lock", "object"]),
            Some(WaitKind::Lock)
        );
    }
}
