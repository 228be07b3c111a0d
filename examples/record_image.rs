//! Records what an attach and a walk read of a live worker, for `tests/images.rs`. `scripts/record-images` calls it for
//! every Python: `record_image PID SESSION_VARIABLE OUT` writes OUT.mem (the bytes that were read, and no others) and
//! OUT.json (where to begin, and what is to be found).

use otop::asyncio::{TaskLists, asyncio_tasks_module, running_loops, verify};
use otop::cpython::{
    FIELDS, FrameWalk, Heap, Offsets, RawStack, Stacks, locate, take_asyncio_debug, take_debug_offsets, verify_core,
    verify_library,
};
use otop::identity::{Resolver, Rules, Spec};
use otop::memory::{LiveMemory, Recorder};
use otop::model::Pid;
use otop::process::{maps, namespaces, threads};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, pid, variable, out] = &arguments[..] else {
        return Err("usage: record_image PID SESSION_VARIABLE OUT".into());
    };
    let pid = Pid(pid.parse()?);
    let (memory, image) = Recorder::new(LiveMemory::open(pid)?);
    // Finding the interpreter reads whole symbol tables; what is recorded begins behind it.
    let found = locate(pid, &LiveMemory::open(pid)?, &maps(pid)?)?;
    let mut offsets = Offsets::of_minor(found.version.minor).ok_or("no column for this Python")?;
    take_debug_offsets(&memory, found.runtime, found.version.minor, &mut offsets)?;
    if let Some(table) = found.asyncio_debug {
        take_asyncio_debug(&memory, table, &mut offsets)?;
    }
    let native_ids: Vec<u64> = threads(pid)?
        .into_iter()
        .map(|tid| namespaces::numbers(Pid(tid.0)).last().copied().unwrap_or(tid.0) as u64)
        .collect();
    let mut heap = Heap::new(Box::new(memory), offsets.clone(), found.version);
    let runtime = verify_core(&mut heap, found.runtime, &native_ids)??;
    verify_library(&mut heap, found.runtime)??;
    let module = asyncio_tasks_module(&heap, &runtime)?.ok_or("asyncio is not imported")?;
    let lists = TaskLists::find(&heap, module)?;
    if !verify(&mut heap, found.runtime, &lists)?? {
        return Err("the worker runs no loop with tasks".into());
    }
    let states = heap.thread_states(&runtime)?;
    let mut resolver = Resolver::new(Rules {
        agent: vec![vec![vec![Spec::variable("agent_name")]]],
        ..Rules::of_specs(vec![Spec::variable(variable)])
    });
    let mut sessions: BTreeMap<String, (Option<String>, u32)> = BTreeMap::new();
    let tasks = lists.walk(&heap, &runtime, &states, &[])?;
    for task in &tasks.pending {
        let vars = heap.context(task.context)?.vars;
        if let Some(labels) = resolver
            .resolve(&heap, vars)?
            .session
            .and_then(|key| resolver.labels(key))
        {
            let entry = sessions
                .entry(labels.session_id.clone())
                .or_insert((labels.agent.clone(), 0));
            entry.1 += 1;
        }
    }
    // The stack of each thread that runs a loop, as names and lines.
    let mut stacks = Vec::new();
    for found in running_loops(&heap, &states) {
        let mut raw = RawStack::default();
        FrameWalk::new(&heap.offsets, heap.version).walk(heap.memory(), found.thread_state, &mut raw)?;
        let stack = Stacks::new().resolve_at_once(&heap, &raw, heap.code_generation(&runtime)?)?;
        let frames = stack.frames.iter().map(|f| (f.function.to_string(), f.line));
        stacks.push(frames.collect::<Vec<_>>());
    }
    let offsets: BTreeMap<&str, u64> = FIELDS
        .iter()
        .map(|(name, field)| (*name, *field(&mut offsets)))
        .collect();
    let about = serde_json::json!({
        "version": found.version.to_string(),
        "runtime": found.runtime.0,
        "native_ids": native_ids,
        "variable": variable,
        "offsets": offsets,
        "tasks": tasks.pending.len(),
        "sessions": sessions,
        "stacks": stacks,
    });
    serde_json::to_writer_pretty(File::create(format!("{out}.json"))?, &about)?;
    let mut image = image.lock().map_err(|_| "the recorder panicked")?;
    // What stands beside the bytes that are needed may name folders of this machine: those are nobody's business.
    let home = std::env::var("HOME").unwrap_or_default();
    let here = std::env::current_dir()?.display().to_string();
    for (_, bytes) in image.stretches_mut() {
        for name in [home.as_bytes(), here.as_bytes()]
            .into_iter()
            .filter(|name| name.len() > 1)
        {
            for at in 0..(bytes.len() + 1).saturating_sub(name.len()) {
                if bytes[at..].starts_with(name) {
                    bytes[at..at + name.len()].fill(b'x');
                }
            }
        }
    }
    image.save(File::create(format!("{out}.mem"))?)?;
    println!(
        "{out}: {} bytes, {} sessions, {} tasks",
        image.size(),
        sessions.len(),
        tasks.pending.len()
    );
    Ok(())
}
