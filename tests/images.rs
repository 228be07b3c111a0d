//! Recorded images of every Python (`scripts/record-images`), replayed without a worker: what is read from them is what
//! was read live; an offset that is moved by a word anywhere is refused by its name; damage of any kind costs what it
//! touches, and never a panic, a hang or unbounded memory. Knows nothing of live processes.

use otop::asyncio::{Task, TaskLists, asyncio_tasks_module, running_loops, verify};
use otop::cpython::{
    ABSENT, FIELDS, FrameWalk, Heap, ONE_WALK, Offsets, RawStack, Refused, Stacks, Version, verify_core, verify_library,
};
use otop::identity::{Aliases, Resolved, Resolver, Rules, Spec};
use otop::memory::{Fault, Image, Memory, Scatter};
use otop::model::Addr;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One recording: the bytes, and what the recorder found in them.
struct Recording {
    name: String,
    image: Image,
    about: Value,
    version: Version,
    offsets: Offsets,
}

/// Session id → (agent, tasks).
type Sessions = BTreeMap<String, (Option<String>, u64)>;

fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    assert!(files.len() >= 8, "there is an image of every minor version");
    files.iter().map(|path| load(path)).collect()
}

fn load(path: &Path) -> Recording {
    let about: Value = serde_json::from_reader(File::open(path).unwrap()).unwrap();
    let version = Version::parse(about["version"].as_str().unwrap()).unwrap();
    let mut offsets = Offsets::of_minor(version.minor).unwrap();
    for (name, field) in FIELDS {
        *field(&mut offsets) = about["offsets"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("{path:?}: {name}"));
    }
    Recording {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        image: Image::load(File::open(path.with_extension("mem")).unwrap()).unwrap(),
        about,
        version,
        offsets,
    }
}

impl Recording {
    fn runtime(&self) -> Addr {
        Addr(self.about["runtime"].as_u64().unwrap())
    }

