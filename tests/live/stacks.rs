//! The stack sampler against targets that know their own stacks: whose each is, whether it can be, in what order they
//! come, and that every instant is accounted for. On every Python; how fast and how dear they are is for
//! examples/stack_bench.rs.

use crate::support::micro::{BUSY, DEPTH, impossible, is_wrong_session};
use crate::support::{Python, Target, any_python, one_python, pythons};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid as Process;
use otop::identity::{Naming, Spec};
use otop::model::{Nanos, Observation, Owner, Pid, SessionKey, StackBatch, StackMode, StackSample, State};
use otop::sampler::{AttachOptions, Attached, attach, monotonic};
use otop::source::{StackReader, Unseated};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A stack sampler at work. Every batch is held against what holds of all batches.
struct Sampler {
    attached: Attached,
    what: String,
    until: Nanos,
}

impl Sampler {
    fn on(target: &Target, rate_hz: f64) -> Sampler {
        Sampler::by(target, rate_hz, None)
    }

    /// `interrupts`: whether stacks are read by interrupts; None: as otop does where nothing is said.
    fn by(target: &Target, rate_hz: f64, interrupts: Option<bool>) -> Sampler {
        Sampler::with(target, rate_hz, interrupts, Spec::variable("call_ref"))
    }

    fn with(target: &Target, rate_hz: f64, interrupts: Option<bool>, session_from: Spec) -> Sampler {
        let options = AttachOptions {
            rate_hz: 10.0,
            stack_rate_hz: Some(rate_hz),
            interrupts,
            session_from: vec![session_from],
            ..AttachOptions::default()
        };
        let attached = attach(Pid(target.pid), &options).unwrap_or_else(|e| panic!("{}: {e}", target.what));
        assert_eq!(attached.hello.stack_rate_hz, Some(rate_hz));
        let mut sampler = Sampler {
            attached,
            what: format!("{}, interrupts {interrupts:?}", target.what),
            until: Nanos::ZERO,
        };
        if interrupts == Some(true) {
            // The kernel proves the program meanwhile.
            let comes = (0..400).any(|_| sampler.next().mode == StackMode::Interrupt);
            assert!(comes, "{}: stacks are not read by interrupts", sampler.what);
        }
        sampler
    }

    fn next(&mut self) -> StackBatch {
        loop {
            let said = self.attached.observations.recv_timeout(Duration::from_secs(60));
            match said.unwrap_or_else(|e| panic!("{}: no batch: {e}", self.what)) {
                Observation::Stacks(batch) => {
                    // In the order of time, and nothing behind what was said to be the last.
                    for sample in &batch.samples {
                        assert!(self.until < sample.at && sample.at <= batch.until, "{}", self.what);
                    }
                    assert!(self.until < batch.until, "{}: the watermark stands still", self.what);
                    self.until = batch.until;
                    return batch;
                }
                Observation::Ended(ending) => panic!("{}: {ending:?}", self.what),
                _ => {}
            }
        }
    }

    /// Samples until enough of them fit; all that came, those included.
    fn until(&mut self, enough: usize, fits: impl Fn(&StackSample) -> bool) -> Vec<StackSample> {
        let (mut all, mut ticks): (Vec<StackSample>, u32) = (Vec::new(), 0);
        while all.iter().filter(|sample| fits(sample)).count() < enough {
            let batch = self.next();
            ticks += batch.ticks;
            all.extend(batch.samples);
            if ticks >= 20_000 {
                let mut seen: BTreeMap<String, usize> = BTreeMap::new();
                for sample in &all {
                    let what = format!("{:?} in {:?} {:?}", sample.owner, function(sample), sample.state);
                    *seen.entry(what).or_default() += 1;
                }
                panic!("{}: what is looked for does not come: {seen:#?}", self.what);
            }
        }
        all
    }
}

fn function(sample: &StackSample) -> &str {
    let innermost = sample.stack.as_ref().and_then(|stack| stack.frames.first());
    innermost.map_or("", |frame| &*frame.function)
}

fn has(sample: &StackSample, name: &str) -> bool {
    let frames = sample.stack.iter().flat_map(|stack| stack.frames.iter());
    frames.into_iter().any(|frame| frame.function.ends_with(name))
}

fn is_of(sample: &StackSample, sid: &str) -> bool {
    sample.owner == Owner::Session(SessionKey::of(sid))
}

fn micro(python: &Python, work: &str) -> Target {
    let (depth, busy) = (DEPTH.to_string(), BUSY.to_string());
    Target::launch(
        python,
        "micro.py",
        &["--depth", &depth, "--busy", &busy, "--work", work],
    )
}

/// Judges the stacks of micro.py; returns of how many sessions there are whole ones.
fn judge(samples: &[StackSample], what: &str) -> usize {
    let mut whole = BTreeSet::new();
    for sample in samples {
        let Some(stack) = &sample.stack else { continue };
        if let Some(why) = impossible(stack) {
            panic!("{what}: {why}");
        }
        assert!(!is_wrong_session(sample, stack), "{what}: {sample:?}");
        if let Owner::Session(key) = sample.owner
            && has(sample, "leaf_0") | has(sample, "leaf_1") | has(sample, "leaf_2") | has(sample, "leaf_3")
        {
            assert!(sample.in_step, "{what}: {sample:?}");
            whole.insert(key);
        }
    }
    whole.len()
}

