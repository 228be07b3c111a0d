//! What must hold for any observations at all: nothing panics, everything adds up, nothing grows for ever.

use super::super::{Engine, Settings};
use super::stage::*;
use crate::model::*;
use proptest::prelude::*;

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn owners() -> impl Strategy<Value = Owner> {
    prop_oneof![
        4 => (0..IDS.len()).prop_map(|i| of(IDS[i])),
        2 => Just(Owner::Nobody),
        1 => Just(Owner::Torn),
        1 => Just(Owner::Unreadable),
    ]
}

fn doings() -> impl Strategy<Value = Doing> {
    prop_oneof![
        3 => Just(Doing::Run),
        1 => Just(Doing::WaitForCpu),
        1 => Just(Doing::WaitForGil),
        1 => (0..3).prop_map(Doing::Call),
        1 => Just(Doing::Stopped),
        1 => Just(Doing::Select),
    ]
}

/// Something that happens on the stage.
#[derive(Clone, Debug)]
enum Event {
    Step {
        thread: u32,
        owner: Owner,
        doing: Doing,
        ms: f64,
    },
    Between {
        thread: u32,
        doing: Doing,
        ms: f64,
    },
    Census(Vec<usize>),
    Gap {
        ms: f64,
        own_wait: f64,
    },
    Other(u64),
    Gil(u32, u64),
    Report,
    Tumbling,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3_u32, owners(), doings(), 0.01..80.0_f64)
            .prop_map(|(thread, owner, doing, ms)| Event::Step { thread, owner, doing, ms }),
        3 => (0..3_u32, doings(), 0.01..80.0_f64).prop_map(|(thread, doing, ms)| Event::Between { thread, doing, ms }),
        1 => proptest::collection::vec(0..IDS.len(), 0..4).prop_map(Event::Census),
        1 => (1.0..300.0_f64, 0.0..300.0_f64).prop_map(|(ms, own_wait)| Event::Gap { ms, own_wait }),
        1 => (0..50_000_000_u64).prop_map(Event::Other),
        1 => (0..4_u32, 0..3_u64).prop_map(|(holder, switches)| Event::Gil(holder, switches)),
        1 => Just(Event::Report),
        1 => Just(Event::Tumbling),
    ]
}

fn assert_sound(report: &Report) {
    assert_adds_up(report);
    let at_most = 100.0 * 2.0 + 1e-6;
    for row in &report.sessions {
        assert!(row.loop_pct.is_none_or(|pct| (0.0..=at_most).contains(&pct)), "{row:?}");
        assert!(row.blocked_ms >= row.worst_block_ms.unwrap_or(0.0) - 1e-6);
        assert_eq!(row.blocks == 0, row.worst_block_ms.is_none());
    }
    let held: f64 = report.sessions.iter().filter_map(|row| row.loop_pct).sum();
    assert!(held + report.unattributed.loop_pct.unwrap_or(0.0) <= at_most);
    assert!(report.worker.loop_pct.is_none_or(|pct| pct <= 100.0 + 1e-6));
    for block in &report.blocks {
        let causes = &block.causes_ms;
        let all = [
            causes.cpu,
            causes.syscall,
            causes.gil,
            causes.gc.unwrap_or(0.0),
            causes.unscheduled,
            causes.stolen,
            causes.stopped,
            causes.suspended,
            causes.unknown,
        ];
        assert!(all.iter().all(|ms| *ms >= -1e-6), "{block:?}");
        assert!((all.iter().sum::<f64>() - block.duration_ms).abs() < 0.01, "{block:?}");
        assert!(block.duration_ms >= 50.0);
    }
}

