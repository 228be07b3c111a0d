//! Which contextvars are set in live tasks: of which types, in how many tasks, with how many different values, and which
//! of them, or what stands behind them, would name sessions best. Knows nothing of how it is shown.
//!
//! A session's tasks share its id, since children copy their parent's context: so what names sessions has several
//! values, and mostly more holders than values. A name that sounds like an id counts for more than either.

use super::at_work::AtWork;
use super::credentials::is_perhaps_one;
use super::follow::{Found, follow};
use super::places::{Place, Places, hash_of};
use super::resolver::Subject;
use super::rules::Rules;
use super::spec::{Filter, Source, Spec, Step};
use crate::asyncio::Task;
use crate::cpython::{Builtin, Heap, Links};
use crate::memory::Fault;
use crate::model::Addr;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Tasks that are asked.
const MOST_TASKS: usize = 50_000;
/// Objects of one variable that are looked into.
const MOST_LOOKED_INTO: usize = 500;
/// Attributes or keys of an object that are looked at.
const MOST_NAMES: usize = 40;
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
    /// Its name is a credential's, or a good part of its values are credentials.
    pub is_credential: bool,
    /// Some of its texts and numbers, cut; never a credential, nor what looks as random as one.
    pub examples: Vec<String>,
    /// There are values that look like credentials, and are no examples for that.
    pub hides_values: bool,
}

/// What would name sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub spec: Spec,
    pub distinct: usize,
    pub holders: usize,
    /// There are more.
    pub is_lower_bound: bool,
    /// Some of these values look as random as a credential, and the table would show them: many ids do, and so does a secret
    /// without a form of its own.
    pub looks_like_credentials: bool,
}

/// What is known of one value.
#[derive(Clone)]
struct Value {
    class: String,
    hash: u64,
    text: Option<String>,
    /// What stands one step behind it.
    inside: Vec<(Step, String)>,
    depth: Depth,
}

/// What is known of what stands behind a value.
#[derive(Clone, Copy)]
enum Depth {
    /// Nothing has a name there.
    Flat,
    LookedInto,
    /// There were too many like it.
    Unknown,
}

/// Looks at the contexts of `tasks`, and at what the rules that hold without a flag give there: their specs lead further
/// than the one step that is tried of any variable. `threads`: thread states among which are those that run tasks.
pub fn inventory(heap: &Heap, tasks: &[Task], threads: &[Addr], rules: &Rules) -> Inventory {
    let mut found = Inventory::default();
    let mut places = Places::default();
    let mut at_work = AtWork::of(rules);
    let mut names: HashMap<Addr, String> = HashMap::new();
    let mut values: HashMap<Addr, Value> = HashMap::new();
    let mut looked_into: HashMap<String, usize> = HashMap::new();
    // Names under which there are more objects than were looked into.
    let mut cut_off: HashSet<String> = HashSet::new();
    found.is_partial = tasks.len() > MOST_TASKS;
    for task in tasks.iter().take(MOST_TASKS) {
        let bindings = heap
            .context(task.context)
            .and_then(|context| Ok((context.vars, heap.bindings(context.vars)?)));
        let (vars, bindings) = match bindings {
            Ok(found) => found,
            Err(Fault::Gone | Fault::Budget) => {
                found.is_partial = true;
                break;
            }
            // Its task ended meanwhile.
            Err(_) => continue,
        };
        found.tasks += 1;
        let mut here: HashMap<String, Addr> = HashMap::new();
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
            if at_work.wants(name) {
                here.insert(name.clone(), binding.value);
            }
            if let std::collections::hash_map::Entry::Vacant(e) = values.entry(binding.value) {
                let has_room = looked_into.get(name).is_none_or(|&count| count < MOST_LOOKED_INTO);
                let Ok(value) = value(heap, binding.value, has_room) else {
                    continue;
                };
                match value.depth {
                    Depth::Flat => {}
                    Depth::LookedInto => *looked_into.entry(name.clone()).or_default() += 1,
                    Depth::Unknown => {
                        cut_off.insert(name.clone());
                    }
                }
                e.insert(value);
            }
            let Some(value) = values.get(&binding.value) else {
                continue;
            };
            places.add(name, &value.class, value.hash, value.text.as_deref());
            for (step, text) in &value.inside {
                places.add_inside(name, step, text);
            }
        }
        let subject = Subject {
            vars,
            context: task.context,
            tasks: std::slice::from_ref(task),
            threads,
        };
        if at_work.look(heap, subject, &here).is_err() {
            found.is_partial = true;
            break;
        }
    }
    found.is_partial |= places.is_full || !cut_off.is_empty();
    cut_off.iter().for_each(|name| places.note_more_inside(name));
    let mut suggestions: Vec<(u8, Suggestion)> = Vec::new();
    for (name, step, place) in places.all() {
        let spec = Spec {
            source: Source::Quoted(name.clone()),
            steps: step.into_iter().collect(),
            filters: Vec::<Filter>::new(),
        };
        suggestions.extend(suggestion(&spec, &place));
        if spec.steps.is_empty() {
            found.variables.push(place.held(name));
        }
    }
    let known: HashSet<String> = suggestions.iter().map(|(_, one)| one.spec.to_string()).collect();
    let of_rules = at_work.all().filter(|(spec, _)| !known.contains(&spec.to_string()));
    suggestions.extend(of_rules.filter_map(|(spec, place)| suggestion(&spec, &place)));
    found.variables.sort_by(|a, b| a.name.cmp(&b.name));
    found.suggestions = the_likeliest(suggestions);
    found
}

