//! What a worker has instead of a name or a step that leads nowhere: of what stands there, what gives an id, nearest first.
//! Knows nothing of where a path begins, nor of how a hint is worded.

use super::credentials::{is_name_of_one, is_perhaps_one, words};
use super::follow::{Found, follow, hop};
use super::spec::{Filter, Step};
use crate::cpython::{Builtin, Heap, Links};
use crate::model::Addr;

/// Names of what an object has, to choose the near ones from.
const MOST_NAMES: usize = 500;
/// Items of a tuple or a list, and of what stands one step further, that are tried.
const MOST_ITEMS: usize = 16;
/// Candidates that give no id themselves and are looked into.
const MOST_LOOKED_INTO: usize = 32;
/// Names longer than this are nobody's to type.
const LONGEST_NAME: usize = 60;

/// Something that might have been meant.
pub(super) struct Candidate<T> {
    pub name: String,
    pub what: T,
    pub value: Addr,
}

/// Those that give an id, the likeliest first, each with the steps that lead from it to the id: those that were asked for
/// (`rest`), none, or one of its own. What has nearly the wanted name goes before what needs fewer steps.
pub(super) fn that_give_an_id<T>(
    heap: &Heap,
    wanted: &str,
    candidates: Vec<Candidate<T>>,
    rest: &[Step],
    filters: &[Filter],
) -> Vec<(T, Vec<Step>)> {
    let mut candidates = candidates;
    candidates.retain(|candidate| is_typed(&candidate.name) && !is_name_of_one(&candidate.name));
    candidates.sort_by_cached_key(|candidate| nearness(wanted, &candidate.name));
    let mut found: Vec<(usize, (T, Vec<Step>))> = Vec::new();
    for (place, candidate) in candidates.into_iter().take(MOST_NAMES).enumerate() {
        let gives = |steps: &[Step]| gives_an_id(heap, candidate.value, steps, filters);
        let (level, steps) = if gives(rest) {
            (1, rest.to_vec())
        } else if gives(&[]) {
            (1, Vec::new())
        } else if place >= MOST_LOOKED_INTO {
            continue;
        } else if let Some(step) = id_inside(heap, candidate.value, filters) {
            (2, vec![step])
        } else {
            continue;
        };
        let is_near = !wanted.is_empty() && is_near(wanted, &candidate.name);
        found.push((if is_near { 0 } else { level }, (candidate.what, steps)));
    }
    found.sort_by_key(|(level, _)| *level);
    found.into_iter().map(|(_, found)| found).collect()
}

/// One step from the object to an id, a name that says so first.
fn id_inside(heap: &Heap, object: Addr, filters: &[Filter]) -> Option<Step> {
    let mut inside = children(heap, object);
    inside.truncate(MOST_ITEMS);
    inside.retain(|child| !is_name_of_one(&child.name));
    inside.sort_by_key(|child| child.name != "id" && !child.name.ends_with("_id"));
    inside
        .into_iter()
        .find(|child| gives_an_id(heap, child.value, &[], filters))
        .map(|child| child.what)
}

fn gives_an_id(heap: &Heap, object: Addr, steps: &[Step], filters: &[Filter]) -> bool {
    let found = follow(heap, object, steps, filters, &mut Links::new());
    matches!(found, Ok(Found::Text(_)))
}

/// What stands one step behind an object: its attributes, a dictionary's keys, the items of a tuple or a list, which have
/// names where they are those of a named tuple.
pub(super) fn children(heap: &Heap, object: Addr) -> Vec<Candidate<Step>> {
    let steps: Vec<(String, Step)> = match heap.builtin(object) {
        Ok(Some(Builtin::Dict)) => {
            let items = heap.dict_items(object).unwrap_or_default().into_iter();
            let keys = items.take(MOST_NAMES).filter_map(|(key, _)| heap.str(key).ok());
            // They are values, and may be credentials themselves.
            let keys = keys.filter(|key| !is_perhaps_one(key));
            keys.map(|key| (key.clone(), Step::Key(key))).collect()
        }
        Ok(Some(Builtin::Tuple | Builtin::List)) => {
            let fields = fields_of(heap, object).unwrap_or_default();
            let items = 0..MOST_ITEMS.max(fields.len());
            let step = |place: usize| {
                let name = fields.get(place).cloned().unwrap_or_else(|| place.to_string());
                (name, Step::Index(place as i64))
            };
            items.map(step).collect()
        }
        Ok(None) => {
            let names = heap.attribute_names(object, MOST_NAMES).unwrap_or_default();
            let names = names.into_iter().filter(|name| !name.starts_with("__"));
            names.map(|name| (name.clone(), Step::Attribute(name))).collect()
        }
        _ => Vec::new(),
    };
    let mut children: Vec<Candidate<Step>> = steps
        .into_iter()
        .filter_map(|(name, what)| {
            let value = hop(heap, object, &what, &mut Links::new()).ok()??;
            is_typed(&name).then_some(Candidate { name, what, value })
        })
        .collect();
    children.sort_by_cached_key(|child| nearness("", &child.name));
    children
}

