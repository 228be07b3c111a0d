//! How good and how dear full stacks are: `stack_bench [--rate HZ] [--seconds S] [--work N] [--clocked] [--interrupts | --own-cpu] PYTHON…` runs
//! tests/targets/micro.py with each Python, takes stacks of it, and judges every one: whether it can be at all, frame by
//! frame and line by line, and whether it is under the right session. Prints a row for each Python; with --clocked, also
//! each function's share of the samples beside its share of the time by the target's own clock.

#[path = "../tests/live/support/micro.rs"]
mod micro;

use micro::{Micro, impossible, is_wrong_session};
use otop::identity::Spec;
use otop::model::{Observation, Owner, Pid, StackMode};
use otop::sampler::{AttachOptions, Attached, attach};
use serde_json::Value;
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut rate, mut seconds, mut work, mut clocked) = (1000.0, 5.0, "200".to_string(), false);
    let mut interrupts = None;
    let mut pythons = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--rate" => rate = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            "--work" => work = value()?,
            "--clocked" => clocked = true,
            "--interrupts" => interrupts = Some(true),
            "--own-cpu" => interrupts = Some(false),
            _ => pythons.push(argument),
        }
    }
    println!(
        "{:<28} {:>7} {:>7} {:>5} {:>5} {:>6} {:>6} {:>6} {:>9} {:>9}  mode",
        "python", "kept/s", "unres/s", "torn", "wrong", "missed", "ticks", "late", "us/tick", "per cpu-s"
    );
    for python in pythons {
        let command: Vec<String> = python.split(' ').map(str::to_string).collect();
        let mut args = vec!["--work", &work];
        if clocked {
            args.push("--clocked");
        }
        let mut target = Micro::start(&command, &args);
        let options = AttachOptions {
            rate_hz: 1.0,
            stack_rate_hz: Some(rate),
            interrupts,
            session_from: vec![Spec::variable("call_ref")],
            ..AttachOptions::default()
        };
        run(&python, &mut target, &options, seconds, clocked)?;
    }
    Ok(())
}

#[derive(Default)]
struct Sums {
    samples: u64,
    kept: u64,
    unresolved: u64,
    impossible: u64,
    wrong: u64,
    torn_owner: u64,
    missed: u64,
    ticks: u64,
    mode: StackMode,
    spun: [u64; 4],
}

fn run(
    python: &str,
    target: &mut Micro,
    options: &AttachOptions,
    seconds: f64,
    clocked: bool,
) -> Result<(), Box<dyn Error>> {
    let Attached { observations, stop, .. } = attach(Pid(target.pid), options)?;
    // The first stacks read every code object.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) {
        observations.recv()?;
    }
    let mut sums = Sums::default();
    let truth = target.next("clock");
    let (before, begin) = (cpu_of_stacks()?, Instant::now());
    let mut said = 0;
    while begin.elapsed().as_secs_f64() < seconds {
        let Observation::Stacks(batch) = observations.recv()? else {
            continue;
        };
        sums.ticks += u64::from(batch.ticks);
        sums.missed += u64::from(batch.missed);
        sums.mode = batch.mode;
        for sample in &batch.samples {
            sums.samples += 1;
            sums.torn_owner += u64::from(matches!(sample.owner, Owner::Torn | Owner::Unreadable));
            let Some(stack) = &sample.stack else {
                sums.unresolved += 1;
                continue;
            };
            if let Some(why) = impossible(stack) {
                sums.impossible += 1;
                said += 1;
                if said < 4 {
                    eprintln!("{why}");
                }
                continue;
            }
            if is_wrong_session(sample, stack) {
                sums.wrong += 1;
                continue;
            }
            sums.kept += 1;
            let innermost = stack.frames.first().map_or("", |f| &*f.function);
            if let Some(n) = innermost.strip_prefix("spin_").and_then(|n| n.parse::<usize>().ok()) {
                sums.spun[n] += 1;
            }
        }
    }
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), cpu_of_stacks()? - before);
    drop(stop);
    println!(
        "{:<28} {:>7.1} {:>7.1} {:>5} {:>5} {:>6} {:>6} {:>6} {:>9.2} {:>9.0}  {}",
        python.rsplit('/').nth(2).unwrap_or(python),
        sums.kept as f64 / elapsed,
        sums.unresolved as f64 / elapsed,
        sums.impossible,
        sums.wrong,
        sums.missed,
        sums.ticks,
        sums.torn_owner,
        cpu * 1e6 / sums.ticks as f64,
        sums.kept as f64 / cpu,
        sums.mode.name(),
    );
    if clocked {
        let mut later = truth.clone();
        let wall = |clock: &Value| clock["wall"].as_u64().unwrap_or(0);
        while (wall(&later) - wall(&truth)) as f64 / 1e9 < elapsed {
            later = target.next("clock");
        }
        for n in 0..4 {
            let spun = |clock: &Value| clock["spun"][n].as_u64().unwrap_or(0);
            let share = (spun(&later) - spun(&truth)) as f64 / (wall(&later) - wall(&truth)) as f64;
            let sampled = sums.spun[n] as f64 / sums.samples as f64;
            println!(
                "    spin_{n}: {:.1} % of the target's time, {:.1} % of the samples ({:+.1})",
                share * 100.0,
                sampled * 100.0,
                (sampled - share) * 100.0
            );
        }
    }
    Ok(())
}

/// CPU seconds of the stack sampler's thread.
fn cpu_of_stacks() -> Result<f64, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "otop-stacks" {
            let text = std::fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds: f64 = text.split(' ').next().unwrap_or("0").parse()?;
            return Ok(nanoseconds / 1e9);
        }
    }
    Err("no stack sampler runs".into())
}
