//! One report as one line of JSON, version 1. The types of `model::Report` are the contract; here it is only filtered,
//! sorted, and made harmless for a terminal that it may be printed on.

use crate::model::Report;
use crate::view::{Options, choose_rows, is_unprintable};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The report in one line, without the line feed. Sessions are filtered and sorted as the table's are; everything else
/// is of the whole worker.
pub fn render(report: &Report, options: &Options) -> String {
    let rows = choose_rows(report, &options.filter, options.sort, &BTreeSet::new());
    let mut shown = report.clone();
    shown.sessions = rows.shown.into_iter().cloned().collect();
    let line = match shown.worker.is_served {
        false => serde_json::to_string(&shown),
        true => serde_json::to_value(&shown).map(|value| without_inventions(value).to_string()),
    };
    harmless(line)
}

/// The same for one worker of a pool, with `pss_mb` beside `rss_mb`: pages that the pool shares counted by share.
pub fn render_member(report: &Report, options: &Options, pss_bytes: Option<u64>) -> String {
    let line = render(report, options);
    let Ok(mut document) = serde_json::from_str::<Value>(&line) else {
        return line;
    };
    if let Some(worker) = document.get_mut("worker").and_then(Value::as_object_mut) {
        let pss = pss_bytes.map(|bytes| bytes as f64 / 1_048_576.0);
        worker.insert("pss_mb".to_owned(), pss.map_or(Value::Null, Value::from));
    }
    escape(&document.to_string())
}

/// Anything else of the contract in one line, without the line feed.
pub fn line(document: &impl Serialize) -> String {
    harmless(serde_json::to_string(document))
}

fn harmless(line: serde_json::Result<String>) -> String {
    match line {
        Ok(line) => escape(&line),
        // No map with odd keys and no failing serializer is in a report; a script sees at once that this is none.
        Err(error) => serde_json::json!({ "error": error.to_string() }).to_string(),
    }
}

/// The document with `null` for what a worker's own socket does not say, where the types have no room for it.
fn without_inventions(mut document: Value) -> Value {
    const UNKNOWN: [&str; 8] = [
        "/worker/python",
        "/worker/loops",
        "/worker/cpu_history",
        "/blocks",
        "/quality/samples",
        "/quality/torn",
        "/quality/unreadable",
        "/quality/dropped",
    ];
    let mut forget = |pointer: &str| {
        if let Some(place) = document.pointer_mut(pointer) {
            *place = Value::Null;
        }
    };
    UNKNOWN.into_iter().for_each(&mut forget);
    if document.pointer("/worker/pid") == Some(&Value::from(0)) {
        document["worker"]["pid"] = Value::Null;
    }
    for session in document
        .get_mut("sessions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        for name in ["blocks", "blocked_ms", "duration_is_lower_bound"] {
            session[name] = Value::Null;
        }
    }
    for name in ["window_s", "hz_asked", "hz_got"] {
        document["quality"][name] = Value::Null;
    }
    document
}

