//! One search through the rules for one context: what it came by, what proves it, and the rules that begin with a task.
//! Knows nothing of which rules there are, nor of names.

use super::follow::{Found, filtered, follow, text};
use super::proof::{Holds, Proof};
use super::resolver::Subject;
use super::spec::{Source, Spec};
use crate::asyncio::{Local, Task, coroutine_local, given_name, is_of_context, root_name, waiting_chain};
use crate::cpython::{Heap, Links};
use crate::memory::{Fault, Scatter};
use crate::model::Addr;

/// What a search through the rules has come by.
#[derive(Default)]
pub(super) struct Search {
    pub links: Links,
    /// A variable was not set here.
    pub is_unset: bool,
    /// A task would decide that was not at hand, or moved on.
    pub holds: Holds,
    /// It was not at hand.
    pub is_undecided: bool,
}

impl Search {
    /// What was found by still stands there.
    pub fn still_holds(&self, heap: &Heap) -> Result<bool, Fault> {
        let mut scatter = Scatter::new();
        for (at, bytes) in &self.links {
            scatter.push(*at, bytes.len());
        }
        scatter.read_each(heap.memory())?;
        let mut links = self.links.iter().enumerate();
        Ok(self.holds != Holds::Never && links.all(|(slot, (_, known))| scatter.bytes(slot) == Some(known.as_slice())))
    }

    /// The proof of what was found, and of what was not found before it.
    pub fn proof(self, heap: &Heap, vars: Addr) -> Result<Proof, Fault> {
        let mut parts = Links::new();
        // That a variable is not set, the whole trie shows.
        if self.is_unset || self.links.is_empty() {
            for (at, length) in heap.hamt_extent(vars)? {
                parts.push((at, heap.bytes(at, length)?));
            }
        }
        parts.extend(self.links);
        Ok(Proof {
            vars,
            parts,
            holds: self.holds,
        })
    }
}

/// What a rule that begins with a task gives: the context's own, and those that wait for it.
pub(super) fn by_task(heap: &Heap, subject: Subject<'_>, spec: &Spec, search: &mut Search) -> Result<Found, Fault> {
    for task in subject.tasks {
        let mut links = Links::new();
        if !is_of_context(heap, task, subject.context, &mut links)? {
            continue;
        }
        search.links.append(&mut links);
        let chain = waiting_chain(heap, task, &mut search.links)?;
        if spec.source == Source::RootTask {
            let root = chain.last().unwrap_or(task);
            let name = root_name(heap, root, &mut search.links)?;
            return Ok(name.map_or(Found::Nothing, |name| filtered(name, &spec.filters)));
        }
        for task in &chain {
            let found = of_task(heap, task, subject.threads, spec, search)?;
            if matches!(found, Found::Text(_)) {
                return Ok(found);
            }
        }
        return Ok(Found::Nothing);
    }
    search.holds = search.holds.max(Holds::Once);
    search.is_undecided = true;
    Ok(Found::Nothing)
}

/// What one task of a chain gives.
fn of_task(heap: &Heap, task: &Task, threads: &[Addr], spec: &Spec, search: &mut Search) -> Result<Found, Fault> {
    let links = &mut search.links;
    match &spec.source {
        Source::Local { coroutine, local } => {
            let holds = match coroutine_local(heap, task, (coroutine, local), threads, links)? {
                Local::Value(value) => return follow(heap, value, &spec.steps, &spec.filters, links),
                Local::Absent => Holds::Long,
                Local::AbsentNow => Holds::Once,
                Local::Torn => Holds::Never,
            };
            search.holds = search.holds.max(holds);
            Ok(Found::Nothing)
        }
        _ => match given_name(heap, task, links)? {
            Some(name) => text(heap, name, &spec.filters, links),
            None => Ok(Found::Nothing),
        },
    }
}
