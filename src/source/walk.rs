//! One walk over all tasks: which sessions live, which loops run, what the worker's own record says. A few times a
//! second, apart from the ticks, so that its length costs them nothing. Knows nothing of channels and schedules.

use super::attach::{Plan, Proved, of_fault, prove};
use super::error::AttachError;
use super::threads::thread_index;
use crate::asyncio::{DEQUE_HEAD, EventLoop, ReadyWords, Task, TaskLists, Tasks, describe, running_loop_address};
use crate::cpython::{CONTEXT_HEAD, Heap, ONE_WALK, Refused, ThreadState};
use crate::identity::{Carrier, Chooser, Fits, Naming, Pool, PoolLook, Resolved, Resolver};
use crate::memory::{Fault, LiveMemory, Scatter};
use crate::model::{Addr, Census, LoopFacts, Nanos, Pid, SessionFacts, SessionKey};
use crate::process::{self, Host};
use std::collections::{HashMap, HashSet};
use std::io;

/// What a walk over ten thousand sessions may read, several times over.
const WALK_BUDGET: u64 = 8 * ONE_WALK;
/// Walks after which all addresses are looked at anew.
const FORGET_AFTER: u32 = 40;

/// Takes walks.
pub struct Walker {
    plan: Plan,
    heap: Heap,
    proved: Proved,
    lists: Option<TaskLists>,
    naming: Naming,
    chooser: Chooser,
    /// The presets by which the resolver goes.
    fits: Fits,
    resolver: Resolver,
    /// What the variables (`ctx_vars`) of live contexts name; where the rules need a task, what tasks name.
    known: HashMap<Addr, Resolved>,
    loops: HashMap<Addr, EventLoop>,
    pool: Pool,
    /// When sessions went live, as the worker keeps it; kept here because it forgets while it tears one down.
    started: HashMap<SessionKey, (f64, bool)>,
    /// Sessions of the last walk.
    live: HashSet<SessionKey>,
    /// Sessions that failed while otop watched, as long as somebody holds the task.
    errored: HashSet<SessionKey>,
    host: Host,
    /// What names the sessions was met.
    named: bool,
    walks: u32,
}

/// Why a walk gives no census.
#[derive(Debug)]
pub enum Broken {
    Fault(Fault),
    /// Something that showed up only now is not laid out as it should be.
    Refused(Refused),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Broken {
        Broken::Fault(fault)
    }
}

impl Walker {
    pub fn open(plan: Plan, proved: Proved, lists: Option<TaskLists>, naming: Naming) -> io::Result<Walker> {
        let fits = naming.fits();
        let memory = LiveMemory::open(plan.pid)?;
        let heap = Heap::new(Box::new(memory), plan.offsets.clone(), plan.version);
        Ok(Walker {
            plan,
            heap,
            proved,
            lists,
            resolver: Resolver::new(naming.rules(fits)),
            naming,
            chooser: Chooser::default(),
            fits,
            known: HashMap::new(),
            loops: HashMap::new(),
            pool: Pool::default(),
            started: HashMap::new(),
            live: HashSet::new(),
            errored: HashSet::new(),
            host: Host::new(),
            named: false,
            walks: 0,
        })
    }

