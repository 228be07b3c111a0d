//! The master of a pool: it has imported asyncio and runs no loop, for the processes that it started do (`uvicorn --workers`).
//! Who is meant instead. Knows nothing of how it is said.

use crate::model::{Pid, Report};
use crate::process::candidates::pythons_below;
use crate::source::error::started;

/// That no loop runs, with the Pythons below, and the command for them; None: a loop runs, or there is nobody below.
pub fn hint(pid: Pid, report: &Report) -> Option<(String, String)> {
    if !report.worker.loops.is_empty() {
        return None;
    }
    told(pid, &pythons_below(pid))
}

fn told(pid: Pid, pythons: &[Pid]) -> Option<(String, String)> {
    let fact = format!("asyncio is imported, and no loop runs{}", started(pythons));
    match pythons {
        [] => None,
        [one] => Some((fact, format!("otop --pid {one}"))),
        _ => Some((fact, format!("otop --pid {pid} --children"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_below_is_said_with_the_command_for_them() {
        assert_eq!(told(Pid(7), &[]), None);
        let (fact, way) = told(Pid(7), &[Pid(8)]).expect("one is below");
        assert!(fact.ends_with("no loop runs; process 8 below it is Python"), "{fact}");
        assert_eq!(way, "otop --pid 8");
        let (fact, way) = told(Pid(7), &[Pid(8), Pid(9), Pid(10)]).expect("three are");
        assert!(fact.ends_with("process 8 and 2 more below it are Python"), "{fact}");
        assert_eq!(way, "otop --pid 7 --children");
    }
}
