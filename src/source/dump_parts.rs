//! What a dump has read, put into words: sessions, their tasks, callbacks and threads. Knows nothing of how it was read,
//! and nothing of how it is drawn.

use super::dump::{Gathered, Holds};
use super::dump_threads::Does;
use super::walk::{Broken, Walker};
use super::whose::count;
use crate::asyncio::{Chain, End, EventLoop, Handle, Task, WaitReader, task_name};
use crate::cpython::{Heap, Stacks, unqualified};
use crate::identity::shown;
use crate::memory::Fault;
use crate::model::{
    Addr, Dump, DumpAsked, DumpCallback, DumpFrame, DumpLoop, DumpSession, DumpTask, DumpThread, DumpWork, DumpWorker,
    Frame, Nanos, OwnCode, Owner, SessionKey, Stack, TaskState, Tid, WaitsFor,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A handle, and whose it is.
pub(super) struct HandleLook {
    pub handle: Handle,
    pub owner: Owner,
}

/// A thread, and what it does.
pub(super) struct ThreadLook {
    /// The context that it runs in.
    pub context: Addr,
    pub tid: Option<Tid>,
    pub name: Option<String>,
    pub event_loop: Option<EventLoop>,
    /// None: not known.
    pub does: Option<Does>,
    pub owner: Owner,
    pub stack: Option<Arc<Stack>>,
}

/// What names and lines are found with.
struct Words<'a> {
    heap: &'a Heap,
    own: &'a OwnCode,
    stacks: Stacks,
    waits: WaitReader<'a>,
    /// Tasks by the future that they wait for, and by their own address.
    waiters: HashMap<Addr, Addr>,
    names: HashMap<Addr, String>,
}

impl Walker {
    /// `at` is when the look began.
    pub(super) fn put_in_words(
        &mut self,
        gathered: Gathered,
        asked: &DumpAsked,
        worker: DumpWorker,
        own: &OwnCode,
        mut stacks: Stacks,
        at: Nanos,
    ) -> Result<Dump, Broken> {
        // Ten words of each of ten thousand tasks: most stand beside each other, and a read costs more than a page.
        self.heap.keep_pages(true);
        let slots = self.handle_slots()?.filter(|_| self.shares_clock);
        stacks.look_again();
        let links = gathered.chains.iter().flatten().flat_map(|chain| &chain.links);
        let codes = links.map(|link| link.raw.code);
        stacks.codes().check(&self.heap, codes, false)?;
        let mut words = Words {
            heap: &self.heap,
            own,
            stacks,
            waits: WaitReader {
                heap: &self.heap,
                slots,
                now: at.as_secs_f64(),
            },
            waiters: HashMap::new(),
            names: HashMap::new(),
        };
        for task in &gathered.tasks {
            if !task.waiter.is_null() {
                words.waiters.insert(task.waiter, task.address);
            }
            if let Ok(name) = task_name(&self.heap, task.name) {
                words.names.insert(task.address, shown(name));
            }
        }
        // Nobody's, and not known whose, stand side by side under no session; the latter are marked and counted.
        let mut unreadable = gathered.unreadable + count(&gathered.owners).1;
        let mut tasks = Vec::new();
        for (index, task) in gathered.tasks.iter().enumerate() {
            let Some(Some(chain)) = gathered.chains.get(index) else {
                continue;
            };
            let runs_in = gathered
                .threads
                .iter()
                .find(|look| look.context == task.context && look.does == Some(Does::Step));
            let told = match words.task(task, chain, runs_in) {
                Ok(told) => told,
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault.into()),
                Err(_) => {
                    unreadable += 1;
                    DumpTask {
                        name: words.names.get(&task.address).cloned(),
                        state: TaskState::Unknown,
                        waited_s: None,
                        waits_for: None,
                        chain: Vec::new(),
                        is_cut: false,
                        changed: false,
                    }
                }
            };
            tasks.push((index, told));
        }
        let callbacks = gathered.handles.iter();
        let callbacks: Vec<DumpCallback> = callbacks
            .map(|look| words.callback(&look.handle, at.as_secs_f64()))
            .collect();
        let works_for_someone = |look: &&ThreadLook| look.event_loop.is_none() || look.does == Some(Does::Step);
        let threads = gathered.threads.iter().filter(works_for_someone);
        let threads: Vec<(Owner, DumpThread)> = threads.map(|look| (look.owner, words.thread(look))).collect();
        // Names, locals and futures were read long after the chains.
        let holds = match gathered.is_paused {
            true => Holds::all(&gathered),
            false => self.holding(&gathered)?,
        };

