//! speedscope's own format (<https://www.speedscope.app/file-format-schema.json>): a time line for each loop and for the
//! threads beside it, and the blocks of each loop as events on one of their own. Knows nothing of files.

use super::about;
use super::json::escape;
use crate::analysis::{Called, Profile, Taken};
use crate::model::{Nanos, Origin, ThreadIndex};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn render(profile: &Profile, origin: &Origin) -> Vec<u8> {
    let mut frames: Vec<Value> = profile.tree.frames.iter().map(frame).collect();
    let mut profiles = Vec::new();
    if let Some(why) = profile.nothing() {
        frames.push(json!({ "name": why }));
        profiles.push(nothing(&why, frames.len() - 1));
    }
    let from = profile.span.map_or(profile.hello.attached_at, |(from, _)| from);
    for (thread, samples) in by_thread(profile) {
        profiles.push(sampled(profile, thread, &samples, from));
    }
    for (thread, name) in loops_with_blocks(profile) {
        profiles.push(blocks(profile, thread, &name, from, &mut frames));
    }
    let facts: BTreeMap<&str, String> = about::facts(profile, origin).into_iter().collect();
    let document = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": format!("otop@{}", origin.otop),
        "name": about::title(profile),
        "activeProfileIndex": 0,
        "shared": { "frames": frames },
        "profiles": profiles,
        "otop": facts,
    });
    escape(&document.to_string()).into_bytes()
}

fn frame(called: &Called) -> Value {
    match called {
        Called::Python(frame) if frame.line > 0 => json!({
            "name": about::short(called),
            "file": crate::view::printable(&frame.file),
            "line": frame.line,
        }),
        Called::Python(frame) => json!({ "name": about::short(called), "file": crate::view::printable(&frame.file) }),
        _ => json!({ "name": about::short(called) }),
    }
}

/// The loops first, then the other threads, then what is of none; each in the order of time.
fn by_thread(profile: &Profile) -> Vec<(Option<ThreadIndex>, Vec<Taken>)> {
    let mut threads: BTreeMap<(bool, bool, Option<ThreadIndex>), Vec<Taken>> = BTreeMap::new();
    for taken in &profile.tree.samples {
        let facts = taken.thread.and_then(|thread| profile.threads.get(&thread));
        let is_loop = facts.is_some_and(|facts| facts.is_loop);
        threads
            .entry((!is_loop, facts.is_none(), taken.thread))
            .or_default()
            .push(*taken);
    }
    threads
        .into_iter()
        .map(|((_, _, thread), samples)| (thread, samples))
        .collect()
}

/// Each sample for as long as it stands for, and nothing in between.
fn sampled(profile: &Profile, thread: Option<ThreadIndex>, taken: &[Taken], from: Nanos) -> Value {
    let (mut samples, mut weights) = (Vec::new(), Vec::new());
    // Nanoseconds since the begin.
    let mut end = 0.0;
    for one in taken {
        let begin = one.at.map_or(end, |at| (at - from).0 as f64 - one.nanos / 2.0);
        if begin > end {
            samples.push(Vec::new());
            weights.push(micros(begin - end));
            end = begin;
        }
        samples.push(profile.tree.path(one.node).iter().map(|frame| frame.0).collect());
        weights.push(micros(one.nanos));
        end += one.nanos;
    }
    json!({
        "type": "sampled",
        "name": about::thread(profile, thread),
        "unit": "microseconds",
        "startValue": 0,
        "endValue": micros(end),
        "samples": samples,
        "weights": weights,
    })
}

fn loops_with_blocks(profile: &Profile) -> Vec<(ThreadIndex, String)> {
    let mut loops: Vec<ThreadIndex> = profile.marks.iter().map(|mark| mark.thread).collect();
    loops.sort_unstable();
    loops.dedup();
    loops
        .into_iter()
        .map(|thread| (thread, about::thread(profile, Some(thread))))
        .collect()
}

/// The blocks of one loop; they do not overlap.
fn blocks(profile: &Profile, thread: ThreadIndex, name: &str, from: Nanos, frames: &mut Vec<Value>) -> Value {
    let mut events = Vec::new();
    let mut end = 0.0;
    for mark in profile.marks.iter().filter(|mark| mark.thread == thread) {
        let begin = micros((mark.began - from).0 as f64).max(end);
        end = micros((mark.until - from).0 as f64).max(begin);
        events.push(json!({ "type": "O", "frame": frames.len(), "at": begin }));
        events.push(json!({ "type": "C", "frame": frames.len(), "at": end }));
        frames.push(json!({ "name": about::block(&mark.block) }));
    }
    json!({
        "type": "evented",
        "name": format!("blocks of {name}"),
        "unit": "microseconds",
        "startValue": 0,
        "endValue": end,
        "events": events,
    })
}

/// A time line that says why there is nothing on it.
fn nothing(why: &str, frame: usize) -> Value {
    json!({
        "type": "sampled", "name": why, "unit": "none", "startValue": 0, "endValue": 1,
        "samples": [[frame]], "weights": [1],
    })
}

fn micros(nanos: f64) -> f64 {
    (nanos.max(0.0)).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::analysis::Wanted;

    fn document(profile: &Profile) -> Value {
        serde_json::from_slice(&render(profile, &sample::origin())).expect("JSON")
    }

    #[test]
    fn a_time_line_for_each_thread_and_the_blocks_on_one_of_their_own() {
        let profile = sample::profile(&Wanted::default());
        let document = document(&profile);
        let names: Vec<&str> = document["profiles"]
            .as_array()
            .expect("profiles")
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(
            names,
            ["MainThread (1234)", "asyncio_0 (1235)", "blocks of MainThread (1234)"]
        );
        // Time passes as it did: what stands on the line is as long as the tree, and nothing overlaps.
        let mut counted = 0.0;
        for one in &document["profiles"].as_array().expect("profiles")[..2] {
            let (samples, weights) = (
                one["samples"].as_array().expect("samples"),
                one["weights"].as_array().expect("weights"),
            );
            assert_eq!(samples.len(), weights.len());
            for (stack, weight) in samples.iter().zip(weights) {
                if stack.as_array().is_some_and(|stack| !stack.is_empty()) {
                    counted += weight.as_f64().expect("a number");
                }
            }
        }
        assert!((counted - profile.tree.total() / 1e3).abs() < 1.0, "{counted}");
        let events = document["profiles"][2]["events"].as_array().expect("events");
        assert_eq!(events.len(), 2);
        let length = events[1]["at"]
            .as_f64()
            .zip(events[0]["at"].as_f64())
            .map(|(end, begin)| end - begin);
        assert!(
            length.is_some_and(|length| (295_000.0..=305_000.0).contains(&length)),
            "{length:?}"
        );
        let frame = events[0]["frame"].as_u64().expect("a number") as usize;
        let name = document["shared"]["frames"][frame]["name"].as_str().expect("a name");
        assert!(
            name.starts_with("[block] session job-a") && name.contains("syscall recvfrom"),
            "{name}"
        );
        assert_eq!(document["otop"]["worker"], "worker-1, PID 1234");
    }

    #[test]
    fn where_nothing_was_sampled_it_says_so() {
        let document = document(&sample::nothing());
        assert_eq!(document["profiles"][0]["name"], "nothing was sampled");
    }
}
