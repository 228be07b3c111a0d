//! Everything at once, for `otop dump`: every task with its await chain, the handles of the loops, the threads, and whose
//! each is. Knows nothing of how it is shown, nor of stopping the worker for it.
//!
//! The worker goes on while it is read. What was read of a task is read again before it is put into words and once more
//! behind that, and tasks that moved on are marked; in a worker that stands still there are none.

use super::dump_parts::{HandleLook, ThreadLook};
use super::walk::{Broken, Walker};
use super::whose::Carrier;
use crate::asyncio::{Chain, ChainReader, EventLoop, Handles, MOST_HANDLES, Task, Tasks, scheduled};
use crate::cpython::Stacks;
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, Dump, DumpAsked, DumpWorker, LoopKind, Nanos, OwnCode, Owner};

/// What a dump may read: far more than a hundred thousand tasks need.
const DUMP_BUDGET: u64 = 8 << 30;

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
    /// The worker stands still, so that nothing need be looked at again.
    pub is_paused: bool,
}

/// What is still as it was read.
pub(super) struct Holds {
    pub tasks: Vec<bool>,
    pub handles: Vec<bool>,
}

impl Holds {
    /// In a worker that stands still.
    pub fn all(gathered: &Gathered) -> Holds {
        Holds {
            tasks: vec![true; gathered.tasks.len()],
            handles: vec![true; gathered.handles.len()],
        }
    }
}

impl Walker {
    /// Looks at everything once. `is_paused`: the worker stands still. `taken_at` is `CLOCK_REALTIME` in seconds, `now`
    /// `CLOCK_MONOTONIC`.
    pub fn dump(
        &mut self,
        asked: &DumpAsked,
        mut worker: DumpWorker,
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
        // As in the table's header.
        if self.resolver.has_disagreed()
            && let Some(name) = &mut worker.session_from
        {
            name.insert_str(0, "? ");
        }
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
        self.name_owners(&mut handles)?;

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
            is_paused,
        })
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

    /// Whose the handles are.
    fn name_owners(&mut self, handles: &mut [HandleLook]) -> Result<(), Fault> {
        let slots = self.handle_slots()?;
        let carriers = handles.iter().map(|look| Carrier {
            context: look.handle.context,
            link: slots.map(|slots| look.handle.address.offset(slots.context)),
            task: None,
        });
        let carriers: Vec<Carrier> = carriers.collect();
        let owners = self.whose.of(&self.heap, &mut self.resolver, &carriers, false)?;
        for (look, owner) in handles.iter_mut().zip(owners) {
            look.owner = owner;
        }
        Ok(())
    }

    /// What is still as it was read, after it was put into words; from here on nothing is read of a page's copy.
    pub(super) fn holding(&self, gathered: &Gathered) -> Result<Holds, Fault> {
        self.heap.keep_pages(false);
        let mut tasks = self.still_there(&gathered.tasks)?;
        let mut reader = ChainReader::new(&self.heap);
        let holding = reader.holding(&self.heap, gathered.chains.iter().flatten())?;
        let of_chains = tasks.iter_mut().zip(&gathered.chains);
        let of_chains = of_chains.filter_map(|(still, chain)| chain.is_some().then_some(still));
        for (still, holds) in of_chains.zip(holding) {
            *still &= holds;
        }
        let handles = gathered.handles.iter().map(|look| look.handle);
        let handles = match self.slots {
            Some(slots) => slots.still(&self.heap, &handles.collect::<Vec<_>>())?,
            None => vec![true; gathered.handles.len()],
        };
        Ok(Holds { tasks, handles })
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