        let mut works: HashMap<Option<SessionKey>, DumpWork> = HashMap::new();
        let mut changed = 0;
        let has_uvloop = gathered.counts.iter().any(|(_, _, timers)| timers.is_none());
        let empty = || DumpWork {
            callbacks: (!has_uvloop).then(Vec::new),
            ..DumpWork::default()
        };
        for (index, told) in tasks {
            let owner = gathered.owners.get(index);
            let has_moved = gathered.changed.get(index) == Some(&true) || holds.tasks.get(index) == Some(&false);
            let has_moved = has_moved || owner.is_some_and(is_unknown);
            changed += u32::from(has_moved);
            works.entry(key_of(owner)).or_insert_with(empty).tasks.push(DumpTask {
                changed: has_moved,
                ..told
            });
        }
        // A session lives by its tasks: what is left of one that ended is nobody's.
        let place = |owner: Owner, works: &HashMap<Option<SessionKey>, DumpWork>| {
            key_of(Some(&owner)).filter(|key| works.contains_key(&Some(*key)))
        };
        for ((look, told), holds) in gathered.handles.iter().zip(callbacks).zip(holds.handles) {
            unreadable += u32::from(!holds || is_unknown(&look.owner));
            // It has run meanwhile, or was cancelled, and its words may be anything's.
            if !holds {
                continue;
            }
            let session = place(look.owner, &works);
            let callbacks = &mut works.entry(session).or_insert_with(empty).callbacks;
            callbacks.get_or_insert_default().push(told);
        }
        for (owner, told) in threads {
            unreadable += u32::from(told.unreadable);
            let session = place(owner, &works);
            works.entry(session).or_insert_with(empty).threads.push(told);
        }
        let loops = self.loops_in_words(&gathered);
        works.values_mut().for_each(sort);
        let no_session = works.remove(&None).unwrap_or_else(empty);
        let mut sessions: BTreeMap<String, DumpSession> = BTreeMap::new();
        for (key, work) in works {
            let Some(labels) = key.and_then(|key| self.resolver.labels(key)) else {
                continue;
            };
            let session = DumpSession {
                session_id: labels.session_id.clone(),
                agent_name: labels.agent.clone(),
                tenant: labels.tenant.clone(),
                work,
            };
            sessions.insert(labels.session_id.clone(), session);
        }
        Ok(Dump {
            schema: 1,
            worker,
            taken_at: 0.0,
            took_ms: 0.0,
            recorded: None,
            paused_ms: None,
            changed,
            unreadable,
            tasks: gathered.tasks.len() as u32,
            loops,
            sessions: sessions.into_values().collect(),
            no_session: (!asked.narrows()).then_some(no_session),
        })
    }

    fn loops_in_words(&self, gathered: &Gathered) -> Vec<DumpLoop> {
        let loops = gathered.counts.iter().map(|(event_loop, ready, timers)| {
            let look = gathered
                .threads
                .iter()
                .find(|look| look.event_loop == Some(*event_loop));
            let session = look.and_then(|look| key_of(Some(&look.owner)));
            DumpLoop {
                kind: event_loop.kind.name(),
                thread: look.and_then(|look| look.name.clone()),
                tid: look.and_then(|look| look.tid).map(|tid| tid.0),
                state: look.and_then(|look| look.does).map(|does| match does {
                    Does::Step => "running",
                    Does::Rest => "idle",
                }),
                unreadable: look.is_some_and(|look| look.does == Some(Does::Step) && is_unknown(&look.owner)),
                session_id: session.and_then(|key| Some(self.resolver.labels(key)?.session_id.clone())),
                ready: *ready,
                timers: *timers,
            }
        });
        loops.collect()
    }
}

fn key_of(owner: Option<&Owner>) -> Option<SessionKey> {
    match owner {
        Some(Owner::Session(key)) => Some(*key),
        _ => None,
    }
}

/// Whose it is could not be told.
fn is_unknown(owner: &Owner) -> bool {
    matches!(owner, Owner::Torn | Owner::Unreadable)
}

/// A task's name may be a credential, like a session's, wherever it is told.
fn names_shown(waits_for: WaitsFor) -> WaitsFor {
    WaitsFor {
        tasks: waits_for.tasks.into_iter().map(shown).collect(),
        ..waits_for
    }
}

/// What runs first, then by number and name; callbacks by when they come.
fn sort(work: &mut DumpWork) {
    let number = |name: &str| name.strip_prefix("Task-").and_then(|number| number.parse::<u64>().ok());
    work.tasks.sort_by_cached_key(|task| {
        let name = task.name.clone().unwrap_or_default();
        (
            task.state != TaskState::Running,
            number(&name).is_none(),
            number(&name),
            name,
        )
    });
    for callbacks in work.callbacks.iter_mut() {
        // Stable, so that what is ready keeps the order in which it will run.
        callbacks.sort_by(|a, b| {
            let due = |callback: &DumpCallback| callback.due_in_s.unwrap_or(f64::NEG_INFINITY);
            due(a).total_cmp(&due(b))
        });
    }
    work.threads.sort_by_key(|thread| (!thread.is_loop, thread.tid));
}

