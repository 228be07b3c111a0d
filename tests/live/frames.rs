//! otop's frame walk against py-spy's, on every Python and both loops: the target is stopped at random instants, and both
//! read the same stop. The tests stop it; otop never does.

use crate::support::{Python, Target, pythons};
use nix::sys::signal::Signal;
use otop::cpython::{CoroutineState, FrameWalk, Heap, RawStack, Stacks, ThreadState};
use otop::memory::Fault;
use otop::model::{Addr, Pid, Stack};
use otop::source::attach;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// (function, file, line), innermost first.
type Frames = Vec<(String, String, i64)>;

/// What CPython itself is asked for: file, function, first line, byte offset of the instruction.
type Place = (String, String, u32, i64);

/// Stops of one Python and one loop.
const STOPS: usize = 160;

/// Stops the target and waits until every thread of it stands.
fn stop(target: &Target) {
    target.signal(Signal::SIGSTOP);
    let all_stand = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", target.pid)).expect("the target lives");
        threads.filter_map(Result::ok).all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // A thread that ends meanwhile has no stat any more.
            stat.is_empty()
                || stat
                    .rsplit_once(") ")
                    .is_some_and(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
        })
    };
    while !all_stand() {
        std::thread::yield_now();
    }
}

struct Reader {
    heap: Heap,
    runtime: otop::cpython::Runtime,
    walk: FrameWalk,
    stacks: Stacks,
    raw: RawStack,
}

impl Reader {
    fn of(target: &Target) -> Reader {
        let attached = attach(Pid(target.pid)).unwrap_or_else(|e| panic!("{}: {e}", target.what));
        let heap = attached.heap;
        Reader {
            walk: FrameWalk::new(&heap.offsets, heap.version),
            runtime: attached.plan.runtime,
            heap,
            stacks: Stacks::new(),
            raw: RawStack::default(),
        }
    }

    fn threads(&self) -> Vec<ThreadState> {
        self.heap.grant(otop::cpython::ONE_WALK);
        self.heap.thread_states(&self.runtime).expect("thread states")
    }

    fn stack(&mut self, thread: Addr) -> Result<Arc<Stack>, Fault> {
        self.heap.grant(otop::cpython::ONE_WALK);
        self.walk.walk(self.heap.memory(), thread, &mut self.raw)?;
        let generation = self.heap.code_generation(&self.runtime)?;
        self.stacks.resolve_at_once(&self.heap, &self.raw, generation)
    }

    /// Where in the file and in the code the frames of the last walk are.
    fn places(&mut self, stack: &Stack) -> Vec<Place> {
        let mut places = Vec::new();
        for (raw, frame) in self.raw.frames.iter().zip(&stack.frames) {
            let code = self.stacks.codes().get(&self.heap, raw.code).expect("a code object");
            let offset = code.offset_of(raw).expect("an instruction");
            places.push((
                frame.file.to_string(),
                frame.function.to_string(),
                frame.first_line,
                offset,
            ));
        }
        places
    }
}

fn plain(stack: &Stack) -> Frames {
    let plain = |frame: &Arc<otop::model::Frame>| {
        (
            frame.function.to_string(),
            frame.file.to_string(),
            i64::from(frame.line),
        )
    };
    stack.frames.iter().map(plain).collect()
}

/// Who else reads the frames of a stopped process.
struct Oracle(py_spy::PythonSpy);

impl Oracle {
    fn of(target: &Target) -> Oracle {
        let config = py_spy::Config {
            blocking: py_spy::config::LockingStrategy::NonBlocking,
            include_idle: true,
            collect_thread_names: false,
            full_filenames: true,
            ..Default::default()
        };
        // It finds the interpreter by reading stacks, and gives up where they change meanwhile.
        stop(target);
        let spy = py_spy::PythonSpy::new(target.pid, &config);
        target.signal(Signal::SIGCONT);
        Oracle(spy.unwrap_or_else(|e| panic!("{}: py-spy: {e:#}", target.what)))
    }

    /// The frames of each thread, by `pthread_self()`; None: it came upon what is no frame.
    fn read(&mut self) -> Option<BTreeMap<u64, Frames>> {
        let frame = |f: &py_spy::Frame| (f.name.clone(), f.filename.clone(), i64::from(f.line));
        let frames = |trace: &py_spy::StackTrace| trace.frames.iter().map(frame).collect();
        let traces = self.0.get_stack_traces().ok()?;
        Some(traces.iter().map(|trace| (trace.thread_id, frames(trace))).collect())
    }
}

/// Noise that differs from run to run: which instants are stopped at is nobody's choice.
fn noise() -> u64 {
    let mut word = [0; 8];
    let mut file = std::fs::File::open("/dev/urandom").expect("a kernel has noise");
    std::io::Read::read_exact(&mut file, &mut word).expect("a kernel has noise");
    u64::from_le_bytes(word)
}

