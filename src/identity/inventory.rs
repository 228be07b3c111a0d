//! Which contextvars are set in live tasks: of which types, in how many tasks, with how many different values, and which
//! of them, or what stands behind them, would name sessions best. Knows nothing of how it is shown.
//!
//! A session's tasks share its id, since children copy their parent's context: so what names sessions has several
//! values, and mostly more holders than values. A name that sounds like an id counts for more than either.

use super::credentials::{is_name_of_one, is_perhaps_one};
use super::follow::{Found, follow};
use super::spec::{Filter, Source, Spec, Step};
use crate::asyncio::Task;
use crate::cpython::{Builtin, Heap, Links};
use crate::memory::Fault;
use crate::model::Addr;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// Tasks that are asked.
const MOST_TASKS: usize = 50_000;
/// Variables, and places behind them, that are kept.
const MOST_PLACES: usize = 5_000;
/// Different values that are told apart; beyond this it is a lower bound.
const MOST_DISTINCT: usize = 10_000;
/// Objects of one variable that are looked into.
const MOST_LOOKED_INTO: usize = 500;
/// Attributes or keys of an object that are looked at.
const MOST_NAMES: usize = 40;
/// Examples of a value, and how many characters of each.
const MOST_EXAMPLES: usize = 3;
const LONGEST_EXAMPLE: usize = 60;
/// Longer texts are not read to their end (`cpython`, str).
const LONGEST_READ: usize = 4096;
/// Specs that are suggested.
const MOST_SUGGESTED: usize = 8;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Live tasks that were asked.
    pub tasks: usize,
    /// By name.
    pub variables: Vec<Held>,
    /// The likeliest first.
    pub suggestions: Vec<Suggestion>,
    /// There was more than could be read.
    pub is_partial: bool,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub name: String,
    /// Types of its values, and in how many tasks each.
    pub types: BTreeMap<String, usize>,
    /// Tasks in which it is set.
    pub holders: usize,
    /// Different values: texts and numbers by what they say, other objects by which they are.
    pub distinct: usize,
    /// There are more.
    pub distinct_is_lower_bound: bool,
    /// Its name, or one of its values, is a credential's.
    pub is_credential: bool,
    /// Some of its texts and numbers, cut; never a credential.
    pub examples: Vec<String>,
}

/// What would name sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub spec: Spec,
    pub distinct: usize,
    pub holders: usize,
}

/// A place that leads to a text: a variable, or something one step behind it.
#[derive(Default)]
struct Place {
    types: BTreeMap<String, usize>,
    holders: usize,
    distinct: HashSet<u64>,
    is_lower_bound: bool,
    is_credential: bool,
    examples: Vec<String>,
    /// Holders in which it is a text or a number.
    texts: usize,
}

/// What is known of one value.
#[derive(Clone)]
struct Value {
    class: String,
    hash: u64,
    text: Option<String>,
    /// What stands one step behind it.
    inside: Vec<(Step, String)>,
}

