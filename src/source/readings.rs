//! What sessions run or wait for, for the table: of each session one task, of that task the innermost line of own code.
//! Knows nothing of how tasks are found and whose they are.
//!
//! A session with several tasks shows the one that says most: one that runs; else the oldest whose chain has own code;
//! else the oldest. What a task waits in is remembered as long as it waits for the same future: then only the link
//! that is shown is read again, and shown only if it still stands where it stood.

use crate::asyncio::{Chain, ChainReader, End, Link, Task, task_numbers};
use crate::cpython::{CoroutineState, FrameWalk, Heap, RawStack, Runtime, Stacks, ThreadState};
use crate::memory::{AddrMap, Fault};
use crate::model::{Addr, Frame, OwnCode, Owner, Reading, SessionKey};
use std::collections::HashMap;
use std::sync::Arc;

/// Of a session's tasks so many are looked into until one has own code.
const CANDIDATES: usize = 8;

/// Follows what tasks wait in, from walk to walk.
pub(super) struct Readings {
    chains: ChainReader,
    stacks: Stacks,
    frames: FrameWalk,
    own: OwnCode,
    known: AddrMap<Known>,
    look: u32,
}

/// What is remembered of a task.
struct Known {
    coroutine: Addr,
    name: Addr,
    /// The N of `Task-N`: tasks without a name of their own are numbered as they are made.
    number: Option<u64>,
    /// The look at which it was there last.
    seen: u32,
    /// What it waited for when `at` was read.
    waiter: Addr,
    at: Option<At>,
}

#[derive(Clone)]
struct At {
    link: Link,
    frame: Arc<Frame>,
    is_own: bool,
}

/// A session's tasks, and how far they have been looked into.
struct Session {
    key: SessionKey,
    /// Its tasks, in the order in which they are candidates: a stretch of the list of all.
    next: usize,
    end: usize,
    /// The first candidate that could be read, for when none has own code.
    fallback: Option<usize>,
    chosen: Option<usize>,
}

impl Readings {
    pub fn new(heap: &Heap, own: OwnCode) -> Readings {
        Readings {
            chains: ChainReader::new(heap),
            stacks: Stacks::new(),
            frames: FrameWalk::new(&heap.offsets, heap.version),
            own,
            known: AddrMap::default(),
            look: 0,
        }
    }

    /// Forgets what is remembered by address; to be called now and then.
    pub fn forget(&mut self) {
        self.known.clear();
        self.chains.forget();
        self.stacks.look_again();
    }

    /// What each session runs or waits for; a session that is missing could not be read. `loops` are the threads that
    /// run one.
    pub fn look(
        &mut self,
        heap: &Heap,
        runtime: &Runtime,
        tasks: &[Task],
        owners: &[Owner],
        loops: &[ThreadState],
    ) -> Result<HashMap<SessionKey, Reading>, Fault> {
        self.look = self.look.wrapping_add(1);
        let candidates = self.candidates(heap, tasks, owners, loops)?;
        let mut sessions = sessions(&candidates);
        let fresh = self.choose(heap, tasks, &candidates, &mut sessions)?;
        self.check_remembered(heap, tasks, &sessions, &fresh)?;
        let mut readings = HashMap::with_capacity(sessions.len());
        for session in &sessions {
            let task = session.chosen.or(session.fallback).and_then(|index| tasks.get(index));
            let Some((task, At { link, frame, .. })) = task.and_then(|task| Some((task, self.at(task)?.clone())))
            else {
                continue;
            };
            let (frame, state) = match (link.state, task.waiter) {
                (CoroutineState::Executing, _) => {
                    let running = self.running(heap, runtime, task, loops);
                    (running.unwrap_or(frame), "running")
                }
                (_, Addr::NULL) => (frame, "ready"),
                _ => (frame, "waiting"),
            };
            readings.insert(
                session.key,
                Reading {
                    function: Arc::clone(&frame.function),
                    file: Arc::clone(&frame.file),
                    line: frame.line,
                    state,
                },
            );
        }
        Ok(readings)
    }

