//! Firefox Profiler's processed format, version 57, as `docs-developer/CHANGELOG-formats.md` and `src/types/profile.ts` of
//! github.com/firefox-devtools/profiler describe it; newer ones read it. A thread for each thread, samples weighted by
//! their milliseconds, blocks as markers. Knows nothing of files.

use super::about;
use super::json::escape;
use crate::analysis::{Called, Mark, NodeId, Profile, Taken};
use crate::model::{Nanos, Origin, ThreadIndex};
use crate::view::{block_words, printable};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The version of the processed format, and of Gecko's that it was made for.
const PROCESSED: u32 = 57;
const GECKO: u32 = 31;

/// A category's number is its place here.
const CATEGORIES: [(&str, &str); 5] = [
    ("Python", "yellow"),
    ("Session", "blue"),
    ("Waiting", "orange"),
    ("GC", "red"),
    ("Other", "grey"),
];

/// An interval, among the phases of a marker.
const INTERVAL: u32 = 1;

pub fn render(profile: &Profile, origin: &Origin) -> Vec<u8> {
    let mut texts = Texts::default();
    let from = profile.span.map_or(profile.hello.attached_at, |(from, _)| from);
    let mut threads: Vec<Value> = Vec::new();
    for (thread, samples) in by_thread(profile) {
        threads.push(Thread { profile, from }.render(thread, &samples, &mut texts));
    }
    let document = json!({
        "meta": meta(profile, origin),
        "libs": [],
        "shared": { "stringArray": texts.all },
        "threads": threads,
    });
    escape(&document.to_string()).into_bytes()
}

/// Loops first; a thread with blocks is there without a sample, too.
fn by_thread(profile: &Profile) -> Vec<(Option<ThreadIndex>, Vec<Taken>)> {
    let mut threads: BTreeMap<(bool, Option<ThreadIndex>), Vec<Taken>> = BTreeMap::new();
    let place = |thread: Option<ThreadIndex>| {
        let facts = thread.and_then(|thread| profile.threads.get(&thread));
        (!facts.is_some_and(|facts| facts.is_loop), thread)
    };
    for mark in &profile.marks {
        threads.entry(place(Some(mark.thread))).or_default();
    }
    for taken in &profile.tree.samples {
        threads.entry(place(taken.thread)).or_default().push(*taken);
    }
    if threads.is_empty() {
        // A profile without a thread is none.
        threads.insert((true, None), Vec::new());
    }
    threads
        .into_iter()
        .map(|((_, thread), samples)| (thread, samples))
        .collect()
}

fn meta(profile: &Profile, origin: &Origin) -> Value {
    let facts = about::facts(profile, origin);
    let entry = |(name, value): (&str, String)| json!({ "label": name, "format": "string", "value": value });
    let mut entries: Vec<Value> = facts.into_iter().map(entry).collect();
    entries.extend(profile.nothing().map(|why| entry(("nothing", why))));
    let rate = profile.hello.stack_rate_hz.filter(|rate| *rate > 0.0).unwrap_or(100.0);
    let field = |key: &str, label: &str| json!({ "key": key, "label": label, "format": "string" });
    json!({
        "version": GECKO,
        "preprocessedProfileVersion": PROCESSED,
        "interval": 1e3 / rate,
        "startTime": profile.began_unix * 1e3,
        "profilingStartTime": 0,
        "profilingEndTime": profile.seconds() * 1e3,
        "processType": 0,
        "product": about::title(profile),
        "importedFrom": format!("otop {}", origin.otop),
        "stackwalk": 1,
        "debug": false,
        "symbolicated": true,
        "symbolicationNotSupported": true,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "logicalCPUs": profile.hello.vcpus,
        "arguments": origin.command.as_deref().map(printable),
        "extensions": { "length": 0, "baseURL": [], "id": [], "name": [] },
        "categories": CATEGORIES.map(|(name, color)| json!({ "name": name, "color": color, "subcategories": ["Other"] })),
        "markerSchema": [{
            "name": "Block",
            "tooltipLabel": "{marker.data.name}",
            "tableLabel": "{marker.data.name}",
            "chartLabel": "{marker.data.name}",
            "display": ["marker-chart", "marker-table", "timeline-overview"],
            "fields": [
                field("name", "Block"), field("session", "Session"), field("cause", "Cause"),
                field("syscall", "System call"), field("place", "Line"), field("waiting", "Sessions that waited"),
            ],
        }],
        "extra": [{ "label": "otop", "entries": entries }],
    })
}

/// Texts by number.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

struct Thread<'p> {
    profile: &'p Profile,
    /// Where the time line begins.
    from: Nanos,
}

