//! Garbage collection: it runs in the step of whoever happens to allocate, and is nobody's fault; unless the step called
//! for it itself.

use crate::support::{FROM, Otop, Python, Target};
use serde_json::Value;

/// Shorter than the collection that is waited for, longer than what a machine does by the way.
const LONG: f64 = 100.0;

fn garbage(python: &Python, event_loop: &str) {
    let mut target = Target::sessions(
        python,
        event_loop,
        &["--sessions", "3", "--busy", "1:10", "--step-ms", "1"],
    );
    // What the collector has to look at is made before anything is watched.
    target.start("warm", None, None);
    target.block("warm", 1, "garbage", "child");
    target.end("warm");
    let mut otop = Otop::follow(target.pid, &FROM);
    otop.fresh(1);
    for _ in 0..3 {
        let truth = target.block("call-0000", 300, "garbage", "child");
        let long = truth["ms"].as_f64().expect("the target measures");
        if long < 2.0 * LONG {
            // The collector had less to look at than was thought; the next time it will be measured anew.
            continue;
        }
        // By where it was, and not by its length: what is asserted below must not choose it, and the target's other work
        // (making and freeing what is collected) can block the loop too.
        let is_it = |block: &Value| {
            block["ongoing"] == false
                && block["function"] == "block_garbage"
                && block["duration_ms"].as_f64() >= Some(LONG)
        };
        let doc = otop.until("the block is reported", |doc, _| doc.blocks().iter().any(is_it));
        let block = doc
            .blocks()
            .iter()
            .find(|block| is_it(block))
            .expect("it was just there");
        assert_eq!(block["cause"], "gc", "{}: {block}", target.what);
        assert!(
            block["session_id"].is_null(),
            "{}: an innocent is blamed: {block}",
            target.what
        );
        assert_eq!(block["step_session_id"], "call-0000", "{}: {block}", target.what);
        otop.settled();
        assert!(otop.blame.anybody().is_empty(), "{}: {:?}", target.what, otop.blame);
        return;
    }
    panic!("{}: no collection took {LONG} ms, so this judged nothing", target.what);
}

macro_rules! on_every_minor {
    ($($name:ident $minor:literal $event_loop:literal)*) => { $(
        #[test]
        fn $name() {
            crate::support::with_loop($minor, $event_loop, garbage);
        }
    )* };
}

on_every_minor! {
    garbage_on_3_08 "3.8" "uvloop"
    garbage_on_3_09 "3.9" "asyncio"
    garbage_on_3_10 "3.10" "asyncio"
    garbage_on_3_11 "3.11" "asyncio"
    garbage_on_3_12 "3.12" "uvloop"
    garbage_on_3_13 "3.13" "asyncio"
    garbage_on_3_14 "3.14" "asyncio"
    garbage_on_3_15 "3.15" "asyncio"
}
