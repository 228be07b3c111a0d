//! Whose each of many contexts is, all at once and proved: for the tasks of a walk, and for the handles that a loop has
//! waiting. Knows nothing of tasks and handles but where they keep their context.
//!
//! The contexts of a session mostly share one set of variables, so it is the sets that are remembered from look to look.
//! All are checked in one go; those that are new, or do not hold any more, are looked up, and then checked in a second
//! go together with those that carry them, because what ended meanwhile may have left its memory to another.
//!
//! Where the rules need a task, it is contexts that are remembered in place of sets: nearly every task has its own.

use crate::asyncio::Task;
use crate::cpython::{CONTEXT_HEAD, Heap, ThreadState};
use crate::identity::{Names, Ranked, Resolved, Resolver, Subject};
use crate::memory::{AddrMap, AddrSet, Fault, Scatter};
use crate::model::{Addr, Owner, SessionKey};
use std::collections::{HashMap, HashSet};

/// Sets of variables that are remembered.
const MOST_SETS: usize = 200_000;
/// What changed while it was looked up is looked up again, unlike in a tick: this counts carriers, and not time. The
/// second time there are few of them, so that it is quick.
const MOST_LOOKS: usize = 4;

/// So many look-ups at once are worth reading whole pages for.
const WORTH_PAGES: usize = 16;

/// Something that has a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carrier {
    pub context: Addr,
    /// Where the pointer to the context stands; None: in no fixed place (a task of Python code), so that it is not read
    /// again.
    pub link: Option<Addr>,
    /// The task itself, where it is one.
    pub task: Option<Task>,
}

/// Whose it is, and what it says of that session.
type Known = (Resolved, Names);

/// What sets of variables (`ctx_vars`) name, or contexts.
#[derive(Default)]
pub(super) struct Whose {
    known: AddrMap<Known>,
    /// The tasks of the last look over all of them, by their context: a handle's context may be a task's.
    tasks: AddrMap<Task>,
    /// What all carriers of each session said of it at the last look over all tasks.
    names: HashMap<SessionKey, Names>,
    /// Contexts, one for each set of variables that the last look over all tasks found new.
    fresh: Vec<Addr>,
    /// The thread states of the last look.
    threads: Vec<Addr>,
}

/// Carriers that share what is remembered.
#[derive(Default)]
struct Group {
    vars: Addr,
    carriers: Vec<usize>,
}

