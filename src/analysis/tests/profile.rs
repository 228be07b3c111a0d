//! The call tree: that its totals are the table's, that stacks divide them, and who is below which root.

use super::super::{By, Engine, Mode, Narrow, Profile, Settings, Wanted};
use super::stage::*;
use crate::model::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const RECVFROM: i32 = 45;

fn stack(functions: &[&str]) -> Arc<Stack> {
    let frames = functions.iter().map(|function| {
        Arc::new(Frame {
            function: (*function).into(),
            file: "/srv/app/booking.py".into(),
            line: 7,
            first_line: 1,
        })
    });
    Arc::new(Stack {
        frames: frames.collect(),
        is_cut: false,
    })
}

/// A window that holds all of it; two sessions, and a thread.
fn stage() -> Stage {
    let settings = Settings {
        window: Nanos::from_millis(600_000),
        ..Settings::default()
    };
    let hello = Hello {
        stack_rate_hz: Some(100.0),
        ..hello()
    };
    let mut stage = Stage::with(settings.clone(), hello.clone());
    stage.engine = Engine::profiling(hello, settings);
    stage.thread(1, "asyncio_0", false);
    stage.census(&["a", "b"]);
    stage.run(20.0);
    stage
}

fn sample(stage: &Stage, thread: u32, owner: Owner, state: State, stack: Option<&Arc<Stack>>) -> StackSample {
    StackSample {
        at: Nanos(stage.now),
        thread: ThreadIndex(thread),
        owner,
        context_version: 1,
        in_step: owner != Owner::Nobody,
        state,
        collecting: false,
        collects_explicitly: None,
        stack: stack.cloned(),
    }
}

fn take(stage: &mut Stage, samples: Vec<StackSample>) {
    let batch = StackBatch {
        until: Nanos(stage.now),
        ticks: samples.len() as u32,
        samples,
        ..StackBatch::default()
    };
    stage.engine.observe(Observation::Stacks(batch));
}

/// A step of the loop that does one thing, with a stack every 10 ms.
fn step(stage: &mut Stage, id: &str, doing: Doing, ms: u64, stack: Option<&Arc<Stack>>) {
    stage.begin(LOOP, of(id), doing);
    let state = match doing {
        Doing::Call(number) => State::Syscall(number),
        Doing::WaitForGil => State::GilWait,
        _ => State::Runnable,
    };
    for _ in 0..ms / 10 {
        stage.run(5.0);
        let taken = sample(stage, LOOP, of(id), state, stack);
        take(stage, vec![taken]);
        stage.run(5.0);
    }
    stage.end(LOOP, Doing::Select);
    stage.run(3.0);
}

fn profile(stage: &mut Stage, mode: Mode) -> Profile {
    let wanted = Wanted {
        mode,
        ..Wanted::default()
    };
    profile_of(stage, &wanted)
}

fn profile_of(stage: &mut Stage, wanted: &Wanted) -> Profile {
    stage.flush();
    stage.engine.settle();
    stage.engine.profile(wanted)
}

/// Milliseconds below each root.
fn roots(profile: &Profile) -> BTreeMap<String, f64> {
    let roots = profile.tree.roots();
    let name = |frame| match profile.tree.called(frame).expect("a frame") {
        super::super::Called::Root { name, .. } => format!("root {name}"),
        other => format!("{other:?}"),
    };
    roots
        .into_iter()
        .map(|(frame, nanos)| (name(frame), nanos / 1e6))
        .collect()
}

fn root(profile: &Profile, name: &str) -> f64 {
    roots(profile).get(&format!("root {name}")).copied().unwrap_or(0.0)
}

/// Milliseconds of each path, `root;outer;inner`.
fn paths(profile: &Profile) -> BTreeMap<String, f64> {
    let tree = &profile.tree;
    let word = |frame| match tree.called(frame).expect("a frame") {
        super::super::Called::Root { name, .. } | super::super::Called::Native(name) => name.clone(),
        super::super::Called::Python(frame) => frame.function.to_string(),
        super::super::Called::Unresolved => "<unresolved>".to_owned(),
        super::super::Called::Cut => "<cut>".to_owned(),
    };
    let mut paths = BTreeMap::new();
    for taken in &tree.samples {
        let path: Vec<String> = tree.path(taken.node).into_iter().map(word).collect();
        *paths.entry(path.join(";")).or_default() += taken.nanos / 1e6;
    }
    paths
}

#[track_caller]
fn assert_near(got: f64, expected: f64) {
    assert!(
        (got - expected).abs() <= 1e-6 * expected.abs().max(1.0),
        "{got}, not {expected}"
    );
}

