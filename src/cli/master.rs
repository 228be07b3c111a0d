//! The master of a pool: it has imported asyncio and runs no loop (`uvicorn --workers`), or one without sessions
//! (gunicorn's, for its control socket), for the processes that it started have them. Who is meant instead. Knows nothing
//! of how it is said.

use crate::model::{Pid, Report, TASKS};
use crate::process::candidates::pythons_below;
use crate::source::error::started;

/// That no session is here, with the Pythons below, and the command for them; None: there are sessions, or nobody is below.
pub fn hint(pid: Pid, report: &Report) -> Option<(String, String)> {
    let lacks = match (&report.worker.loops[..], report.worker.session_from.as_deref()) {
        ([], _) => "asyncio is imported, and no loop runs",
        (_, Some(TASKS)) => "nothing names sessions in this process",
        _ if report.sessions.is_empty() => "no session is in this process",
        _ => return None,
    };
    told(pid, lacks, &pythons_below(pid))
}

fn told(pid: Pid, lacks: &str, pythons: &[Pid]) -> Option<(String, String)> {
    let fact = format!("{lacks}{}", started(pythons));
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
        let told = |pythons: &[Pid]| told(Pid(7), "no loop runs", pythons);
        assert_eq!(told(&[]), None);
        let (fact, way) = told(&[Pid(8)]).expect("one is below");
        assert!(fact.ends_with("no loop runs; process 8 below it is Python"), "{fact}");
        assert_eq!(way, "otop --pid 8");
        let (fact, way) = told(&[Pid(8), Pid(9), Pid(10)]).expect("three are");
        assert!(fact.ends_with("process 8 and 2 more below it are Python"), "{fact}");
        assert_eq!(way, "otop --pid 7 --children");
    }
}
