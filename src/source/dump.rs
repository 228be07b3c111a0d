//! Everything at once, for `otop dump`: every task with its await chain, the handles of the loops, the threads, and whose
//! each is. Knows nothing of how it is shown, nor of stopping the worker for it.
//!
//! The worker goes on while it is read. What was read of a task is read again at the end, and tasks that moved on are
//! marked; in a worker that stands still there are none.

use super::dump_parts::{HandleLook, ThreadLook};
use super::said::EPOLL_WAITS;
use super::threads::find_tid;
use super::walk::{Broken, Walker};
use super::whose::Carrier;
use crate::asyncio::{
    Chain, ChainReader, EventLoop, Handles, MOST_HANDLES, Task, Tasks, describe, running_loop_address, scheduled,
};
use crate::cpython::{FrameWalk, RawStack, Stacks, ThreadState};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, Dump, DumpAsked, DumpWorker, LoopKind, Nanos, OwnCode, Owner, Stack};
use crate::process::{Doing, ThreadClock};
use std::sync::Arc;

/// What a dump may read: far more than a hundred thousand tasks need.
const DUMP_BUDGET: u64 = 8 << 30;
/// A running thread's stack is tried so often: its frames come and go while they are read.
const TRIES: usize = 8;

/// Everything that was read, before it is put into words.
pub(super) struct Gathered {
    pub tasks: Vec<Task>,
    pub owners: Vec<Owner>,
    /// Of each task; None: its session was not asked for.
    pub chains: Vec<Option<Chain>>,
    /// Tasks that moved on.
    pub changed: Vec<bool>,
    pub handles: Vec<HandleLook>,
    pub threads: Vec<ThreadLook>,
    /// Of each running loop: how many handles are ready, how many timers there are.
    pub counts: Vec<(EventLoop, Option<u32>, Option<u32>)>,
    pub unreadable: u32,
}

impl Walker {
    /// Looks at everything once. `is_paused`: the worker stands still. `taken_at` is `CLOCK_REALTIME` in seconds, `now`
    /// `CLOCK_MONOTONIC`.
    pub fn dump(
        &mut self,
        asked: &DumpAsked,
        worker: DumpWorker,
        own: &OwnCode,
        is_paused: bool,
        taken_at: f64,
        now: impl Fn() -> Nanos,
    ) -> Result<Dump, Broken> {
        let at = now();
        self.prove_on()?;
        self.walks += 1;
        self.heap.grant(DUMP_BUDGET);
        let mut stacks = Stacks::new();
        let gathered = self.gather(asked, is_paused, &mut stacks)?;
        // Ten words of each of ten thousand tasks: most stand beside each other, and a read costs more than a page.
        self.heap.keep_pages(true);
        let dump = self.put_in_words(gathered, asked, worker, own, stacks, at);
        self.heap.keep_pages(false);
        let mut dump = dump?;
        dump.taken_at = taken_at;
        dump.took_ms = (now() - at).as_secs_f64() * 1e3;
        Ok(dump)
    }

