//! Recordings that are whole, cut off, damaged, foreign and hostile: what comes back is what was recorded, up to where it
//! is whole, and nothing else.

mod dice;

use super::part::{self, kind};
use super::*;
use crate::model::*;
use dice::Dice;
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::Arc;

fn hello() -> Hello {
    Hello {
        pid: Pid(1234),
        python: "3.12.1".to_owned(),
        name: Some("worker".to_owned()),
        session_from: None,
        attached_at: Nanos(1_000),
        realtime_offset: -1_700_000_000_000_000_000,
        started_unix: Some(1.5),
        vcpus: Some(2),
        rate_hz: 1_000.0,
        stack_rate_hz: Some(100.0),
        library: Some("/usr/lib/python3.12".to_owned()),
    }
}

fn origin() -> Origin {
    Origin {
        otop: "0.1.0".to_owned(),
        command: Some("python worker.py".to_owned()),
        judging: Some(Judging {
            slow_threshold: Nanos(2_000_000),
            slow_window: Nanos(7_000_000_000),
            own: vec!["/srv/app/".to_owned(), "/opt/ä/".to_owned()],
        }),
    }
}

/// Observations some tenths of a second apart, and the file of them, with its end.
fn recorded(seed: u64, count: u64) -> (Vec<(Nanos, Observation)>, Vec<u8>) {
    let mut dice = Dice(seed);
    let mut at = hello().attached_at;
    let (mut all, mut recorder, mut file) = (Vec::new(), Recorder::default(), begin(&origin(), &hello()));
    for _ in 0..count {
        at += Nanos(dice.roll(300_000_000));
        let observation = dice.observation();
        file.extend(
            recorder
                .take(at, &observation)
                .map(|part| part.bytes)
                .unwrap_or_default(),
        );
        all.push((at, observation));
    }
    file.extend(recorder.close().map(|part| part.bytes).unwrap_or_default());
    file.extend(end(at));
    (all, file)
}

/// What is read of a file, as text, and what is said of it.
fn read(file: &[u8]) -> Result<(Vec<String>, Option<&'static str>), RecordingError> {
    let mut recording = Recording::open(Cursor::new(file))?;
    let mut all = Vec::new();
    while let Some(arrived) = recording.next_arrived()? {
        all.push(shown(arrived.at, &arrived.observation));
    }
    Ok((all, recording.defect()))
}

fn shown(at: Nanos, observation: &Observation) -> String {
    format!("{at:?} {observation:?}")
}

fn shown_all(all: &[(Nanos, Observation)]) -> Vec<String> {
    all.iter().map(|(at, observation)| shown(*at, observation)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_recorded_is_read(seed: u64) {
        let (all, file) = recorded(seed, 40);
        let mut recording = Recording::open(Cursor::new(&file)).unwrap();
        prop_assert_eq!(format!("{:?}", recording.hello()), format!("{:?}", hello()));
        prop_assert_eq!(recording.origin(), &origin());
        prop_assert_eq!(recording.until(), all.last().unwrap().0);
        prop_assert_eq!(read(&file).unwrap(), (shown_all(&all), None));
        // And once more from the begin.
        let first = recording.next_arrived().unwrap().map(|arrived| shown(arrived.at, &arrived.observation));
        recording.rewind();
        let again = recording.next_arrived().unwrap().map(|arrived| shown(arrived.at, &arrived.observation));
        prop_assert_eq!(first, again);
    }

    #[test]
    fn what_is_cut_off_is_read_up_to_its_last_whole_part(seed: u64, cut in 0.0..1.0) {
        let (all, file) = recorded(seed, 40);
        let length = (file.len() as f64 * cut) as usize;
        match read(&file[..length]) {
            Err(RecordingError::Foreign) => prop_assert!(length < MAGIC.len() + 2),
            Err(RecordingError::NoBegin) => prop_assert!(length < begin(&origin(), &hello()).len()),
            Err(other) => prop_assert!(false, "{}", other),
            Ok((part, defect)) => {
                prop_assert!(defect.is_some());
                prop_assert_eq!(&part, &shown_all(&all)[..part.len()]);
            }
        }
    }

    #[test]
    fn what_is_damaged_is_read_up_to_there(seed: u64, place in 0.0..1.0, bit in 0..8u8) {
        let (all, mut file) = recorded(seed, 30);
        let place = ((file.len() - 1) as f64 * place) as usize;
        file[place] ^= 1 << bit;
        if let Ok((part, defect)) = read(&file) {
            prop_assert!(defect.is_some(), "a bit at {} of {} went by unnoticed", place, file.len());
            prop_assert_eq!(&part, &shown_all(&all)[..part.len()]);
        }
    }

    #[test]
    fn bytes_of_anybody_s_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), seed: u64, place: u16) {
        // Whole parts by their CRC, with anything in them: bytes that are random, and a part with one byte changed.
        let mut hostile = vec![bytes];
        let mut dice = Dice(seed);
        let mut out = super::bytes::Out::default();
        let mut writing = super::writing::Writing::default();
        for _ in 0..6 {
            out.number(1);
            writing.observation(&mut out, &dice.observation());
        }
        let place = usize::from(place) % out.bytes.len();
        out.bytes[place] = dice.number() as u8;
        hostile.push(out.bytes);
        for bytes in hostile {
            let mut file = begin(&origin(), &hello());
            file.extend(part::pack(kind::OBSERVATIONS, (Nanos(2), Nanos(3)), &bytes).unwrap());
            let _ = read(&file);
            let mut about = MAGIC.to_vec();
            about.extend(VERSION.to_le_bytes());
            about.extend(part::pack(kind::ABOUT, (Nanos(2), Nanos(3)), &bytes).unwrap());
            let _ = read(&about);
        }
    }
}

