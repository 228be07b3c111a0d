//! What the kernel says that a thread does, in the words of the model. Knows nothing of contexts and frames.

use super::attach::Plan;
use crate::asyncio::EventLoop;
use crate::cpython::GIL_EXTENT;
use crate::model::State;
use crate::process::{Doing, ThreadClock};
use std::ops::Range;

/// `futex` of x86-64, in which a thread waits for the GIL.
const FUTEX: i32 = 202;
/// `epoll_wait`, `epoll_pwait`, `epoll_pwait2`, in which a loop waits for something to do.
const EPOLL_WAITS: [i32; 3] = [232, 281, 441];

/// What a thread does.
#[derive(Clone, Copy)]
pub(super) struct Said {
    pub state: State,
    /// It sleeps in its own loop's selector.
    pub selects: bool,
    /// Its stack pointer there.
    pub sleeps_at: Option<u64>,
}

impl Said {
    /// Of a thread that does not sleep in a selector.
    pub const fn only(state: State) -> Said {
        Said {
            state,
            selects: false,
            sleeps_at: None,
        }
    }
}

/// Asks the kernel.
pub(super) struct Asker {
    /// Where the GIL's own condition variables and mutexes stand.
    gil: Range<u64>,
}

impl Asker {
    pub fn new(plan: &Plan) -> Asker {
        let gil = plan.runtime.gil_last_holder.0;
        Asker {
            gil: gil.saturating_sub(16)..gil.saturating_add(GIL_EXTENT),
        }
    }

    /// What the thread does now. `event_loop` is the one that it runs.
    pub fn ask(&self, clock: &ThreadClock, event_loop: Option<&EventLoop>) -> Said {
        let doing = clock.doing();
        let selector = event_loop.and_then(|l| l.selector);
        match doing {
            Some(Doing::Runnable) => Said::only(State::Runnable),
            Some(Doing::Syscall {
                number: FUTEX, first, ..
            }) if self.gil.contains(&first) => Said::only(State::GilWait),
            Some(Doing::Syscall {
                number, first, stack, ..
            }) => {
                let selects = EPOLL_WAITS.contains(&number) && Some(first) == selector;
                Said {
                    state: State::Syscall(number),
                    selects,
                    sleeps_at: selects.then_some(stack),
                }
            }
            Some(Doing::Asleep) => Said::only(State::Syscall(-1)),
            None => Said::only(State::Unknown),
        }
    }
}
