//! What otop's threads cost beside a thread that only sleeps to as many wake-ups, in the same seconds: `cost_bench PID
//! VARIABLE [--rate HZ] [--stack-rate HZ] [--seconds S] [--rounds N]`. Start it with `chrt -f 1`, so that the sleeper has
//! the class of the others. Prints CPU per wake-up of each thread, and its ratio to the sleeper's.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use otop::identity::Spec;
use otop::model::{Observation, Pid};
use otop::sampler::{AttachOptions, Attached, attach, monotonic};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut rate, mut stack_rate, mut seconds, mut rounds) = (1000.0, 100.0, 2.0, 5);
    let mut words = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--rate" => rate = value()?.parse()?,
            "--stack-rate" => stack_rate = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            "--rounds" => rounds = value()?.parse()?,
            _ => words.push(argument),
        }
    }
    let [pid, variable] = &words[..] else {
        return Err("usage: cost_bench PID VARIABLE".into());
    };
    let options = AttachOptions {
        rate_hz: rate,
        stack_rate_hz: Some(stack_rate).filter(|rate| *rate > 0.0),
        session_from: vec![Spec::variable(variable)],
        agent_from: Vec::new(),
        tenant_from: Vec::new(),
        own: Vec::new(),
        dumps: false,
    };
    let Attached { observations, stop, .. } = attach(Pid(pid.parse()?), &options)?;
    std::thread::Builder::new()
        .name("sleeper".to_string())
        .spawn(move || sleep_only(rate))?;
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let wait = |seconds: f64| -> Result<(), Box<dyn Error>> {
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < seconds {
            if let Observation::Ended(ending) = observations.recv()? {
                return Err(format!("{ending:?}").into());
            }
        }
        Ok(())
    };
    wait(0.5)?;
    for _ in 0..rounds {
        let (before, begin) = (cpu_of_threads()?, Instant::now());
        wait(seconds)?;
        let (after, elapsed) = (cpu_of_threads()?, begin.elapsed().as_secs_f64());
        for (name, cpu) in after {
            let share = (cpu - before.get(&name).unwrap_or(&cpu)) / elapsed * 100.0;
            all.entry(name).or_default().push(share);
        }
    }
    drop(stop);
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let sleeper = all["sleeper"].clone();
    for (name, shares) in all {
        let ratios = shares.iter().zip(&sleeper).map(|(a, b)| a / b).collect();
        println!(
            "{name:<14} {:.2} % of a core, {:.2} times the sleeper's",
            median(shares),
            median(ratios)
        );
    }
    Ok(())
}

fn sleep_only(rate: f64) {
    let _ = nix::sys::prctl::set_timerslack(1);
    let period = Duration::from_secs_f64(1.0 / rate).as_nanos() as u64;
    let (mut next, mut random) = (monotonic().0, 1u64);
    loop {
        next = next.max(monotonic().0.saturating_sub(period)) + period;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = next + random % period;
        let at = TimeSpec::new((at / 1_000_000_000) as i64, (at % 1_000_000_000) as i64);
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
    }
}

/// CPU seconds of the threads of this process, by name.
fn cpu_of_threads() -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm"))?.trim().to_string();
        let text = std::fs::read_to_string(task.join("schedstat"))?;
        let nanoseconds: f64 = text.split(' ').next().unwrap_or("0").parse()?;
        *found.entry(name).or_default() += nanoseconds / 1e9;
    }
    Ok(found)
}