/// With how well it would name sessions. None: not at all, or nobody can type it.
fn suggestion(spec: &Spec, place: &Place) -> Option<(u8, Suggestion)> {
    if spec.to_string().contains(char::is_control) {
        return None;
    }
    let suggestion = Suggestion {
        distinct: place.distinct(),
        holders: place.texts(),
        is_lower_bound: place.is_lower_bound(),
        looks_like_credentials: place.looks_like_credentials(),
        spec: spec.clone(),
    };
    Some((place.rank(spec)?, suggestion))
}

/// By how well they name sessions; of equal ones the shorter path, and what needs no quotes.
fn the_likeliest(mut suggestions: Vec<(u8, Suggestion)>) -> Vec<Suggestion> {
    suggestions.sort_by_cached_key(|(rank, suggestion)| {
        let text = suggestion.spec.to_string();
        (
            *rank,
            Reverse((suggestion.distinct, suggestion.holders)),
            suggestion.spec.steps.len(),
            text.starts_with('"'),
            text,
        )
    });
    let suggestions = suggestions.into_iter().map(|(_, suggestion)| suggestion);
    suggestions.take(MOST_SUGGESTED).collect()
}

fn value(heap: &Heap, object: Addr, has_room: bool) -> Result<Value, Fault> {
    let class = heap.type_name(object)?.to_string();
    let text = text_at(heap, object)?;
    let is_flat = text.is_some() || !matches!(heap.builtin(object), Ok(None | Some(Builtin::Dict)));
    let depth = match (is_flat, has_room) {
        (true, _) => Depth::Flat,
        (false, true) => Depth::LookedInto,
        (false, false) => Depth::Unknown,
    };
    let inside = match depth {
        Depth::LookedInto => inside(heap, object),
        Depth::Flat | Depth::Unknown => Vec::new(),
    };
    Ok(Value {
        class,
        hash: text.as_ref().map_or(object.0, |text| hash_of(text)),
        text,
        inside,
        depth,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_ones_what_needs_no_quotes_goes_first() {
        let suggestion = |variable: &str, distinct| Suggestion {
            spec: Spec::variable(variable),
            distinct,
            holders: 40,
            is_lower_bound: false,
            looks_like_credentials: false,
        };
        let mut all: Vec<(u8, Suggestion)> = ["app.request", "my var", "a b", "c d", "e f", "g h", "i j", "k l"]
            .into_iter()
            .map(|name| (3, suggestion(name, 40)))
            .collect();
        all.extend([
            (3, suggestion("request", 40)),
            (2, suggestion("rid", 20)),
            (3, suggestion("many", 41)),
        ]);
        let specs: Vec<String> = the_likeliest(all).iter().map(|one| one.spec.to_string()).collect();
        assert_eq!(specs[..3], ["rid", "many", "request"]);
        assert_eq!(specs.len(), MOST_SUGGESTED);
    }
}