    /// The tasks of sessions, by session, and of each session in the order in which they are looked into: first what may
    /// run, then by age.
    fn candidates(
        &mut self,
        heap: &Heap,
        tasks: &[Task],
        owners: &[Owner],
        loops: &[ThreadState],
    ) -> Result<Vec<(SessionKey, usize)>, Fault> {
        let look = self.look;
        let mut of_sessions: Vec<(SessionKey, usize)> = Vec::with_capacity(tasks.len());
        for (index, (task, owner)) in tasks.iter().zip(owners).enumerate() {
            let Owner::Session(key) = owner else { continue };
            of_sessions.push((*key, index));
            let fresh = || Known {
                coroutine: task.coroutine,
                name: task.name,
                number: None,
                seen: look,
                waiter: Addr::NULL,
                at: None,
            };
            let known = self.known.entry(task.address).or_insert_with(fresh);
            if (known.coroutine, known.name) != (task.coroutine, task.name) {
                *known = fresh();
            }
            known.seen = look;
        }
        self.known.retain(|_, known| known.seen == look);
        of_sessions.sort_unstable();
        // Only where there is a choice does it matter which is older.
        let has_choice = |place: usize| {
            let key = |place: usize| of_sessions.get(place).map(|&(key, _)| key);
            key(place) == key(place + 1) || (place > 0 && key(place) == key(place - 1))
        };
        let with_choice = (0..of_sessions.len()).filter(|&place| has_choice(place));
        let with_choice: Vec<&Task> = with_choice
            .filter_map(|place| tasks.get(of_sessions.get(place)?.1))
            .collect();
        let unnumbered: Vec<&Task> = with_choice
            .into_iter()
            .filter(|task| {
                self.known
                    .get(&task.address)
                    .is_some_and(|known| known.number.is_none())
            })
            .collect();
        let names: Vec<Addr> = unnumbered.iter().map(|task| task.name).collect();
        for (task, number) in unnumbered.iter().zip(task_numbers(heap, &names)?) {
            if let Some(known) = self.known.get_mut(&task.address) {
                // One with a name of its own has no number: it comes last.
                known.number = Some(number.unwrap_or(u64::MAX));
            }
        }
        let order = |&(key, index): &(SessionKey, usize)| {
            let Some(task) = tasks.get(index) else {
                return (key, true, u64::MAX, Addr::NULL);
            };
            // A thread's context is that of the task that runs there, or of one that shares it.
            let may_run = task.waiter.is_null() && loops.iter().any(|thread| thread.context == task.context);
            let number = self.known.get(&task.address).and_then(|known| known.number);
            (key, !may_run, number.unwrap_or(u64::MAX), task.address)
        };
        of_sessions.sort_by_cached_key(order);
        Ok(of_sessions)
    }

    /// Looks into the candidates until each session has one that has own code, all sessions at once. Returns the tasks
    /// whose chains were read for it.
    fn choose(
        &mut self,
        heap: &Heap,
        tasks: &[Task],
        candidates: &[(SessionKey, usize)],
        sessions: &mut [Session],
    ) -> Result<Vec<bool>, Fault> {
        let mut fresh = vec![false; tasks.len()];
        for _ in 0..=CANDIDATES {
            let mut to_read: Vec<usize> = Vec::new();
            for session in sessions.iter_mut().filter(|session| session.chosen.is_none()) {
                while let Some(&(_, index)) = candidates.get(session.next).filter(|_| session.next < session.end) {
                    let Some(task) = tasks.get(index) else { break };
                    let is_fresh = fresh.get(index) == Some(&true);
                    let known = self.known.get(&task.address).filter(|known| {
                        is_fresh || (known.at.is_some() && !task.waiter.is_null() && known.waiter == task.waiter)
                    });
                    let Some(known) = known else {
                        to_read.push(index);
                        break;
                    };
                    session.next += 1;
                    match &known.at {
                        Some(at) if at.is_own || at.link.state == CoroutineState::Executing => {
                            session.chosen = Some(index);
                            break;
                        }
                        Some(_) if session.fallback.is_none() => session.fallback = Some(index),
                        _ => {}
                    }
                }
            }
            if to_read.is_empty() {
                break;
            }
            self.read(heap, tasks, &to_read)?;
            for index in to_read {
                if let Some(fresh) = fresh.get_mut(index) {
                    *fresh = true;
                }
            }
        }
        Ok(fresh)
    }

