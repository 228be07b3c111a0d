//! All tasks of the worker, wherever its version of asyncio keeps them. Knows nothing of sessions.
//!
//! Up to 3.11 `asyncio.tasks._all_tasks` (a WeakSet); 3.12 and 3.13 `_scheduled_tasks` (a WeakSet) and `_eager_tasks`
//! (a set); from 3.14 on a linked list per thread and one of the interpreter for threads that ended, and the sets for
//! tasks that are not `_asyncio`'s own. All of it is written to while it is read: each entry is checked for itself, and
//! what makes no sense is counted, not believed.

use crate::cpython::{ABSENT, Heap, Runtime, ThreadState, word_at};
use crate::memory::{AddrMap, AddrSet, Fault, Scatter};
use crate::model::Addr;

/// More tasks than this are damage.
const MOST_TASKS: usize = 2_000_000;
/// Of one list at most so many nodes are found to have been unlinked while it was read.
const MOST_UNLINKED: usize = 10_000;

/// Where the tasks hang.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskLists {
    /// `WeakSet.data` of `_all_tasks` or `_scheduled_tasks`: a set of weak references.
    weak: Vec<Addr>,
    /// `_eager_tasks`: a set of tasks.
    strong: Vec<Addr>,
}

/// One task that is not done, as its object stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub address: Addr,
    pub event_loop: Addr,
    pub coroutine: Addr,
    pub context: Addr,
    /// `task_fut_waiter`: what it waits for, mostly a future; NULL: it runs, or is ready to.
    pub waiter: Addr,
    /// `task_name`: a str, or from 3.12 on an int N for `Task-N`.
    pub name: Addr,
    /// An object of `_asyncio`, whose fields stand where the table says.
    pub is_native: bool,
}

/// What one walk found.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    pub pending: Vec<Task>,
    /// Tasks that ended with an exception (a cancellation is none), and that somebody still holds.
    pub failed: Vec<Task>,
    /// Entries that could not be read or made no sense.
    pub unreadable: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `_asyncio.Task` or a subclass: the fields stand where the table says.
    Native,
    /// `asyncio.tasks._PyTask`, or another class of Python code: the fields are attributes.
    Python,
    /// No task.
    Other,
}

impl TaskLists {
    /// Finds the containers in the `__dict__` of `asyncio.tasks`.
    pub fn find(heap: &Heap, tasks_module: Addr) -> Result<TaskLists, Fault> {
        let mut lists = TaskLists::default();
        for name in ["_all_tasks", "_scheduled_tasks"] {
            if let Some(set) = heap.dict_get(tasks_module, name)?
                && let Some(data) = heap.attribute(set, "data")?
            {
                lists.weak.push(data);
            }
        }
        lists.strong.extend(heap.dict_get(tasks_module, "_eager_tasks")?);
        if lists.weak.is_empty() {
            return Err(Fault::Implausible("asyncio.tasks"));
        }
        Ok(lists)
    }

    /// Reads all tasks that are not done. `before` are tasks of an earlier walk: the lists mostly lead through the same
    /// ones again, and what is read of many at once need not be read one by one.
    pub fn walk(
        &self,
        heap: &Heap,
        runtime: &Runtime,
        threads: &[ThreadState],
        before: &[Task],
    ) -> Result<Tasks, Fault> {
        let mut tasks = Tasks::default();
        let mut addresses: Vec<Addr> = Vec::new();
        let mut weak = Vec::new();
        for &set in &self.weak {
            match heap.set_items(set) {
                Ok(items) => weak.extend(items),
                Err(Fault::Gone) => return Err(Fault::Gone),
                Err(_) => tasks.unreadable += 1,
            }
        }
        let mut scatter = Scatter::new();
        for &reference in &weak {
            scatter.push(reference.offset(heap.offsets.weakref_object), 8);
        }
        heap.spend(weak.len() * 8)?;
        scatter.read_near(heap.memory())?;
        for slot in 0..weak.len() {
            match scatter.pointer(slot, 0) {
                Some(Addr::NULL) => {}
                Some(task) => addresses.push(task),
                None => tasks.unreadable += 1,
            }
        }
        for &set in &self.strong {
            match heap.set_items(set) {
                Ok(items) => addresses.extend(items),
                Err(Fault::Gone) => return Err(Fault::Gone),
                Err(_) => tasks.unreadable += 1,
            }
        }
        if heap.offsets.task_node != ABSENT {
            let nodes = Nodes::read(heap, before)?;
            let heads = threads
                .iter()
                .map(|t| t.address.offset(heap.offsets.tstate_asyncio_tasks_head));
            let heads = heads.chain([runtime.interpreter.offset(heap.offsets.interp_asyncio_tasks_head)]);
            for head in heads {
                nodes.follow(heap, head, &mut addresses, &mut tasks.unreadable)?;
            }
        }
        let mut seen = AddrSet::default();
        seen.reserve(addresses.len());
        addresses.retain(|&address| seen.insert(address));
        read_tasks(heap, &addresses, &mut tasks)?;
        Ok(tasks)
    }
}