/// Writes DEL, C1, bidirectional and invisible characters as `\u….`, as JSON itself does with C0. They occur only
/// inside of strings, so the value stays the same.
pub(super) fn escape(line: &str) -> String {
    if !line.chars().any(is_unprintable) {
        return line.to_owned();
    }
    let mut escaped = String::with_capacity(line.len() + 64);
    for c in line.chars() {
        if !is_unprintable(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing into a string cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionReport;
    use crate::model::{Cause, Where};
    use crate::view::{Filter, Sort, sample};
    use std::collections::BTreeSet;

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn words(text: &str) -> BTreeSet<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn of_a_worker_that_speaks_for_itself_nothing_is_invented() {
        let mut report = sample::report(sample::six());
        report.worker.is_served = true;
        report.worker.pid = 0;
        report.sessions[0].agent_name = Some("\u{9b}1m".to_owned());
        let line = render(&report, &Options::default());
        assert!(!line.chars().any(is_unprintable), "{line}");
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["sessions"].as_array().unwrap().len(), 6);
        for unknown in ["pid", "python", "loops", "cpu_history"] {
            assert!(document["worker"][unknown].is_null(), "{unknown}");
        }
        for unknown in ["blocks", "blocked_ms"] {
            assert!(document["sessions"][0][unknown].is_null(), "{unknown}");
        }
        assert!(document["quality"]["hz_got"].is_null() && document["blocks"].is_null());
    }

    fn full() -> Value {
        let mut report = sample::report(sample::six());
        let mut block = sample::block_now(Some("a"), Cause::Syscall);
        block.stack = Some(vec![Where {
            function: None,
            file: None,
            line: None,
            state: None,
        }]);
        report.blocks.push(block);
        serde_json::from_str(&render(&report, &Options::default())).unwrap()
    }

    /// The contract of version 1, key by key. A change here is a change for every script out there.
    #[test]
    fn the_contract() {
        let json = full();
        assert_eq!(json["schema"], 1);
        assert_eq!(keys(&json), words("schema worker sessions unattributed blocks quality"));
        let worker = "name pid python loop uptime_s active_sessions max_sessions started failed last_error draining \
                      rss_mb cpu_pct loop_pct ready tasks session_from loops cpu_history system";
        assert_eq!(keys(&json["worker"]), words(worker));
        let system = "cpu_pct vcpus mem_used_bytes mem_total_bytes swap_used_bytes swap_total_bytes load1 load5 \
                      load15 net_rate_bps";
        assert_eq!(keys(&json["worker"]["system"]), words(system));
        assert_eq!(
            keys(&json["worker"]["loops"][0]),
            words("loop tid thread loop_pct ready tasks")
        );
        let session = "session_id agent_name tenant duration_s duration_is_lower_bound mem_mb peak_mb cpu_pct cpu_s \
                       loop_pct status pinned tasks blocks blocked_ms worst_block_ms where";
        assert_eq!(keys(&json["sessions"][0]), words(session));
        assert_eq!(keys(&json["sessions"][0]["where"]), words("function file line state"));
        assert_eq!(keys(&json["unattributed"]), words("cpu_pct cpu_s loop_pct"));
        let block = "session_id agent_name tenant step_session_id holder_session_id holder_thread started_at \
                     duration_ms duration_is_lower_bound ongoing cause causes_ms syscall function file line stack \
                     waiting";
        assert_eq!(keys(&json["blocks"][0]), words(block));
        let causes = "cpu syscall gil gc unscheduled stolen stopped suspended unknown";
        assert_eq!(keys(&json["blocks"][0]["causes_ms"]), words(causes));
        assert_eq!(json["blocks"][0]["cause"], "syscall");
        let quality = "window_s hz_asked hz_got stack_hz_asked stack_hz_got stack_mode samples torn unresolved \
                       unreadable dropped late_p99_us otop_cpu_pct paused_ms pause_refused";
        assert_eq!(keys(&json["quality"]), words(quality));
        assert_eq!(json["sessions"][0]["status"], "slow");
    }

    #[test]
    fn whether_the_worker_was_stopped_is_said() {
        let mut report = sample::report(sample::six());
        let said = |report: &Report| {
            let json: Value = serde_json::from_str(&render(report, &Options::default())).unwrap();
            ["paused_ms", "pause_refused"].map(|key| json["quality"][key].clone())
        };
        assert_eq!(said(&report), [Value::Null, Value::Null], "nobody asked for it");
        report.quality.paused_ms = Some(12.5);
        report.quality.pause_refused = Some("process 12 traces it".to_owned());
        assert_eq!(said(&report), [Value::from(12.5), Value::from("process 12 traces it")]);
    }

    #[test]
    fn every_key_of_the_original_is_there() {
        // worker, system and sessions as `openrtc top` serves them at its socket (captures/snapshot.json).
        let json = full();
        let worker = "name uptime_s active_sessions max_sessions started failed draining system cpu_history";
        assert!(words(worker).is_subset(&keys(&json["worker"])));
        let session = "session_id agent_name tenant duration_s mem_mb peak_mb cpu_pct status pinned";
        assert!(words(session).is_subset(&keys(&json["sessions"][0])));
    }

    #[test]
    fn what_is_unknown_is_null() {
        let report = sample::report(vec![SessionReport::unknown("x")]);
        let json: Value = serde_json::from_str(&render(&report, &Options::default())).unwrap();
        let session = json["sessions"][0].as_object().unwrap();
        for key in "agent_name tenant duration_s mem_mb peak_mb cpu_pct cpu_s loop_pct tasks worst_block_ms where"
            .split_whitespace()
        {
            assert!(session[key].is_null(), "{key} is {}", session[key]);
        }
        assert!(json["worker"]["last_error"].is_null());
        let mut report = sample::report(Vec::new());
        report.worker.cpu_pct = Some(f64::NAN);
        let json: Value = serde_json::from_str(&render(&report, &Options::default())).unwrap();
        assert!(json["worker"]["cpu_pct"].is_null());
    }

    #[test]
    fn ids_are_raw_but_nothing_in_the_line_can_act_on_a_terminal() {
        let hostile: Vec<&str> = sample::HOSTILE
            .iter()
            .copied()
            .chain(["\u{e0041}tag", "会議 🚀"])
            .collect();
        let sessions = hostile.iter().map(|id| sample::session(id, id, id, 1.0)).collect();
        let line = render(&sample::report(sessions), &Options::default());
        assert!(!line.chars().any(is_unprintable), "{line}");
        let json: Value = serde_json::from_str(&line).unwrap();
        let got: BTreeSet<&str> = json["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["session_id"].as_str().unwrap())
            .collect();
        assert_eq!(got, hostile.into_iter().collect());
    }

    #[test]
    fn sessions_are_filtered_and_sorted_as_in_the_table() {
        let options = Options {
            sort: Sort::parse("cpu_pct").unwrap(),
            filter: Filter {
                tenant: Some("acme".to_owned()),
                ..Filter::default()
            },
            ..Options::default()
        };
        let json: Value = serde_json::from_str(&render(&sample::report(sample::six()), &options)).unwrap();
        let ids: Vec<_> = json["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["session_id"])
            .collect();
        assert_eq!(ids, ["AJ_000sYfnHPcRu", "AJ_003naxhwfGRC"]);
        assert_eq!(json["worker"]["active_sessions"], 6);
    }
}
