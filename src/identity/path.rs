//! The path from a contextvar's value to a text: attributes, items, a prefix taken off. Knows nothing of which paths
//! there are.

use crate::cpython::Heap;
use crate::memory::Fault;
use crate::model::Addr;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// What is stored in the instance under this name: its dictionary, its inline values, a slot, a member of a C type.
    Attribute(&'static str),
    /// Item of a tuple.
    Item(usize),
    /// Taken off the front of the text, where it is there.
    WithoutPrefix(&'static str),
}

/// A text in the worker, and the object that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    /// The str object; NULL where the text was made of something else (an int).
    pub object: Addr,
}

/// Follows `path` from `value`. None: the path ends nowhere, or in something that is no text and no int, or in an empty
/// text.
pub fn follow(heap: &Heap, value: Addr, path: &[PathStep]) -> Result<Option<Text>, Fault> {
    let mut at = value;
    let mut prefix = None;
    for step in path {
        match step {
            PathStep::Attribute(name) => match heap.attribute(at, name)? {
                Some(next) => at = next,
                None => return Ok(None),
            },
            PathStep::Item(index) => {
                if !heap.is_a(at, "tuple")? {
                    return Ok(None);
                }
                match heap.tuple_items(at)?.get(*index) {
                    Some(&next) => at = next,
                    None => return Ok(None),
                }
            }
            PathStep::WithoutPrefix(text) => prefix = Some(*text),
        }
    }
    let found = match heap.str(at) {
        Ok(text) => Text { text, object: at },
        Err(Fault::Implausible(_)) => match heap.is_a(at, "int")? {
            true => Text {
                text: heap.int(at)?.to_string(),
                object: Addr::NULL,
            },
            false => return Ok(None),
        },
        Err(fault) => return Err(fault),
    };
    let text = match prefix.and_then(|p| found.text.strip_prefix(p)) {
        Some(rest) => rest.to_string(),
        None => found.text,
    };
    Ok((!text.is_empty()).then_some(Text {
        text,
        object: found.object,
    }))
}