/// Looks at the contexts of `tasks`.
pub fn inventory(heap: &Heap, tasks: &[Task]) -> Inventory {
    let mut found = Inventory::default();
    let mut places: HashMap<(String, Option<Step>), Place> = HashMap::new();
    let mut names: HashMap<Addr, String> = HashMap::new();
    let mut values: HashMap<Addr, Value> = HashMap::new();
    let mut looked_into: HashMap<String, usize> = HashMap::new();
    found.is_partial = tasks.len() > MOST_TASKS;
    for task in tasks.iter().take(MOST_TASKS) {
        let bindings = heap
            .context(task.context)
            .and_then(|context| heap.bindings(context.vars));
        let bindings = match bindings {
            Ok(bindings) => bindings,
            Err(Fault::Gone | Fault::Budget) => {
                found.is_partial = true;
                break;
            }
            // Its task ended meanwhile.
            Err(_) => continue,
        };
        found.tasks += 1;
        for binding in bindings {
            if let std::collections::hash_map::Entry::Vacant(e) = names.entry(binding.variable) {
                let Ok((name, _)) = heap.context_variable(binding.variable) else {
                    continue;
                };
                e.insert(name);
            }
            let Some(name) = names.get(&binding.variable) else {
                continue;
            };
            if let std::collections::hash_map::Entry::Vacant(e) = values.entry(binding.value) {
                let count = looked_into.entry(name.clone()).or_default();
                *count += 1;
                let Ok(value) = value(heap, binding.value, *count <= MOST_LOOKED_INTO) else {
                    continue;
                };
                e.insert(value);
            }
            let Some(value) = values.get(&binding.value) else {
                continue;
            };
            if places.len() > MOST_PLACES {
                found.is_partial = true;
                break;
            }
            let place = places.entry((name.clone(), None)).or_default();
            place.add(name, &value.class, value.hash, value.text.as_deref());
            for (step, text) in &value.inside {
                let place = places.entry((name.clone(), Some(step.clone()))).or_default();
                let inner = match step {
                    Step::Attribute(name) | Step::Key(name) | Step::KeyPrefix(name) => name.as_str(),
                    Step::Index(_) => "",
                };
                place.is_credential |= is_name_of_one(name);
                place.add(inner, "", hash_of(text), Some(text));
            }
        }
    }
    let mut suggestions: Vec<(u8, Suggestion)> = Vec::new();
    for ((name, step), place) in places {
        let spec = Spec {
            source: Source::Quoted(name.clone()),
            steps: step.clone().into_iter().collect(),
            filters: Vec::<Filter>::new(),
        };
        // A name that nobody can type is no suggestion.
        if !name.contains(char::is_control)
            && let Some(rank) = place.rank(&spec)
        {
            let suggestion = Suggestion {
                spec,
                distinct: place.distinct.len(),
                holders: place.texts,
            };
            suggestions.push((rank, suggestion));
        }
        if step.is_none() {
            found.variables.push(place.held(name));
        }
    }
    found.variables.sort_by(|a, b| a.name.cmp(&b.name));
    suggestions.sort_by(|(a_rank, a), (b_rank, b)| {
        let by_values = b.distinct.cmp(&a.distinct).then(b.holders.cmp(&a.holders));
        let by_path = a.spec.steps.len().cmp(&b.spec.steps.len());
        a_rank
            .cmp(b_rank)
            .then(by_values)
            .then(by_path)
            .then_with(|| a.spec.to_string().cmp(&b.spec.to_string()))
    });
    let suggestions = suggestions.into_iter().map(|(_, suggestion)| suggestion);
    found.suggestions = suggestions.take(MOST_SUGGESTED).collect();
    found
}

fn value(heap: &Heap, object: Addr, look_into: bool) -> Result<Value, Fault> {
    let class = heap.type_name(object)?.to_string();
    let text = text_at(heap, object)?;
    let inside = match (&text, look_into) {
        (None, true) => inside(heap, object),
        _ => Vec::new(),
    };
    Ok(Value {
        class,
        hash: text.as_ref().map_or(object.0, |text| hash_of(text)),
        text,
        inside,
    })
}

fn text_at(heap: &Heap, object: Addr) -> Result<Option<String>, Fault> {
    Ok(match follow(heap, object, &[], &[], &mut Links::new())? {
        Found::Text(text) => Some(text),
        _ => None,
    })
}

/// The texts one step behind an object: its attributes, or a dictionary's keys.
fn inside(heap: &Heap, object: Addr) -> Vec<(Step, String)> {
    let steps: Vec<Step> = match heap.builtin(object) {
        Ok(Some(Builtin::Dict)) => {
            let items = heap.dict_items(object).unwrap_or_default();
            let keys = items
                .into_iter()
                .take(MOST_NAMES)
                .filter_map(|(key, _)| heap.str(key).ok());
            // A dictionary's keys are values, and may be credentials themselves.
            keys.filter(|key| !is_perhaps_one(key)).map(Step::Key).collect()
        }
        Ok(None) => {
            let names = heap.attribute_names(object, MOST_NAMES).unwrap_or_default();
            names.into_iter().map(Step::Attribute).collect()
        }
        _ => Vec::new(),
    };
    let texts = steps.into_iter().filter_map(|step| {
        match follow(heap, object, std::slice::from_ref(&step), &[], &mut Links::new()) {
            Ok(Found::Text(text)) => Some((step, text)),
            _ => None,
        }
    });
    texts.collect()
}

