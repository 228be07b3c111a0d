//! speedscope's own format (<https://www.speedscope.app/file-format-schema.json>): a time line for each loop and for the
//! threads beside it, and the blocks of each loop as events on one of their own. The samples go into the text one by one: an
//! hour of them as JSON values would be gigabytes. Knows nothing of files.

use super::about;
use super::json::escape;
use crate::analysis::{CallTree, Called, NodeId, Profile, Taken};
use crate::model::{Nanos, Origin, ThreadIndex};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The file. Fields stand in the order of the alphabet, here and below, as in what `json!` makes.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(rename = "activeProfileIndex")]
    active: usize,
    exporter: String,
    name: String,
    otop: BTreeMap<&'a str, String>,
    profiles: Vec<TimeLine<'a>>,
    shared: Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TimeLine<'a> {
    Sampled(Sampled<'a>),
    Other(Value),
}

#[derive(Serialize)]
struct Sampled<'a> {
    #[serde(rename = "endValue")]
    end: f64,
    name: String,
    samples: Paths<'a>,
    #[serde(rename = "startValue")]
    start: u8,
    #[serde(rename = "type")]
    kind: &'static str,
    unit: &'static str,
    weights: Weights<'a>,
}

/// A stretch of a time line on which nothing changes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    /// None: nothing is there.
    node: Option<NodeId>,
    nanos: f64,
}

/// Their stacks, each made when it is written.
struct Paths<'a>(&'a CallTree, &'a [Stretch]);

/// How long they are.
struct Weights<'a>(&'a [Stretch]);

impl Serialize for Paths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Paths(tree, stretches) = self;
        let path = |node: NodeId| -> Vec<u32> { tree.path(node).iter().map(|frame| frame.0).collect() };
        serializer.collect_seq(stretches.iter().map(|one| one.node.map(path).unwrap_or_default()))
    }
}

impl Serialize for Weights<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|one| micros(one.nanos)))
    }
}

pub fn render(profile: &Profile, origin: &Origin) -> Vec<u8> {
    let mut frames: Vec<Value> = profile.tree.frames.iter().map(frame).collect();
    let mut profiles = Vec::new();
    if let Some(why) = profile.nothing() {
        frames.push(json!({ "name": why }));
        profiles.push(TimeLine::Other(nothing(&why, frames.len() - 1)));
    }
    let from = profile.span.map_or(profile.hello.attached_at, |(from, _)| from);
    let lines: Vec<(Option<ThreadIndex>, Vec<Stretch>, f64)> = by_thread(profile)
        .into_iter()
        .map(|(thread, samples)| {
            let (stretches, end) = stretches(&samples, from);
            (thread, stretches, end)
        })
        .collect();
    profiles.extend(lines.iter().map(|(thread, stretches, end)| {
        TimeLine::Sampled(Sampled {
            end: micros(*end),
            name: about::thread(profile, *thread),
            samples: Paths(&profile.tree, stretches),
            start: 0,
            kind: "sampled",
            unit: "microseconds",
            weights: Weights(stretches),
        })
    }));
    for (thread, name) in loops_with_blocks(profile) {
        profiles.push(TimeLine::Other(blocks(profile, thread, &name, from, &mut frames)));
    }
    let document = Document {
        schema: "https://www.speedscope.app/file-format-schema.json",
        active: 0,
        exporter: format!("otop@{}", origin.otop),
        name: about::title(profile),
        otop: about::facts(profile, origin).into_iter().collect(),
        profiles,
        shared: json!({ "frames": frames }),
    };
    let text = match serde_json::to_string(&document) {
        Ok(text) => text,
        // Texts and numbers can all be written.
        Err(error) => json!({ "error": error.to_string() }).to_string(),
    };
    escape(&text).into_bytes()
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

/// Each sample for as long as it stands for, and nothing in between; neighbours with one stack are one, as speedscope draws
/// them. Where the last ends, in nanoseconds since the begin.
fn stretches(taken: &[Taken], from: Nanos) -> (Vec<Stretch>, f64) {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut add = |node: Option<NodeId>, nanos: f64| match stretches.last_mut() {
        Some(last) if last.node == node => last.nanos += nanos,
        _ => stretches.push(Stretch { node, nanos }),
    };
    let mut end = 0.0;
    for one in taken {
        let begin = one.at.map_or(end, |at| (at - from).0 as f64 - one.nanos / 2.0);
        if begin > end {
            add(None, begin - end);
            end = begin;
        }
        add(Some(one.node), one.nanos);
        end += one.nanos;
    }
    (stretches, end)
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
    fn neighbours_with_one_stack_are_one_and_gaps_stay() {
        let taken = |at: Option<u64>, node: u32| Taken {
            at: at.map(Nanos),
            node: NodeId(node),
            nanos: 1_000.0,
            thread: None,
            session: None,
        };
        let all = [
            taken(Some(1_500), 1),
            taken(Some(2_500), 1),
            taken(Some(3_500), 2),
            taken(Some(9_500), 2),
            taken(None, 2),
        ];
        let stretch = |node: Option<u32>, nanos: f64| Stretch {
            node: node.map(NodeId),
            nanos,
        };
        let expected = vec![
            stretch(Some(1), 2_000.0),
            stretch(Some(2), 1_000.0),
            stretch(None, 5_000.0),
            stretch(Some(2), 2_000.0),
        ];
        assert_eq!(stretches(&all, Nanos(1_000)), (expected, 10_000.0));
    }

    /// What stands on each line at each instant, by the names of the frames: as it was written sample by sample.
    #[test]
    fn the_text_says_what_the_samples_say() {
        let profile = sample::profile(&Wanted::default());
        let document = document(&profile);
        let from = profile.span.expect("samples").0;
        for (line, (_, taken)) in document["profiles"]
            .as_array()
            .expect("profiles")
            .iter()
            .zip(by_thread(&profile))
        {
            let mut expected: Vec<(Vec<u32>, f64)> = Vec::new();
            let mut end = 0.0;
            for one in &taken {
                let begin = one.at.map_or(end, |at| (at - from).0 as f64 - one.nanos / 2.0);
                if begin > end {
                    expected.push((Vec::new(), begin - end));
                    end = begin;
                }
                let path = profile.tree.path(one.node).iter().map(|frame| frame.0).collect();
                expected.push((path, one.nanos));
                end += one.nanos;
            }
            expected.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.1 += if same { next.1 } else { 0.0 };
                same
            });
            let expected: Vec<(Vec<u32>, f64)> = expected
                .into_iter()
                .map(|(path, nanos)| (path, micros(nanos)))
                .collect();
            let path = |stack: &Value| serde_json::from_value::<Vec<u32>>(stack.clone()).expect("frames");
            let stacks = line["samples"].as_array().expect("samples").iter().map(path);
            let weights = line["weights"]
                .as_array()
                .expect("weights")
                .iter()
                .filter_map(Value::as_f64);
            assert_eq!(stacks.zip(weights).collect::<Vec<_>>(), expected);
            assert_eq!(line["endValue"], micros(end));
            assert_eq!((&line["type"], &line["startValue"]), (&json!("sampled"), &json!(0)));
        }
    }

    #[test]
    fn where_nothing_was_sampled_it_says_so() {
        let document = document(&sample::nothing());
        assert_eq!(document["profiles"][0]["name"], "nothing was sampled");
    }
}
