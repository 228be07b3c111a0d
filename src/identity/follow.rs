//! Follows a path from a contextvar's value to a text, hop by hop, and keeps what proves each hop. Knows nothing of
//! which paths there are, nor of tasks.

use super::spec::{Filter, Step};
use crate::cpython::{Builtin, Heap, Key, Links, WIDER_INT};
use crate::memory::Fault;
use crate::model::Addr;
use std::sync::Arc;

/// Hexadecimal digits of a trace's id.
const TRACE_DIGITS: u8 = 32;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Text(String),
    /// The path ends nowhere, or in None, or in an empty text.
    Nothing,
    /// At this step there is no such attribute, key or item in this object.
    Missing {
        object: Addr,
        step: usize,
    },
    /// An object that is no text and no int: its type.
    Other {
        object: Addr,
        class: Arc<str>,
    },
}

/// Follows `steps` from `value` and makes a text of what is there. `links` gets what proves the answer, whatever it is.
pub fn follow(heap: &Heap, value: Addr, steps: &[Step], filters: &[Filter], links: &mut Links) -> Result<Found, Fault> {
    let mut at = value;
    for (step, hop_to) in steps.iter().enumerate() {
        at = match hop(heap, at, hop_to, links)? {
            Some(next) => next,
            // What is None now may be an object later: the link that led here would change.
            None if heap.is_a(at, "NoneType")? => return Ok(Found::Nothing),
            None => return Ok(Found::Missing { object: at, step }),
        };
    }
    text(heap, at, filters, links)
}

/// One hop. None: there is nothing of that name, or the object is of a kind that has none.
pub(super) fn hop(heap: &Heap, at: Addr, step: &Step, links: &mut Links) -> Result<Option<Addr>, Fault> {
    let of_dict = |key, links: &mut Links| match heap.builtin(at)? {
        Some(Builtin::Dict) => heap.dict_item_by(at, key, links),
        _ => Ok(None),
    };
    match step {
        Step::Attribute(name) => heap.attribute_by(at, name, links),
        Step::With(name) => Ok(heap.attribute_by(at, name, links)?.map(|_| at)),
        Step::Key(key) => of_dict(Key::Text(key), links),
        Step::KeyPrefix(prefix) => of_dict(Key::Prefix(prefix), links),
        Step::Index(index) => match heap.builtin(at)? {
            Some(Builtin::Tuple | Builtin::List) => heap.item_by(at, *index, links),
            Some(Builtin::Dict) => heap.dict_item_by(at, Key::Int(*index), links),
            _ => Ok(None),
        },
    }
}

/// The text of a str, or of an int (an IntEnum's too) or a `uuid.UUID` as Python prints these, after the filters. A bool
/// is an int to Python, and names nobody. Where it is asked for, an object by its class and address.
pub fn text(heap: &Heap, object: Addr, filters: &[Filter], links: &mut Links) -> Result<Found, Fault> {
    let class = heap.type_name(object)?;
    let text = if heap.builtin(object)? == Some(Builtin::Str) {
        heap.str_by(object, links)?
    } else if heap.builtin(object)? == Some(Builtin::Int) && &*class != "bool" {
        let (negative, value) = match heap.int_by(object, links) {
            Err(WIDER_INT) => {
                heap.int_size_by(object, links)?;
                return Ok(Found::Other { object, class });
            }
            read => read?,
        };
        // A trace without a number is none (W3C: an id of zeros is invalid): OpenTelemetry's API without an SDK. Other
        // numbers may be 0.
        if value == 0 && filters.contains(&Filter::Hex(TRACE_DIGITS)) {
            return Ok(Found::Nothing);
        }
        let sign = if negative { "-" } else { "" };
        match filters.iter().find_map(hexadecimal) {
            Some(digits) => format!("{sign}{value:0digits$x}"),
            None => format!("{sign}{value}"),
        }
    } else if &*class == "UUID" {
        let Some(int) = heap.attribute_by(object, "int", links)? else {
            return Ok(Found::Nothing);
        };
        let (_, value) = heap.int_by(int, links)?;
        let hex = format!("{value:032x}");
        let group = |from, to| hex.get(from..to).unwrap_or_default();
        match filters.iter().find_map(hexadecimal) {
            Some(_) => hex.clone(),
            None => [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)].join("-"),
        }
    } else if &*class == "NoneType" {
        return Ok(Found::Nothing);
    } else if filters.contains(&Filter::Address) && &*class != "bool" {
        // The word that led here keeps it alive, so that nothing else has this address as long as that word stands.
        format!("{class} at {object}")
    } else {
        return Ok(Found::Other { object, class });
    };
    Ok(filtered(text, filters))
}

