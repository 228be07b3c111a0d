//! For how long, and for whom, a loop was held. Knows nothing of CPU clocks' sums, of blocks, or of windows.

use super::moment::{Moment, session_of, waits_for_events};
use super::tally::ThreadTally;
use crate::model::{Sample, StackSample, State};

/// Whether a loop thread does or waits for something else than events. A loop that is in no step and asleep in select is
/// idle; but one that waits for the GIL has events and may not look at them.
pub(super) fn is_busy(sample: &Sample, clock_moved: bool) -> bool {
    sample.step.is_some()
        || match sample.state {
            State::Runnable | State::GilWait | State::Stopped => true,
            State::Syscall(number) => !waits_for_events(number),
            State::Unknown => clock_moved,
        }
}

/// The same of a stack. Without a state nothing is known of a loop between steps.
pub(super) fn is_stack_busy(stack: &StackSample) -> bool {
    stack.in_step
        || match stack.state {
            State::Runnable | State::GilWait | State::Stopped => true,
            State::Syscall(number) => !waits_for_events(number),
            State::Unknown => false,
        }
}

/// Books one sample of a loop thread; `clock_moved` since the sample before.
pub(super) fn observe(moment: &Moment<'_>, clock_moved: bool, tally: &mut ThreadTally) {
    let period = moment.period.0 as f64;
    let excess = moment.excess();
    tally.observed += period + excess;
    tally.elapsed += moment.gap().0 as f64;

    let busy = is_busy(moment.sample, clock_moved);
    let in_step_of = moment.sample.step.and_then(|_| session_of(moment.sample.owner));
    if busy {
        tally.held.add(in_step_of, period);
    }
    if excess > 0.0 {
        if moment.same_step_as_before() {
            tally.held.add(in_step_of, excess);
        } else {
            // What happened meanwhile is not known, and belongs to nobody: as busy as its two ends.
            let was_busy = moment.before.is_some_and(|before| is_busy(&before.sample, clock_moved));
            let ends = f64::from(u8::from(was_busy) + u8::from(busy)) / 2.0;
            tally.held.add(None, excess * ends);
        }
    }
}
