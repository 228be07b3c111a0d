//! One walk over all tasks: which sessions live, which loops run, what the worker's own record says. A few times a
//! second, apart from the ticks, so that its length costs them nothing. Knows nothing of channels and schedules.

use super::attach::{Plan, Proved, of_fault, prove};
use super::error::AttachError;
use super::loop_watch::LoopWatch;
use super::readings::Readings;
use super::threads::thread_index;
use super::whose::{Carrier, Whose, count};
use crate::asyncio::{
    DEQUE_HEAD, EventLoop, HandleSlots, ReadyWords, Task, TaskLists, Tasks, describe, running_loop_address,
};
use crate::cpython::{Heap, ONE_WALK, Refused, ThreadState};
use crate::identity::{Chooser, Fits, Naming, Pool, PoolLook, Resolver, Subject};
use crate::memory::{AddrMap, Fault, LiveMemory};
use crate::model::{Addr, Census, HostFacts, LoopFacts, Nanos, OwnCode, Owner, Pid, SessionFacts, SessionKey};
use crate::process::namespaces::{self, Namespace};
use crate::process::{self, Freezer, Host};
use std::collections::{HashMap, HashSet};
use std::io;

/// What a walk over ten thousand sessions may read, several times over.
const WALK_BUDGET: u64 = 8 * ONE_WALK;
/// Walks after which all addresses are looked at anew.
const FORGET_AFTER: u32 = 40;
const HOST_EVERY: Nanos = Nanos(900_000_000);

/// Takes walks.
pub struct Walker {
    pub(super) plan: Plan,
    pub(super) heap: Heap,
    proved: Proved,
    pub(super) lists: Option<TaskLists>,
    pub(super) naming: Naming,
    chooser: Chooser,
    /// The presets by which the resolver goes.
    fits: Fits,
    pub(super) resolver: Resolver,
    pub(super) whose: Whose,
    readings: Readings,
    pub(super) watch: LoopWatch,
    /// Where handles keep what; None: not looked for yet.
    pub(super) slots: Option<HandleSlots>,
    /// The worker's `CLOCK_MONOTONIC` is otop's own: they share a time namespace.
    pub(super) shares_clock: bool,
    loops: HashMap<Addr, EventLoop>,
    pool: Pool,
    /// When sessions went live, as the worker keeps it; kept here because it forgets while it tears one down.
    started: HashMap<SessionKey, (f64, bool)>,
    /// Sessions of the last walk.
    live: HashSet<SessionKey>,
    /// Sessions that failed while otop watched, as long as somebody holds the task.
    errored: HashSet<SessionKey>,
    freezer: Freezer,
    host: Host,
    /// What the host's files said last, and when.
    host_facts: (Nanos, HostFacts),
    /// The tasks of the last walk.
    before: Vec<Task>,
    /// What names the sessions was met.
    named: bool,
    pub(super) walks: u32,
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
    /// `own` says which line of what a session waits in is shown.
    pub fn open(
        plan: Plan,
        proved: Proved,
        lists: Option<TaskLists>,
        naming: Naming,
        own: OwnCode,
    ) -> io::Result<Walker> {
        let fits = naming.fits();
        let memory = LiveMemory::open(plan.pid)?;
        let heap = Heap::new(Box::new(memory), plan.offsets.clone(), plan.version);
        // A kernel that has none, or does not say, is taken to have one for all.
        let shares_clock = namespaces::shared(plan.pid, Namespace::Time) != Some(false);
        let freezer = Freezer::of(plan.pid);
        Ok(Walker {
            plan,
            proved,
            lists,
            resolver: naming.resolver(fits).learning_aliases(),
            naming,
            chooser: Chooser::default(),
            fits,
            whose: Whose::default(),
            readings: Readings::new(&heap, own),
            watch: LoopWatch::default(),
            heap,
            slots: None,
            shares_clock,
            loops: HashMap::new(),
            pool: Pool::default(),
            started: HashMap::new(),
            live: HashSet::new(),
            errored: HashSet::new(),
            freezer,
            host: Host::new(),
            host_facts: (Nanos::ZERO, HostFacts::default()),
            before: Vec::new(),
            named: false,
            walks: 0,
        })
    }

    /// Walks once. `now` is `CLOCK_MONOTONIC`.
    pub fn walk(&mut self, now: impl Fn() -> Nanos) -> Result<Census, Broken> {
        self.walk_in(self.is_stopped(), now)
    }

    /// The process is stopped.
    pub fn is_stopped(&self) -> bool {
        process::state(self.plan.pid).is_ok_and(process::State::is_stopped)
    }

