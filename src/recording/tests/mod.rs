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
        vcpus: 2,
        rate_hz: 1_000.0,
        stack_rate_hz: Some(100.0),
        library: Some("/usr/lib/python3.12".to_owned()),
    }
}

fn origin() -> Origin {
    Origin {
        otop: "0.1.0".to_owned(),
        command: Some("python worker.py".to_owned()),
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
        "a newer otop recorded it (format 3; this one reads up to 2)"
    );
    assert!(matches!(
        read(&file[..MAGIC.len() + 2]),
        Err(RecordingError::Newer { version: 3 })
    ));
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
