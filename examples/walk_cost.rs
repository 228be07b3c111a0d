//! What a walk over all tasks costs: `walk_cost PID SESSION_VARIABLE [WALKS]` walks a live worker, and prints the CPU
//! time of the first walk and of those that follow, in all and for each task; then what the looks between the walks cost.

use nix::time::{ClockId, clock_gettime};
use otop::identity::{Naming, Spec};
use otop::model::{Nanos, OwnCode, Pid};
use otop::sampler::monotonic;
use otop::source::{Attachment, Walker, attach};
use std::error::Error;
use std::time::Duration;

fn cpu() -> Nanos {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Nanos::ZERO, |t| Duration::from(t).into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (pid, variable) = (
        Pid(arguments.get(1).ok_or("PID")?.parse()?),
        arguments.get(2).ok_or("VARIABLE")?,
    );
    let walks: usize = arguments.get(3).map_or(Ok(20), |walks| walks.parse())?;
    let Attachment {
        plan,
        proved,
        lists,
        heap,
    } = attach(pid)?;
    let own = OwnCode::new(heap.library(&plan.runtime)?, Vec::new());
    let naming = Naming {
        session: vec![Spec::variable(variable)],
        ..Naming::default()
    };
    let mut walker = Walker::open(plan, proved, lists, naming, own)?;
    let mut took = Vec::new();
    let mut said = String::new();
    for _ in 0..=walks {
        let before = cpu();
        let census = walker.walk(monotonic).map_err(|broken| format!("{broken:?}"))?;
        took.push((cpu() - before).as_secs_f64() * 1e6);
        let read = census
            .sessions
            .iter()
            .filter(|session| session.reading.is_some())
            .count();
        said = format!(
            "{} tasks, {} sessions, of {read} it is known where they are, {} unreadable",
            census.tasks,
            census.sessions.len(),
            census.unreadable
        );
        took.last_mut()
            .into_iter()
            .for_each(|t| *t /= f64::from(census.tasks.max(1)));
    }
    println!("{said}");
    let first = took.remove(0);
    took.sort_by(f64::total_cmp);
    let at = |share: f64| {
        took.get((took.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    println!(
        "first walk {first:.2} µs a task; then median {:.2}, p90 {:.2}",
        at(0.5),
        at(0.9)
    );
    let (before, looks) = (cpu(), 400);
    for _ in 0..looks {
        walker.watch(monotonic).map_err(|broken| format!("{broken:?}"))?;
        std::thread::park_timeout(Duration::from_millis(5));
    }
    println!(
        "a look between walks {:.1} µs, its wake-up included",
        (cpu() - before).as_secs_f64() * 1e6 / f64::from(looks)
    );
    Ok(())
}