impl Words<'_> {
    fn task(&mut self, task: &Task, chain: &Chain, runs_in: Option<&ThreadLook>) -> Result<DumpTask, Fault> {
        let codes = self.stacks.codes();
        let frames = chain.links.iter().map(|link| codes.frame(self.heap, &link.raw));
        let frames: Vec<Arc<Frame>> = frames.collect::<Result<_, _>>()?;
        let state = match (chain.end, task.waiter) {
            (End::Running, _) => TaskState::Running,
            (End::NotStarted, _) => TaskState::Ready,
            (End::Finished | End::Unreadable, Addr::NULL) => TaskState::Unknown,
            (_, Addr::NULL) => TaskState::Ready,
            (_, waiter) if self.waits.is_done(waiter)? == Some(true) => TaskState::Ready,
            _ => TaskState::Waiting,
        };
        let wait = match state {
            TaskState::Waiting => Some(self.waits.wait(task, chain, &frames)?),
            _ => None,
        };
        let mut told: Vec<DumpFrame> = frames.iter().map(|frame| self.frame(frame)).collect();
        let mut is_cut = chain.end == End::Cut;
        // What a coroutine that runs has called is on its thread's stack.
        if state == TaskState::Running
            && let (Some(root), Some(stack)) = (frames.first(), runs_in.and_then(|look| look.stack.as_ref()))
        {
            let is_root = |frame: &Arc<Frame>| {
                (&frame.function, &frame.file, frame.first_line) == (&root.function, &root.file, root.first_line)
            };
            if let Some(place) = stack.frames.iter().rposition(is_root) {
                told = stack
                    .frames
                    .iter()
                    .take(place + 1)
                    .rev()
                    .map(|frame| self.frame(frame))
                    .collect();
                is_cut = false;
            }
        }
        Ok(DumpTask {
            name: self.names.get(&task.address).cloned(),
            state,
            waited_s: wait.as_ref().and_then(|wait| wait.waited),
            waits_for: wait.map(|wait| names_shown(wait.waits_for)),
            chain: told,
            is_cut,
            changed: false,
        })
    }

    fn frame(&self, frame: &Frame) -> DumpFrame {
        DumpFrame {
            function: frame.function.to_string(),
            file: frame.file.to_string(),
            line: (frame.line > 0).then_some(frame.line),
            own: self.own.is_own(&frame.file),
        }
    }

    fn thread(&self, look: &ThreadLook) -> DumpThread {
        let frames = look.stack.iter().flat_map(|stack| &stack.frames);
        DumpThread {
            name: look.name.clone(),
            tid: look.tid.map(|tid| tid.0),
            is_loop: look.event_loop.is_some(),
            stack: frames.map(|frame| self.frame(frame)).collect(),
            is_cut: look.stack.as_ref().is_some_and(|stack| stack.is_cut),
            unreadable: is_unknown(&look.owner),
        }
    }

    fn callback(&mut self, handle: &Handle, now: f64) -> DumpCallback {
        let mut told = DumpCallback {
            kind: if handle.when.is_some() { "timer" } else { "ready" },
            function: None,
            file: None,
            line: None,
            due_in_s: handle.when.map(|when| when - now),
            wakes: None,
        };
        if let Some(task) = self.waits.task_of_step(handle.callback) {
            told.wakes = self.names.get(&task).cloned();
            return told;
        }
        let argument = || self.heap.tuple_items(handle.args).ok()?.first().copied();
        let argument = argument();
        // `call_later(delay, futures._set_result_unless_cancelled, future, …)`, and its like.
        let waiter = argument.and_then(|argument| self.waiters.get(&argument));
        told.wakes = waiter.and_then(|task| self.names.get(task).cloned());
        // `call_soon(context.run, f)` runs f.
        let is_run = |name: Option<String>| name.is_some_and(|name| unqualified(&name) == "run");
        let callable = match argument {
            Some(inner) if is_run(self.builtin_name(handle.callback)) => inner,
            _ => handle.callback,
        };
        match self.waits.code_of(callable) {
            Ok(Some(code)) => {
                if let Ok(code) = self.stacks.codes().get(self.heap, code) {
                    told.function = Some(code.function.to_string());
                    told.file = Some(code.file.to_string());
                    told.line = Some(code.first_line);
                }
            }
            _ => {
                let class = || Some(self.heap.type_name(callable).ok()?.to_string());
                told.function = self.builtin_name(callable).or_else(class);
            }
        }
        told
    }

    /// `type.name` of a builtin method: of `m_self`, and `m_ml->ml_name` (Include/cpython/methodobject.h).
    fn builtin_name(&self, object: Addr) -> Option<String> {
        let class = self.heap.type_name(object).ok()?;
        if !matches!(&*class, "builtin_function_or_method" | "builtin_method") {
            return None;
        }
        let definition = self.heap.object(object, 16).ok()?;
        let name = self.heap.c_string(self.heap.object(definition, 0).ok()?).ok()?;
        let owner = self
            .heap
            .object(object, 24)
            .and_then(|owner| self.heap.type_name(owner));
        Some(match owner {
            Ok(owner) if &*owner != "module" => format!("{}.{name}", unqualified(&owner)),
            _ => name,
        })
    }
}