impl Thread<'_> {
    fn render(&self, thread: Option<ThreadIndex>, samples: &[Taken], texts: &mut Texts) -> Value {
        let facts = thread.and_then(|thread| self.profile.threads.get(&thread));
        let hello = &self.profile.hello;
        let nodes = self.nodes(samples);
        let tables = self.tables(&nodes, texts);
        json!({
            "processType": "default",
            "processName": hello.name.as_deref().map_or_else(|| "worker".to_owned(), printable),
            "processStartupTime": 0,
            "processShutdownTime": null,
            "registerTime": 0,
            "unregisterTime": null,
            "pausedRanges": [],
            "name": about::thread(self.profile, thread),
            "isMainThread": facts.is_some_and(|facts| facts.tid.0 == hello.pid.0),
            "showMarkersInTimeline": true,
            "pid": hello.pid.to_string(),
            "tid": facts.map_or(0, |facts| facts.tid.0),
            "samples": self.samples(samples, &nodes),
            "markers": self.markers(thread, texts),
            "stackTable": tables.stacks,
            "frameTable": tables.frames,
            "funcTable": tables.functions,
            "resourceTable": { "length": 0, "lib": [], "name": [], "host": [], "type": [] },
            "nativeSymbols": { "length": 0, "address": [], "functionSize": [], "libIndex": [], "name": [] },
        })
    }

    /// The nodes that this thread has been at or below, with their numbers in its tables. A parent comes first.
    fn nodes(&self, samples: &[Taken]) -> BTreeMap<NodeId, usize> {
        let mut met = BTreeSet::new();
        for taken in samples {
            let mut next = Some(taken.node);
            while let Some(node) = next.filter(|node| met.insert(*node)) {
                next = self
                    .profile
                    .tree
                    .nodes
                    .get(node.0 as usize)
                    .and_then(|node| node.parent);
            }
        }
        met.into_iter().enumerate().map(|(place, node)| (node, place)).collect()
    }

    fn samples(&self, samples: &[Taken], nodes: &BTreeMap<NodeId, usize>) -> Value {
        let mut last = 0.0;
        let mut times = Vec::new();
        for taken in samples {
            // What no stack was taken of stands at the end.
            let at = taken
                .at
                .unwrap_or(self.from + Nanos((self.profile.seconds() * 1e9) as u64));
            last = self.ms(at).max(last);
            times.push(last);
        }
        json!({
            "length": samples.len(),
            "stack": samples.iter().map(|taken| nodes.get(&taken.node)).collect::<Vec<_>>(),
            "time": times,
            "weight": samples.iter().map(|taken| taken.nanos / 1e6).collect::<Vec<_>>(),
            "weightType": "tracing-ms",
        })
    }

    fn markers(&self, thread: Option<ThreadIndex>, texts: &mut Texts) -> Value {
        let marks: Vec<&Mark> = self
            .profile
            .marks
            .iter()
            .filter(|mark| Some(mark.thread) == thread)
            .collect();
        let name = texts.number("Block");
        let data = |mark: &Mark| {
            let block = &mark.block;
            let place = about::place(block);
            json!({
                "type": "Block",
                "name": about::block(block),
                "session": block.session_id.as_deref().map(printable),
                "cause": block_words::name(block.cause),
                "syscall": block.syscall,
                "place": place.as_deref().map(printable),
                "waiting": block.waiting.map(|count| format!("≥ {count}")),
            })
        };
        json!({
            "length": marks.len(),
            "category": marks.iter().map(|_| CATEGORIES.len() - 1).collect::<Vec<_>>(),
            "data": marks.iter().map(|mark| data(mark)).collect::<Vec<_>>(),
            "name": marks.iter().map(|_| name).collect::<Vec<_>>(),
            "phase": marks.iter().map(|_| INTERVAL).collect::<Vec<_>>(),
            "startTime": marks.iter().map(|mark| self.ms(mark.began)).collect::<Vec<_>>(),
            "endTime": marks.iter().map(|mark| self.ms(mark.until)).collect::<Vec<_>>(),
        })
    }

    fn ms(&self, at: Nanos) -> f64 {
        (at - self.from).as_millis_f64()
    }

    fn tables(&self, nodes: &BTreeMap<NodeId, usize>, texts: &mut Texts) -> Tables {
        let tree = &self.profile.tree;
        let (mut prefixes, mut frame_of) = (Vec::new(), Vec::new());
        let mut frames = BTreeMap::new();
        for node in nodes.keys().filter_map(|node| tree.nodes.get(node.0 as usize)) {
            prefixes.push(node.parent.and_then(|parent| nodes.get(&parent)));
            let next = frames.len();
            frame_of.push(*frames.entry(node.frame).or_insert(next));
        }
        let mut by_place: Vec<_> = frames.into_iter().collect();
        by_place.sort_by_key(|(_, place)| *place);
        let called: Vec<&Called> = by_place.iter().filter_map(|(frame, _)| tree.called(*frame)).collect();

        let mut functions: HashMap<(String, Option<String>, Option<u32>), usize> = HashMap::new();
        let mut table = Vec::new();
        let mut function_of = Vec::new();
        for called in &called {
            let key = function(called);
            let next = functions.len();
            let place = *functions.entry(key.clone()).or_insert(next);
            if place == next {
                table.push(key);
            }
            function_of.push(place);
        }
        let (lines, categories): (Vec<_>, Vec<_>) =
            called.iter().map(|called| (line(called), category(called))).unzip();
        let none = |count: usize| vec![Value::Null; count];
        Tables {
            stacks: json!({ "length": frame_of.len(), "prefix": prefixes, "frame": frame_of }),
            frames: json!({
                "length": called.len(),
                "address": vec![-1; called.len()],
                "inlineDepth": vec![0; called.len()],
                "category": categories,
                "subcategory": vec![0; called.len()],
                "func": function_of,
                "nativeSymbol": none(called.len()),
                "innerWindowID": none(called.len()),
                "line": lines,
                "column": none(called.len()),
            }),
            functions: json!({
                "length": table.len(),
                "name": table.iter().map(|(name, ..)| texts.number(name)).collect::<Vec<_>>(),
                "isJS": vec![false; table.len()],
                "relevantForJS": vec![false; table.len()],
                "resource": vec![-1; table.len()],
                "fileName": table.iter().map(|(_, file, _)| file.as_ref().map(|file| texts.number(file))).collect::<Vec<_>>(),
                "lineNumber": table.iter().map(|(.., line)| line).collect::<Vec<_>>(),
                "columnNumber": none(table.len()),
            }),
        }
    }
}