    fn gather(&mut self, asked: &DumpAsked, is_paused: bool, stacks: &mut Stacks) -> Result<Gathered, Broken> {
        let threads = self.heap.thread_states(&self.plan.runtime)?;
        let Tasks {
            pending: tasks,
            unreadable,
            ..
        } = match &self.lists {
            Some(lists) => lists.walk(&self.heap, &self.plan.runtime, &threads, &[])?,
            None => Tasks::default(),
        };
        if self.naming.follows_presets() {
            self.choose(&tasks)?;
        }
        let owners = self.owners_of(&tasks, &threads)?;
        let is_asked = |owner: &Owner| match owner {
            Owner::Session(key) => self.resolver.labels(*key).is_some_and(|labels| {
                asked.fits(&labels.session_id, labels.agent.as_deref(), labels.tenant.as_deref())
            }),
            _ => !asked.narrows(),
        };
        let which: Vec<usize> = (0..tasks.len())
            .filter(|&i| owners.get(i).is_some_and(is_asked))
            .collect();
        let coroutines: Vec<Addr> = which.iter().filter_map(|&i| Some(tasks.get(i)?.coroutine)).collect();
        let mut reader = ChainReader::new(&self.heap);
        let read = reader.read(&self.heap, &coroutines)?;

        let (mut handles, mut counts, mut lost) = (Vec::new(), Vec::new(), 0);
        let mut looks = Vec::new();
        for thread in &threads {
            let look = self.look_at(thread, stacks)?;
            if let Some(event_loop) = look.event_loop {
                let (ready, timers) = self.handles_of(&event_loop)?;
                lost += ready
                    .iter()
                    .chain(&timers)
                    .map(|handles| handles.unreadable)
                    .sum::<u32>();
                let count = |handles: &Option<Handles>| handles.as_ref().map(|handles| handles.found.len() as u32);
                counts.push((event_loop, count(&ready), count(&timers)));
                for handle in ready.into_iter().chain(timers).flat_map(|handles| handles.found) {
                    handles.push(HandleLook {
                        handle,
                        owner: Owner::Unreadable,
                    });
                }
            }
            looks.push(look);
        }
        self.name_owners(&mut handles, &mut looks)?;

        let mut changed = vec![false; tasks.len()];
        if !is_paused {
            let holding = reader.holding(&self.heap, read.iter())?;
            let still = self.still_there(&tasks)?;
            for (changed, still) in changed.iter_mut().zip(still) {
                *changed = !still;
            }
            for (&index, holds) in which.iter().zip(holding) {
                if let Some(changed) = changed.get_mut(index) {
                    *changed |= !holds;
                }
            }
        }
        let mut chains: Vec<Option<Chain>> = vec![None; tasks.len()];
        for (index, chain) in which.into_iter().zip(read) {
            if let Some(place) = chains.get_mut(index) {
                *place = Some(chain);
            }
        }
        Ok(Gathered {
            tasks,
            owners,
            chains,
            changed,
            handles,
            threads: looks,
            counts,
            unreadable: unreadable + lost,
        })
    }

