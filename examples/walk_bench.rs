//! What the walk over all tasks costs: `walk_bench PID VARIABLE SECONDS` watches a worker as otop does, and prints one JSON
//! object: tasks, walks, the walker's CPU for each task, the ticks that were got and those that were missed, and the RSS.

use otop::identity::Spec;
use otop::model::{Observation, Pid};
use otop::sampler::{AttachOptions, Attached, attach};
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [pid, variable, seconds] = &words[..] else {
        return Err("PID VARIABLE SECONDS".into());
    };
    let options = AttachOptions {
        rate_hz: 1000.0,
        stack_rate_hz: Some(100.0),
        session_from: vec![Spec::variable(variable)],
        agent_from: Vec::new(),
        tenant_from: Vec::new(),
        own: Vec::new(),
        dumps: false,
    };
    let Attached { observations, stop, .. } = attach(Pid(pid.parse()?), &options)?;
    // The first walk meets everything for the first time; it is none of those that follow.
    let (mut walks, mut tasks, mut ticks, mut missed, mut longest) = (0u64, 0u64, 0u64, 0u64, Duration::ZERO);
    let mut from: Option<(Instant, f64)> = None;
    let length = Duration::from_secs_f64(seconds.parse()?);
    while from.is_none_or(|(began, _)| began.elapsed() < length) {
        match observations.recv_timeout(Duration::from_secs(30))? {
            Observation::Census(census) if from.is_none() => {
                tasks = u64::from(census.tasks);
                from = Some((Instant::now(), cpu_of("otop-walker")?));
            }
            Observation::Census(census) => {
                walks += 1;
                longest = longest.max(Duration::from_nanos(census.took.0));
            }
            Observation::Batch(batch) if from.is_some() => {
                ticks += batch.ticks.len() as u64;
                missed += u64::from(batch.missed);
            }
            Observation::Ended(ending) => return Err(format!("{ending:?}").into()),
            _ => {}
        }
    }
    let used = cpu_of("otop-walker")? - from.map_or(0.0, |(_, cpu)| cpu);
    let wall = from.map_or(0.0, |(began, _)| began.elapsed().as_secs_f64());
    println!(
        "{}",
        serde_json::json!({
            "tasks": tasks,
            "walks": walks,
            "us_per_task": used * 1e6 / (walks * tasks).max(1) as f64,
            "longest_walk_ms": longest.as_secs_f64() * 1e3,
            "hz_got": ticks as f64 / wall,
            "missed": missed,
            "rss_mb": status_kb("VmHWM:")? / 1024.0,
        })
    );
    drop(stop);
    Ok(())
}

/// CPU seconds of the thread of this name.
fn cpu_of(name: &str) -> Result<f64, Box<dyn Error>> {
    for thread in fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        if fs::read_to_string(path.join("comm"))?.trim_end() == name {
            let text = fs::read_to_string(path.join("schedstat"))?;
            let nanos: f64 = text.split(' ').next().unwrap_or_default().parse()?;
            return Ok(nanos / 1e9);
        }
    }
    Err(format!("there is no thread {name}").into())
}

fn status_kb(name: &str) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