/// What both did: `a` ran `lookup` for three quarters of its time and `pay` for one, `b` slept in a system call.
fn worked() -> Stage {
    let mut stage = stage();
    let (lookup, pay, send) = (
        stack(&["lookup", "main"]),
        stack(&["pay", "main"]),
        stack(&["send", "main"]),
    );
    for _ in 0..5 {
        step(&mut stage, "a", Doing::Run, 30, Some(&lookup));
        step(&mut stage, "a", Doing::Run, 10, Some(&pay));
        step(&mut stage, "b", Doing::Call(RECVFROM), 40, Some(&send));
    }
    stage
}

#[test]
fn loop_time_is_the_tables_and_stacks_divide_it() {
    let mut stage = worked();
    let report = stage.report();
    let profile = profile(&mut stage, Mode::Wall);
    let window_ms = report.quality.window_s * 1e3;
    for id in ["a", "b"] {
        let of_table = row(&report, id).loop_pct.expect("known") / 100.0 * window_ms;
        assert_near(root(&profile, id), of_table);
    }
    assert_near(
        root(&profile, "unattributed"),
        report.unattributed.loop_pct.expect("known") / 100.0 * window_ms,
    );
    assert_near(profile.tree.total() / 1e6, roots(&profile).values().sum());
    let paths = paths(&profile);
    let all = root(&profile, "a");
    assert_near(paths["a;main;lookup"], all * 0.75);
    assert_near(paths["a;main;pay"], all * 0.25);
    assert_near(paths["b;main;send;[syscall recvfrom]"], root(&profile, "b"));
    assert!(profile.nothing().is_none() && profile.sessions == 2);
}

#[test]
fn cpu_time_is_the_tables_and_what_sleeps_is_not_there() {
    let mut stage = worked();
    let report = stage.report();
    let profile = profile(&mut stage, Mode::Cpu);
    let window_ms = report.quality.window_s * 1e3;
    for id in ["a", "b"] {
        assert_near(
            root(&profile, id),
            row(&report, id).cpu_pct.expect("known") / 100.0 * window_ms,
        );
    }
    let total = report.worker.cpu_pct.expect("known") / 100.0 * window_ms;
    assert_near(profile.tree.total() / 1e6, total);
    assert!(!paths(&profile).keys().any(|path| path.contains("syscall")));
}

#[test]
fn blocked_time_is_the_culprits() {
    let mut stage = stage();
    let (send, hold) = (stack(&["send", "main"]), stack(&["compress"]));
    step(&mut stage, "a", Doing::Run, 30, Some(&send));
    step(&mut stage, "a", Doing::Call(RECVFROM), 100, Some(&send));
    // A thread of b's keeps the GIL while a wants it.
    stage.doing(1, Doing::Run);
    stage.owner(1, of("b"));
    stage.gil = Gil {
        holder: Some(ThreadIndex(1)),
        switches: 5,
    };
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    for _ in 0..8 {
        stage.run(10.0);
        let taken = sample(&stage, 1, of("b"), State::Runnable, Some(&hold));
        take(&mut stage, vec![taken]);
    }
    stage.end(LOOP, Doing::Select);
    stage.owner(1, Owner::Nobody);
    stage.run(400.0);
    let report = stage.report();
    let profile = profile(&mut stage, Mode::Blocked);
    for id in ["a", "b"] {
        assert_near(root(&profile, id), row(&report, id).blocked_ms);
    }
    let paths = paths(&profile);
    assert_near(paths["a;main;send;[syscall recvfrom]"], row(&report, "a").blocked_ms);
    assert_near(paths["b;compress"], row(&report, "b").blocked_ms);
    let marks: Vec<_> = profile
        .marks
        .iter()
        .map(|mark| mark.block.session_id.as_deref())
        .collect();
    assert_eq!(marks, [Some("a"), Some("b")]);
    assert_eq!(paths.len(), 2, "a step below the threshold is not there: {paths:?}");
}

#[test]
fn threads_have_a_root_of_their_own_and_no_part_in_the_loops_time() {
    let mut stage = stage();
    let work = stack(&["work"]);
    stage.doing(1, Doing::Call(RECVFROM));
    stage.owner(1, of("b"));
    for _ in 0..10 {
        stage.run(10.0);
        let taken = sample(&stage, 1, of("b"), State::Syscall(RECVFROM), Some(&work));
        take(&mut stage, vec![taken]);
    }
    stage.owner(1, Owner::Nobody);
    stage.run(50.0);
    let profile = profile(&mut stage, Mode::Wall);
    let of_thread = root(&profile, "b (threads)");
    assert!((99.0..=102.0).contains(&of_thread), "{of_thread}");
    assert_eq!(root(&profile, "b"), 0.0);
    assert_near(paths(&profile)["b (threads);work;[syscall recvfrom]"], of_thread);
}

