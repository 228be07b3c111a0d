//! Which loops make no progress: one cheap look at all of them, some forty times a second, between the walks. Knows
//! nothing of who waits for such a loop, nor of blocks: those are judged by the ticks.
//!
//! A loop is stuck if it stood where it stands at the look before, and at neither look was idle. So every block of twice
//! the time between two looks is noticed while it lasts, and a loop that only waits for something to do never is.

use super::attach::Plan;
use super::threads::{find_tid, thread_index};
use super::ticks::{EPOLL_WAITS, FUTEX, gil_extent};
use crate::asyncio::{DEQUE_HEAD, EventLoop, ReadyWords};
use crate::cpython::{CONTEXT_WORDS, Heap, ThreadState, word_at};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, LoopKind, Nanos, ThreadIndex};
use crate::process::{Doing, ThreadClock};

/// Two looks that are closer together than this are one.
const APART: Nanos = Nanos(15_000_000);
/// While a loop is stuck, who waits for it is asked after this time again, then after twice that, …
const FIRST_AGAIN: Nanos = Nanos(25_000_000);
/// … and at last every so often.
const AGAIN: Nanos = Nanos(100_000_000);

/// Follows the loops of one worker.
#[derive(Default)]
pub(super) struct LoopWatch {
    watched: Vec<Watched>,
    scatter: Scatter,
}

struct Watched {
    event_loop: EventLoop,
    thread: ThreadState,
    clock: Option<ThreadClock>,
    /// Where it stood at the last look at which it was not idle, and since when it has stood there.
    stood: Option<(Standing, Nanos)>,
    /// When who waits is to be asked next, and after what time then.
    next: Nanos,
    pause: Nanos,
}

/// What moves with every step.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    context: Addr,
    version: u64,
    /// Handles taken from the queue: tells steps apart also where a step enters contexts itself. Stock asyncio only:
    /// uvloop's timers and sockets bypass the queue.
    taken: Option<u64>,
}

impl Standing {
    fn is_same(&self, other: &Standing) -> bool {
        match (self.taken, other.taken) {
            (Some(before), Some(now)) => before == now,
            _ => (self.context, self.version) == (other.context, other.version),
        }
    }
}

/// A loop that is stuck, and whose turn it is to be asked who waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stuck {
    pub event_loop: EventLoop,
    pub thread: ThreadIndex,
}

impl LoopWatch {
    /// The loops that run, as the last walk saw them.
    pub fn follow(&mut self, plan: &Plan, heap: &Heap, loops: &[(EventLoop, ThreadState)]) {
        self.watched.retain(|watched| {
            let same = |(event_loop, thread): &(EventLoop, ThreadState)| {
                *event_loop == watched.event_loop && thread.id == watched.thread.id
            };
            loops.iter().any(same)
        });
        for (event_loop, thread) in loops {
            if self.watched.iter().any(|watched| watched.event_loop == *event_loop) {
                continue;
            }
            let tid = find_tid(plan, heap, thread);
            self.watched.push(Watched {
                event_loop: *event_loop,
                thread: *thread,
                clock: tid.map(|tid| ThreadClock::open(plan.pid, tid)),
                stood: None,
                next: Nanos::ZERO,
                pause: FIRST_AGAIN,
            });
        }
    }

    /// Looks at all loops. Returns those that are stuck, and for which it is time to ask who waits.
    pub fn look(&mut self, plan: &Plan, heap: &Heap, now: Nanos) -> Result<Vec<Stuck>, Fault> {
        self.scatter.clear();
        for watched in &self.watched {
            let words = watched.thread.address.offset(heap.offsets.tstate_context);
            self.scatter.push(words, CONTEXT_WORDS);
            // Where there is no queue, the words once more: each loop has two slots.
            match watched.event_loop.ready {
                Some(ready) => self.scatter.push(ready, DEQUE_HEAD),
                None => self.scatter.push(words, CONTEXT_WORDS),
            };
        }
        heap.spend(self.watched.len() * (CONTEXT_WORDS + DEQUE_HEAD))?;
        self.scatter.read_each(heap.memory())?;
        let mut stuck = Vec::new();
        for (index, watched) in self.watched.iter_mut().enumerate() {
            let own = |bytes: &&[u8]| word_at(bytes, 16) == watched.thread.id;
            let Some(words) = self.scatter.bytes(2 * index).filter(own) else {
                watched.stood = None;
                continue;
            };
            let counts = watched.event_loop.kind == LoopKind::Asyncio && watched.event_loop.ready.is_some();
            let queue = self.scatter.bytes(2 * index + 1).filter(|_| counts);
            let standing = Standing {
                context: Addr(word_at(words, 0)),
                version: word_at(words, 8),
                taken: queue.and_then(|head| ReadyWords::of_deque(heap, head)?.taken),
            };
            if watched.is_stuck(plan, heap, standing, now) && now >= watched.next {
                watched.next = now + watched.pause;
                watched.pause = Nanos((2 * watched.pause.0).min(AGAIN.0));
                stuck.push(Stuck {
                    event_loop: watched.event_loop,
                    thread: thread_index(&watched.thread),
                });
            }
        }
        Ok(stuck)
    }
}

impl Watched {
    fn is_stuck(&mut self, plan: &Plan, heap: &Heap, standing: Standing, now: Nanos) -> bool {
        let since = match self.stood {
            Some((stood, since)) if stood.is_same(&standing) => since,
            _ => {
                // It moved: whether it is idle now is asked only if it is still here at the next look.
                self.stood = Some((standing, now));
                self.next = now;
                self.pause = FIRST_AGAIN;
                return false;
            }
        };
        if self.is_idle(plan, heap, standing.context) {
            // What it is woken for later stands here too, and is no older than this.
            self.stood = Some((standing, now));
            self.next = now;
            self.pause = FIRST_AGAIN;
            return false;
        }
        self.stood = Some((standing, since));
        now - since >= APART
    }

    /// It waits for something to do: asleep in its own selector. Where that is not known: asleep in no step.
    fn is_idle(&self, plan: &Plan, heap: &Heap, context: Addr) -> bool {
        let in_step = || !context.is_null() && heap.context(context).is_ok_and(|words| words.entered);
        match self.clock.as_ref().and_then(ThreadClock::doing) {
            Some(Doing::Runnable) => false,
            // Finished with waiting, and waits for the GIL: it wants to go on.
            Some(Doing::Syscall {
                number: FUTEX, first, ..
            }) if gil_extent(&plan.runtime).contains(&first) => false,
            Some(Doing::Syscall { number, first, .. }) => match self.event_loop.selector {
                Some(selector) => EPOLL_WAITS.contains(&number) && first == selector,
                None => !in_step(),
            },
            Some(Doing::Asleep) | None => !in_step(),
        }
    }
}