fn compare(python: &Python, uvloop: bool) {
    let target = Target::launch(python, "frames.py", if uvloop { &["--uvloop"] } else { &[] });
    let mut reader = Reader::of(&target);
    let mut oracle = Oracle::of(&target);
    let mut differ: BTreeMap<Place, (i64, i64)> = BTreeMap::new();
    let (mut stacks, mut frames, mut unresolved, mut deepest) = (0, 0, 0, 0);
    for _ in 0..STOPS {
        std::thread::sleep(Duration::from_micros(noise() % 3000));
        stop(&target);
        let Some(expected) = oracle.read() else {
            // 3.12 in the middle of a call: a caller of long ago, who is no frame any more. Not to be believed here either.
            let refused = reader.threads().into_iter().any(|t| reader.stack(t.address).is_err());
            assert!(refused, "{}: py-spy cannot read what otop believes", target.what);
            unresolved += 1;
            target.signal(Signal::SIGCONT);
            continue;
        };
        let threads = reader.threads();
        for thread in &threads {
            // The state of a thread that is just being started has the number of the thread that starts it (up to 3.12).
            let same = |other: &&ThreadState| other.pthread == thread.pthread;
            if threads.iter().filter(same).count() > 1 {
                continue;
            }
            let Some(expected) = expected.get(&thread.pthread.0) else {
                continue;
            };
            stacks += 1;
            match reader.stack(thread.address) {
                Ok(stack) => {
                    let ours = plain(&stack);
                    let names = |frames: &Frames| -> Vec<_> {
                        frames
                            .iter()
                            .map(|(name, file, _)| (name.clone(), file.clone()))
                            .collect()
                    };
                    assert_eq!(names(&ours), names(expected), "{}", target.what);
                    let places = reader.places(&stack);
                    for ((ours, theirs), place) in ours.iter().zip(expected).zip(places) {
                        if ours.2 != theirs.2 {
                            differ.insert(place, (ours.2, theirs.2));
                        }
                    }
                    frames += stack.frames.len();
                    deepest = deepest.max(stack.frames.len());
                }
                Err(fault) => {
                    // In 3.11 and 3.12 C calls Python through a `_PyCFrame` on its stack, which becomes the thread's a few
                    // instructions before it names a frame: what stands there is garbage. Nobody can read that.
                    let has_cframe = matches!(reader.heap.version.minor, 11 | 12);
                    assert!(has_cframe, "{}: {fault:?}; py-spy {expected:?}", target.what);
                    unresolved += 1;
                }
            }
        }
        target.signal(Signal::SIGCONT);
    }
    // Of lines, py-spy (0.4.3) is not always right: what has not begun, what has no line, and in 3.10 whatever follows
    // instructions without a line. Where the two differ, CPython itself decides.
    let places: Vec<&Place> = differ.keys().collect();
    let program = include_str!("../targets/lines_of.py");
    let asked = serde_json::json!({"places": places, "frames": include_str!("../targets/frames.py")});
    let answers = python.answer(program, &asked.to_string());
    let answers: Vec<Vec<Option<i64>>> = serde_json::from_str(&answers).expect("a list of lines");
    for ((place, (ours, theirs)), lines) in differ.iter().zip(answers) {
        let right = lines.iter().any(|line| line.unwrap_or(0) == *ours);
        assert!(
            right,
            "{}: {place:?}: line {ours}; py-spy {theirs}; CPython {lines:?}",
            target.what
        );
    }
    println!("{}: lines that py-spy has otherwise: {}", target.what, differ.len());
    println!(
        "{}: {stacks} stacks, {frames} frames, {deepest} deep, {unresolved} unresolved",
        target.what
    );
    assert!(stacks >= STOPS, "{}", target.what);
    assert!(
        frames > 3 * stacks && deepest > 30,
        "{}: {frames} frames, {deepest} deep",
        target.what
    );
    assert!(50 * unresolved <= stacks, "{}: {unresolved} of {stacks}", target.what);
}

#[test]
fn frames_and_lines_are_those_that_py_spy_sees() {
    for python in pythons() {
        for event_loop in python.loops() {
            compare(python, event_loop == "uvloop");
        }
    }
}