/// Nodes of linked lists (`struct llist_node { next, prev }`), read ahead.
#[derive(Default)]
struct Nodes {
    slots: AddrMap<usize>,
    read: Scatter,
}

impl Nodes {
    /// Those of these tasks.
    fn read(heap: &Heap, tasks: &[Task]) -> Result<Nodes, Fault> {
        let mut nodes = Nodes::default();
        for task in tasks.iter().filter(|task| task.is_native) {
            let node = task.address.offset(heap.offsets.task_node);
            let slot = nodes.read.push(node, 16);
            nodes.slots.insert(node, slot);
        }
        heap.spend(nodes.read.len() * 16)?;
        nodes.read.read_near(heap.memory())?;
        Ok(nodes)
    }

    /// `next` of a node whose `prev` is `before`; None: it is not, or the node cannot be read.
    fn next(&self, heap: &Heap, node: Addr, before: Addr) -> Result<Option<Addr>, Fault> {
        let next = |links: &[u8]| (Addr(word_at(links, 8)) == before).then(|| Addr(word_at(links, 0)));
        let ahead = self.slots.get(&node).and_then(|&slot| self.read.bytes(slot));
        if let Some(found) = ahead.and_then(next) {
            return Ok(Some(found));
        }
        let mut links = [0; 16];
        match heap.read(node, 0, &mut links) {
            Ok(()) => Ok(next(&links)),
            Err(fault @ (Fault::Gone | Fault::Budget)) => Err(fault),
            Err(_) => Ok(None),
        }
    }