fn play(events: &[Event], seed: u64) -> Stage {
    let mut stage = Stage::new().jittered(seed);
    stage.thread(1, "pool", false);
    stage.thread(2, "second", true);
    stage.census(&IDS);
    let mut tumbled = 0.0;
    for event in events {
        match event {
            Event::Step {
                thread,
                owner,
                doing,
                ms,
            } => {
                stage.begin(*thread, *owner, *doing);
                stage.run(*ms);
            }
            Event::Between { thread, doing, ms } => {
                stage.end(*thread, *doing);
                stage.run(*ms);
            }
            Event::Census(live) => stage.census(&live.iter().map(|i| IDS[*i]).collect::<Vec<_>>()),
            Event::Gap { ms, own_wait } => stage.miss(*ms, *own_wait),
            Event::Other(nanos) => stage.other_cpu += nanos,
            Event::Gil(holder, switches) => {
                stage.gil.holder = Some(ThreadIndex(*holder));
                stage.gil.switches += switches;
            }
            Event::Report => assert_sound(&stage.report()),
            Event::Tumbling => {
                let report = stage.tumbling();
                assert_sound(&report);
                tumbled += report.worker.cpu_pct.unwrap_or(0.0) / 100.0 * report.quality.window_s;
            }
        }
    }
    let report = stage.tumbling();
    assert_sound(&report);
    tumbled += report.worker.cpu_pct.unwrap_or(0.0) / 100.0 * report.quality.window_s;
    let since_attach: f64 = report.sessions.iter().filter_map(|row| row.cpu_s).sum();
    let total = since_attach + report.unattributed.cpu_s.unwrap_or(0.0);
    assert!(
        (total - tumbled).abs() < 1e-6,
        "{total} since attach, {tumbled} in the windows"
    );
    stage
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_adds_up(events in proptest::collection::vec(events(), 1..60), seed in any::<u64>()) {
        play(&events, seed);
    }

    #[test]
    fn a_replay_is_exact(events in proptest::collection::vec(events(), 1..30), seed in any::<u64>()) {
        let (mut one, mut other) = (play(&events, seed), play(&events, seed));
        prop_assert_eq!(format!("{:?}", one.report()), format!("{:?}", other.report()));
    }

    /// Numbers from anywhere, in any order: clocks that run backwards, threads that nobody announced, samples that are
    /// not there.
    #[test]
    fn nothing_panics(observations in proptest::collection::vec(hostile(), 1..40), times in proptest::array::uniform2(any::<u64>())) {
        let settings = Settings { window: Nanos(times[0]), slow_threshold: Nanos(times[1] % 1_000_000_000), ..Settings::default() };
        for settings in [Settings::default(), settings] {
            let mut engine = Engine::new(hello(), settings);
            for observation in &observations {
                engine.observe(observation.clone());
                for report in [engine.report(Nanos(times[0])), engine.tumbling_report(Nanos(times[1]))] {
                    for row in &report.sessions {
                        prop_assert!(row.cpu_pct.is_none_or(|pct| pct >= 0.0 && pct.is_finite()));
                        prop_assert!(row.loop_pct.is_none_or(|pct| pct >= 0.0 && pct.is_finite()));
                    }
                    prop_assert!(report.unattributed.cpu_pct.is_none_or(|pct| pct >= 0.0 && pct.is_finite()));
                    prop_assert!(report.blocks.iter().all(|block| block.duration_ms >= 0.0));
                }
                let _ = engine.emergency();
            }
        }
    }
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..100_000_000_u64,
        (0..100_u64).prop_map(|i| ATTACHED_AT + i * 1_000_000),
        any::<u64>()
    ]
}

fn some(numbers: impl Strategy<Value = u64>) -> impl Strategy<Value = Option<Nanos>> {
    proptest::option::of(numbers.prop_map(Nanos))
}

fn hostile_sample() -> impl Strategy<Value = Sample> {
    let state = prop_oneof![
        Just(State::Runnable),
        Just(State::GilWait),
        Just(State::Stopped),
        Just(State::Unknown),
        any::<i32>().prop_map(State::Syscall),
    ];
    (
        0..6_u32,
        owners(),
        proptest::option::of(owners()),
        proptest::option::of(0..3_u64),
        0..3_u64,
        state,
        some(numbers()),
        some(numbers()),
    )
        .prop_map(
            |(thread, owner, within, step, progress, state, cpu, run_delay)| Sample {
                thread: ThreadIndex(thread),
                owner,
                within,
                step,
                progress,
                state,
                cpu,
                run_delay,
            },
        )
}

fn hostile_tick() -> impl Strategy<Value = Tick> {
    (
        numbers(),
        numbers(),
        numbers(),
        0..9_u64,
        proptest::option::of(0..6_u32),
        0..12_u32,
        0..12_u32,
    )
        .prop_map(|(at, late, own_wait, suspended, holder, first, count)| Tick {
            at: Nanos(at),
            late: Nanos(late),
            own_wait: Nanos(own_wait),
            suspended: Nanos(suspended * 1_000_000),
            held: Nanos::ZERO,
            collecting: None,
            gil: Gil {
                holder: holder.map(ThreadIndex),
                switches: suspended,
            },
            first,
            count,
        })
}