#[test]
fn a_step_every_few_microseconds_and_no_stack_that_never_was() {
    for python in pythons() {
        let target = micro(python, "200");
        for mode in [StackMode::OwnCpu, StackMode::Interrupt] {
            let mut sampler = Sampler::by(&target, 1000.0, Some(mode == StackMode::Interrupt));
            let (mut samples, mut ticks) = (Vec::new(), 0);
            while samples.len() < 600 {
                let batch = sampler.next();
                assert_eq!(batch.mode, mode, "{}", sampler.what);
                ticks += batch.ticks as usize;
                samples.extend(batch.samples);
            }
            // One loop that never rests: one sample a tick, resolved or not.
            assert_eq!(samples.len(), ticks, "{}", sampler.what);
            assert_eq!(judge(&samples, &sampler.what), BUSY, "{}", sampler.what);
            let unresolved = samples.iter().filter(|sample| sample.stack.is_none()).count();
            assert!(unresolved * 10 < ticks, "{}: {unresolved} of {ticks}", sampler.what);
            assert!(!"Tt".contains(target.state()), "{}", sampler.what);
        }
    }
}

#[test]
fn what_only_the_task_tells_is_told_of_short_steps_too() {
    for minor in ["3.12", "3.14"] {
        let Some(python) = one_python(minor) else { continue };
        let target = micro(&python, "200");
        // Reading by interrupts is what this rate asks for; the reader knows that it would not do.
        let of_task = Spec::parse("frame:session:n").expect("a spec");
        let mut sampler = Sampler::with(&target, 200.0, None, of_task);
        let works = |sample: &StackSample| has(sample, "leaf_0") | has(sample, "leaf_1");
        let samples = sampler.until(200, works);
        let (mut torn, mut all) = (0, 0);
        // It is learned with the first ones.
        for sample in samples.iter().filter(|sample| works(sample)).skip(50) {
            all += 1;
            match sample.owner {
                Owner::Torn | Owner::Unreadable => torn += 1,
                owner => {
                    let own = if has(sample, "leaf_0") { "0" } else { "1" };
                    assert_eq!(owner, Owner::Session(SessionKey::of(own)), "{}", sampler.what);
                }
            }
        }
        assert!(torn * 5 < all, "{}: {torn} of {all}", sampler.what);
    }
}

#[test]
fn from_another_cpu_what_is_kept_is_as_right() {
    for python in pythons() {
        for work in ["200", "40000"] {
            let target = micro(python, work);
            let plan = otop::source::attach(Pid(target.pid))
                .expect("it can be attached to")
                .plan;
            let naming = Naming {
                session: vec![Spec::variable("call_ref")],
                ..Naming::default()
            };
            let mut reader = StackReader::open(plan, naming, Arc::default()).expect("its memory can be read");
            let mut batch = StackBatch::default();
            // Long steps are mostly caught; of short ones hardly any.
            let enough = if work == "200" { 0 } else { 100 };
            let resolved = |batch: &StackBatch| batch.samples.iter().filter(|s| s.stack.is_some()).count();
            while batch.ticks < 2000 || resolved(&batch) < enough {
                assert!(batch.ticks < 100_000, "{}: too few are resolved", target.what);
                if batch.ticks % 100 == 0 {
                    reader.survey().expect("it lives");
                }
                reader.tick(&mut Unseated, &monotonic, &mut batch).expect("it lives");
                std::thread::sleep(Duration::from_micros(300));
            }
            assert_eq!(batch.mode, StackMode::OtherCpu, "{}", target.what);
            assert_eq!(batch.samples.len(), batch.ticks as usize, "{}", target.what);
            let sessions = judge(&batch.samples, &target.what);
            assert!(enough == 0 || sessions == BUSY, "{}: {sessions}", target.what);
        }
    }
}

#[test]
fn follows_its_thread_from_cpu_to_cpu() {
    let Some(python) = any_python() else { return };
    let allowed = sched_getaffinity(Process::from_raw(0)).expect("an affinity");
    let cpus: Vec<usize> = (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu) == Ok(true))
        .collect();
    let target = micro(&python, "200");
    for interrupts in [false, true] {
        let mut sampler = Sampler::by(&target, 1000.0, Some(interrupts));
        for turn in 0..20 {
            let mut one = CpuSet::new();
            one.set(cpus[turn % cpus.len()]).expect("a CPU of this machine");
            sched_setaffinity(Process::from_raw(target.pid), &one).expect("the target is ours");
            let samples = sampler.until(20, |sample| sample.stack.is_some());
            judge(&samples, &sampler.what);
            let unresolved = samples.iter().filter(|sample| sample.stack.is_none()).count();
            assert!(
                unresolved * 3 < samples.len() + 30,
                "{}: {unresolved} of {}",
                sampler.what,
                samples.len()
            );
        }
    }
}