/// A text after the filters; an empty one is none.
pub fn filtered(mut text: String, filters: &[Filter]) -> Found {
    for filter in filters {
        if let Filter::Strip(prefix) = filter
            && let Some(rest) = text.strip_prefix(prefix.as_str())
        {
            text = rest.to_owned();
        }
    }
    match text.is_empty() {
        true => Found::Nothing,
        false => Found::Text(text),
    }
}

/// How many digits a number is to have at least; None: it is to be decimal.
fn hexadecimal(filter: &Filter) -> Option<usize> {
    match filter {
        Filter::Hex(digits) => Some(usize::from(*digits)),
        Filter::Strip(_) | Filter::Address => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::{Offsets, Version};
    use crate::memory::Image;

    const TYPE: u64 = 0x10_0000;
    const OBJECT: u64 = 0x20_0000;

    /// What an int of that type and value, of less than 30 bits, gives.
    fn of_int(class: &str, value: u32, spec: &str) -> Found {
        let offsets = Offsets::of_minor(12).unwrap();
        let mut image = Image::new();
        image.put(Addr(TYPE), &[0; 0x1000]);
        image.put(Addr(TYPE + 0x800), class.as_bytes());
        image.put(Addr(TYPE).offset(offsets.type_name), &(TYPE + 0x800).to_le_bytes());
        image.put(Addr(TYPE).offset(offsets.type_flags), &(1u64 << 24).to_le_bytes());
        image.put(Addr(OBJECT), &[0; 64]);
        image.put(Addr(OBJECT + 8), &TYPE.to_le_bytes());
        let tag: u64 = if value == 0 { 1 } else { 1 << 3 };
        image.put(Addr(OBJECT).offset(offsets.int_tag), &tag.to_le_bytes());
        image.put(Addr(OBJECT).offset(offsets.int_digits), &value.to_le_bytes());
        let heap = Heap::new(Box::new(image), offsets, Version::parse("3.12.1").unwrap());
        heap.grant(1 << 20);
        let filters = super::super::Spec::parse(spec).unwrap().filters;
        text(&heap, Addr(OBJECT), &filters, &mut Links::new()).unwrap()
    }

    #[test]
    fn ints_and_what_is_derived_from_them_are_ids_and_bools_are_none() {
        for class in ["int", "CallId", "HTTPStatus"] {
            assert_eq!(of_int(class, 404, "x"), Found::Text("404".to_owned()), "{class}");
            assert_eq!(
                of_int(class, 404, "x|hex(4)"),
                Found::Text("0194".to_owned()),
                "{class}"
            );
        }
        assert!(matches!(of_int("bool", 1, "x"), Found::Other { .. }));
    }

    #[test]
    fn an_object_is_told_by_its_address_where_that_is_asked_for_and_bools_are_all_one() {
        assert_eq!(of_int("bool", 1, "x|address"), of_int("bool", 1, "x"));
        assert_eq!(of_int("int", 7, "x|address"), Found::Text("7".to_owned()));
        let offsets = Offsets::of_minor(12).unwrap();
        let mut image = Image::new();
        image.put(Addr(TYPE), &[0; 0x1000]);
        image.put(Addr(TYPE + 0x800), b"app.Call");
        image.put(Addr(TYPE).offset(offsets.type_name), &(TYPE + 0x800).to_le_bytes());
        image.put(Addr(OBJECT), &[0; 64]);
        image.put(Addr(OBJECT + 8), &TYPE.to_le_bytes());
        let heap = Heap::new(Box::new(image), offsets, Version::parse("3.12.1").unwrap());
        heap.grant(1 << 20);
        let of = |filters: &[Filter]| text(&heap, Addr(OBJECT), filters, &mut Links::new()).unwrap();
        assert!(matches!(of(&[]), Found::Other { .. }));
        let Found::Text(text) = of(&[Filter::Address]) else {
            panic!("no text")
        };
        assert!(text.ends_with("Call at 0x200000"), "{text}");
        assert_eq!(crate::identity::shown(text.clone()), text);
    }

    #[test]
    fn a_trace_of_zeros_is_none_and_other_numbers_may_be_zero() {
        for (spec, text) in [("x", "0"), ("x|hex", "0"), ("x|hex(8)", "00000000")] {
            assert_eq!(of_int("int", 0, spec), Found::Text(text.to_owned()), "{spec}");
        }
        assert_eq!(of_int("int", 0, "x|hex(32)"), Found::Nothing);
    }
}
