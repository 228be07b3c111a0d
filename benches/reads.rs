//! What the sampler's reads cost, on a worker that lives: scatter reads of one to 32 places, one tick, and the lookup of a
//! contextvar in a context's HAMT. Starts tests/targets/sessions.py with the `python3` of the PATH. Prints nanoseconds;
//! `cargo bench --bench reads`.
//!
//! The figures are medians of rounds; on a machine that does other things compare them with each other only.

use otop::cpython::Heap;
use otop::identity::{Naming, Spec};
use otop::memory::{LiveMemory, Scatter};
use otop::model::{Addr, Batch, Gil, Nanos, Pid, Tick};
use otop::sampler::monotonic;
use otop::source::{TickReader, attach};
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 100;
const TURNS: u32 = 100;
const VARIABLE: &str = "call_ref";

/// The worker; dropped: ended.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> Result<Worker, Box<dyn Error>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/sessions.py");
    let args = ["--sessions", "20", "--distractors", "20", "--busy", "0:20", "--control"];
    let mut command = Command::new("python3");
    command
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let worker = Worker(child);
    let mut lines = BufReader::new(output).lines();
    while !lines.next().ok_or("it ended")??.contains("\"started\"") {}
    // Whoever listens must not go away, or the worker does.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(worker)
}

/// The median, after rounds of it.
fn time(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..TURNS {
                work();
            }
            begin.elapsed().as_nanos() as f64 / f64::from(TURNS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<40} {:>8.0} ns", times[ROUNDS / 2]);
}

fn main() -> Result<(), Box<dyn Error>> {
    let worker = start()?;
    let pid = Pid(i32::try_from(worker.0.id())?);
    let plan = attach(pid)?.plan;
    let heap = Heap::new(Box::new(LiveMemory::open(pid)?), plan.offsets.clone(), plan.version);
    heap.grant(u64::MAX);
    let thread = heap.thread_states(&plan.runtime)?;
    let thread = thread.last().ok_or("no thread")?;

    let memory = LiveMemory::open(pid)?;
    for places in [1, 8, 32] {
        let mut scatter = Scatter::new();
        time(&format!("scatter read, {places} places of 24 bytes"), || {
            scatter.clear();
            for place in 0..places {
                scatter.push(Addr(thread.address.0 + place % 4 * 8), 24);
            }
            black_box(scatter.read_each(&memory)).expect("it is there");
        });
    }

    let vars = heap.context(thread.context)?.vars;
    let bindings = heap.bindings(vars)?;
    let binding = bindings.last().ok_or("the context has no variables")?;
    let (_, hash) = heap.context_variable(binding.variable)?;
    time(&format!("lookup of one of {} variables", bindings.len()), || {
        black_box(heap.binding(vars, binding.variable, hash).expect("it is there"));
    });

    let mut reader = TickReader::open(
        plan,
        Naming {
            session: vec![Spec::variable(VARIABLE)],
            ..Naming::default()
        },
        Arc::default(),
    )?;
    let mut batch = Batch::default();
    reader.survey(&mut batch)?;
    time("one tick, 20 sessions, one busy", || {
        batch.ticks.clear();
        batch.samples.clear();
        let tick = Tick {
            at: Nanos::ZERO,
            late: Nanos::ZERO,
            own_wait: Nanos::ZERO,
            suspended: Nanos::ZERO,
            held: Nanos::ZERO,
            gil: Gil::default(),
            collecting: None,
            first: 0,
            count: 0,
        };
        reader.tick(tick, monotonic, &mut batch).expect("the worker is there");
    });
    Ok(())
}
