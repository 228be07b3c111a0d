//! What the kernel is asked of the threads at a tick, and of which it need not be asked again. Knows nothing of contexts but
//! whether a thread went on.

use super::{ASKED_EVERY, Asked, NOTHING, TickReader};
use crate::model::{Addr, Nanos, State, ThreadIndex};
use crate::process::ThreadClock;
use crate::source::said::{LATELY, Said};

impl TickReader {
    /// Asks the kernel of the threads that matter at this tick.
    pub(super) fn ask_kernel(
        &mut self,
        words: &[Option<(Addr, u64)>],
        holder: Option<ThreadIndex>,
        at: Nanos,
        states: &mut Vec<Asked>,
    ) {
        let last_at = self.last_at;
        states.clear();
        for (thread, own) in self.threads.all.iter_mut().zip(words) {
            let in_context =
                own.is_some_and(|(context, _)| !context.is_null() && (context != thread.base || thread.base_is_named));
            thread.quiet = if in_context { 0 } else { thread.quiet.saturating_add(1) };
            thread.rests = false;
            let matters = thread.matters() || holder == Some(thread.index);
            if !matters {
                states.push(NOTHING);
                continue;
            }
            if thread.clock.is_none() {
                thread.clock = thread.tid.map(|tid| ThreadClock::open(self.plan.pid, tid));
            }
            let Some(clock) = &thread.clock else {
                states.push(NOTHING);
                continue;
            };
            // The account first: one that sleeps after it, and has the same number of runs later, slept all the time.
            let account = thread.account.take().or_else(|| clock.account());
            let runs = account.map(|(_, _, runs)| runs);
            if own.is_some_and(|own| own != thread.last) && at - last_at < LATELY {
                thread.went_on_at = at;
            }
            let runs_on = holder == Some(thread.index) && at - thread.went_on_at < LATELY;
            let slept = thread.slept.filter(|&(then, _)| runs == Some(then));
            let ask_again = (thread.asleep + 1).is_multiple_of(ASKED_EVERY);
            let said = match slept {
                Some((_, said)) if !ask_again => said,
                // One that has the GIL, and entered or left a context a moment ago, runs.
                _ if runs_on => Said::only(State::Runnable),
                _ => self.asker.ask(clock, thread.event_loop.as_ref()),
            };
            let sleeps = matches!(said.state, State::Syscall(_) | State::GilWait);
            thread.slept = runs.filter(|_| sleeps).map(|runs| (runs, said));
            thread.sleeps_at = said.sleeps_at.or(thread.sleeps_at);
            thread.rests = slept.is_some() && sleeps;
            let times = account.map(|(cpu, delay, _)| (cpu, delay));
            let lasts = thread.rests || said.state == State::Runnable;
            states.push(Asked {
                said,
                times,
                lasts,
                held: false,
            });
        }
    }

    /// otop itself held the worker at this tick: what each thread seems to do, it does not, and is no word on what it does
    /// when it goes on.
    pub(super) fn are_held(&mut self, states: &mut [Asked]) {
        for (thread, asked) in self.threads.all.iter_mut().zip(states) {
            thread.slept = None;
            thread.rests = false;
            asked.held = asked.said.state != State::Unknown;
        }
    }
}