#[test]
fn what_has_no_stack_is_unresolved_and_a_session_that_ended_keeps_its_name() {
    let mut stage = stage();
    let known = stack(&["known"]);
    step(&mut stage, "a", Doing::Run, 20, Some(&known));
    step(&mut stage, "a", Doing::Run, 20, None);
    // So short that no stack was taken.
    stage.step(of("b"), Doing::Run, 8.0);
    stage.census(&["b"]);
    stage.run(3_000.0);
    stage.census(&["b"]);
    let profile = profile(&mut stage, Mode::Wall);
    let paths = paths(&profile);
    assert_near(paths["a;known"], root(&profile, "a") / 2.0);
    assert_near(paths["a;<unresolved>"], root(&profile, "a") / 2.0);
    assert_near(paths["b;<unresolved>"], root(&profile, "b"));
    assert!(root(&profile, "b") > 5.0);
}

#[test]
fn what_is_collected_stopped_or_waited_for_stands_below_the_frame() {
    let mut stage = stage();
    let at = stack(&["at"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    let mut collecting = sample(&stage, LOOP, of("a"), State::Runnable, Some(&at));
    collecting.collecting = true;
    let waiting = sample(&stage, LOOP, of("a"), State::GilWait, Some(&at));
    let stopped = sample(&stage, LOOP, of("a"), State::Stopped, None);
    // SIGSTOP in the middle of a collection.
    let mut both = sample(&stage, LOOP, of("a"), State::Stopped, Some(&at));
    both.collecting = true;
    take(&mut stage, vec![collecting, waiting, stopped, both]);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let names: Vec<String> = paths(&profile(&mut stage, Mode::Wall)).into_keys().collect();
    for name in [
        "a;at;[gc]",
        "a;at;[gil wait]",
        "a;<unresolved>;[stopped]",
        "a;at;[stopped]",
    ] {
        assert!(names.iter().any(|path| path == name), "{name}: {names:?}");
    }
}

#[test]
fn roots_are_what_was_asked_for_and_so_is_whose_time_it_is() {
    let mut stage = worked();
    let wall = profile(&mut stage, Mode::Wall);
    let by = |stage: &mut Stage, by| {
        let wanted = Wanted {
            by,
            ..Wanted::default()
        };
        roots(&profile_of(stage, &wanted))
    };
    let agents: Vec<String> = by(&mut stage, By::Agent).into_keys().collect();
    assert_eq!(agents, ["root a-agent", "root b-agent"]);
    let tenants = by(&mut stage, By::Tenant);
    assert_near(tenants["root (no tenant)"], root(&wall, "a") + root(&wall, "b"));
    assert!(
        by(&mut stage, By::None)
            .keys()
            .all(|root| root.starts_with("Python") || root == "Unresolved")
    );

    let only = |stage: &mut Stage, but| {
        let narrow = Narrow {
            session: Some("a".to_owned()),
            but,
            ..Narrow::default()
        };
        let wanted = Wanted {
            narrow,
            ..Wanted::default()
        };
        profile_of(stage, &wanted)
    };
    let one = only(&mut stage, false);
    assert_eq!(roots(&one).len(), 1);
    assert_near(root(&one, "a"), root(&wall, "a"));
    let rest = only(&mut stage, true);
    assert_near(rest.tree.total() + one.tree.total(), wall.tree.total());
    assert_eq!(rest.wanted.narrow.words().as_deref(), Some("all but session a"));
}

#[test]
fn where_nothing_was_sampled_it_says_so() {
    let mut empty = stage();
    for (mode, why) in [
        (Mode::Wall, "nothing ran: the loop was idle"),
        (Mode::Blocked, "nothing kept the loop for longer than 50 ms"),
    ] {
        assert_eq!(profile(&mut empty, mode).nothing().as_deref(), Some(why));
    }
    let mut without_loop = profile(&mut empty, Mode::Wall);
    for thread in without_loop.threads.values_mut() {
        thread.is_loop = false;
    }
    assert_eq!(
        without_loop.nothing().as_deref(),
        Some("nothing ran: there was no loop")
    );
    let engine = Engine::profiling(hello(), Settings::default());
    assert_eq!(
        engine.profile(&Wanted::default()).nothing().as_deref(),
        Some("nothing was sampled")
    );
    let narrow = Narrow {
        tenant: Some("acme".to_owned()),
        ..Narrow::default()
    };
    let wanted = Wanted {
        narrow,
        ..Wanted::default()
    };
    let none = profile_of(&mut worked(), &wanted);
    assert_eq!(none.nothing().as_deref(), Some("nothing was sampled of tenant acme"));
}