    /// Reads what these tasks wait in.
    fn read(&mut self, heap: &Heap, tasks: &[Task], which: &[usize]) -> Result<(), Fault> {
        let of: Vec<&Task> = which.iter().filter_map(|&index| tasks.get(index)).collect();
        let coroutines: Vec<Addr> = of.iter().map(|task| task.coroutine).collect();
        // What is read here of a page's copy is held against the worker's memory below.
        heap.keep_pages(true);
        let chains = self.chains.read(heap, &coroutines);
        heap.keep_pages(false);
        let chains = chains?;
        let holding = self.chains.holding(heap, chains.iter())?;
        let codes = || {
            chains
                .iter()
                .flat_map(|chain: &Chain| chain.links.iter().map(|l| l.raw.code))
        };
        self.stacks.look_again();
        self.stacks.codes().check(heap, codes(), false)?;
        for ((task, chain), holds) in of.into_iter().zip(&chains).zip(holding) {
            let at = match holds && chain.end != End::Unreadable {
                true => self.place(heap, chain),
                false => None,
            };
            if let Some(known) = self.known.get_mut(&task.address) {
                (known.waiter, known.at) = (task.waiter, at);
            }
        }
        Ok(())
    }

    /// The link to show.
    fn place(&mut self, heap: &Heap, chain: &Chain) -> Option<At> {
        let codes = self.stacks.codes();
        let frames = chain.links.iter().rev().map(|link| codes.frame(heap, &link.raw));
        let frames: Vec<Arc<Frame>> = frames.collect::<Result<_, _>>().ok()?;
        let place = self.own.place(&frames)?;
        let link = *chain.links.iter().rev().nth(place)?;
        let frame = frames.into_iter().nth(place)?;
        let is_own = self.own.is_own(&frame.file);
        Some(At { link, frame, is_own })
    }

    /// Reads again what was remembered and is to be shown; what has moved on is read anew.
    fn check_remembered(
        &mut self,
        heap: &Heap,
        tasks: &[Task],
        sessions: &[Session],
        fresh: &[bool],
    ) -> Result<(), Fault> {
        let shown = sessions
            .iter()
            .filter_map(|session| session.chosen.or(session.fallback));
        let remembered = shown.filter(|&index| fresh.get(index) == Some(&false));
        let (remembered, links): (Vec<usize>, Vec<Link>) = remembered
            .filter_map(|index| Some((index, self.at(tasks.get(index)?)?.link)))
            .unzip();
        let still = self.chains.still_at(heap, &links)?;
        let moved = remembered.into_iter().zip(still).filter(|(_, still)| !still);
        let moved: Vec<usize> = moved.map(|(index, _)| index).collect();
        match moved.is_empty() {
            true => Ok(()),
            false => self.read(heap, tasks, &moved),
        }
    }

    fn at(&self, task: &Task) -> Option<&At> {
        self.known.get(&task.address)?.at.as_ref()
    }

    /// The line that a running task is at: of its thread's stack, if that did not change while it was read.
    fn running(&mut self, heap: &Heap, runtime: &Runtime, task: &Task, loops: &[ThreadState]) -> Option<Arc<Frame>> {
        let thread = loops.iter().find(|thread| thread.context == task.context)?;
        let mut raw = RawStack::default();
        self.frames.walk(heap.memory(), thread.address, &mut raw).ok()?;
        let mut again = RawStack::default();
        self.frames.walk(heap.memory(), thread.address, &mut again).ok()?;
        let words = heap.word(thread.address, heap.offsets.tstate_context + 8).ok()?;
        if raw.frames != again.frames || words != thread.context_version {
            return None;
        }
        let generation = heap.code_generation(runtime).ok()?;
        let stack = self.stacks.resolve(heap, runtime, &raw, generation).ok()?;
        let place = self.own.place(&stack.frames)?;
        stack.frames.get(place).map(Arc::clone)
    }
}

/// The stretches of the list that belong to one session each.
fn sessions(candidates: &[(SessionKey, usize)]) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for (place, &(key, _)) in candidates.iter().enumerate() {
        match sessions.last_mut() {
            Some(session) if session.key == key => {
                // Looking into all tasks of a session with a thousand of them would take too long.
                if session.end - session.next < CANDIDATES {
                    session.end = place + 1;
                }
            }
            _ => sessions.push(Session {
                key,
                next: place,
                end: place + 1,
                fallback: None,
                chosen: None,
            }),
        }
    }
    sessions
}