    /// One thread: what it runs, and its stack.
    fn look_at(&self, thread: &ThreadState, stacks: &mut Stacks) -> Result<ThreadLook, Fault> {
        let tid = find_tid(&self.plan, &self.heap, thread);
        let event_loop = match running_loop_address(&self.heap, thread) {
            Ok(Some(address)) => describe(&self.heap, address, thread.address).ok(),
            Err(Fault::Gone) => return Err(Fault::Gone),
            _ => None,
        };
        let doing = tid.and_then(|tid| ThreadClock::open(self.plan.pid, tid).doing());
        let selector = event_loop.and_then(|event_loop| event_loop.selector);
        let selects = matches!(doing, Some(Doing::Syscall { number, first, .. })
            if EPOLL_WAITS.contains(&number) && Some(first) == selector);
        let words = match thread.context {
            Addr::NULL => None,
            context => self.heap.context(context).ok(),
        };
        // Between two handles uvloop stands in a context of its own.
        let between = event_loop.is_some_and(|event_loop| {
            event_loop.kind == LoopKind::Uvloop && event_loop.idle_context == Some(thread.context)
        });
        let in_step = words.is_some_and(|words| words.entered) && !selects && !between;
        Ok(ThreadLook {
            thread: *thread,
            tid,
            name: tid.and_then(|tid| {
                let name = std::fs::read(format!("/proc/{}/task/{tid}/comm", self.plan.pid)).ok()?;
                Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_string())
            }),
            event_loop,
            in_step,
            owner: Owner::Nobody,
            stack: self.stack_of(thread, stacks),
        })
    }

    /// The frames of a thread at one instant, if they can be had so.
    fn stack_of(&self, thread: &ThreadState, stacks: &mut Stacks) -> Option<Arc<Stack>> {
        let walk = FrameWalk::new(&self.heap.offsets, self.heap.version);
        let (mut raw, mut again) = (RawStack::default(), RawStack::default());
        let version = || {
            let at = thread.address.offset(self.heap.offsets.tstate_context + 8);
            self.heap.word(at, 0).ok()
        };
        for _ in 0..TRIES {
            let before = version();
            let read = walk.walk(self.heap.memory(), thread.address, &mut raw);
            let reread = walk.walk(self.heap.memory(), thread.address, &mut again);
            if read.is_err() || reread.is_err() || raw.frames != again.frames || before != version() {
                continue;
            }
            let generation = self.heap.code_generation(&self.plan.runtime).ok()?;
            if let Ok(stack) = stacks.resolve(&self.heap, &self.plan.runtime, &raw, generation) {
                return Some(stack);
            }
        }
        None
    }

    /// The loop's ready handles and its timers; None: they cannot be read.
    fn handles_of(&mut self, event_loop: &EventLoop) -> Result<(Option<Handles>, Option<Handles>), Fault> {
        let known = |handles: Result<Handles, Fault>| match handles {
            Err(fault @ (Fault::Gone | Fault::Budget)) => Err(fault),
            handles => Ok(handles.ok()),
        };
        let Some(slots) = self.handle_slots()?.filter(|_| event_loop.kind == LoopKind::Asyncio) else {
            return Ok((None, None));
        };
        let ready = match event_loop.ready {
            Some(queue) => known(slots.ready(&self.heap, queue, MOST_HANDLES))?,
            None => None,
        };
        let timers = match scheduled(&self.heap, event_loop) {
            Ok(Some(list)) => known(slots.timers(&self.heap, list, None, MOST_HANDLES))?,
            _ => None,
        };
        Ok((ready, timers))
    }

    /// Whose the handles are, and whose the threads work.
    fn name_owners(&mut self, handles: &mut [HandleLook], threads: &mut [ThreadLook]) -> Result<(), Fault> {
        let slots = self.handle_slots()?;
        let of_handles = handles.iter().map(|look| Carrier {
            context: look.handle.context,
            link: slots.map(|slots| look.handle.address.offset(slots.context)),
            task: None,
        });
        let of_threads = threads.iter().map(|look| Carrier {
            context: look.thread.context,
            link: Some(look.thread.address.offset(self.heap.offsets.tstate_context)),
            task: None,
        });
        let carriers: Vec<Carrier> = of_handles.chain(of_threads).collect();
        let mut owners = self
            .whose
            .of(&self.heap, &mut self.resolver, &carriers, false)?
            .into_iter();
        for (look, owner) in handles.iter_mut().zip(owners.by_ref()) {
            look.owner = owner;
        }
        for (look, owner) in threads.iter_mut().zip(owners) {
            // A loop between two steps works for nobody, whatever its base context holds.
            let works = look.event_loop.is_none() || look.in_step;
            look.owner = if works && !look.thread.context.is_null() {
                owner
            } else {
                Owner::Nobody
            };
        }
        Ok(())
    }

    /// Which tasks are still as they were read: not done, with the same coroutine, waiting for the same.
    fn still_there(&self, tasks: &[Task]) -> Result<Vec<bool>, Fault> {
        let o = &self.heap.offsets;
        let mut scatter = Scatter::new();
        for task in tasks {
            scatter.push(task.address.offset(o.task_coro.wrapping_sub(8)), 16);
            scatter.push(task.address.offset(o.task_state), 4);
        }
        self.heap.spend(tasks.len().saturating_mul(20))?;
        scatter.read_each(self.heap.memory())?;
        let still = tasks.iter().enumerate().map(|(index, task)| {
            // A task of Python code keeps these elsewhere; its coroutine is looked at all the same.
            !task.is_native
                || scatter.pointer(2 * index, 0) == Some(task.waiter)
                    && scatter.pointer(2 * index, 8) == Some(task.coroutine)
                    && scatter.bytes(2 * index + 1) == Some(&[0; 4])
        });
        Ok(still.collect())
    }
}