fn hostile() -> impl Strategy<Value = Observation> {
    let threads = proptest::collection::vec(
        (0..6_u32, any::<bool>()).prop_map(|(index, is_loop)| ThreadFacts {
            index: ThreadIndex(index),
            tid: Tid(1),
            name: String::new(),
            is_loop,
        }),
        0..4,
    );
    let batch = (
        proptest::collection::vec(hostile_tick(), 0..12),
        proptest::collection::vec(hostile_sample(), 0..12),
        threads,
        proptest::collection::vec((0..6_u32).prop_map(ThreadIndex), 0..3),
        some(numbers()),
        (numbers(), some(numbers())),
        any::<u64>(),
    )
        .prop_map(
            |(ticks, samples, threads, ended, process_cpu, (otop_cpu, steal), dropped_batches)| {
                Observation::Batch(Batch {
                    ticks,
                    samples,
                    threads,
                    ended,
                    missed: dropped_batches as u32,
                    process_cpu,
                    otop_cpu: Nanos(otop_cpu),
                    dropped_batches,
                    steal,
                })
            },
        );
    let census = (
        numbers(),
        proptest::collection::vec((0..4_usize, any::<bool>(), any::<bool>(), any::<f64>()), 0..5),
    )
        .prop_map(|(at, sessions)| {
            let sessions = sessions
                .into_iter()
                .map(|(i, live, errored, started)| SessionFacts {
                    live,
                    errored,
                    started_unix: Some(started).filter(|started| started.is_finite()),
                    ..facts(IDS[i])
                })
                .collect();
            Observation::Census(Box::new(Census {
                at: Nanos(at),
                took: Nanos(0),
                sessions,
                loops: vec![],
                tasks: 0,
                session_from: Some("openrtc".to_owned()),
                asyncio_imported: true,
                pool: None,
                rss_bytes: Some(at),
                host: HostFacts::default(),
                unreadable: u32::MAX,
                stopped: false,
                frozen: false,
                pause: None,
            }))
        });
    prop_oneof![8 => batch, 2 => census, 1 => (0..4_usize).prop_map(|i| {
        Observation::Labels(key(IDS[i]), facts(IDS[i]).labels)
    })]
}

/// Sessions and threads that come and go for ever leave nothing behind, also where nobody asks for a report.
#[test]
fn nothing_that_ended_keeps_state() {
    let mut stage = Stage::new();
    let mut size = [0; 2];
    let rounds = [700, 1_400];
    let mut round = 0;
    for (upto, size) in rounds.into_iter().zip(&mut size) {
        while round < upto {
            let ids = [format!("session {round}"), format!("session {}", round + 1)];
            stage.census(&ids.each_ref().map(String::as_str));
            let thread = round + 10;
            stage.thread(thread, "pool", round % 2 == 0);
            stage.begin(thread, of(&ids[0]), Doing::Run);
            stage.step(of(&ids[0]), Doing::Run, 60.0);
            stage.step(of(&ids[1]), Doing::Run, 20.0);
            stage.step(of(&format!("never in a census {round}")), Doing::Run, 10.0);
            stage.doing(thread, Doing::Call(202));
            stage.end_thread(thread);
            stage.run(10.0);
            round += 1;
        }
        *size = stage.engine.entries();
    }
    assert!(size[1] <= size[0] + 20, "{size:?} entries after {rounds:?} rounds");
    assert_eq!(stage.blocks().len(), 1_000, "and no more blocks than a thousand");
}

#[test]
fn threads_that_nobody_announced_are_forgotten() {
    let mut stage = Stage::new();
    let mut sizes = Vec::new();
    for round in 0..60_u32 {
        let sample = Sample {
            thread: ThreadIndex(100 + round),
            owner: Owner::Nobody,
            within: None,
            step: None,
            progress: 0,
            state: State::Runnable,
            cpu: Some(Nanos(0)),
            run_delay: None,
        };
        stage.run(500.0);
        stage.flush();
        let tick = Tick {
            at: Nanos(stage.now),
            late: Nanos(0),
            own_wait: Nanos(0),
            suspended: Nanos(0),
            held: Nanos::ZERO,
            gil: Gil::default(),
            collecting: None,
            first: 0,
            count: 1,
        };
        stage.engine.observe(Observation::Batch(Batch {
            ticks: vec![tick],
            samples: vec![sample],
            ..Batch::default()
        }));
        stage.census(&[]);
        sizes.push(stage.engine.threads.entries());
    }
    assert!(sizes[59] <= sizes[29], "{sizes:?}");
}