impl Whose {
    /// Forgets everything, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.known.clear();
        self.tasks.clear();
    }

    /// The threads that there are: one of them runs a task that runs.
    pub fn set_threads(&mut self, threads: &[ThreadState]) {
        self.threads.clear();
        self.threads.extend(threads.iter().map(|thread| thread.address));
    }

    /// What the contexts of each session said of it at the last look over all tasks.
    pub fn names(&self) -> impl Iterator<Item = (SessionKey, &Names)> {
        self.names.iter().map(|(&key, names)| (key, names))
    }

    /// Contexts with sets of variables that the last look over all tasks found new.
    pub fn fresh(&self) -> &[Addr] {
        &self.fresh
    }

    /// The ids that the sets of the last look over all tasks gave, whoever they belong to.
    pub fn ids(&self) -> HashSet<Ranked> {
        self.known
            .values()
            .filter_map(|(resolved, _)| resolved.found())
            .collect()
    }

    /// Whose each carrier's context is: a session, nobody, torn where it changed meanwhile, or unreadable. With `forget`,
    /// sets that none of these carriers has are forgotten.
    pub fn of(
        &mut self,
        heap: &Heap,
        resolver: &mut Resolver,
        carriers: &[Carrier],
        forget: bool,
    ) -> Result<Vec<Owner>, Fault> {
        let mut owners = vec![Owner::Unreadable; carriers.len()];
        let by_task = resolver.needs_task_for_names();
        if by_task && forget {
            let tasks = carriers
                .iter()
                .filter_map(|carrier| Some((carrier.context, carrier.task?)));
            self.tasks = tasks.collect();
        }
        let mut groups: AddrMap<Group> = AddrMap::default();
        for (index, vars) in vars_of(heap, carriers)?.into_iter().enumerate() {
            let (Some(vars), Some(carrier)) = (vars, carriers.get(index)) else {
                continue;
            };
            let group = groups.entry(if by_task { carrier.context } else { vars }).or_default();
            group.vars = vars;
            group.carriers.push(index);
        }
        if forget || self.known.len() > MOST_SETS {
            self.known.retain(|key, _| groups.contains_key(key));
        }
        self.known.retain(|key, known| {
            let group = groups.get(key);
            let proof = &known.0.proof;
            group.is_none_or(|group| !proof.is_for_once() && group.vars == proof.vars)
        });
        let asked = self.known.iter().filter(|(key, _)| groups.contains_key(key));
        let asked: Vec<(Addr, &Resolved)> = asked.map(|(&key, (resolved, _))| (key, resolved)).collect();
        let holding = check(heap, asked.into_iter())?;
        self.known
            .retain(|key, _| holding.contains(key) || !groups.contains_key(key));

        let mut open: Vec<Addr> = groups
            .keys()
            .filter(|key| !self.known.contains_key(key))
            .copied()
            .collect();
        if forget {
            let first = |key: &Addr| carriers.get(*groups.get(key)?.carriers.first()?);
            self.fresh = open.iter().filter_map(first).map(|carrier| carrier.context).collect();
        }
        // What was made together mostly lies together.
        open.sort_unstable();
        let mut unreadable = AddrSet::default();
        for _ in 0..MOST_LOOKS {
            if open.is_empty() {
                break;
            }
            // A page that many of them share is read once; what comes of it is proved by fresh reads below. Not so of tasks,
            // whose frames come and go meanwhile.
            heap.keep_pages(open.len() >= WORTH_PAGES && !by_task);
            let fresh = self.look_up(heap, resolver, &groups, &open);
            heap.keep_pages(false);
            let fresh = fresh?;
            let holding = check(heap, fresh.iter().map(|(key, (resolved, _))| (*key, resolved)))?;
            // What cannot be read may only have moved just then.
            let read: AddrSet = fresh.iter().map(|(key, _)| *key).collect();
            open.retain(|key| !read.contains(key));
            unreadable = open.iter().copied().collect();
            for (key, resolved) in fresh {
                let Some(group) = groups.get_mut(&key) else { continue };
                if !holding.contains(&key) {
                    open.push(key);
                    continue;
                }
                let still = still_carry(heap, carriers, &group.carriers, group.vars)?;
                let mut still = still.into_iter();
                group.carriers.retain(|&index| {
                    let still = still.next() == Some(true);
                    if !still {
                        set(&mut owners, index, Owner::Torn);
                    }
                    still
                });
                self.known.insert(key, resolved);
            }
        }
        for key in open {
            let owner = match unreadable.contains(&key) {
                true => Owner::Unreadable,
                false => Owner::Torn,
            };
            let carriers = groups.remove(&key).into_iter().flat_map(|group| group.carriers);
            carriers.for_each(|index| set(&mut owners, index, owner));
        }
        if forget {
            self.names.clear();
        }
        for (key, group) in groups {
            let Some((resolved, names)) = self.known.get(&key) else {
                continue;
            };
            // What was looked up after it may have shown that its id is another session's.
            let session = resolver.session_of(resolved);
            if let (Some(session), true, false) = (session, forget, group.carriers.is_empty()) {
                self.names.entry(session).or_default().add(names);
            }
            let owner = session.map_or(Owner::Nobody, Owner::Session);
            group
                .carriers
                .into_iter()
                .for_each(|index| set(&mut owners, index, owner));
        }
        Ok(owners)
    }

    /// What these sets of variables name, or these contexts; without those that could not be read.
    fn look_up(
        &self,
        heap: &Heap,
        resolver: &mut Resolver,
        groups: &AddrMap<Group>,
        keys: &[Addr],
    ) -> Result<Vec<(Addr, Known)>, Fault> {
        let mut fresh = Vec::with_capacity(keys.len());
        for &key in keys {
            let Some(group) = groups.get(&key) else { continue };
            let task = if resolver.needs_task_for_names() {
                self.tasks.get(&key)
            } else {
                None
            };
            let subject = Subject {
                vars: group.vars,
                context: key,
                tasks: task.map_or(&[], std::slice::from_ref),
                threads: &self.threads,
            };
            match resolver.resolve_subject(heap, subject) {
                Ok(resolved) => {
                    // Of a session alone something is said; names that moved on are there at the next look.
                    let names = match resolved.session {
                        Some(_) => resolver.names(heap, subject).unwrap_or_default(),
                        None => Names::default(),
                    };
                    fresh.push((key, (resolved, names)));
                }
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                Err(_) => {}
            }
        }
        Ok(fresh)
    }
}