/// The fields of a named tuple, whose attributes are properties; None: it is none.
fn fields_of(heap: &Heap, object: Addr) -> Option<Vec<String>> {
    let class = heap.type_of(object).ok()?;
    let dict = heap.pointer(class, heap.offsets.type_dict).ok()?;
    if dict.is_null() {
        return None;
    }
    let fields = heap.tuple_items(heap.dict_get(dict, "_fields").ok()??).ok()?;
    fields
        .into_iter()
        .take(MOST_NAMES)
        .map(|name| heap.str(name).ok())
        .collect()
}

fn is_typed(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= LONGEST_NAME
}

/// Names, nearest to the wanted one first: those of which one begins as the other does, then those that are near in
/// another way, then by how many letters would have to be typed otherwise, then by alphabet.
pub fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.filter(|name| is_typed(name)).collect();
    names.sort_by_cached_key(|name| nearness(wanted, name));
    names.dedup();
    names
}

fn nearness(wanted: &str, name: &str) -> (u8, usize, String) {
    let level = match () {
        () if begins_so(wanted, name) => 0,
        () if is_near(wanted, name) => 1,
        () => 2,
    };
    (level, distance(wanted, name), name.to_owned())
}

/// A letter or two that names have in common say nothing: all ids end in `id`.
const LEAST_IN_COMMON: usize = 3;

/// One of them is how the other begins.
fn begins_so(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    wanted.chars().count().min(name.chars().count()) >= LEAST_IN_COMMON
        && (name.starts_with(&wanted) || wanted.starts_with(&name))
}

/// All words of one of them stand in the other, in one piece (`user` and `current_user`).
fn has_its_words(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (words(wanted), words(name));
    let (few, many) = if wanted.len() <= name.len() {
        (&wanted, &name)
    } else {
        (&name, &wanted)
    };
    let letters: usize = few.iter().map(|word| word.chars().count()).sum();
    letters >= LEAST_IN_COMMON && many.windows(few.len()).any(|part| part == few.as_slice())
}

/// Whether a name is near enough to be what was meant: a third of its letters differ at most, or two; or one begins with
/// the other, or has its words.
pub fn is_near(wanted: &str, name: &str) -> bool {
    let length = wanted.chars().count().max(name.chars().count());
    name.chars().count() <= LONGEST_NAME
        && (distance(wanted, name) <= (length / 3).max(2) || begins_so(wanted, name) || has_its_words(wanted, name))
}

/// Letters to insert, to leave out or to change (Levenshtein), case aside.
pub fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().take(2 * LONGEST_NAME).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (place, c) in b.to_lowercase().chars().enumerate() {
        let mut before = place;
        let mut left = place + 1;
        let mut next = vec![left];
        for (known, &above) in a.iter().zip(row.iter().skip(1)) {
            let changed = before + usize::from(*known != c);
            before = above;
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, far) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("request_id", "requestid", 1),
            ("reqid", "request_id", 5),
            ("kitten", "sitting", 3),
            ("ID", "id", 0),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
            assert_eq!(distance(b, a), far, "{b} {a}");
        }
        assert!(is_near("sesion_id", "session_id") && !is_near("call", "session_id"));
    }

    #[test]
    fn what_begins_so_and_what_has_the_word_in_it_is_near() {
        for (wanted, name) in [
            ("requset", "req"),
            ("user", "current_user"),
            ("user", "currentUser"),
            ("current_user_id", "user"),
            ("req_id", "my.req_id"),
        ] {
            assert!(is_near(wanted, name), "{wanted} {name}");
        }
        for (wanted, name) in [
            ("requset", "ctrl"),
            ("call_id", "request_id"),
            ("user", "superuser_flag"),
            ("_", "current_user"),
            ("", "current_user"),
            ("user", &format!("{}_user", "x".repeat(100))),
        ] {
            assert!(!is_near(wanted, name), "{wanted} {name}");
        }
    }

    #[test]
    fn a_word_in_a_name_is_nearer_than_a_name_that_is_short() {
        let names = ["ctrl", "locale", "current_user", "usr"].map(str::to_owned);
        assert_eq!(
            nearest("user", names.into_iter()),
            ["usr", "current_user", "ctrl", "locale"]
        );
    }

    #[test]
    fn the_nearest_comes_first_and_the_endless_are_left_out() {
        let names = ["tenant", "session_id", "session", &"x".repeat(1000)].map(str::to_owned);
        assert_eq!(
            nearest("sesion", names.into_iter()),
            ["session", "session_id", "tenant"]
        );
    }

    #[test]
    fn what_begins_so_is_nearer_than_what_is_short() {
        let names = ["a\"b", "user", "call_id"].map(str::to_owned);
        let nearest = nearest("call", names.into_iter());
        assert_eq!(nearest.first().map(String::as_str), Some("call_id"));
    }
}
