//! Tries a spec on the live tasks, to say what is wrong with it before anybody waits for rows: which variables its name
//! may mean, where its path ends, and which names are near. Knows nothing of options and exit codes.

use super::follow::{Found, follow, hop};
use super::hints::{Candidate, children, is_near, nearest, that_give_an_id};
use super::resolver::{Resolver, Subject};
use super::rules::Rules;
use super::spec::{Reading, Source, Spec, Step};
use super::variables::Variable;
use crate::asyncio::{Locals, Task, coroutines, locals_of, names_of};
use crate::cpython::{Builtin, Heap, LARGER_DICT, Links, MOST_SEARCHED};
use crate::memory::Fault;
use crate::model::Addr;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

/// Contexts in which a spec that fits is tried all the same, to say where it does not.
const MOST_HELD_AGAINST: usize = 500;

/// Local variables of one task's coroutines of one name that are looked at for a hint.
const MOST_LOCALS: usize = 4096;

/// How far a spec came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It gives a text in some live context.
    Fits,
    /// It gives none now, and might later: what it begins with is not set, or is None.
    NotYet,
    /// No live task is in a coroutine of that name. One may come; these have nearly that name.
    NotMet { near: Vec<String> },
    /// No object has what this step asks for, or it has too much to be searched for it.
    Missing {
        /// The step, as it is written, and why it is not looked for.
        step: String,
        /// The type of an object that was asked.
        class: String,
        /// What the object has, nearest first; if anything gives an id, that only.
        near: Vec<String>,
        /// What gives an id in its place.
        meant: Option<Spec>,
    },
    /// It ends in what is no id.
    NoText {
        class: String,
        near: Vec<String>,
        meant: Option<Spec>,
    },
    /// The coroutine has no such local variable.
    NoLocal {
        coroutine: String,
        local: String,
        near: Vec<String>,
        meant: Option<Spec>,
    },
}

impl Trial {
    /// This one, if it says more.
    fn take_better(&mut self, other: Trial) {
        let says = |trial: &Trial| match trial {
            Trial::Missing { meant, .. } | Trial::NoText { meant, .. } | Trial::NoLocal { meant, .. } => {
                1 + u8::from(meant.is_some())
            }
            Trial::Fits | Trial::NotYet | Trial::NotMet { .. } => 0,
        };
        if says(&other) > says(self) {
            *self = other;
        }
    }
}

