//! tests/targets/micro.py as a child, and the judge of its stacks: whether one can be, frame by frame and line by line, and
//! whose it is. For live tests and for examples/stack_bench.rs.
#![allow(dead_code)] // each user takes its part

use otop::model::{Owner, SessionKey, Stack, StackSample};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Coroutines and functions of a busy session, half of each.
pub const DEPTH: usize = 32;
/// Busy sessions.
pub const BUSY: usize = 4;

/// The target, busy from `start` on. Dropped: killed.
pub struct Micro {
    child: Child,
    output: BufReader<ChildStdout>,
    pub pid: i32,
}

impl Micro {
    pub fn start(python: &[String], args: &[&str]) -> Micro {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/targets/micro.py");
        let text = std::fs::read_to_string(&script).expect("the target is in the tree");
        let mut command = Command::new(&python[0]);
        command.args(&python[1..]);
        match python.len() {
            1 => command.arg(script),
            // By its text: a Python in a root of its own does not see this folder.
            _ => command.args(["-c", &text]),
        };
        let mut child = command
            .args(["--depth", &DEPTH.to_string(), "--busy", &BUSY.to_string()])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{python:?} does not start: {e}"));
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let pid = child.id() as i32;
        let mut micro = Micro { child, output, pid };
        micro.next("ready");
        micro
    }

    /// The next line of that kind.
    pub fn next(&mut self, ev: &str) -> Value {
        let mut line = String::new();
        while self.output.read_line(&mut line).is_ok_and(|length| length > 0) {
            let value: Value = serde_json::from_str(&line).expect("the target prints JSON");
            if value["ev"] == ev {
                return value;
            }
            line.clear();
        }
        panic!("the target ended")
    }
}

impl Drop for Micro {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The busy session's number that a frame shows, and what it is there.
fn part(function: &str) -> Option<(&str, usize)> {
    let (word, number) = function.rsplit_once('_')?;
    ["busy", "climb", "descend", "leaf"].contains(&word).then_some(())?;
    Some((word, number.parse().ok()?))
}

/// Says what is wrong with a stack of the target's only loop; None: it can be.
pub fn impossible(stack: &Stack) -> Option<String> {
    // Outermost first.
    let frames: Vec<_> = stack.frames.iter().rev().collect();
    let wrong = |what: &str| {
        let names: Vec<String> = frames.iter().map(|f| format!("{}:{}", f.function, f.line)).collect();
        Some(format!("{what}: {}", names.join(" ")))
    };
    if stack.is_cut {
        return wrong("cut");
    }
    if frames.first().is_none_or(|f| &*f.function != "<module>") {
        return wrong("no root");
    }
    let first = frames.iter().position(|f| part(&f.function).is_some())?;
    let below = &frames[first..];
    let (_, session) = part(&below[0].function)?;
    if !frames[..first].iter().any(|f| f.function.ends_with("_run_once")) {
        return wrong("no loop");
    }
    let half = DEPTH / 2;
    for (depth, frame) in below.iter().enumerate() {
        let innermost = depth + 1 == below.len();
        // What stands at this depth, and on which line it called the next: (awaiting sleep, calling on).
        let (word, lines): (&str, &[u32]) = match depth {
            0 => ("busy", &[3]),
            d if d < half => ("climb", &[11]),
            d if d == half => ("climb", &[7, 9]),
            d if d < DEPTH => ("descend", &[17]),
            DEPTH => ("descend", &[15]),
            _ => ("leaf", &[22, 24, 26, 28]),
        };
        let own = part(&frame.function);
        if own == Some((word, session)) && (innermost || lines.contains(&frame.line)) && depth <= DEPTH + 1 {
            continue;
        }
        // Below the last coroutine asyncio sleeps; below the leaf the four functions spin.
        let caller = below.get(depth.wrapping_sub(1)).map_or(0, |f| f.line);
        let sleeps = depth == half + 1 && caller == 9 && frame.function.contains("sleep");
        let sleeps_on = depth == half + 2 && caller != 0 && frame.function.contains("__sleep0");
        let spin = frame.function.strip_prefix("spin_").and_then(|n| n.parse::<u32>().ok());
        let spins = depth == DEPTH + 2 && spin.is_some_and(|n| n < 4 && caller == 22 + 2 * n);
        let ends = innermost || (sleeps && depth + 2 == below.len());
        if own.is_none() && ends && (sleeps || sleeps_on || spins) {
            return None;
        }
        return wrong("a frame where it cannot be");
    }
    // The way down is by the line that calls it, not by the one that sleeps.
    let turn = below.get(half).filter(|_| below.len() > half + 1);
    match turn.is_some_and(|f| f.line != 7) {
        true => wrong("went down from where it sleeps"),
        false => None,
    }
}

/// Whether a sample is under a session that its stack does not show.
pub fn is_wrong_session(sample: &StackSample, stack: &Stack) -> bool {
    let shown = stack.frames.iter().find_map(|f| part(&f.function));
    match (shown, sample.owner) {
        (Some((_, n)), Owner::Session(key)) => key != SessionKey::of(&format!("micro-{n}")),
        (Some(_), Owner::Nobody) => true,
        // Between the loop and the coroutine's first frame a step has its session already.
        (None, _) | (_, Owner::Torn | Owner::Unreadable) => false,
    }
}