    /// Walks once. `now` is `CLOCK_MONOTONIC`.
    pub fn walk(&mut self, now: impl Fn() -> Nanos) -> Result<Census, Broken> {
        let at = now();
        if self.proved != Proved::Whole {
            self.proved = match prove(&mut self.heap, &self.plan.runtime, &mut self.lists)? {
                Ok(proved) => proved,
                Err(refused) => return Err(Broken::Refused(refused)),
            };
        }
        self.walks += 1;
        if self.walks.is_multiple_of(FORGET_AFTER) {
            self.resolver.forget_addresses();
            self.chooser.forget();
            self.known.clear();
            self.loops.clear();
        }
        self.heap.grant(WALK_BUDGET);
        let mut census = Census {
            at,
            took: Nanos::ZERO,
            sessions: Vec::new(),
            loops: Vec::new(),
            tasks: 0,
            session_from: None,
            asyncio_imported: self.proved != Proved::WithoutAsyncio,
            pool: None,
            rss_bytes: process::rss_bytes(self.plan.pid).ok().flatten(),
            host: self.host.look(),
            unreadable: 0,
            stopped: process::state(self.plan.pid).is_ok_and(process::State::is_stopped),
        };
        let threads = match self.heap.thread_states(&self.plan.runtime) {
            Ok(threads) => threads,
            Err(Fault::Gone) => return Err(Fault::Gone.into()),
            // The list changed under the read: this walk knows nothing of loops.
            Err(_) => {
                census.unreadable += 1;
                Vec::new()
            }
        };
        let tasks = match &self.lists {
            Some(lists) => lists.walk(&self.heap, &self.plan.runtime, &threads)?,
            None => Tasks::default(),
        };
        census.unreadable += tasks.unreadable;
        let vars = self.vars_of(&tasks.pending)?;
        if self.naming.follows_presets() {
            self.choose(&tasks.pending, &vars)?;
        }
        let (by_session, unreadable) = self.sessions_of(&tasks.pending, vars)?;
        census.unreadable += unreadable;
        self.note_failures(&tasks.failed, &by_session);
        census.tasks = tasks.pending.len() as u32;
        census.loops = self.loops_of(&threads, &tasks.pending)?;
        let pool = self
            .pool
            .look(&self.heap, &tasks.pending, &mut self.resolver, at.as_secs_f64());
        let pool = match pool {
            Ok(pool) => pool,
            Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault.into()),
            Err(_) => {
                census.unreadable += 1;
                None
            }
        };
        census.unreadable += pool.as_ref().map_or(0, |p| p.unreadable);
        census.sessions = self.session_facts(by_session, pool.as_ref());
        self.named |= pool.is_some() || self.resolver.knows_session_variable();
        let name = self.named.then(|| self.naming.rules(self.fits).name);
        census.session_from = name.map(|name| match self.resolver.has_disagreed() {
            true => format!("? {name}"),
            false => name,
        });
        census.pool = pool.map(|pool| pool.facts);
        census.took = now() - at;
        Ok(census)
    }

    /// Looks whether other presets fit, now that there are other tasks; if one of a smaller rank does, everything is
    /// found anew.
    fn choose(&mut self, tasks: &[Task], vars: &[Option<Addr>]) -> Result<(), Fault> {
        let mut fits = self.naming.fits();
        if self.walks % FORGET_AFTER == 1 {
            fits = fits.and(
                self.chooser
                    .look_at_imports(&self.heap, &self.plan.runtime)
                    .unwrap_or_default(),
            );
        }
        let contexts = tasks
            .iter()
            .zip(vars)
            .filter_map(|(task, vars)| Some(((*vars)?, *task)));
        fits = fits.and(self.chooser.look(&self.heap, contexts)?);
        self.naming.add(fits);
        if fits != self.fits {
            self.fits = fits;
            self.resolver = Resolver::new(self.naming.rules(fits));
            self.known.clear();
            self.started.clear();
            self.live.clear();
            self.errored.clear();
        }
        Ok(())
    }

    /// Tasks by session, and what could not be read.
    ///
    /// The tasks of a session mostly share one set of variables, so it is the sets that are known from walk to walk. All
    /// are checked in one go; those that are new, or do not hold any more, are looked up, and then checked in a second go
    /// together with the tasks that carry them, because a task that ended meanwhile may have left its memory to another.
    fn sessions_of(
        &mut self,
        tasks: &[Task],
        vars: Vec<Option<Addr>>,
    ) -> Result<(HashMap<SessionKey, u32>, u32), Fault> {
        let mut unreadable = 0;
        let by_task = self.resolver.needs_task();
        // By what is remembered, the tasks and their variables.
        let mut carriers: HashMap<Addr, (Addr, Vec<&Task>)> = HashMap::new();
        for (task, vars) in tasks.iter().zip(vars) {
            let Some(vars) = vars else {
                unreadable += 1;
                continue;
            };
            let key = if by_task { task.address } else { vars };
            carriers.entry(key).or_insert((vars, Vec::new())).1.push(task);
        }
        self.known.retain(|key, known| {
            !known.proof.is_for_once() && carriers.get(key).is_some_and(|(vars, _)| *vars == known.proof.vars)
        });
        let holding = self.check(self.known.iter().map(|(&key, known)| (key, known)))?;
        self.known.retain(|key, _| holding.contains(key));

        let mut fresh: Vec<(Addr, Resolved)> = Vec::new();
        for (&key, (vars, carriers)) in carriers.iter().filter(|(key, _)| !self.known.contains_key(key)) {
            let only: &[&Task] = if by_task { carriers } else { &[] };
            let only: Vec<Task> = only.iter().map(|&&task| task).collect();
            let carrier = Carrier {
                vars: *vars,
                context: only.first().map_or(Addr::NULL, |task| task.context),
                tasks: &only,
            };
            match self.resolver.resolve_carrier(&self.heap, carrier) {
                Ok(resolved) => fresh.push((key, resolved)),
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                Err(_) => unreadable += carriers.len() as u32,
            }
        }
        let holding = self.check(fresh.iter().map(|(key, resolved)| (*key, resolved)))?;
        for (key, resolved) in fresh {
            let Some((vars, tasks)) = carriers.get_mut(&key) else {
                continue;
            };
            let before = tasks.len();
            if holding.contains(&key) {
                let still: Vec<bool> = self.still_carry(tasks, *vars)?;
                let mut still = still.into_iter();
                tasks.retain(|_| still.next() == Some(true));
                self.known.insert(key, resolved);
            } else {
                tasks.clear();
            }
            unreadable += (before - tasks.len()) as u32;
        }
        let mut counts: HashMap<SessionKey, u32> = HashMap::new();
        for (key, resolved) in &self.known {
            if let (Some(session), Some((_, tasks))) = (resolved.session, carriers.get(key))
                && !tasks.is_empty()
            {
                *counts.entry(session).or_default() += tasks.len() as u32;
            }
        }
        Ok((counts, unreadable))
    }

    /// The variables of each task's context; None where it could not be read, or is no context.
    fn vars_of(&self, tasks: &[Task]) -> Result<Vec<Option<Addr>>, Fault> {
        let mut scatter = Scatter::new();
        for task in tasks {
            scatter.push(task.context, CONTEXT_HEAD);
        }
        self.heap.spend(tasks.len() * CONTEXT_HEAD)?;
        scatter.read_each(self.heap.memory())?;
        let is_context = |class| {
            let name = self.heap.name_of_type(class);
            name.is_ok_and(|name| matches!(&*name, "Context" | "_contextvars.Context"))
        };
        let vars = (0..tasks.len()).map(|slot| {
            let head = scatter.bytes(slot)?;
            is_context(scatter.pointer(slot, 8)?).then(|| self.heap.context_words(head).vars)
        });
        Ok(vars.collect())
    }

    /// Those whose proof still holds.
    fn check<'r>(&self, resolved: impl Iterator<Item = (Addr, &'r Resolved)>) -> Result<HashSet<Addr>, Fault> {
        let mut scatter = Scatter::new();
        let asked: Vec<_> = resolved
            .map(|(key, r)| (key, &r.proof, r.proof.push(&mut scatter)))
            .collect();
        self.heap.spend(scatter.len() * 64)?;
        scatter.read_each(self.heap.memory())?;
        let holding = asked
            .into_iter()
            .filter(|(_, proof, slots)| proof.holds_once(proof.vars, &scatter, *slots));
        Ok(holding.map(|(key, _, _)| key).collect())
    }

    /// Whether each task still has its context, and that still these variables.
    fn still_carry(&self, tasks: &[&Task], vars: Addr) -> Result<Vec<bool>, Fault> {
        let o = &self.heap.offsets;
        let mut scatter = Scatter::new();
        for task in tasks {
            scatter.push(task.address.offset(o.task_context), 8);
            scatter.push(task.context.offset(o.context_vars), 8);
        }
        self.heap.spend(scatter.len() * 8)?;
        scatter.read_each(self.heap.memory())?;
        // A task of Python code keeps its context elsewhere: what stands here is then nobody's.
        let same = |(slot, task): (usize, &&Task)| {
            scatter.pointer(2 * slot + 1, 0) == Some(vars)
                && (!task.is_native || scatter.pointer(2 * slot, 0) == Some(task.context))
        };
        Ok(tasks.iter().enumerate().map(same).collect())
    }

    /// Sessions that were live at the last walk, and of which nothing is left but a task that failed. Older failures
    /// that somebody still holds are no news, and when they were is not known.
    fn note_failures(&mut self, failed: &[Task], by_session: &HashMap<SessionKey, u32>) {
        let mut errored = HashSet::new();
        for task in failed {
            let vars = self.heap.context(task.context).map(|context| context.vars);
            let resolved = vars.and_then(|vars| {
                let carrier = Carrier {
                    vars,
                    context: task.context,
                    tasks: std::slice::from_ref(task),
                };
                self.resolver.resolve_carrier(&self.heap, carrier)
            });
            // A failed task that has just been freed is no failure that anybody holds.
            let Some(key) = resolved.ok().and_then(|resolved| resolved.session) else {
                continue;
            };
            let is_news = self.live.contains(&key) || self.errored.contains(&key);
            if is_news && !by_session.contains_key(&key) {
                errored.insert(key);
            }
        }
        self.errored = errored;
        self.live = by_session.keys().copied().collect();
    }

    fn loops_of(&mut self, threads: &[ThreadState], tasks: &[Task]) -> Result<Vec<LoopFacts>, Fault> {
        let mut tasks_of: HashMap<Addr, u32> = HashMap::new();
        for task in tasks {
            *tasks_of.entry(task.event_loop).or_default() += 1;
        }
        let mut found = Vec::new();
        let mut still = HashMap::new();
        for thread in threads {
            let address = match running_loop_address(&self.heap, thread) {
                Ok(Some(address)) => address,
                Err(Fault::Gone) => return Err(Fault::Gone),
                _ => continue,
            };
            let known = self
                .loops
                .get(&address)
                .copied()
                .filter(|l| l.thread_state == thread.address);
            let Some(event_loop) = known.or_else(|| describe(&self.heap, address, thread.address).ok()) else {
                continue;
            };
            still.insert(address, event_loop);
            let mut head = [0; DEQUE_HEAD];
            let ready = event_loop
                .ready
                .filter(|&ready| self.heap.read(ready, 0, &mut head).is_ok());
            let ready = ready
                .and_then(|_| ReadyWords::of_deque(&self.heap, &head))
                .map(|words| words.size as u32);
            found.push(LoopFacts {
                kind: event_loop.kind,
                thread: Some(thread_index(thread)),
                ready,
                tasks: tasks_of.get(&address).copied().unwrap_or(0),
            });
        }
        self.loops = still;
        Ok(found)
    }

    /// A session is live while the worker's own record says so; where there is no such record, while a task carries it.
    fn session_facts(&mut self, by_session: HashMap<SessionKey, u32>, pool: Option<&PoolLook>) -> Vec<SessionFacts> {
        let mut sessions: HashMap<SessionKey, SessionFacts> = HashMap::new();
        let facts = |resolver: &Resolver, key, tasks, live| {
            let labels = resolver.labels(key)?;
            Some(SessionFacts {
                key,
                labels,
                live,
                tasks,
                started_unix: None,
                errored: false,
                pinned: false,
                reading: None,
            })
        };
        for (&key, &tasks) in &by_session {
            if let Some(facts) = facts(&self.resolver, key, tasks, pool.is_none()) {
                sessions.insert(key, facts);
            }
        }
        if let Some(pool) = pool {
            for held in &pool.sessions {
                if let Some(started) = held.started_unix {
                    let known = self.started.entry(held.key).or_insert((started, held.started_exactly));
                    if held.started_exactly && !known.1 {
                        *known = (started, true);
                    }
                }
                let tasks = by_session.get(&held.key).copied().unwrap_or(0);
                if let Some(mut facts) = facts(&self.resolver, held.key, tasks, true) {
                    facts.started_unix = self.started.get(&held.key).map(|&(started, _)| started);
                    facts.errored = held.errored;
                    sessions.insert(held.key, facts);
                }
            }
            self.started.retain(|key, _| sessions.contains_key(key));
        }
        for &key in &self.errored {
            if let Some(mut facts) = facts(&self.resolver, key, 0, false) {
                facts.errored = true;
                sessions.entry(key).or_insert(facts);
            }
        }
        self.resolver.keep_labels(|key| sessions.contains_key(&key));
        let mut sessions: Vec<SessionFacts> = sessions.into_values().collect();
        sessions.sort_by(|a, b| a.labels.session_id.cmp(&b.labels.session_id));
        sessions
    }
}

impl Broken {
    /// For callers that have only one walk.
    pub fn into_error(self, pid: Pid, version: &str) -> AttachError {
        match self {
            Broken::Fault(fault) => of_fault(pid, fault),
            Broken::Refused(Refused { field, detail }) => AttachError::LayoutRefused {
                pid,
                version: version.to_string(),
                field,
                detail,
            },
        }
    }
}