#[test]
fn a_foreign_file_and_a_newer_one_are_refused_by_name() {
    assert!(matches!(read(b""), Err(RecordingError::Foreign)));
    assert!(matches!(
        read(b"#!/bin/sh\necho a script\n"),
        Err(RecordingError::Foreign)
    ));
    let mut file = begin(&origin(), &hello());
    file[MAGIC.len()] = VERSION as u8 + 1;
    let error = read(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a newer otop recorded it (format 6; this one reads up to 5)"
    );
    assert!(matches!(
        read(&file[..MAGIC.len() + 2]),
        Err(RecordingError::Newer { version: 6 })
    ));
}

#[test]
fn what_was_not_known_of_the_host_is_not_known_afterwards() {
    let unknown = Hello { vcpus: None, ..hello() };
    let file = begin(&origin(), &unknown);
    let recording = Recording::open(Cursor::new(&file)).unwrap();
    assert_eq!(recording.hello().vcpus, None);
}

#[test]
fn a_part_that_unpacks_to_more_than_it_says_is_damage() {
    let mut part = part::pack(kind::OBSERVATIONS, (Nanos(1), Nanos(1)), &[0; 1 << 20]).unwrap();
    // The unpacked length: a bomb would say little.
    part[5..9].copy_from_slice(&100u32.to_le_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&part[..part::HEAD - 4]);
    crc.update(&part[part::HEAD..]);
    part[part::HEAD - 4..part::HEAD].copy_from_slice(&crc.sum().to_le_bytes());
    let mut file = begin(&origin(), &hello());
    file.extend(part);
    let (all, defect) = read(&file).unwrap();
    assert!(all.is_empty() && defect.is_some_and(|word| word.contains("damaged")));
}

/// A file of one part with these bytes in it.
fn file_of(bytes: &[u8]) -> Vec<u8> {
    let mut file = begin(&origin(), &hello());
    file.extend(part::pack(kind::OBSERVATIONS, (Nanos(1), Nanos(1)), bytes).unwrap());
    file
}

/// Names of one session again and again, with the same id of so many bytes: the first time in full, then by its number.
fn named_again(length: usize, times: u64) -> Vec<u8> {
    let mut out = super::bytes::Out::default();
    for time in 0..times {
        out.number(1);
        out.byte(super::writing::kind::LABELS);
        out.number(0);
        if time == 0 {
            out.word(7);
        }
        out.number(0);
        if time == 0 {
            out.text(&"x".repeat(length));
        }
        out.flag(false);
        out.flag(false);
    }
    file_of(&out.bytes)
}

