//! Tries a spec on the live tasks, to say what is wrong with it before anybody waits for rows: which variables its name
//! may mean, where its path ends, and which names are near. Knows nothing of options and exit codes.

use super::credentials::is_perhaps_one;
use super::follow::{Found, follow};
use super::resolver::{Resolver, Subject};
use super::rules::Rules;
use super::spec::{Reading, Source, Spec, Step};
use super::variables::Variable;
use crate::asyncio::Task;
use crate::cpython::{Builtin, Heap, Links};
use crate::memory::Fault;
use crate::model::Addr;
use std::collections::{HashMap, HashSet};

/// Names of what an object has, to choose the near ones from.
const MOST_NAMES: usize = 500;
/// Names longer than this are nobody's to type.
const LONGEST_NAME: usize = 60;

/// How far a spec came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It gives a text in some live context.
    Fits,
    /// It gives none now, and might later: what it begins with is not set, or is None.
    NotYet,
    /// No object has what this step asks for.
    Missing {
        /// The step, as it is written.
        step: String,
        /// The type of an object that was asked.
        class: String,
        /// What the object has, nearest first.
        near: Vec<String>,
    },
    /// It ends in what is no id.
    NoText { class: String, near: Vec<String> },
}

/// Contexts of live tasks: every set of variables once, with one of the tasks that carry it.
pub fn live_contexts(heap: &Heap, tasks: &[Task], most: usize) -> Vec<(Addr, Task)> {
    let mut seen = HashSet::new();
    let contexts = tasks.iter().take(most).filter_map(|task| {
        let vars = heap.context(task.context).ok()?.vars;
        seen.insert(vars).then_some((vars, *task))
    });
    contexts.collect()
}

/// The spec with its name read in the way that the variables of the worker allow: the longest that is one. None: there
/// is no variable of any of these names. A spec that begins with a task stays as it is.
pub fn settled(spec: &Spec, exists: impl Fn(&str) -> bool) -> Option<Spec> {
    if spec.needs_task() {
        return Some(spec.clone());
    }
    let reading = spec.readings().into_iter().find(|reading| exists(&reading.variable))?;
    Some(Spec {
        source: Source::Quoted(reading.variable),
        steps: reading.steps,
        filters: spec.filters.clone(),
    })
}

/// Follows a settled spec in the contexts, until one gives a text.
pub fn attempt(heap: &Heap, spec: &Spec, contexts: &[(Addr, Task)]) -> Result<Trial, Fault> {
    if spec.needs_task() {
        return attempt_by_task(heap, spec, contexts);
    }
    let readings = spec.readings();
    let Some(Reading { variable, steps }) = readings.first() else {
        return Ok(Trial::NotYet);
    };
    let mut names: HashMap<Addr, Option<Variable>> = HashMap::new();
    let mut trial = Trial::NotYet;
    for &(vars, _) in contexts {
        let Ok(bindings) = heap.bindings(vars) else { continue };
        for binding in bindings {
            let known = names.entry(binding.variable).or_insert_with(|| {
                let (name, hash) = heap.context_variable(binding.variable).ok()?;
                Some(Variable {
                    address: binding.variable,
                    name,
                    hash,
                })
            });
            if known.as_ref().is_none_or(|known| known.name != *variable) {
                continue;
            }
            match follow(heap, binding.value, steps, &spec.filters, &mut Links::new()) {
                Ok(Found::Text(_)) => return Ok(Trial::Fits),
                Ok(Found::Nothing) => {}
                Ok(Found::Missing { object, step }) => trial = missing(heap, object, steps.get(step)),
                Ok(Found::Other { object, class }) => {
                    let class = class.to_string();
                    let near = names_in(heap, object, "");
                    trial = Trial::NoText { class, near };
                }
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                Err(_) => {}
            }
        }
    }
    Ok(trial)
}