    /// Follows the circular list at `head`. A node that was unlinked since the one before it was read points nowhere:
    /// then that one is asked again who comes next. Where it does not know better either, the walk of this list ends,
    /// and is counted.
    fn follow(&self, heap: &Heap, head: Addr, into: &mut Vec<Addr>, unreadable: &mut u32) -> Result<(), Fault> {
        let mut before = head;
        let mut node = match heap.pointer(head, 0) {
            Ok(node) => node,
            Err(Fault::Gone) => return Err(Fault::Gone),
            Err(_) => {
                *unreadable += 1;
                return Ok(());
            }
        };
        let mut asked_again = 0;
        while node != head {
            if into.len() >= MOST_TASKS {
                *unreadable += 1;
                return Ok(());
            }
            if let Some(next) = self.next(heap, node, before)? {
                into.push(Addr(node.0.wrapping_sub(heap.offsets.task_node)));
                (before, node) = (node, next);
                continue;
            }
            asked_again += 1;
            match heap.pointer(before, 0) {
                Ok(now) if now != node && !now.is_null() && asked_again <= MOST_UNLINKED => node = now,
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                _ => {
                    *unreadable += 1;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The task at this address; None: it is none, or done.
pub fn task_at(heap: &Heap, address: Addr) -> Result<Option<Task>, Fault> {
    let mut tasks = Tasks::default();
    read_tasks(heap, &[address], &mut tasks)?;
    Ok(tasks.pending.pop())
}

fn read_tasks(heap: &Heap, addresses: &[Addr], tasks: &mut Tasks) -> Result<(), Fault> {
    let o = &heap.offsets;
    let length = [o.task_loop, o.task_exception, o.task_state, o.task_coro, o.task_context]
        .into_iter()
        .max()
        .unwrap_or(0) as usize
        + 8;
    let mut scatter = Scatter::new();
    for &address in addresses {
        scatter.push(address, length);
    }
    heap.spend(addresses.len().saturating_mul(length))?;
    scatter.read_near(heap.memory())?;
    let mut kinds: AddrMap<Kind> = AddrMap::default();
    for (slot, &address) in addresses.iter().enumerate() {
        let Some(bytes) = scatter.bytes(slot) else {
            tasks.unreadable += 1;
            continue;
        };
        let class = Addr(word_at(bytes, 8));
        let kind = match kinds.get(&class) {
            Some(&kind) => kind,
            None => {
                let kind = kind_of(heap, class);
                kinds.insert(class, kind);
                kind
            }
        };
        let task = match kind {
            Kind::Native => Some((
                word_at(bytes, o.task_state as usize) as u32,
                Task {
                    address,
                    event_loop: Addr(word_at(bytes, o.task_loop as usize)),
                    coroutine: Addr(word_at(bytes, o.task_coro as usize)),
                    context: Addr(word_at(bytes, o.task_context as usize)),
                    // Neighbours in all versions (Modules/_asynciomodule.c: `TaskObj`, 3.8–3.15).
                    waiter: Addr(word_at(bytes, (o.task_coro as usize).wrapping_sub(8))),
                    name: Addr(word_at(bytes, (o.task_context as usize).wrapping_sub(8))),
                    is_native: true,
                },
            )),
            Kind::Python => python_task(heap, address).ok(),
            Kind::Other => None,
        };
        match task {
            // PENDING is 0, CANCELLED 1, FINISHED 2 (`fut_state` of Modules/_asynciomodule.c).
            Some((0, task)) if !task.context.is_null() && !task.event_loop.is_null() => tasks.pending.push(task),
            Some((2, task)) if kind == Kind::Native && word_at(bytes, o.task_exception as usize) != 0 => {
                tasks.failed.push(task);
            }
            Some((1 | 2, _)) => {}
            _ => tasks.unreadable += 1,
        }
    }
    Ok(())
}

fn kind_of(heap: &Heap, class: Addr) -> Kind {
    let mut base = class;
    for _ in 0..16 {
        match heap.name_of_type(base).as_deref() {
            Ok("_asyncio.Task") => return Kind::Native,
            // `asyncio.tasks.Task`, the pure-Python one.
            Ok("Task") => return Kind::Python,
            Ok(_) => {}
            Err(_) => return Kind::Other,
        }
        match heap.pointer(base, heap.offsets.type_base) {
            Ok(next) if !next.is_null() => base = next,
            _ => return Kind::Other,
        }
    }
    Kind::Other
}

fn python_task(heap: &Heap, address: Addr) -> Result<(u32, Task), Fault> {
    let attribute = |name| heap.attribute(address, name)?.ok_or(Fault::Implausible("task"));
    // A pending one has none of its own: what it shows is the class's (Lib/asyncio/futures.py).
    let state = match heap.attribute(address, "_state")? {
        None => 0,
        Some(state) => match &*heap.str(state)? {
            "PENDING" => 0,
            "CANCELLED" => 1,
            _ => 2,
        },
    };
    let waiter = heap.attribute(address, "_fut_waiter")?;
    let waiter = waiter.filter(|&waiter| heap.is_a(waiter, "NoneType") != Ok(true));
    let task = Task {
        address,
        event_loop: attribute("_loop")?,
        coroutine: attribute("_coro")?,
        context: attribute("_context")?,
        waiter: waiter.unwrap_or(Addr::NULL),
        name: attribute("_name")?,
        is_native: false,
    };
    Ok((state, task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::{Offsets, Version};
    use crate::memory::Image;

    const HEAD: u64 = 0x10_0000;
    const TASKS: u64 = 0x20_0000;

    /// A task's node, in a program that reads as 3.14.
    fn node(offsets: &Offsets, n: u64) -> u64 {
        TASKS + n * 0x1000 + offsets.task_node
    }

    /// A list of these tasks, in this order.
    fn list(tasks: &[u64]) -> Heap {
        let offsets = Offsets::of_minor(14).expect("3.14 is known");
        let mut image = Image::new();
        for n in 0..8 {
            image.put(Addr(node(&offsets, n)), &[0; 16]);
        }
        let mut ring = vec![HEAD];
        ring.extend(tasks.iter().map(|&n| node(&offsets, n)));
        for (place, &at) in ring.iter().enumerate() {
            let next = ring[(place + 1) % ring.len()];
            let before = ring[(place + ring.len() - 1) % ring.len()];
            image.put(Addr(at), &next.to_le_bytes());
            image.put(Addr(at + 8), &before.to_le_bytes());
        }
        Heap::new(Box::new(image), offsets, Version::parse("3.14.0").expect("a version"))
    }

    fn follow(then: &Heap, known: &[u64], now: &Heap) -> (Vec<u64>, u32) {
        let tasks = known.iter().map(|n| Task {
            address: Addr(TASKS + n * 0x1000),
            event_loop: Addr::NULL,
            coroutine: Addr::NULL,
            context: Addr::NULL,
            waiter: Addr::NULL,
            name: Addr::NULL,
            is_native: true,
        });
        then.grant(1 << 20);
        now.grant(1 << 20);
        let nodes = Nodes::read(then, &tasks.collect::<Vec<_>>()).expect("nodes");
        let (mut found, mut unreadable) = (Vec::new(), 0);
        nodes
            .follow(now, Addr(HEAD), &mut found, &mut unreadable)
            .expect("a list");
        (found.iter().map(|task| (task.0 - TASKS) / 0x1000).collect(), unreadable)
    }

    #[test]
    fn a_task_that_is_unlinked_meanwhile_costs_no_other() {
        let (then, now) = (list(&[1, 2, 3, 4, 5]), list(&[1, 4, 5]));
        assert_eq!(follow(&then, &[], &then), (vec![1, 2, 3, 4, 5], 0));
        // 1 was read when 2 was still behind it.
        assert_eq!(follow(&then, &[1], &now), (vec![1, 4, 5], 0));
        assert_eq!(follow(&then, &[1, 4], &now), (vec![1, 4, 5], 0));
    }

    #[test]
    fn a_list_that_leads_nowhere_ends_and_is_counted() {
        let now = list(&[3]);
        let stale = Nodes::default();
        let (mut found, mut unreadable) = (Vec::new(), 0);
        now.grant(1 << 20);
        let gone = Addr(node(&Offsets::of_minor(14).expect("3.14 is known"), 1));
        stale.follow(&now, gone, &mut found, &mut unreadable).expect("a list");
        assert_eq!((found, unreadable), (vec![], 1));
    }
}