    /// What an attach does, over this image or a damaged copy of it.
    fn attach(&self, image: &Image, offsets: &Offsets) -> Result<Result<(Heap, TaskLists), Refused>, Fault> {
        let native_ids: Vec<u64> = self.about["native_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap())
            .collect();
        let mut heap = Heap::new(Box::new(image.clone()), offsets.clone(), self.version);
        let runtime = match verify_core(&mut heap, self.runtime(), &native_ids)? {
            Ok(runtime) => runtime,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = verify_library(&mut heap, self.runtime())? {
            return Ok(Err(refused));
        }
        let module = asyncio_tasks_module(&heap, &runtime)?.ok_or(Fault::Implausible("asyncio.tasks"))?;
        let lists = TaskLists::find(&heap, module)?;
        match verify(&mut heap, self.runtime(), &lists)? {
            Ok(_) => Ok(Ok((heap, lists))),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// What a walk finds: sessions, tasks, and what could not be read.
    fn walk(&self, heap: &Heap, lists: &TaskLists) -> Result<(Sessions, u64, u32), Fault> {
        let runtime = heap.runtime(self.runtime())?;
        let threads = heap.thread_states(&runtime)?;
        let tasks = lists.walk(heap, &runtime, &threads, &[])?;
        // Where they were before is a help, and no more.
        let again = lists.walk(heap, &runtime, &threads, &tasks.pending)?;
        assert_eq!((&again.pending, again.unreadable), (&tasks.pending, tasks.unreadable));
        let mut unreadable = tasks.unreadable;
        let mut resolver = Resolver::new(Rules {
            agent: vec![vec![vec![Spec::variable("agent_name")]]],
            ..Rules::of_specs(vec![Spec::variable(self.about["variable"].as_str().unwrap())])
        });
        let mut sessions = Sessions::new();
        for task in &tasks.pending {
            let resolved = heap
                .context(task.context)
                .and_then(|context| resolver.resolve(heap, context.vars));
            match resolved {
                Ok(resolved) => {
                    if let Some(labels) = resolved.session.and_then(|key| resolver.labels(key)) {
                        sessions
                            .entry(labels.session_id.clone())
                            .or_insert((labels.agent.clone(), 0))
                            .1 += 1;
                    }
                }
                Err(_) => unreadable += 1,
            }
        }
        Ok((sessions, tasks.pending.len() as u64, unreadable))
    }

    /// The stacks of the threads that run loops: functions and lines, innermost first.
    fn stacks(&self, heap: &Heap) -> Result<Vec<Vec<(String, u32)>>, Fault> {
        heap.grant(ONE_WALK);
        let runtime = heap.runtime(self.runtime())?;
        let walk = FrameWalk::new(&heap.offsets, self.version);
        let mut found = Vec::new();
        for running in running_loops(heap, &heap.thread_states(&runtime)?) {
            let mut raw = RawStack::default();
            walk.walk(heap.memory(), running.thread_state, &mut raw)?;
            let mut stacks = Stacks::new();
            let stack = stacks.resolve(heap, &runtime, &raw, heap.code_generation(&runtime)?)?;
            if let Some(innermost) = raw.frames.first() {
                let _ = stacks.calls_collect(heap, innermost);
            }
            let frames = stack.frames.iter().map(|f| (f.function.to_string(), f.line));
            found.push(frames.collect());
        }
        Ok(found)
    }
}

#[test]
fn what_is_read_is_what_was_there() {
    for recording in recordings() {
        let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
        let (sessions, tasks, unreadable) = recording.walk(&heap, &lists).unwrap();
        let expected: Sessions = serde_json::from_value(recording.about["sessions"].clone()).unwrap();
        assert_eq!(sessions, expected, "{}", recording.name);
        assert_eq!(
            (tasks, unreadable),
            (recording.about["tasks"].as_u64().unwrap(), 0),
            "{}",
            recording.name
        );
        let stacks = recording.stacks(&heap).unwrap();
        let expected: Vec<Vec<(String, u32)>> = serde_json::from_value(recording.about["stacks"].clone()).unwrap();
        assert_eq!(stacks, expected, "{}", recording.name);
        // It waits in the selector, below the module that asyncio.run was called from.
        let ends = [stacks[0].first(), stacks[0].last()].map(|frame| frame.unwrap().0.as_str());
        assert!(
            ends[0].ends_with("select") && ends[1] == "<module>",
            "{}: {ends:?}",
            recording.name
        );
        // Not only what the recorder wrote down: what tests/targets/for_images.py sets.
        let ids: Vec<&str> = sessions.keys().map(String::as_str).collect();
        let long = format!("call-{}", "\u{1f4de}".repeat(30));
        assert_eq!(ids, ["call-plain", "call-éü", "call-電話", &long], "{}", recording.name);
        assert!(
            sessions.values().all(|(_, tasks)| *tasks == 3),
            "{}: {sessions:?}",
            recording.name
        );
    }
}

#[test]
fn any_offset_that_is_moved_by_a_word_is_refused_by_its_name() {
    let mut missed = Vec::new();
    for recording in recordings() {
        for (name, field) in FIELDS {
            let mut moved = recording.offsets.clone();
            if *field(&mut moved) == ABSENT {
                continue;
            }
            let original = *field(&mut moved);
            for by in [8, -8] {
                let Some(offset) = original.checked_add_signed(by) else {
                    continue;
                };
                *field(&mut moved) = offset;
                let said = match recording.attach(&recording.image, &moved) {
                    Ok(Err(refused)) if refused.field == *name => continue,
                    Ok(Err(refused)) => refused.to_string(),
                    Ok(Ok(_)) => "not noticed".to_string(),
                    Err(fault) => fault.to_string(),
                };
                missed.push(format!("{}: {name} moved by {by}: {said}", recording.name));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Noise that is the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Words that hostile or dying memory is likely to hold.
fn damage(image: &mut Image, noise: &mut Noise, words: &[u64]) {
    let stretches = image.stretches_mut().count();
    let chosen = noise.below(stretches);
    let Some((at, bytes)) = image.stretches_mut().nth(chosen) else {
        return;
    };
    let offset = noise.below(bytes.len());
    match noise.below(5) {
        0 => bytes[offset] ^= 1 << noise.below(8),
        1 => {
            let word = words[noise.below(words.len())].to_le_bytes();
            let end = (offset + 8).min(bytes.len());
            bytes[offset..end].copy_from_slice(&word[..end - offset]);
        }
        // A pointer to itself: the shortest cycle.
        2 => {
            let aligned = offset & !7;
            let end = (aligned + 8).min(bytes.len());
            bytes[aligned..end].copy_from_slice(&(at.0 + aligned as u64).to_le_bytes()[..end - aligned]);
        }
        3 => bytes.truncate(offset.max(1)),
        _ => image.unmap(at),
    }
}

#[test]
fn damage_costs_what_it_touches() {
    let words = [
        0,
        1,
        0x7f,
        u64::MAX,
        u64::MAX - 7,
        1 << 47,
        0x5a5a_5a5a_5a5a_5a5a,
        1 << 33,
        i64::MIN as u64,
    ];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for recording in recordings() {
        // The attach has proved the layout of a sound worker; then its memory goes bad under the walks.
        let (sound, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
        drop(sound);
        for round in 0..100 {
            let mut image = recording.image.clone();
            for _ in 0..=round % 4 {
                damage(&mut image, &mut noise, &words);
            }
            let heap = Heap::new(Box::new(image.clone()), recording.offsets.clone(), recording.version);
            // Every way to come back is fine; not to come back is not. The budget sees to that.
            let _ = recording.walk(&heap, &lists);
            let _ = recording.stacks(&heap);
            if round % 10 == 0 {
                let _ = recording.attach(&image, &recording.offsets);
            }
        }
    }
}

/// A context's variables freed, and others made at the same address: the old leaf still stands in memory that was freed,
/// and so does the old text. Only the links that lead there tell.
#[test]
fn a_proof_does_not_hold_for_what_is_only_left_in_freed_memory() {
    for recording in recordings() {
        let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
        let runtime = heap.runtime(recording.runtime()).unwrap();
        let threads = heap.thread_states(&runtime).unwrap();
        let mut resolver = Resolver::new(Rules::of_specs(vec![Spec::variable(
            recording.about["variable"].as_str().unwrap(),
        )]));
        let mut found = Vec::new();
        for task in lists.walk(&heap, &runtime, &threads, &[]).unwrap().pending {
            let vars = heap.context(task.context).unwrap().vars;
            let resolved = resolver.resolve(&heap, vars).unwrap();
            let root = heap.object(vars, recording.offsets.hamt_root).unwrap();
            if resolved.session.is_some() && found.iter().all(|(other, _, _)| *other != vars) {
                found.push((vars, root, resolved));
            }
        }
        let holds = |image: &Image, resolved: &Resolved| {
            let mut scatter = Scatter::new();
            let slots = resolved.proof.push(&mut scatter);
            scatter.read_each(image).unwrap();
            resolved.proof.holds(resolved.proof.vars, &scatter, slots)
        };
        assert!(found.len() > 1, "{}", recording.name);
        for (i, (vars, _, resolved)) in found.iter().enumerate() {
            assert!(holds(&recording.image, resolved), "{}", recording.name);
            let (_, another_root, _) = &found[(i + 1) % found.len()];
            let mut image = recording.image.clone();
            let root = vars.offset(recording.offsets.hamt_root);
            image.put(root, &another_root.0.to_le_bytes());
            assert!(!holds(&image, resolved), "{}", recording.name);
        }
    }
}

/// The image with the contextvar called otherwise, by a name of the same length.
fn renamed(recording: &Recording, old: &str, new: &str) -> Recording {
    assert_eq!(old.len(), new.len());
    let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
    let runtime = heap.runtime(recording.runtime()).unwrap();
    let threads = heap.thread_states(&runtime).unwrap();
    let mut image = recording.image.clone();
    for task in lists.walk(&heap, &runtime, &threads, &[]).unwrap().pending {
        let vars = heap.context(task.context).unwrap().vars;
        for binding in heap.bindings(vars).unwrap() {
            let name = heap
                .object(binding.variable, recording.offsets.contextvar_name)
                .unwrap();
            if heap
                .context_variable(binding.variable)
                .is_ok_and(|(name, _)| name == old)
            {
                image.put(name.offset(recording.offsets.str_ascii_data), new.as_bytes());
            }
        }
    }
    Recording {
        name: recording.name.clone(),
        image,
        about: recording.about.clone(),
        version: recording.version,
        offsets: recording.offsets.clone(),
    }
}

/// What a name says of a credential holds for the sessions that are called by it, and for what else a row says of them.
#[test]
fn what_is_called_like_a_credential_is_told_apart_and_not_shown() {
    for recording in recordings() {
        let session = recording.about["variable"].as_str().unwrap().to_owned();
        let secret = renamed(&renamed(&recording, &session, "password"), "agent_name", "auth_token");
        let of = |recording: &Recording, session: &str, agent: &str| {
            let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
            let runtime = heap.runtime(recording.runtime()).unwrap();
            let threads = heap.thread_states(&runtime).unwrap();
            let mut resolver = Resolver::new(Rules {
                agent: vec![vec![vec![Spec::variable(agent)]]],
                ..Rules::of_specs(vec![Spec::variable(session)])
            });
            let mut met = BTreeMap::new();
            for task in lists.walk(&heap, &runtime, &threads, &[]).unwrap().pending {
                let vars = heap.context(task.context).unwrap().vars;
                if let Some(key) = resolver.resolve(&heap, vars).unwrap().session {
                    met.insert(key.0, resolver.labels(key).unwrap());
                }
            }
            met
        };
        let (open, hidden) = (
            of(&recording, &session, "agent_name"),
            of(&secret, "password", "auth_token"),
        );
        assert!(open.len() > 1 && open.keys().eq(hidden.keys()), "{}", recording.name);
        let ids: BTreeSet<&str> = hidden.values().map(|labels| labels.session_id.as_str()).collect();
        assert_eq!(ids.len(), open.len(), "told apart");
        for labels in hidden.values() {
            let agent = labels.agent.as_deref().unwrap();
            for shown in [labels.session_id.as_str(), agent] {
                assert!(shown.starts_with("(credential "), "{}: {shown}", recording.name);
            }
        }
    }
}

/// Memory of which one read shows something else than those before and after it.
struct Flickering {
    image: Image,
    /// How many reads there were.
    reads: Arc<AtomicUsize>,
    flickers_at: usize,
}

impl Flickering {
    fn flicker(&self, bytes: &mut [u8]) {
        if self.reads.fetch_add(1, Ordering::Relaxed) == self.flickers_at {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }
}

impl Memory for Flickering {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        self.image.read(at, into)?;
        self.flicker(into);
        Ok(())
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        let whole = self.image.read_ranges(ranges, into)?;
        self.flicker(into);
        Ok(whole)
    }
}

/// A task that runs for a moment, while it is looked up whose it is, and then waits again where it did: what is believed
/// of it has the name with it, or the session would have no row.
#[test]
fn whatever_flickers_a_session_that_is_believed_has_its_name() {
    for recording in recordings() {
        let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
        let runtime = heap.runtime(recording.runtime()).unwrap();
        let threads = heap.thread_states(&runtime).unwrap();
        let variable = Spec::variable(recording.about["variable"].as_str().unwrap());
        let mut resolver = Resolver::new(Rules::of_specs(vec![variable.clone()]));
        let tasks = lists.walk(&heap, &runtime, &threads, &[]).unwrap().pending;
        let of_a_session = tasks.iter().find_map(|task| {
            let vars = heap.context(task.context).unwrap().vars;
            Some((vars, resolver.resolve(&heap, vars).unwrap().session?))
        });
        let (vars, session) = of_a_session.unwrap();
        let expected = resolver.labels(session).unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        let (mut flickers_at, mut believed) = (0, 0);
        loop {
            reads.store(0, Ordering::Relaxed);
            let memory = Flickering {
                image: recording.image.clone(),
                reads: Arc::clone(&reads),
                flickers_at,
            };
            let heap = Heap::new(Box::new(memory), recording.offsets.clone(), recording.version);
            let mut resolver = Resolver::new(Rules::of_specs(vec![variable.clone()]));
            if let Ok(Resolved {
                session: Some(key),
                proof,
                ..
            }) = resolver.resolve(&heap, vars)
            {
                let mut scatter = Scatter::new();
                let slots = proof.push(&mut scatter);
                scatter.read_each(&recording.image).unwrap();
                if proof.holds(vars, &scatter, slots) {
                    assert_eq!(
                        resolver.labels(key).as_deref(),
                        Some(&*expected),
                        "{}: read {flickers_at}",
                        recording.name
                    );
                    believed += 1;
                }
            }
            if reads.load(Ordering::Relaxed) <= flickers_at {
                break;
            }
            flickers_at += 1;
        }
        assert!(
            flickers_at > 5 && believed > 1,
            "{}: {flickers_at} {believed}",
            recording.name
        );
    }
}

#[test]
fn a_task_that_is_gone_is_counted_and_costs_no_other() {
    let recording = recordings().into_iter().find(|r| r.version.minor == 12).unwrap();
    let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
    let runtime = heap.runtime(recording.runtime()).unwrap();
    let tasks = lists
        .walk(&heap, &runtime, &heap.thread_states(&runtime).unwrap(), &[])
        .unwrap()
        .pending;
    let (before, count, _) = recording.walk(&heap, &lists).unwrap();
    for task in tasks {
        let mut image = recording.image.clone();
        // What CPython leaves in a block that it gave back: the first words are the allocator's.
        image.put(task.address, &[0xdb; 32]);
        let heap = Heap::new(Box::new(image), recording.offsets.clone(), recording.version);
        let (after, left, unreadable) = recording.walk(&heap, &lists).unwrap();
        assert_eq!((left, unreadable), (count - 1, 1));
        let lost: u64 = before.values().map(|s| s.1).sum::<u64>() - after.values().map(|s| s.1).sum::<u64>();
        assert!(lost <= 1);
    }
}

/// Ids of a worse rank that stand beside a session's are the session's, for all that share what was learned; one that
/// stands beside several is nobody's.
#[test]
fn an_id_beside_a_better_one_is_no_session_of_its_own() {
    for recording in recordings() {
        let (heap, lists) = recording.attach(&recording.image, &recording.offsets).unwrap().unwrap();
        let runtime = heap.runtime(recording.runtime()).unwrap();
        let threads = heap.thread_states(&runtime).unwrap();
        let tasks = lists.walk(&heap, &runtime, &threads, &[]).unwrap().pending;
        let vars = |task: &Task| heap.context(task.context).unwrap().vars;
        let by = |best: &str, next: &str| Rules {
            rank: 2,
            others: vec![(7, vec![vec![Spec::variable(next)]])],
            ..Rules::of_specs(vec![Spec::variable(best)])
        };
        let session = recording.about["variable"].as_str().unwrap();
        let aliases = Aliases::default();
        let names = |resolver: &mut Resolver| {
            let found = tasks.iter().filter_map(|task| {
                let session = resolver.resolve(&heap, vars(task)).unwrap().session?;
                Some(resolver.labels(session).unwrap().session_id.clone())
            });
            found.collect::<BTreeSet<String>>()
        };
        // What only the worse rule names: before anybody learned whose it is, and after. Two calls have the same agent.
        let mut worse = Resolver::sharing(by("nowhere", session), aliases.clone());
        let remembered: Vec<Resolved> = tasks
            .iter()
            .map(|task| worse.resolve(&heap, vars(task)).unwrap())
            .collect();
        assert_eq!(names(&mut worse).len(), 4, "{}", recording.name);
        let agents = names(&mut Resolver::sharing(by("agent_name", session), aliases.clone()).learning_aliases());
        assert_eq!(agents.len(), 2, "{}", recording.name);
        assert_eq!(names(&mut worse), agents, "{}", recording.name);
        for resolved in remembered {
            let now = worse.session_of(&resolved);
            let called = now.map(|key| worse.labels(key).unwrap().session_id.clone());
            assert!(called.is_none_or(|id| agents.contains(&id)), "{}", recording.name);
            assert_eq!(now.is_some(), resolved.session.is_some());
        }
        // The other way round an agent is nobody's.
        let aliases = Aliases::default();
        let mut worse = Resolver::sharing(by("nowhere", "agent_name"), aliases.clone());
        assert_eq!(names(&mut worse), agents, "{}", recording.name);
        names(&mut Resolver::sharing(by(session, "agent_name"), aliases.clone()).learning_aliases());
        assert_eq!(names(&mut worse), BTreeSet::new(), "{}", recording.name);
    }
}