fn attempt_by_task(heap: &Heap, spec: &Spec, contexts: &[(Addr, Task)]) -> Result<Trial, Fault> {
    let mut resolver = Resolver::new(Rules::of_specs(vec![spec.clone()]));
    for (vars, task) in contexts {
        let subject = Subject {
            vars: *vars,
            context: task.context,
            tasks: std::slice::from_ref(task),
            threads: &[],
        };
        match resolver.resolve_subject(heap, subject) {
            Ok(resolved) if resolved.session.is_some() => return Ok(Trial::Fits),
            Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
            _ => {}
        }
    }
    Ok(Trial::NotYet)
}

fn missing(heap: &Heap, object: Addr, step: Option<&Step>) -> Trial {
    let class = heap
        .type_name(object)
        .map_or_else(|_| "object".to_owned(), |class| class.to_string());
    let wanted = match step {
        Some(Step::Attribute(name) | Step::Key(name) | Step::KeyPrefix(name)) => name.as_str(),
        Some(Step::Index(_)) | None => "",
    };
    Trial::Missing {
        step: step.map_or_else(String::new, Step::to_string),
        class,
        near: names_in(heap, object, wanted),
    }
}

/// The attributes of an object, or the keys of a dictionary, as steps, nearest first.
fn names_in(heap: &Heap, object: Addr, wanted: &str) -> Vec<String> {
    let (names, is_dict) = match heap.builtin(object) {
        Ok(Some(Builtin::Dict)) => {
            let items = heap.dict_items(object).unwrap_or_default();
            let keys = items.into_iter().take(MOST_NAMES);
            let keys = keys.filter_map(|(key, _)| heap.str(key).ok());
            // They are values, and may be credentials themselves.
            (keys.filter(|key| !is_perhaps_one(key)).collect(), true)
        }
        Ok(None) => (heap.attribute_names(object, MOST_NAMES).unwrap_or_default(), false),
        _ => (Vec::new(), false),
    };
    let names = nearest(wanted, names.into_iter().filter(|name| !name.starts_with("__")));
    let step = |name| match is_dict {
        true => Step::Key(name).to_string(),
        false => Step::Attribute(name).to_string(),
    };
    names.into_iter().map(step).collect()
}

/// Names, nearest to the wanted one first: by how many letters would have to be typed otherwise, then by alphabet.
pub fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let fits = |name: &String| !name.is_empty() && name.chars().count() <= LONGEST_NAME;
    let mut ranked: Vec<(usize, String)> = names.filter(fits).map(|name| (distance(wanted, &name), name)).collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// Whether a name is near enough to be what was meant: a third of its letters may differ, two at least.
pub fn is_near(wanted: &str, name: &str) -> bool {
    let length = wanted.chars().count().max(name.chars().count());
    name.chars().count() <= LONGEST_NAME && distance(wanted, name) <= (length / 3).max(2)
}

/// Letters to insert, to leave out or to change (Levenshtein), case aside.
fn distance(a: &str, b: &str) -> usize {
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
    fn the_nearest_comes_first_and_the_endless_are_left_out() {
        let names = ["tenant", "session_id", "session", &"x".repeat(1000)].map(str::to_owned);
        assert_eq!(
            nearest("sesion", names.into_iter()),
            ["session", "session_id", "tenant"]
        );
    }

    #[test]
    fn the_longest_name_that_is_a_variable_is_meant() {
        let spec = Spec::parse("a.b.c[0]").expect("a spec");
        let settle = |names: &[&str]| settled(&spec, |name| names.contains(&name)).map(|spec| spec.to_string());
        assert_eq!(settle(&["a"]).as_deref(), Some("a.b.c[0]"));
        assert_eq!(settle(&["a", "a.b"]).as_deref(), Some("\"a.b\".c[0]"));
        assert_eq!(settle(&["a", "a.b.c"]).as_deref(), Some("\"a.b.c\"[0]"));
        assert_eq!(settle(&["b"]), None);
    }
}