/// What there is to try a spec on.
#[derive(Clone, Debug, Default)]
pub struct Live<'t> {
    /// Every set of variables once, with one of the tasks that carry it.
    pub contexts: Vec<(Addr, Task)>,
    pub tasks: &'t [Task],
    /// Thread states among which are those that run tasks.
    pub threads: &'t [Addr],
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
pub fn attempt(heap: &Heap, spec: &Spec, live: &Live<'_>) -> Result<Trial, Fault> {
    if spec.needs_task() {
        return attempt_by_task(heap, spec, live);
    }
    let mut trial = Trial::NotYet;
    each_value(heap, spec, &live.contexts, |value, steps| {
        match try_value(heap, spec, value, steps)? {
            Trial::Fits => trial = Trial::Fits,
            other => trial.take_better(other),
        }
        Ok(match trial {
            Trial::Fits => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    })?;
    Ok(trial)
}

/// Calls `look` with each value that the spec's variable has in these contexts, and the steps from there, until it is
/// enough.
fn each_value(
    heap: &Heap,
    spec: &Spec,
    contexts: &[(Addr, Task)],
    mut look: impl FnMut(Addr, &[Step]) -> Result<ControlFlow<()>, Fault>,
) -> Result<(), Fault> {
    let readings = spec.readings();
    let Some(Reading { variable, steps }) = readings.first() else {
        return Ok(());
    };
    let mut names: HashMap<Addr, Option<Variable>> = HashMap::new();
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
            if look(binding.value, steps)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Contexts in which a spec that fits elsewhere leads to what is no id: nobody's tasks are those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfits {
    pub contexts: usize,
    /// Of so many that were looked at in which its variable is set.
    pub of: usize,
    /// The types of what it is there.
    pub classes: BTreeSet<String>,
}

/// Where a settled spec leads to an object that is no id. A spec that begins with a task is not asked.
pub fn misfits(heap: &Heap, spec: &Spec, live: &Live<'_>) -> Result<Misfits, Fault> {
    let mut found = Misfits::default();
    if spec.needs_task() {
        return Ok(found);
    }
    let contexts = live.contexts.get(..MOST_HELD_AGAINST).unwrap_or(&live.contexts);
    each_value(heap, spec, contexts, |value, steps| {
        found.of += 1;
        match follow(heap, value, steps, &spec.filters, &mut Links::new()) {
            Ok(Found::Other { object, class }) => {
                found.contexts += 1;
                found.classes.insert(kind_of(heap, object, &class));
            }
            Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// The type of what is no id; of an int, why it is none.
fn kind_of(heap: &Heap, object: Addr, class: &str) -> String {
    match heap.builtin(object) {
        Ok(Some(Builtin::Int)) if class != "bool" => format!("{class} of more than 128 bits"),
        _ => class.to_owned(),
    }
}

fn attempt_by_task(heap: &Heap, spec: &Spec, live: &Live<'_>) -> Result<Trial, Fault> {
    if let Source::Local { coroutine, local } = &spec.source {
        return attempt_local(heap, spec, (coroutine, local), live);
    }
    let mut resolver = Resolver::new(Rules::of_specs(vec![spec.clone()]));
    for (vars, task) in &live.contexts {
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

/// Looks for the coroutine in each task itself: one that waits for it is a live task too.
fn attempt_local(heap: &Heap, spec: &Spec, (wanted, local): (&str, &str), live: &Live<'_>) -> Result<Trial, Fault> {
    let mut names: HashSet<String> = HashSet::new();
    let mut met = false;
    let mut trial = Trial::NotYet;
    for task in live.tasks {
        let inside = match coroutines(heap, task, live.threads) {
            Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
            // It moved on under the look; others will show the same.
            inside => inside.unwrap_or_default(),
        };
        // Those of all coroutines of that name: of a local that several have, the outermost's is the one that is meant.
        let mut locals = None;
        let mut known: HashSet<String> = HashSet::new();
        for coroutine in inside {
            let Ok(found) = names_of(heap, coroutine) else {
                continue;
            };
            let is_wanted = found.iter().any(|name| name == wanted);
            names.extend(found);
            if !is_wanted {
                continue;
            }
            met = true;
            let found = match locals_of(heap, coroutine) {
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                Ok(Some(found)) => found,
                // It has ended, or moved on under the look.
                Ok(None) | Err(_) => break,
            };
            let locals = locals.get_or_insert_with(Locals::new);
            locals.extend(found.into_iter().filter(|(name, _)| known.insert(name.clone())));
            if known.contains(local) || known.len() > MOST_LOCALS {
                break;
            }
        }
        let Some(locals) = locals else { continue };
        match try_local(heap, spec, (wanted, local), locals)? {
            Trial::Fits => return Ok(Trial::Fits),
            Trial::NotYet => {}
            other => trial.take_better(other),
        }
    }
    match met {
        true => Ok(trial),
        false => {
            let near = nearest(wanted, names.into_iter().filter(|name| is_near(wanted, name)));
            Ok(Trial::NotMet { near })
        }
    }
}

fn try_local(heap: &Heap, spec: &Spec, (coroutine, local): (&str, &str), locals: Locals) -> Result<Trial, Fault> {
    let is_known = locals.iter().any(|(name, _)| name == local);
    let value = locals.iter().find(|(name, value)| name == local && value.is_some());
    if let Some((_, Some(value))) = value {
        return try_value(heap, spec, *value, &spec.steps);
    }
    // Not assigned yet.
    if is_known {
        return Ok(Trial::NotYet);
    }
    let set = locals.into_iter().filter_map(|(name, value)| {
        Some(Candidate {
            what: name.clone(),
            name,
            value: value?,
        })
    });
    let set: Vec<Candidate<String>> = set.collect();
    let all = nearest(local, set.iter().map(|candidate| candidate.name.clone()));
    let found = that_give_an_id(heap, local, set, &spec.steps, &spec.filters);
    let of = |(name, steps): &(String, Vec<Step>)| Spec {
        source: Source::Local {
            coroutine: coroutine.to_owned(),
            local: name.clone(),
        },
        steps: steps.clone(),
        filters: spec.filters.clone(),
    };
    Ok(Trial::NoLocal {
        coroutine: coroutine.to_owned(),
        local: local.to_owned(),
        meant: found.first().map(of),
        near: match found.is_empty() {
            true => all,
            false => found
                .iter()
                .map(|(name, steps)| name.clone() + &written(steps))
                .collect(),
        },
    })
}

/// Follows the steps from a value.
fn try_value(heap: &Heap, spec: &Spec, value: Addr, steps: &[Step]) -> Result<Trial, Fault> {
    Ok(match follow(heap, value, steps, &spec.filters, &mut Links::new()) {
        Ok(Found::Text(_)) => Trial::Fits,
        Ok(Found::Missing { object, step }) => {
            let (near, meant) = instead(heap, spec, object, step);
            Trial::Missing {
                step: steps.get(step).map_or_else(String::new, Step::to_string),
                class: class_of(heap, object),
                near,
                meant,
            }
        }
        Ok(Found::Other { object, class }) => {
            let (near, meant) = instead(heap, spec, object, steps.len());
            Trial::NoText {
                class: kind_of(heap, object, &class),
                near,
                meant,
            }
        }
        Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
        // It may shrink, but who waits for that would wait in silence.
        Err(LARGER_DICT) => too_large(heap, value, steps)?,
        Ok(Found::Nothing) | Err(_) => Trial::NotYet,
    })
}

/// At which step of a path stands the dictionary that is not searched.
fn too_large(heap: &Heap, value: Addr, steps: &[Step]) -> Result<Trial, Fault> {
    let mut object = value;
    for step in steps {
        match hop(heap, object, step, &mut Links::new()) {
            Ok(Some(next)) => object = next,
            Err(LARGER_DICT) => {
                return Ok(Trial::Missing {
                    step: format!(
                        "{step} that can be looked up: with more than {MOST_SEARCHED} entries it is not searched"
                    ),
                    class: class_of(heap, object),
                    near: Vec::new(),
                    meant: None,
                });
            }
            Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
            Ok(None) | Err(_) => break,
        }
    }
    // It changed meanwhile.
    Ok(Trial::NotYet)
}

fn class_of(heap: &Heap, object: Addr) -> String {
    let class = heap.type_name(object);
    class.map_or_else(|_| "object".to_owned(), |class| class.to_string())
}

/// What the object has instead of what the step at `place` asks for, and the spec that leads to an id there.
fn instead(heap: &Heap, spec: &Spec, object: Addr, place: usize) -> (Vec<String>, Option<Spec>) {
    let (before, behind) = spec.steps.split_at_checked(place).unwrap_or((&spec.steps, &[]));
    let wanted = match behind.first() {
        Some(Step::Attribute(name) | Step::Key(name) | Step::KeyPrefix(name)) => name.as_str(),
        // Another item is no more likely than any other.
        Some(Step::Index(_)) if matches!(heap.builtin(object), Ok(Some(Builtin::Tuple | Builtin::List))) => {
            return (Vec::new(), None);
        }
        Some(Step::Index(_) | Step::With(_)) | None => "",
    };
    let children = children(heap, object);
    let all: Vec<(String, Step)> = children
        .iter()
        .map(|child| (child.name.clone(), child.what.clone()))
        .collect();
    let found = that_give_an_id(
        heap,
        wanted,
        children,
        behind.get(1..).unwrap_or_default(),
        &spec.filters,
    );
    let paths: Vec<Vec<Step>> = found
        .into_iter()
        .map(|(step, steps)| std::iter::once(step).chain(steps).collect())
        .collect();
    let meant = paths.first().map(|path| Spec {
        steps: before.iter().chain(path).cloned().collect(),
        ..spec.clone()
    });
    let near = match paths.is_empty() {
        // None of it is an id: what there is may help all the same.
        true => {
            let names = nearest(wanted, all.iter().map(|(name, _)| name.clone())).into_iter();
            names
                .filter_map(|name| all.iter().find(|(known, _)| *known == name))
                .map(|(_, step)| step.to_string())
                .collect()
        }
        false => paths.iter().map(|path| written(path)).collect(),
    };
    (near, meant)
}

fn written(steps: &[Step]) -> String {
    steps.iter().map(Step::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::{Offsets, Version};
    use crate::memory::Image;

    const TYPE: u64 = 0x10_0000;
    const DICT: u64 = 0x20_0000;

    #[test]
    fn an_int_that_is_no_id_is_told_to_be_too_wide() {
        let offsets = Offsets::of_minor(12).expect("offsets of 3.12");
        let mut image = Image::new();
        image.put(Addr(TYPE), &[0; 0x1000]);
        image.put(Addr(TYPE + 0x800), b"int");
        image.put(Addr(TYPE).offset(offsets.type_name), &(TYPE + 0x800).to_le_bytes());
        image.put(Addr(TYPE).offset(offsets.type_flags), &(1u64 << 24).to_le_bytes());
        image.put(Addr(DICT), &[0xff; 128]);
        image.put(Addr(DICT + 8), &TYPE.to_le_bytes());
        // So many digits of 30 bits.
        image.put(Addr(DICT).offset(offsets.int_tag), &(7u64 << 3).to_le_bytes());
        let heap = Heap::new(Box::new(image), offsets, Version::parse("3.12.1").expect("a version"));
        heap.grant(1 << 20);
        let trial = try_value(&heap, &Spec::variable("x"), Addr(DICT), &[]).expect("a trial");
        let Trial::NoText { class, .. } = trial else {
            panic!("{trial:?}")
        };
        assert_eq!(class, "int of more than 128 bits");
    }

    /// What comes of a step into a dictionary of so many entries, of which nothing more can be read.
    fn into_dict(entries: u64, spec: &str) -> Trial {
        let offsets = Offsets::of_minor(12).expect("offsets of 3.12");
        let mut image = Image::new();
        image.put(Addr(TYPE), &[0; 0x1000]);
        image.put(Addr(TYPE + 0x800), b"dict");
        image.put(Addr(TYPE).offset(offsets.type_name), &(TYPE + 0x800).to_le_bytes());
        image.put(Addr(TYPE).offset(offsets.type_flags), &(1u64 << 29).to_le_bytes());
        image.put(Addr(DICT), &[0; 64]);
        image.put(Addr(DICT + 8), &TYPE.to_le_bytes());
        image.put(Addr(DICT).offset(offsets.dict_used), &entries.to_le_bytes());
        let heap = Heap::new(Box::new(image), offsets, Version::parse("3.12.1").expect("a version"));
        heap.grant(1 << 20);
        let spec = Spec::parse(spec).expect("a spec");
        try_value(&heap, &spec, Addr(DICT), &spec.steps).expect("a trial")
    }

    #[test]
    fn a_dictionary_that_is_not_searched_is_no_reason_to_wait() {
        for spec in [r#"x["the_id"].y"#, r#"x["the"*]"#, "x[7]"] {
            let trial = into_dict(MOST_SEARCHED + 1, spec);
            let Trial::Missing { step, class, meant, .. } = &trial else {
                panic!("{spec}: {trial:?}");
            };
            assert!(
                step.starts_with('[') && step.contains("more than 4096 entries"),
                "{step}"
            );
            assert_eq!((class.as_str(), meant), ("dict", &None), "{spec}");
            assert_eq!(into_dict(MOST_SEARCHED, spec), Trial::NotYet, "{spec}");
        }
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
