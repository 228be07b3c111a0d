//! What the two reads of a tick ask for, and in which slots it will be. Knows nothing of what is concluded.

use super::{Asked, Check, InFirst, QueueRead, TickReader};
use crate::asyncio::{DEQUE_HEAD, ReadyWords};
use crate::cpython::CONTEXT_HEAD;
use crate::model::Addr;
use crate::source::foreseen::ForeseenSlots;
use crate::source::still::Words;

impl TickReader {
    /// Asks for the first read: of each loop its words, what stands around them, and its words once more. A loop that stood in
    /// one step at the last two ticks is likely to stand there now: what proves that comes along, and spares the second read.
    /// Where steps are short, the contexts come along in which it is likely to be.
    pub(super) fn push_first(&mut self, queues: &mut Vec<QueueRead>) {
        self.first.begin();
        let at = self.first.at;
        queues.clear();
        for (slot, thread) in self.threads.all.iter_mut().enumerate() {
            let Some(event_loop) = thread.event_loop else { continue };
            let first = &mut self.first.scatter;
            let context = thread.last.0;
            let before = at.push(thread.state.address, first);
            let stands = thread.stands && !thread.last_idle && !context.is_null();
            let early = stands.then(|| {
                let head = first.push(context, CONTEXT_HEAD);
                (head, self.owners.push_proofs(context, first))
            });
            let foreseen = match stands {
                true => ForeseenSlots::default(),
                false => thread.foreseen.push(first),
            };
            let libuv = event_loop.libuv.filter(|_| !foreseen.is_empty());
            queues.push(QueueRead {
                thread: slot,
                before,
                early,
                foreseen,
                callback: libuv.zip(thread.sleeps_at).map(|(libuv, at)| libuv.push(at, first)),
                ready: event_loop.ready.map(|ready| first.push(ready, DEQUE_HEAD)),
                turns: event_loop.turns.map(|turns| first.push(turns, 8)),
            });
            self.first.push_loop(thread);
        }
    }

    /// The loop's thread was in one and the same step while all of it was read.
    fn stood(&self, queue: &QueueRead) -> bool {
        let words = |words: Option<Words>| words.map(|words| (words.context, words.version));
        let counting = words(self.first.words(queue.thread));
        counting.is_some() && words(self.first.at.take(&self.first.scatter, queue.before)) == counting
    }

    /// Handles taken from the thread's queue, and libuv's turns, where they were read in the same step as its words.
    pub(super) fn queue_words(&self, queue: &QueueRead) -> (Option<u64>, Option<u64>) {
        if !self.stood(queue) {
            return (None, None);
        }
        let first = &self.first.scatter;
        let ready = queue.ready.and_then(|slot| first.bytes(slot));
        let taken = ready.and_then(|head| ReadyWords::of_deque(&self.heap, head)?.taken);
        (taken, queue.turns.and_then(|slot| first.u64(slot, 0)))
    }

    /// Collects the second read: of each thread that is in a context which was entered, or may be.
    pub(super) fn push_checks(
        &mut self,
        words: &[Option<(Addr, u64)>],
        queues: &[QueueRead],
        states: &[Asked],
        checks: &mut Vec<Check>,
    ) {
        self.second.clear();
        checks.clear();
        for (slot, (thread, own)) in self.threads.all.iter().zip(words).enumerate() {
            let Some((context, version)) = *own else { continue };
            // The same words as at the last tick, when they were those of no step: nothing was entered since.
            // Only a loop's: in another thread `ContextVar.set` may name a session in the base context itself.
            let idle = thread.last_idle && thread.last == (context, version) && thread.event_loop.is_some();
            if context.is_null() || idle {
                continue;
            }
            let queue = queues.iter().find(|queue| queue.thread == slot);
            let stood = queue.filter(|queue| self.stood(queue));
            // Not where it slept only lately: it may have gone to sleep in another step, since the first read.
            if thread.last == (context, version)
                && states.get(slot).is_some_and(|asked| asked.lasts)
                && let Some((queue, (context, proofs))) = stood.and_then(|queue| Some((queue, queue.early?)))
            {
                checks.push(Check {
                    thread: slot,
                    in_first: InFirst::All,
                    context: (context, 0),
                    proofs,
                    gil: None,
                    callback: None,
                    words: queue.before,
                    end: queue.before,
                });
                continue;
            }
            // What libuv runs is asked for once in each context: as long as that is not left, it cannot change.
            let is_another = thread.last != (context, version);
            let of_step = stood.and_then(|queue| Some((queue, queue.foreseen.of(context, &self.first.scatter)?)));
            let (in_first, context_at, callback, words) = match of_step {
                Some((queue, at)) => {
                    let callback = queue.callback.filter(|_| is_another);
                    (InFirst::Context, at, callback, queue.before)
                }
                None => {
                    let second = &mut self.second;
                    let head = second.push(context, CONTEXT_HEAD);
                    let libuv = thread.event_loop.and_then(|l| l.libuv).filter(|_| is_another);
                    let callback = libuv.zip(thread.sleeps_at).map(|(libuv, at)| libuv.push(at, second));
                    let words = self.first.at.push(thread.state.address, second);
                    (InFirst::Nothing, (head, 0), callback, words)
                }
            };
            // What the variables say is the same for as long as they live: it may be read when the step is over.
            let proofs = self.owners.push_proofs(context, &mut self.second);
            let is_new = self.owners.is_new(context);
            let gil = is_new.then(|| self.first.push_gil(&mut self.second));
            checks.push(Check {
                thread: slot,
                in_first,
                context: context_at,
                proofs,
                gil,
                callback,
                words,
                end: self.first.at.push(thread.state.address, &mut self.second),
            });
        }
    }
}