struct Tables {
    stacks: Value,
    frames: Value,
    functions: Value,
}

/// Name, file, and the line on which it begins.
fn function(called: &Called) -> (String, Option<String>, Option<u32>) {
    match called {
        Called::Python(frame) => (
            about::short(called),
            Some(printable(&frame.file)),
            Some(frame.first_line),
        ),
        _ => (about::short(called), None, None),
    }
}

fn line(called: &Called) -> Option<u32> {
    match called {
        Called::Python(frame) => Some(frame.line).filter(|line| *line > 0),
        _ => None,
    }
}

fn category(called: &Called) -> usize {
    match called {
        Called::Python(_) => 0,
        Called::Root { .. } => 1,
        Called::Native(what) if what == "[gc]" => 3,
        Called::Native(_) => 2,
        Called::Unresolved | Called::Cut => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::analysis::Wanted;

    fn document(profile: &Profile) -> Value {
        serde_json::from_slice(&render(profile, &sample::origin())).expect("JSON")
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value
            .as_array()
            .expect("numbers")
            .iter()
            .filter_map(Value::as_f64)
            .collect()
    }

    #[test]
    fn every_table_is_as_long_as_it_says_and_points_into_the_others() {
        let document = document(&sample::profile(&Wanted::default()));
        for thread in document["threads"].as_array().expect("threads") {
            for table in "samples markers stackTable frameTable funcTable resourceTable nativeSymbols".split(' ') {
                let table = &thread[table];
                for (name, column) in table.as_object().expect("a table") {
                    if let Some(column) = column.as_array() {
                        assert_eq!(
                            column.len() as u64,
                            table["length"].as_u64().expect("a length"),
                            "{name}"
                        );
                    }
                }
            }
            for (from, column, to) in [
                ("samples", "stack", "stackTable"),
                ("stackTable", "prefix", "stackTable"),
                ("stackTable", "frame", "frameTable"),
                ("frameTable", "func", "funcTable"),
            ] {
                let length = thread[to]["length"].as_f64().expect("a length");
                assert!(
                    numbers(&thread[from][column]).iter().all(|number| *number < length),
                    "{from}.{column}"
                );
            }
            let texts = document["shared"]["stringArray"].as_array().expect("texts").len() as f64;
            assert!(
                numbers(&thread["funcTable"]["name"])
                    .iter()
                    .all(|number| *number < texts)
            );
            let prefixes = thread["stackTable"]["prefix"].as_array().expect("prefixes");
            let are_before = prefixes
                .iter()
                .enumerate()
                .all(|(place, prefix)| prefix.as_u64().is_none_or(|p| (p as usize) < place));
            assert!(are_before);
            assert!(numbers(&thread["samples"]["time"]).is_sorted());
        }
    }

    #[test]
    fn weights_are_the_trees_and_blocks_are_markers() {
        let profile = sample::profile(&Wanted::default());
        let document = document(&profile);
        let threads = document["threads"].as_array().expect("threads");
        let weight: f64 = threads
            .iter()
            .flat_map(|thread| numbers(&thread["samples"]["weight"]))
            .sum();
        assert!((weight - profile.tree.total() / 1e6).abs() < 1e-6, "{weight}");
        let marker = &threads[0]["markers"];
        assert_eq!(marker["length"], 1);
        assert_eq!(marker["data"][0]["cause"], "syscall");
        let length = numbers(&marker["endTime"])[0] - numbers(&marker["startTime"])[0];
        assert!((295.0..=305.0).contains(&length), "{length}");
        let facts = document["meta"]["extra"][0]["entries"].as_array().expect("facts");
        assert!(
            facts
                .iter()
                .any(|fact| fact["label"] == "worker" && fact["value"] == "worker-1, PID 1234")
        );
    }

    #[test]
    fn where_nothing_was_sampled_it_says_so() {
        let document = document(&sample::nothing());
        assert!(document.to_string().contains("nothing was sampled"));
        assert_eq!(document["threads"].as_array().expect("threads").len(), 1);
    }
}
