//! Steps that go into the contexts of other sessions: whoever is started within a step for a moment is not to blame for it.

use crate::support::{Otop, Python, Target, one_python};
use serde_json::Value;
use std::collections::BTreeSet;

fn judge(python: &Python, way: &str, event_loop: &str) {
    let target = Target::launch(python, "nested.py", &[way, event_loop]);
    let mut otop = Otop::blocks(target.pid, &["--json", "--session-from", "conn"]);
    let mut blamed = BTreeSet::new();
    while blamed.len() < 3 {
        let line = otop.line();
        let line = line.unwrap_or_else(|| panic!("{}: {}", target.what, otop.stderr()));
        let told: Value = serde_json::from_str(&line).expect("a JSON object");
        let who = told["session_id"].as_str().unwrap_or("nobody").to_owned();
        assert!(
            ["nobody", "starter", "long"].contains(&&*who),
            "{}: {told}",
            target.what
        );
        // What the machine makes of it may be nobody's.
        if told["event"] == "ended" && (who != "nobody" || told["cause"] == "cpu") {
            blamed.insert(who);
        }
    }
}

#[test]
fn who_is_started_for_a_moment_is_not_to_blame_for_the_step() {
    for minor in ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        let way = if python.version() < (3, 12) {
            "--nested"
        } else {
            "--eager"
        };
        for event_loop in python.loops() {
            judge(&python, way, &format!("--{event_loop}"));
        }
    }
}
