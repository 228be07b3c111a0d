//! What the rules that hold without a flag give in live tasks: how often each of their specs names a session, and whether
//! they disagree. Knows nothing of which rules there are, nor of how it is shown.

use super::follow::{Found, follow};
use super::places::{Place, hash_of};
use super::resolver::{Resolver, Subject};
use super::rules::Rules;
use super::search::{Search, by_task};
use super::spec::{Reading, Spec};
use crate::asyncio::Task;
use crate::cpython::{Heap, Links};
use crate::memory::{AddrMap, AddrSet, Fault};
use crate::model::{Addr, TASKS};
use std::collections::{HashMap, HashSet};

/// Objects that one spec is followed from, and tasks that one is asked of which begins with a task.
const MOST_FOLLOWED: usize = 2_000;
/// Tasks that are asked whether the rules agree.
const MOST_ASKED: usize = 20_000;

/// The specs of the rules, each with what it gave.
pub(super) struct AtWork {
    specs: Vec<OfSpec>,
    /// Variables that some of them begins with.
    wanted: HashSet<String>,
}

struct OfSpec {
    spec: Spec,
    readings: Vec<Reading>,
    place: Place,
    /// What came of the objects that it was followed from.
    known: AddrMap<Option<String>>,
    asked: usize,
}

impl AtWork {
    /// Where tasks stand for sessions, nobody has said whose they are: there is nothing to offer.
    pub fn of(rules: &Rules) -> AtWork {
        let others = rules.others.iter().flat_map(|(_, lists)| lists);
        let lists = std::iter::once(&rules.session).chain(&rules.rivals).chain(others);
        let mut met = HashSet::new();
        let specs = lists.flatten().filter(|_| rules.name != TASKS);
        let specs: Vec<OfSpec> = specs
            .filter(|spec| met.insert(spec.to_string()))
            .map(|spec| OfSpec {
                spec: spec.clone(),
                readings: spec.readings(),
                place: Place::default(),
                known: AddrMap::default(),
                asked: 0,
            })
            .collect();
        let readings = specs.iter().flat_map(|one| &one.readings);
        let wanted = readings.map(|reading| reading.variable.clone()).collect();
        AtWork { specs, wanted }
    }

    pub fn wants(&self, variable: &str) -> bool {
        self.wanted.contains(variable)
    }

    /// Another task, with the variables of its context that are wanted.
    pub fn look(&mut self, heap: &Heap, subject: Subject<'_>, here: &HashMap<String, Addr>) -> Result<(), Fault> {
        for one in &mut self.specs {
            let found = match one.spec.needs_task() {
                true => one.of_task(heap, subject),
                false => one.of_variables(heap, here),
            };
            match found {
                Ok(Some(text)) => {
                    let name = one.spec.last_name().to_owned();
                    one.place.add(&name, "", hash_of(&text), Some(&text));
                }
                Ok(None) => {}
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                // It moved on; others will show the same.
                Err(_) => {}
            }
        }
        Ok(())
    }

    pub fn all(self) -> impl Iterator<Item = (Spec, Place)> {
        self.specs.into_iter().map(|one| (one.spec, one.place))
    }
}

impl OfSpec {
    fn has_room(&mut self) -> bool {
        self.asked += 1;
        let has_room = self.asked <= MOST_FOLLOWED;
        if !has_room {
            self.place.note_more();
        }
        has_room
    }

    fn of_task(&mut self, heap: &Heap, subject: Subject<'_>) -> Result<Option<String>, Fault> {
        if !self.has_room() {
            return Ok(None);
        }
        Ok(text_of(by_task(heap, subject, &self.spec, &mut Search::default())?))
    }

    fn of_variables(&mut self, heap: &Heap, here: &HashMap<String, Addr>) -> Result<Option<String>, Fault> {
        let set = |reading: &Reading| here.get(&reading.variable).copied();
        let Some((place, value)) = self
            .readings
            .iter()
            .enumerate()
            .find_map(|(place, reading)| Some((place, set(reading)?)))
        else {
            return Ok(None);
        };
        if let Some(known) = self.known.get(&value) {
            return Ok(known.clone());
        }
        if !self.has_room() {
            return Ok(None);
        }
        let Some(Reading { steps, .. }) = self.readings.get(place) else {
            return Ok(None);
        };
        let text = text_of(follow(heap, value, steps, &self.spec.filters, &mut Links::new())?);
        self.known.insert(value, text.clone());
        Ok(text)
    }
}

fn text_of(found: Found) -> Option<String> {
    match found {
        Found::Text(text) => Some(text),
        _ => None,
    }
}

/// Whether rules of the same right give different ids for one live context. What cannot be read says nothing.
pub fn disagree(heap: &Heap, resolver: &mut Resolver, tasks: &[Task], threads: &[Addr]) -> bool {
    let mut met = AddrSet::default();
    for task in tasks.iter().take(MOST_ASKED) {
        let vars = match heap.context(task.context) {
            Ok(context) => context.vars,
            Err(Fault::Gone | Fault::Budget) => break,
            Err(_) => continue,
        };
        // Tasks of one session share their variables.
        if !met.insert(vars) && !resolver.needs_task() {
            continue;
        }
        let subject = Subject {
            vars,
            context: task.context,
            tasks: std::slice::from_ref(task),
            threads,
        };
        if let Err(Fault::Gone | Fault::Budget) = resolver.resolve_subject(heap, subject) {
            break;
        }
        if resolver.has_disagreed() {
            return true;
        }
    }
    false
}
