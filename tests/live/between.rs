//! A loop between two steps: held by what it logs itself, which is nobody's block, and over, which is none.

use crate::support::{Otop, Target, pythons, run};
use serde_json::Value;

#[test]
fn a_loop_that_is_held_between_two_steps_is_blocked_by_nobody() {
    for python in pythons() {
        let mut target = Target::launch(python, "between.py", &["--logs"]);
        let mut otop = Otop::blocks(target.pid, &["--json"]);
        let block = loop {
            let Some(line) = otop.line() else {
                panic!("{}: otop ended; {}", target.what, otop.stderr())
            };
            let told: Value = serde_json::from_str(&line).expect("a JSON object");
            if told["event"] == "ended" && told["cause"] == "syscall" {
                break told;
            }
        };
        assert_eq!(
            (&block["session_id"], &block["syscall"]),
            (&Value::Null, &"read".into()),
            "{block}"
        );
        // Qualified names are kept from 3.11 on.
        let function = block["function"].as_str().unwrap_or_default();
        assert!(function.ends_with("emit"), "{}: {block}", target.what);
        let held = target.until("held", |_| true);
        assert!(held["ms"].as_f64() >= Some(140.0), "{held}");
    }
}

#[test]
fn a_loop_that_is_over_is_not_blocked() {
    for python in pythons() {
        let mut target = Target::launch(python, "between.py", &["--reruns"]);
        let ran = run(&["blocks", "--pid", &target.pid.to_string(), "--json", "--for", "2s"]);
        assert_eq!(ran.code, Some(0), "{}: {}", target.what, ran.stderr);
        for line in ran.stdout.lines() {
            let told: Value = serde_json::from_str(line).expect("a JSON object");
            // What the machine does to it is not its own.
            assert_ne!(told["cause"], "syscall", "{}: {told}", target.what);
        }
        target.until("slept", |_| true);
    }
}
