//! What the arguments of `otop dump` mean. Decides, and does nothing.

use super::arguments::DumpArguments;
use crate::cli::plan::{Measuring, Plan, SLOW_WINDOW, WINDOW, Work, process};
use crate::model::DumpAsked;
use std::time::Duration;

/// `otop dump`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dumping {
    pub json: bool,
    /// Which sessions.
    pub asked: DumpAsked,
    /// Nothing is measured; this has what is own code.
    pub measuring: Measuring,
}

pub fn plan(arguments: DumpArguments) -> Plan {
    let (target, naming) = process(arguments.process);
    let dumping = Dumping {
        json: arguments.json,
        asked: DumpAsked {
            session: arguments.session,
            agent: arguments.agent,
            tenant: arguments.tenant,
        },
        measuring: Measuring {
            rate_hz: 0.0,
            stack_rate_hz: 0.0,
            bpf: true,
            own: arguments.own,
            window: WINDOW,
            slow_threshold: Duration::ZERO,
            slow_window: SLOW_WINDOW,
            pauses: arguments.pause,
        },
    };
    Plan {
        target,
        naming,
        work: Work::Dump(dumping),
    }
}