impl Place {
    fn add(&mut self, name: &str, class: &str, hash: u64, text: Option<&str>) {
        self.holders += 1;
        if !class.is_empty() {
            *self.types.entry(class.to_owned()).or_default() += 1;
        }
        self.is_credential |= is_name_of_one(name) || text.is_some_and(is_perhaps_one);
        self.texts += usize::from(text.is_some());
        // Only the beginning of a very long text is read.
        self.is_lower_bound |= text.is_some_and(|text| text.chars().count() > LONGEST_READ);
        if self.distinct.len() >= MOST_DISTINCT {
            self.is_lower_bound |= !self.distinct.contains(&hash);
            return;
        }
        if self.distinct.insert(hash)
            && let Some(text) = text
            && self.examples.len() < MOST_EXAMPLES
        {
            let mut example: String = text.chars().take(LONGEST_EXAMPLE).collect();
            if example.len() < text.len() {
                example.push('…');
            }
            self.examples.push(example);
        }
    }

    /// How well it would name sessions, 0 best; None: not at all.
    fn rank(&self, spec: &Spec) -> Option<u8> {
        if self.is_credential || self.texts == 0 {
            return None;
        }
        let last = match (spec.steps.last(), &spec.source) {
            (Some(Step::Attribute(name) | Step::Key(name)), _) | (None, Source::Quoted(name)) => name.to_lowercase(),
            _ => String::new(),
        };
        let several = self.distinct.len() > 1;
        let words = ["session", "call_", "call-", "conversation", "thread_id", "job"];
        let sounds_like_a_session = words.iter().any(|word| last.contains(word));
        let sounds_like_an_id = last == "id" || last.ends_with("_id") || last.ends_with("-id") || last.ends_with(".id");
        Some(match (several, sounds_like_a_session, sounds_like_an_id) {
            (true, true, true) => 0,
            (true, true, false) => 1,
            (true, false, true) => 2,
            (true, false, false) => 3,
            // One value: one session, perhaps.
            (false, true, _) => 4,
            (false, false, true) => 5,
            (false, false, false) => return None,
        })
    }

    fn held(self, name: String) -> Held {
        Held {
            name,
            types: self.types,
            holders: self.holders,
            distinct: self.distinct.len(),
            distinct_is_lower_bound: self.is_lower_bound,
            is_credential: self.is_credential,
            examples: if self.is_credential { Vec::new() } else { self.examples },
        }
    }
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(values: &[&str]) -> Place {
        let mut place = Place::default();
        for value in values {
            place.add("x", "str", hash_of(value), Some(value));
        }
        place
    }

    #[test]
    fn what_sounds_like_a_session_goes_before_what_has_more_values() {
        let two = place(&["a", "a", "b"]);
        let rank = |spec: &str| two.rank(&Spec::parse(spec).map(quoted).expect("a spec"));
        assert!(rank("session_id") < rank("request_id") && rank("request_id") < rank("path"));
        assert!(rank("'log'[\"call_id\"]") == rank("session_id"));
        let one = place(&["a", "a"]);
        assert_eq!(one.rank(&Spec::variable("path")), None);
        assert!(one.rank(&Spec::variable("session_id")).is_some());
    }

    fn quoted(spec: Spec) -> Spec {
        let readings = spec.readings();
        Spec {
            source: Source::Quoted(readings[0].variable.clone()),
            ..spec
        }
    }

    #[test]
    fn a_credential_is_never_kept_and_never_suggested() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2lnbmF0dXJl";
        let mut by_value = place(&["a", jwt]);
        assert_eq!(by_value.rank(&Spec::variable("session_id")), None);
        assert!(by_value.is_credential);
        by_value.add("x", "str", 7, Some("b"));
        assert_eq!(by_value.held("session_id".to_owned()).examples, Vec::<String>::new());
        let mut by_name = Place::default();
        by_name.add("api_key", "str", 1, Some("a"));
        assert!(by_name.is_credential);
    }

    #[test]
    fn ten_thousand_values_are_counted_and_more_are_a_lower_bound() {
        let mut many = Place::default();
        for i in 0..MOST_DISTINCT + 5 {
            let text = format!("session-{i}");
            many.add("x", "str", hash_of(&text), Some(&text));
        }
        let held = many.held("x".to_owned());
        assert_eq!((held.distinct, held.distinct_is_lower_bound), (MOST_DISTINCT, true));
        assert_eq!((held.holders, held.examples.len()), (MOST_DISTINCT + 5, MOST_EXAMPLES));
        let long = "x".repeat(10_000);
        assert_eq!(place(&[&long]).examples[0].chars().count(), LONGEST_EXAMPLE + 1);
    }
}
