//! Names of tasks. Knows nothing of tasks beyond that.
//!
//! A task without a name of its own is `Task-N`, numbered as they are made. Up to 3.11 that is a str from the start;
//! from 3.12 on the task holds the int N until somebody asks for the name (Modules/_asynciomodule.c:
//! `_asyncio_Task___init___impl`, `_asyncio_Task_get_name_impl`).

use crate::cpython::{Heap, StrLayout, word_at};
use crate::memory::{Fault, Scatter};
use crate::model::Addr;

/// The head of a compact str, and characters enough for `Task-` and any number.
const HEAD: usize = 72;

/// The N of each of the names that are `Task-N`, in one read.
pub fn task_numbers(heap: &Heap, names: &[Addr]) -> Result<Vec<Option<u64>>, Fault> {
    let mut scatter = Scatter::new();
    for &name in names {
        scatter.push(name, HEAD);
    }
    heap.spend(names.len().saturating_mul(HEAD))?;
    scatter.read_near(heap.memory())?;
    let numbers = names.iter().enumerate().map(|(slot, &name)| {
        let Some(bytes) = scatter.bytes(slot) else {
            // The last thing before an unmapped page.
            return task_number(&task_name(heap, name).ok()?);
        };
        match heap.name_of_type(Addr(word_at(bytes, 8))).as_deref() {
            Ok("int") => u64::try_from(heap.int(name).ok()?).ok(),
            Ok("str") => {
                let layout = StrLayout::of_head(bytes, &heap.offsets).ok()?;
                let start = usize::try_from(layout.data).ok()?;
                let text = bytes.get(start..start.checked_add(layout.length)?)?;
                (layout.ascii && layout.compact).then_some(())?;
                task_number(std::str::from_utf8(text).ok()?)
            }
            _ => None,
        }
    });
    Ok(numbers.collect())
}

fn task_number(name: &str) -> Option<u64> {
    name.strip_prefix("Task-")?.parse().ok()
}

/// The name of a task as Python code would see it.
pub fn task_name(heap: &Heap, name: Addr) -> Result<String, Fault> {
    match heap.is_a(name, "int")? {
        true => Ok(format!("Task-{}", heap.int(name)?)),
        false => heap.str(name),
    }
}