    /// Walks once, in a process of which it is known whether it is stopped: whoever stops it for the walk asks before.
    pub fn walk_in(&mut self, stopped: bool, now: impl Fn() -> Nanos) -> Result<Census, Broken> {
        let at = now();
        self.prove_on()?;
        self.walks += 1;
        if self.walks.is_multiple_of(FORGET_AFTER) {
            self.resolver.forget_addresses();
            self.chooser.forget();
            self.whose.forget();
            self.readings.forget();
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
            host: self.host_facts(at),
            unreadable: 0,
            stopped,
            frozen: process::state(self.plan.pid).is_ok_and(|state| self.freezer.holds(state)),
            pause: None,
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
            Some(lists) => lists.walk(&self.heap, &self.plan.runtime, &threads, &self.before)?,
            None => Tasks::default(),
        };
        census.unreadable += tasks.unreadable;
        if self.naming.follows_presets() {
            self.choose(&tasks.pending)?;
        }
        let owners = self.owners_of(&tasks.pending, &threads)?;
        self.chooser.look_again(self.whose.fresh());
        let (by_session, unreadable) = count(&owners);
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
        let has_no_name = |key: &&SessionKey| self.resolver.labels(**key).is_none();
        census.unreadable += by_session.keys().filter(has_no_name).count() as u32;
        census.sessions = self.session_facts(by_session, pool.as_ref());
        self.named |= pool.is_some() || self.resolver.knows_session_variable();
        let name = self.named.then(|| self.naming.rules(self.fits).name);
        census.session_from = name.map(|name| match self.resolver.has_disagreed() {
            true => format!("? {name}"),
            false => name,
        });
        census.pool = pool.map(|pool| pool.facts);
        self.read_where(&mut census, &tasks.pending, &owners, &threads)?;
        self.before = tasks.pending;
        census.took = now() - at;
        Ok(census)
    }

    /// The host, looked at once a second: its files cost as much as a walk over some hundred tasks.
    fn host_facts(&mut self, at: Nanos) -> HostFacts {
        if self.host_facts.0 == Nanos::ZERO || at - self.host_facts.0 >= HOST_EVERY {
            self.host_facts = (at, self.host.look());
        }
        self.host_facts.1.clone()
    }

    /// Goes on with the proof of the layout where there was no example before.
    pub(super) fn prove_on(&mut self) -> Result<(), Broken> {
        if self.proved != Proved::Whole {
            self.proved = match prove(&mut self.heap, &self.plan.runtime, &mut self.lists)? {
                Ok(proved) => proved,
                Err(refused) => return Err(Broken::Refused(refused)),
            };
        }
        Ok(())
    }

    /// Looks whether other presets fit, now that there are other tasks; if one of a smaller rank does, everything is
    /// found anew.
    pub(super) fn choose(&mut self, tasks: &[Task]) -> Result<(), Fault> {
        let mut fits = self.naming.fits();
        if self.walks % FORGET_AFTER == 1 || self.chooser.asks_for_imports() {
            let imported = self.chooser.look_at_imports(&self.heap, &self.plan.runtime);
            fits = fits.and(imported.unwrap_or_default());
        }
        fits = fits.and(self.chooser.look(&self.heap, tasks)?);
        self.naming.add(fits);
        self.naming.also(self.chooser.adding());
        if fits != self.fits {
            self.fits = fits;
            self.resolver = self.naming.resolver(fits).learning_aliases();
            self.whose.forget();
            self.started.clear();
            self.live.clear();
            self.errored.clear();
        }
        Ok(())
    }

    /// Fills in what the sessions run or wait for; what cannot be read is not known, and costs nothing else.
    fn read_where(
        &mut self,
        census: &mut Census,
        tasks: &[Task],
        owners: &[Owner],
        threads: &[ThreadState],
    ) -> Result<(), Fault> {
        self.heap.grant(WALK_BUDGET);
        let loops = self.loops.values().filter_map(|event_loop| {
            let of_loop = |thread: &&ThreadState| thread.address == event_loop.thread_state;
            threads.iter().find(of_loop).copied()
        });
        let loops: Vec<ThreadState> = loops.collect();
        let found = self
            .readings
            .look(&self.heap, &self.plan.runtime, tasks, owners, &loops);
        let mut found = match found {
            Err(fault @ (Fault::Gone | Fault::Denied)) => return Err(fault),
            found => found.unwrap_or_default(),
        };
        for session in &mut census.sessions {
            session.reading = found.remove(&session.key);
        }
        Ok(())
    }

    /// Whose each task is.
    pub(super) fn owners_of(&mut self, tasks: &[Task], threads: &[ThreadState]) -> Result<Vec<Owner>, Fault> {
        let link = self.heap.offsets.task_context;
        // A task of Python code keeps its context elsewhere: what stands there is then nobody's.
        let carriers = tasks.iter().map(|task| Carrier {
            context: task.context,
            link: task.is_native.then(|| task.address.offset(link)),
            task: Some(*task),
        });
        let carriers: Vec<Carrier> = carriers.collect();
        self.whose.set_threads(threads);
        let owners = self.whose.of(&self.heap, &mut self.resolver, &carriers, true)?;
        for (key, names) in self.whose.names() {
            self.resolver.agree(key, names);
        }
        if self.walks.is_multiple_of(FORGET_AFTER) {
            self.resolver.keep_aliases(&self.whose.ids());
        }
        Ok(owners)
    }

    /// Sessions that were live at the last walk, and of which nothing is left but a task that failed. Older failures
    /// that somebody still holds are no news, and when they were is not known.
    fn note_failures(&mut self, failed: &[Task], by_session: &HashMap<SessionKey, u32>) {
        let mut errored = HashSet::new();
        for task in failed {
            let vars = self.heap.context(task.context).map(|context| context.vars);
            let resolved = vars.and_then(|vars| {
                let subject = Subject {
                    vars,
                    context: task.context,
                    tasks: std::slice::from_ref(task),
                    threads: &[],
                };
                self.resolver.resolve_subject(&self.heap, subject)
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
        let mut tasks_of: AddrMap<u32> = AddrMap::default();
        for task in tasks {
            *tasks_of.entry(task.event_loop).or_default() += 1;
        }
        let (mut found, mut running) = (Vec::new(), Vec::new());
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
            running.push((event_loop, *thread));
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
        self.watch.follow(&self.plan, &self.heap, &running);
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