#[test]
fn an_idle_loop_is_looked_at_and_nothing_is_said_of_it() {
    for minor in ["3.8", "3.12", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            let mut target = Target::sessions(&python, event_loop, &["--sessions", "2"]);
            let mut sampler = Sampler::on(&target, 200.0);
            let (mut ticks, mut samples) = (0, Vec::new());
            while ticks < 200 {
                let batch = sampler.next();
                ticks += batch.ticks;
                samples.extend(batch.samples);
            }
            // Its timers and the control thread do something now and then.
            assert!(samples.len() < 40, "{}: {samples:?}", target.what);
            // It sleeps in a step: that is something.
            target.begin_block("call-0001", 400, "sleep", "main");
            let asleep = |s: &StackSample| is_of(s, "call-0001") && function(s) == "block_sleep";
            let samples = sampler.until(30, asleep);
            let asleep: Vec<&StackSample> = samples.iter().filter(|sample| asleep(sample)).collect();
            assert!(asleep.iter().all(|sample| sample.in_step && !sample.collecting));
            // clock_nanosleep; select before 3.11.
            assert!(
                asleep.iter().any(|s| matches!(s.state, State::Syscall(230 | 23 | 270))),
                "{}: {:?}",
                target.what,
                asleep.iter().map(|s| s.state).collect::<Vec<_>>()
            );
            let version = asleep[0].context_version;
            assert!(
                asleep.iter().all(|sample| sample.context_version == version),
                "{}",
                target.what
            );
        }
    }
}

#[test]
fn work_in_threads_is_under_its_session_and_with_its_stack() {
    for minor in ["3.9", "3.11", "3.14"] {
        let Some(python) = one_python(minor) else { continue };
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "3"]);
        let mut sampler = Sampler::by(&target, 500.0, Some(minor != "3.9"));
        for kind in ["sleep", "py", "c"] {
            target.begin_block("call-0002", 300, kind, "to_thread");
            let name = format!("block_{kind}");
            let samples = sampler.until(20, |s| is_of(s, "call-0002") && has(s, &name));
            let threads: BTreeSet<_> = samples.iter().filter(|s| has(s, &name)).map(|s| s.thread).collect();
            assert_eq!(threads.len(), 1, "{}: {kind}", target.what);
            let wrong = samples.iter().find(|s| has(s, &name) && !is_of(s, "call-0002"));
            assert!(wrong.is_none(), "{}: {wrong:?}", target.what);
            target.until("block_end", |_| true);
        }
    }
}

#[test]
fn a_garbage_collection_is_the_threads_that_runs_it() {
    for minor in ["3.8", "3.12", "3.13", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2", "--block-kind", "gc"]);
        let mut sampler = Sampler::on(&target, 500.0);
        target.begin_block("call-0000", 400, "gc", "main");
        let samples = sampler.until(50, |s| is_of(s, "call-0000") && function(s) == "block_gc");
        let during = samples.iter().filter(|s| function(s) == "block_gc");
        let collecting = during.filter(|s| s.collecting).count();
        assert!(collecting >= 25, "{}: {collecting} of {}", target.what, samples.len());
        assert!(
            samples.iter().all(|s| !s.collecting || is_of(s, "call-0000")),
            "{}",
            target.what
        );
    }
}

#[test]
fn several_loops_in_one_process_each_with_its_own() {
    for minor in ["3.8", "3.12", "3.14"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            let args = [
                "--loops",
                "2",
                "--sessions",
                "4",
                "--busy",
                "0:40",
                "--busy",
                "1:40",
                "--step-ms",
                "5",
            ];
            let target = Target::sessions(&python, event_loop, &args);
            let mut sampler = Sampler::on(&target, 500.0);
            let burns = |sid: &'static str| move |s: &StackSample| is_of(s, sid) && has(s, "burn");
            let mut threads = BTreeMap::new();
            for sid in ["call-0000", "call-0001"] {
                let samples = sampler.until(20, burns(sid));
                threads.insert(
                    sid,
                    samples
                        .iter()
                        .filter(|s| burns(sid)(s))
                        .map(|s| s.thread)
                        .collect::<BTreeSet<_>>(),
                );
                // One whose owner could not be proved is nobody's, and says so.
                let proved = |s: &&StackSample| !matches!(s.owner, Owner::Torn | Owner::Unreadable);
                let wrong = samples
                    .iter()
                    .filter(proved)
                    .find(|s| has(s, "burn") && !is_of(s, "call-0000") && !is_of(s, "call-0001"));
                assert!(wrong.is_none(), "{}: {wrong:?}", target.what);
            }
            assert!(threads.values().all(|of| of.len() == 1), "{}: {threads:?}", target.what);
            assert_ne!(threads["call-0000"], threads["call-0001"], "{}", target.what);
        }
    }
}
