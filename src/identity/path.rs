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

/// A text in the worker, and the bytes there that make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    /// Where they stand, and which they are: as long as they are the same, so is the text.
    pub proof: Vec<(Addr, Vec<u8>)>,
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
    let Some((text, places)) = text_of(heap, at)? else {
        return Ok(None);
    };
    let text = match prefix.and_then(|p| text.strip_prefix(p)) {
        Some(rest) => rest.to_string(),
        None => text,
    };
    if text.is_empty() {
        return Ok(None);
    }
    let proof = places.into_iter().map(|(at, length)| Ok((at, heap.bytes(at, length)?)));
    Ok(Some(Text {
        text,
        proof: proof.collect::<Result<_, Fault>>()?,
    }))
}

/// Where bytes stand, and how many.
type Places = Vec<(Addr, usize)>;

/// The text of a str, or of an int or a `uuid.UUID` as Python prints it, and where the bytes are that make it.
fn text_of(heap: &Heap, object: Addr) -> Result<Option<(String, Places)>, Fault> {
    match heap.str_places(object) {
        Ok(places) => return Ok(Some((heap.str(object)?, places))),
        Err(Fault::Implausible(_)) => {}
        Err(fault) => return Err(fault),
    }
    let int = match heap.is_a(object, "UUID")? {
        true => heap.attribute(object, "int")?,
        false => heap.is_a(object, "int")?.then_some(object),
    };
    let Some(int) = int else { return Ok(None) };
    let (negative, value) = heap.wide_int(int)?;
    let text = match int == object {
        true if negative => format!("-{value}"),
        true => value.to_string(),
        false => {
            let hex = format!("{value:032x}");
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        }
    };
    Ok(Some((text, heap.int_places(int)?)))
}