#[test]
fn a_long_text_that_is_handed_out_again_and_again_is_damage() {
    // 600 MB of ids out of a file of some kilobytes.
    let file = named_again(60_000, 10_000);
    assert!(file.len() < 10_000, "{}", file.len());
    let mut recording = Recording::open(Cursor::new(file)).unwrap();
    let mut bytes = 0;
    while let Some(arrived) = recording.next_arrived().unwrap() {
        let Observation::Labels(_, labels) = arrived.observation else {
            panic!("names")
        };
        bytes += labels.session_id.len();
    }
    assert!((200_000_000..=256 << 20).contains(&bytes), "{bytes}");
    assert!(recording.defect().is_some_and(|word| word.contains("damaged")));

    let (all, defect) = read(&named_again(1 << 20, 1)).unwrap();
    assert!(all.is_empty() && defect.is_some_and(|word| word.contains("damaged")));
}

#[test]
fn a_place_with_long_texts_that_is_handed_out_again_and_again_is_damage() {
    let place = DumpFrame {
        function: "f".repeat(30_000),
        file: "g".repeat(30_000),
        line: None,
        own: true,
    };
    let (mut numbers, mut out) = (super::words::Numbers::default(), super::bytes::Out::default());
    numbers.place(&mut out, &place);
    numbers.place(&mut out, &place);
    assert_eq!(numbers.handed_out(), 3 * 60_000, "its texts, and it itself twice");
    for _ in 0..5_000 {
        out.number(0);
    }
    let (mut words, mut input) = (super::words::Words::default(), super::bytes::In::new(&out.bytes));
    let read = (0..5_000).take_while(|_| words.place(&mut input).is_ok_and(|read| read.own));
    assert!((4_000..4_500).contains(&read.count()));
}

#[test]
fn a_text_that_is_longer_than_a_recording_holds_is_cut_where_it_is_written() {
    let labels = Labels {
        session_id: "会".repeat(50_000),
        ..Labels::default()
    };
    let mut recorder = Recorder::default();
    let _ = recorder.take(Nanos(1), &Observation::Labels(SessionKey(1), Arc::new(labels)));
    let mut file = begin(&origin(), &hello());
    file.extend(recorder.close().expect("a part").bytes);
    let mut recording = Recording::open(Cursor::new(file)).unwrap();
    let Some(Observation::Labels(_, labels)) = recording.next_arrived().unwrap().map(|arrived| arrived.observation)
    else {
        panic!("names")
    };
    assert_eq!(labels.session_id, "会".repeat((64 << 10) / 3));
}

#[test]
fn ten_thousand_sessions_and_a_dump_of_as_many_tasks_are_far_below_what_a_part_may_hand_out() {
    let session = |number: u64| format!("{number:08}-1b4e-28ba-2fa1-11d2883b9a76");
    let mut census = Dice(1).census();
    census.sessions = (0..10_000)
        .map(|number| SessionFacts {
            key: SessionKey(number),
            labels: Arc::new(Labels {
                session_id: session(number),
                agent: Some("booking-agent".to_owned()),
                tenant: Some("some-tenant".to_owned()),
            }),
            reading: Some(crate::model::Reading {
                function: "BookingAgent.answer_the_caller".into(),
                file: "/srv/app/agents/booking.py".into(),
                line: 10,
                state: "waiting",
            }),
            live: true,
            tasks: 1,
            started_unix: None,
            errored: false,
            pinned: false,
        })
        .collect();
    let mut dump = Dice(1).dump();
    let place = |line: u32| DumpFrame {
        function: "BookingAgent.answer_the_caller".to_owned(),
        file: "/srv/app/lib/python3.12/site-packages/agents/booking.py".to_owned(),
        line: Some(line),
        own: false,
    };
    dump.sessions = (0..10_000)
        .map(|number| DumpSession {
            session_id: session(number),
            agent_name: Some("booking-agent".to_owned()),
            tenant: None,
            work: DumpWork {
                tasks: vec![DumpTask {
                    name: Some(format!("Task-{number}")),
                    state: TaskState::Waiting,
                    waited_s: None,
                    waits_for: None,
                    chain: (0..12).map(place).collect(),
                    is_cut: false,
                    changed: false,
                }],
                callbacks: None,
                threads: Vec::new(),
            },
        })
        .collect();
    let (mut writing, mut out) = (super::writing::Writing::default(), super::bytes::Out::default());
    for observation in [
        Observation::Census(Box::new(census.clone())),
        Observation::Census(Box::new(census)),
        Observation::Dump(Nanos(1), Box::new(dump)),
    ] {
        out.number(1);
        writing.observation(&mut out, &observation);
    }
    let handed_out = writing.handed_out();
    assert!(handed_out < super::words::MOST_HANDED_OUT / 10, "{handed_out}");
    let mut recording = Recording::open(Cursor::new(file_of(&out.bytes))).unwrap();
    for _ in 0..3 {
        assert!(recording.next_arrived().unwrap().is_some());
    }
    assert!(recording.next_arrived().unwrap().is_none());
    assert!(
        recording.defect().is_some_and(|word| word.contains("cut off")),
        "no end was written"
    );
}

