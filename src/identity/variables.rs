//! The contextvars that a program has, by name. Knows nothing of which of them names sessions.

use crate::asyncio::TaskLists;
use crate::cpython::{Heap, Runtime};
use crate::memory::{Fault, Scatter};
use crate::model::Addr;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// A `ContextVar`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub address: Addr,
    pub name: String,
    /// Hash as the HAMT uses it.
    pub hash: u32,
}

/// A program with more globals than this is read only so far.
const MOST_GLOBALS: usize = 2_000_000;

/// All contextvars that are globals of an imported module. One pass over a large program costs some tens of
/// milliseconds, so this is for answering questions, not for sampling.
pub fn all_variables(heap: &Heap, runtime: &Runtime) -> Result<Vec<Variable>, Fault> {
    let mut globals: Vec<Addr> = Vec::new();
    for (_, module) in heap.dict_items(heap.modules(runtime)?)? {
        let Ok(dict) = heap.module_dict(module) else { continue };
        let Ok(items) = heap.dict_items(dict) else { continue };
        globals.extend(items.into_iter().map(|(_, value)| value));
        if globals.len() > MOST_GLOBALS {
            break;
        }
    }
    globals.sort_unstable();
    globals.dedup();
    let mut scatter = Scatter::new();
    for &global in &globals {
        scatter.push(global.offset(8), 8);
    }
    heap.spend(globals.len() * 8)?;
    scatter.read_each(heap.memory())?;
    let types = (0..globals.len()).map(|slot| scatter.pointer(slot, 0).unwrap_or(Addr::NULL));
    let of_type: Vec<(Addr, Addr)> = globals
        .iter()
        .copied()
        .zip(types)
        .filter(|(_, ty)| !ty.is_null())
        .collect();
    let mut found = Vec::new();
    let mut contextvar: Option<Addr> = None;
    let mut others = std::collections::HashSet::new();
    for (object, ty) in of_type {
        if contextvar != Some(ty) {
            if !others.insert(ty) {
                continue;
            }
            match heap.is_a(object, "ContextVar") {
                Ok(true) => contextvar = Some(ty),
                _ => continue,
            }
        }
        if let Ok((name, hash)) = heap.context_variable(object) {
            found.push(Variable {
                address: object,
                name,
                hash,
            });
        }
    }
    Ok(found)
}

/// How many tasks are asked which variables they carry.
const MOST_TASKS: usize = 2_000;

/// How many tasks are looked at for the names of variables alone: there will be a session among them.
const SOME_TASKS: usize = 100;

/// The names of the contextvars that are set in some of the live tasks.
pub fn variables_in_use(heap: &Heap, runtime: &Runtime, lists: &TaskLists) -> Result<HashSet<String>, Fault> {
    let mut names: HashMap<Addr, String> = HashMap::new();
    let threads = heap.thread_states(runtime)?;
    for task in lists
        .walk(heap, runtime, &threads, &[])?
        .pending
        .iter()
        .take(SOME_TASKS)
    {
        let bindings = heap
            .context(task.context)
            .and_then(|context| heap.bindings(context.vars));
        for binding in bindings.unwrap_or_default() {
            if let Entry::Vacant(vacant) = names.entry(binding.variable)
                && let Ok((name, _)) = heap.context_variable(binding.variable)
            {
                vacant.insert(name);
            }
        }
    }
    Ok(names.into_values().collect())
}

/// The contextvars with text in live tasks, the likeliest to name sessions first: those with the most different values.
pub fn likely_variables(heap: &Heap, runtime: &Runtime, lists: &TaskLists) -> Result<Vec<String>, Fault> {
    let threads = heap.thread_states(runtime)?;
    let mut values: HashMap<String, HashSet<String>> = HashMap::new();
    for task in lists
        .walk(heap, runtime, &threads, &[])?
        .pending
        .iter()
        .take(MOST_TASKS)
    {
        let Ok(bindings) = heap
            .context(task.context)
            .and_then(|context| heap.bindings(context.vars))
        else {
            continue;
        };
        for binding in bindings {
            let Ok((name, _)) = heap.context_variable(binding.variable) else {
                continue;
            };
            if let Ok(text) = heap.str(binding.value) {
                values.entry(name).or_default().insert(text);
            }
        }
    }
    let mut ranked: Vec<(usize, String)> = values.into_iter().map(|(name, texts)| (texts.len(), name)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(ranked.into_iter().map(|(_, name)| name).collect())
}