#[test]
fn a_busy_worker_is_never_refused() {
    let mut refused = Vec::new();
    for python in pythons() {
        for event_loop in python.loops() {
            let target = Target::launch(
                python,
                "frames.py",
                if event_loop == "uvloop" { &["--uvloop"] } else { &[] },
            );
            for _ in 0..20 {
                if let Err(e) = attach(Pid(target.pid)) {
                    refused.push(format!("{}: {e}", target.what));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// The last word of the comment on a line of frames.py.
fn comment(line: i64) -> Option<&'static str> {
    let source = include_str!("../targets/frames.py");
    let line = source.lines().nth(usize::try_from(line - 1).ok()?)?;
    line.rsplit_once("# ").map(|(_, word)| word)
}

#[test]
fn a_collection_that_is_asked_for_is_told_from_one_that_comes_by_itself() {
    for python in pythons() {
        let target = Target::launch(python, "frames.py", &["--collects"]);
        let mut reader = Reader::of(&target);
        let mut seen: BTreeMap<(String, Option<bool>), u32> = BTreeMap::new();
        let wanted = [
            "by_attribute",
            "imported",
            "among_others",
            "over_lines",
            "locally",
            "elsewhere",
            "many_names",
            "nowhere",
        ];
        let has_all = |seen: &BTreeMap<(String, Option<bool>), u32>| {
            wanted
                .iter()
                .all(|name| seen.keys().any(|(function, _)| function == name))
        };
        for _ in 0..4000 {
            std::thread::sleep(Duration::from_micros(noise() % 5000));
            stop(&target);
            let collecting = reader
                .heap
                .half(reader.runtime.gc_collecting, 0)
                .expect("gc.collecting");
            let main = reader.threads().last().expect("a main thread").address;
            if collecting == 1
                && let Ok(stack) = reader.stack(main)
            {
                let raw = reader.raw.frames[0];
                let told = reader.stacks.calls_collect(&reader.heap, &raw);
                let innermost = &stack.frames[0];
                let expected = match comment(i64::from(innermost.line)) {
                    Some("True") => Some(true),
                    Some("False") => Some(false),
                    Some("None") => None,
                    other => panic!(
                        "{}: {innermost:?} collects, of which frames.py says {other:?}",
                        target.what
                    ),
                };
                assert_eq!(told, expected, "{}: {innermost:?}", target.what);
                *seen.entry((innermost.function.to_string(), told)).or_default() += 1;
            }
            target.signal(Signal::SIGCONT);
            if has_all(&seen) {
                break;
            }
        }
        println!("{}: {seen:?}", target.what);
        assert!(has_all(&seen), "{}: {seen:?}", target.what);
    }
}

#[test]
fn what_a_suspended_coroutine_runs_and_awaits_is_what_it_says() {
    for python in pythons() {
        for event_loop in python.loops() {
            let uvloop: &[&str] = if event_loop == "uvloop" {
                &["--still", "--uvloop"]
            } else {
                &["--still"]
            };
            let mut target = Target::launch(python, "frames.py", uvloop);
            let said = target.until("places", |_| true)["places"].clone();
            let mut reader = Reader::of(&target);
            let attached = attach(Pid(target.pid)).expect("it was attached to before");
            let tasks = attached.lists.expect("asyncio is imported");
            let tasks = tasks
                .walk(&reader.heap, &reader.runtime, &reader.threads(), &[])
                .expect("tasks");
            let mut found: Vec<Vec<(String, i64)>> = Vec::new();
            for task in &tasks.pending {
                let mut chain = Vec::new();
                let mut next = Some(task.coroutine);
                while let Some(object) = next {
                    let name = reader.heap.type_name(object).expect("a type");
                    if !matches!(&*name, "coroutine" | "async_generator") {
                        // An async generator is awaited through an object of its own, which has it at +16 (all versions).
                        let through = name
                            .starts_with("async_generator_asend")
                            .then(|| reader.heap.object(object, 16));
                        next = through.and_then(Result::ok);
                        continue;
                    }
                    let (frame, awaited) = reader.heap.coroutine_frame(object).expect("a frame");
                    assert_eq!(frame.state, CoroutineState::Suspended, "{}", target.what);
                    let frame = reader
                        .stacks
                        .frame(&reader.heap, &frame.raw.expect("it is suspended"))
                        .expect("code");
                    chain.push((frame.function.to_string(), i64::from(frame.line)));
                    next = awaited;
                }
                found.push(chain);
            }
            for (name, places) in said.as_object().expect("places") {
                let expected: Vec<(String, i64)> = serde_json::from_value(places.clone()).expect("places");
                let holds = found.iter().any(|chain| chain.starts_with(&expected));
                assert!(holds, "{}: {name}: {expected:?} is not among {found:?}", target.what);
            }
        }
    }
}

#[test]
fn a_stack_deeper_than_the_bound_is_cut_and_says_so() {
    for python in pythons() {
        let target = Target::launch(python, "frames.py", &["--deepest"]);
        let mut reader = Reader::of(&target);
        let mut cut = 0;
        for thread in reader.threads() {
            let Ok(stack) = reader.stack(thread.address) else {
                continue;
            };
            if stack.is_cut {
                assert_eq!(stack.frames.len(), otop::cpython::MOST_FRAMES, "{}", target.what);
                assert!(
                    stack.frames.iter().all(|f| f.function.ends_with("down")),
                    "{}",
                    target.what
                );
                cut += 1;
            }
        }
        assert_eq!(cut, 1, "{}: one thread has 700 frames", target.what);
    }
}