#[test]
fn equal_stacks_of_different_parts_are_one() {
    let stacks: Vec<Arc<Stack>> = (0..2).map(|_| Dice(7).stack()).collect();
    let mut recorder = Recorder::default();
    let mut file = begin(&origin(), &hello());
    for (second, stack) in stacks.into_iter().enumerate() {
        let sample = StackSample {
            stack: Some(stack),
            ..Dice(3).stacks().samples.into_iter().next().expect("one")
        };
        let batch = StackBatch {
            samples: vec![sample],
            ..StackBatch::default()
        };
        let _ = recorder.take(Nanos::from_millis(2_000 * second as u64), &Observation::Stacks(batch));
        file.extend(recorder.close().expect("a part").bytes);
    }
    let mut recording = Recording::open(Cursor::new(file)).unwrap();
    let mut read = Vec::new();
    while let Some(arrived) = recording.next_arrived().unwrap() {
        if let Observation::Stacks(batch) = arrived.observation {
            read.extend(batch.samples.into_iter().filter_map(|sample| sample.stack));
        }
    }
    let [one, other] = read.as_slice() else { panic!("two") };
    assert!(Arc::ptr_eq(one, other));
}

#[test]
fn a_kill_loses_less_than_a_second() {
    let mut recorder = Recorder::default();
    let (mut at, mut until) = (Nanos(0), Nanos(0));
    for _ in 0..200 {
        at += Nanos::from_millis(50);
        if let Some(part) = recorder.take(at, &Observation::Batch(Batch::default())) {
            until = part.until;
        }
        assert!((at - until).0 < 1_000_000_000, "{at:?} {until:?}");
    }
}

#[test]
fn the_ring_is_bounded_and_reads_as_if_otop_had_come_later() {
    let mut ring = Ring::new(Nanos::from_millis(10_000), 100_000);
    let labels = Arc::new(Labels {
        session_id: "a".to_owned(),
        ..Labels::default()
    });
    let thread = |index: u32, name: &str| ThreadFacts {
        index: ThreadIndex(index),
        tid: Tid(7),
        name: name.to_owned(),
        is_loop: index == 0,
    };
    let mut dice = Dice(1);
    for step in 0..1_200u64 {
        let mut batch = dice.batch();
        (batch.threads, batch.ended) = (Vec::new(), Vec::new());
        if step == 0 {
            batch.threads = vec![thread(0, "MainThread"), thread(1, "gone")];
            ring.take(Nanos(1), &Observation::Labels(SessionKey(9), Arc::clone(&labels)));
        }
        if step == 2 {
            batch.ended = vec![ThreadIndex(1)];
        }
        if step == 1_150 {
            let came = Nanos::from_millis(step * 50);
            ring.take(came, &Observation::Labels(SessionKey(1), Arc::clone(&labels)));
        }
        ring.take(Nanos::from_millis(step * 50), &Observation::Batch(batch));
        assert!(ring.bytes() < 120_000, "{}", ring.bytes());
    }
    let now = Nanos::from_millis(60_000);
    let file = ring.recording(&origin(), &hello(), now);
    let mut recording = Recording::open(Cursor::new(file)).unwrap();
    let from = ring.from().unwrap();
    assert!(from >= Nanos::from_millis(49_000), "{from:?}");
    assert_eq!(recording.hello().attached_at, from);
    let Some(Observation::Batch(first)) = recording.next_arrived().unwrap().map(|arrived| arrived.observation) else {
        panic!("threads first")
    };
    assert_eq!(
        first.threads,
        [thread(0, "MainThread")],
        "the one that ended is forgotten"
    );
    let second = recording.next_arrived().unwrap().map(|arrived| arrived.observation);
    assert!(
        matches!(second, Some(Observation::Labels(SessionKey(1), _))),
        "{second:?}"
    );
    assert!(matches!(
        recording.next_arrived().unwrap().map(|arrived| arrived.observation),
        Some(Observation::Batch(_))
    ));
    assert_eq!(recording.defect(), None);
}