/// How many carriers each session has, and for how many it is not known.
pub(super) fn count(owners: &[Owner]) -> (HashMap<SessionKey, u32>, u32) {
    let (mut counts, mut unknown) = (HashMap::new(), 0);
    for owner in owners {
        match owner {
            Owner::Session(key) => *counts.entry(*key).or_default() += 1,
            Owner::Nobody => {}
            Owner::Torn | Owner::Unreadable => unknown += 1,
        }
    }
    (counts, unknown)
}

fn set(owners: &mut [Owner], index: usize, owner: Owner) {
    if let Some(place) = owners.get_mut(index) {
        *place = owner;
    }
}

/// The variables of each carrier's context; None where it could not be read, or is no context.
fn vars_of(heap: &Heap, carriers: &[Carrier]) -> Result<Vec<Option<Addr>>, Fault> {
    let mut scatter = Scatter::new();
    for carrier in carriers {
        scatter.push(carrier.context, CONTEXT_HEAD);
    }
    heap.spend(carriers.len() * CONTEXT_HEAD)?;
    scatter.read_near(heap.memory())?;
    let is_context = |class| {
        let name = heap.name_of_type(class);
        name.is_ok_and(|name| matches!(&*name, "Context" | "_contextvars.Context"))
    };
    let vars = (0..carriers.len()).map(|slot| {
        let head = scatter.bytes(slot)?;
        is_context(scatter.pointer(slot, 8)?).then(|| heap.context_words(head).vars)
    });
    Ok(vars.collect())
}

/// Those whose proof still holds.
fn check<'r>(heap: &Heap, resolved: impl Iterator<Item = (Addr, &'r Resolved)>) -> Result<AddrSet, Fault> {
    let mut scatter = Scatter::new();
    let asked: Vec<_> = resolved
        .map(|(key, r)| (key, &r.proof, r.proof.push(&mut scatter)))
        .collect();
    heap.spend(scatter.len() * 64)?;
    scatter.read_near(heap.memory())?;
    let holding = asked
        .into_iter()
        .filter(|(_, proof, slots)| proof.holds_once(proof.vars, &scatter, *slots));
    Ok(holding.map(|(key, _, _)| key).collect())
}

/// Whether each of these carriers still has its context, and that still these variables.
fn still_carry(heap: &Heap, carriers: &[Carrier], which: &[usize], vars: Addr) -> Result<Vec<bool>, Fault> {
    let mut scatter = Scatter::new();
    let mut asked = Vec::with_capacity(which.len());
    for &index in which {
        let Some(carrier) = carriers.get(index) else { continue };
        let link = carrier.link.map(|link| scatter.push(link, 8));
        let context = scatter.push(carrier.context.offset(heap.offsets.context_vars), 8);
        asked.push((carrier, link, context));
    }
    heap.spend(scatter.len() * 8)?;
    scatter.read_near(heap.memory())?;
    let still = asked.into_iter().map(|(carrier, link, context)| {
        scatter.pointer(context, 0) == Some(vars)
            && link.is_none_or(|link| scatter.pointer(link, 0) == Some(carrier.context))
    });
    Ok(still.collect())
}
