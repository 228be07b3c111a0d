//! From a context's variables to the session that they name, and the proof by which a later sample can check in one
//! read that this still holds. Knows nothing of threads and time.

use super::follow::{Found, filtered, follow, text};
use super::rules::Rules;
use super::spec::{Reading, Source, Spec};
use super::variables::Variable;
use crate::asyncio::{Local, Task, coroutine_local, given_name, is_of_context, root_name, waiting_chain};
use crate::cpython::{Heap, Links};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, Labels, SessionKey};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Contextvars that are known by address. A program that makes them by the thousand starts over.
const MOST_VARIABLES: usize = 50_000;
/// Sessions whose names are remembered; more than live at once, far fewer than ever were.
const MOST_LABELS: usize = 50_000;

/// What was found in the variables of a context.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// None: no rule gives a text.
    pub session: Option<SessionKey>,
    pub proof: Proof,
}

/// Everything that must still be as it was for the same answer to be right: the variables of the context (`vars`, which
/// never change: a `ContextVar.set` makes new ones), every link from there to the place that keeps the value, and the
/// text itself. All of it, because all addresses may come back with another content within a few milliseconds: a
/// consumer that sets a new id for every item frees the old one, and the trie around it, just before.
#[derive(Clone, Debug)]
pub struct Proof {
    pub vars: Addr,
    /// Where, and which bytes.
    parts: Links,
    holds: Holds,
}

/// How long an answer may be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    /// As long as what proves it is the same.
    #[default]
    Long,
    /// This once: something that was not at hand would decide.
    Once,
    /// Not at all: what decides moved on while it was looked at.
    Never,
}

/// What there is to find a session by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'t> {
    /// The variables of a context (`ctx_vars`, a HAMT).
    pub vars: Addr,
    /// The context itself, and tasks of which one may be its own. Asked for only where the rules need a task.
    pub context: Addr,
    pub tasks: &'t [Task],
    /// Thread states among which is the one that runs the task, if one does.
    pub threads: &'t [Addr],
}

/// The slots of a scatter in which a proof's bytes will be: the first, as many as the proof has parts.
#[derive(Clone, Copy, Debug)]
pub struct ProofSlots {
    first: usize,
}

impl Proof {
    /// Asks for the bytes that the proof needs, beside the context's own head.
    pub fn push(&self, scatter: &mut Scatter) -> ProofSlots {
        let first = scatter.len();
        for (at, bytes) in &self.parts {
            scatter.push(*at, bytes.len());
        }
        ProofSlots { first }
    }

    /// Whether the bytes that were read are still the same. `vars` is what the context's head holds now.
    pub fn holds(&self, vars: Addr, scatter: &Scatter, slots: ProofSlots) -> bool {
        self.holds == Holds::Long && self.holds_once(vars, scatter, slots)
    }

    /// The answer is for one look: at another, more may be at hand.
    pub fn is_for_once(&self) -> bool {
        self.holds != Holds::Long
    }

    /// As `holds`, for the look that follows at once: also for an answer that is for this once.
    pub fn holds_once(&self, vars: Addr, scatter: &Scatter, slots: ProofSlots) -> bool {
        let mut parts = self.parts.iter().enumerate();
        self.holds != Holds::Never
            && vars == self.vars
            && parts.all(|(i, (_, known))| scatter.bytes(slots.first + i) == Some(known.as_slice()))
    }
}

/// A spec, and what of it is worked out once.
struct Rule {
    spec: Spec,
    readings: Vec<Reading>,
}

impl Rule {
    fn of(specs: &[Spec]) -> Vec<Rule> {
        let rule = |spec: &Spec| Rule {
            spec: spec.clone(),
            readings: spec.readings(),
        };
        specs.iter().map(rule).collect()
    }
}

/// Finds sessions by rules. Each reading thread has its own.
pub struct Resolver {
    session: Arc<[Rule]>,
    rivals: Vec<Arc<[Rule]>>,
    agent: Arc<[Rule]>,
    tenant: Arc<[Rule]>,
    /// Variables that some rule begins with, by name.
    wanted: HashMap<String, Vec<Variable>>,
    /// Addresses of variables that were looked at.
    seen: HashSet<Addr>,
    /// Rules of the same right gave different texts.
    disagreed: bool,
    labels: HashMap<SessionKey, Arc<Labels>>,
    new_labels: Vec<SessionKey>,
}

impl Resolver {
    pub fn new(rules: Rules) -> Resolver {
        let all = [&rules.session, &rules.agent, &rules.tenant];
        let [session, agent, tenant] = all.map(|specs| Rule::of(specs).into());
        let rivals: Vec<Arc<[Rule]>> = rules.rivals.iter().map(|specs| Rule::of(specs).into()).collect();
        let readings = [&session, &agent, &tenant].into_iter().chain(&rivals);
        let readings = readings.flat_map(|rules: &Arc<[Rule]>| rules.iter());
        let names = readings.flat_map(|rule| rule.readings.iter().map(|reading| reading.variable.clone()));
        Resolver {
            wanted: names.map(|name| (name, Vec::new())).collect(),
            session,
            rivals,
            agent,
            tenant,
            seen: HashSet::new(),
            disagreed: false,
            labels: HashMap::new(),
            new_labels: Vec::new(),
        }
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        let keys = std::mem::take(&mut self.new_labels);
        keys.into_iter()
            .filter_map(|key| Some((key, Arc::clone(self.labels.get(&key)?))))
            .collect()
    }

    /// The names of a session that was met.
    pub fn labels(&self, key: SessionKey) -> Option<Arc<Labels>> {
        self.labels.get(&key).map(Arc::clone)
    }

    /// A variable that a session rule begins with was met; what begins with a task always is.
    pub fn knows_session_variable(&self) -> bool {
        let met = |reading: &Reading| {
            self.wanted
                .get(&reading.variable)
                .is_some_and(|known| !known.is_empty())
        };
        let mut rules = std::iter::once(&self.session)
            .chain(&self.rivals)
            .flat_map(|rules| rules.iter());
        rules.any(|rule| rule.spec.needs_task() || rule.readings.iter().any(met))
    }

    /// Rules of the same right gave different texts for one and the same context.
    pub fn has_disagreed(&self) -> bool {
        self.disagreed
    }

    /// Whose a context is, its variables alone do not tell: the resolver wants to know its task.
    pub fn needs_task(&self) -> bool {
        let mut rules = std::iter::once(&self.session)
            .chain(&self.rivals)
            .flat_map(|rules| rules.iter());
        rules.any(|rule| rule.spec.needs_task())
    }

    /// Forgets all addresses, so that memory which was freed and used again is looked at anew. To be called now and then.
    pub fn forget_addresses(&mut self) {
        self.seen.clear();
        self.wanted.values_mut().for_each(Vec::clear);
        if self.labels.len() > MOST_LABELS {
            self.labels.clear();
        }
    }

    /// Keeps the names of these sessions only.
    pub fn keep_labels(&mut self, keep: impl Fn(SessionKey) -> bool) {
        self.labels.retain(|&key, _| keep(key));
    }

    /// What the variables (`ctx_vars`, a HAMT) name.
    pub fn resolve(&mut self, heap: &Heap, vars: Addr) -> Result<Resolved, Fault> {
        self.resolve_subject(
            heap,
            Subject {
                vars,
                context: Addr::NULL,
                tasks: &[],
                threads: &[],
            },
        )
    }

    /// What the context's variables name, or its task.
    pub fn resolve_subject(&mut self, heap: &Heap, subject: Subject<'_>) -> Result<Resolved, Fault> {
        let vars = subject.vars;
        // Before the first look, not after it: a rule whose variable is not known yet may come before one that fits.
        if self.wanted.values().any(Vec::is_empty) {
            self.learn(heap, vars)?;
        }
        let mut search = Search::default();
        let Some(found) = self.session_id(heap, subject, &mut search)? else {
            return Ok(Resolved {
                session: None,
                proof: search.proof(heap, vars)?,
            });
        };
        let key = SessionKey::of(&found);
        self.name(heap, subject, key, found)?;
        Ok(Resolved {
            session: Some(key),
            proof: search.proof(heap, vars)?,
        })
    }

    /// The value of a variable that some rule begins with.
    pub fn value_of(&self, heap: &Heap, vars: Addr, variable: &str) -> Result<Option<Addr>, Fault> {
        for known in self.wanted.get(variable).into_iter().flatten() {
            if let Some(binding) = heap.binding(vars, known.address, known.hash)? {
                return Ok(Some(binding.value));
            }
        }
        Ok(None)
    }

    /// The session's id. Where rules of the same right differ: all that they say, behind a `?`.
    fn session_id(&mut self, heap: &Heap, subject: Subject<'_>, search: &mut Search) -> Result<Option<String>, Fault> {
        let mut found: Vec<String> = Vec::new();
        for rules in std::iter::once(&self.session).chain(&self.rivals) {
            if let Some(text) = self.first(heap, subject, rules, search)?
                && !found.contains(&text)
            {
                found.push(text);
            }
        }
        Ok(match found.len() {
            0 | 1 => found.pop(),
            _ => {
                self.disagreed = true;
                Some(format!("? {}", found.join(" | ")))
            }
        })
    }

    /// The text of the first rule that gives one.
    fn first(
        &self,
        heap: &Heap,
        subject: Subject<'_>,
        rules: &[Rule],
        search: &mut Search,
    ) -> Result<Option<String>, Fault> {
        for rule in rules {
            let found = match &rule.spec.source {
                Source::Variable(_) | Source::Quoted(_) => self.by_variable(heap, subject.vars, rule, search)?,
                Source::TaskName | Source::RootTask | Source::Local { .. } => {
                    by_task(heap, subject, &rule.spec, search)?
                }
            };
            if let Found::Text(text) = found {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn by_variable(&self, heap: &Heap, vars: Addr, rule: &Rule, search: &mut Search) -> Result<Found, Fault> {
        // The longest name that is a variable is the one that is meant, whether it is set here or not.
        let known = rule.readings.iter().find_map(|reading| {
            let known = self.wanted.get(&reading.variable)?;
            (!known.is_empty()).then_some((reading, known))
        });
        let Some((reading, known)) = known else {
            search.is_unset = true;
            return Ok(Found::Nothing);
        };
        let mut found = Found::Nothing;
        for variable in known {
            let mut links = Links::new();
            match heap.binding_by(vars, variable.address, variable.hash, &mut links)? {
                None => search.is_unset = true,
                Some(binding) => {
                    search.links.append(&mut links);
                    found = follow(
                        heap,
                        binding.value,
                        &reading.steps,
                        &rule.spec.filters,
                        &mut search.links,
                    )?;
                    if matches!(found, Found::Text(_)) {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Looks at all variables that are set here. True: one of those that are wanted was met for the first time.
    fn learn(&mut self, heap: &Heap, vars: Addr) -> Result<bool, Fault> {
        let mut new = false;
        for binding in heap.bindings(vars)? {
            if self.seen.contains(&binding.variable) {
                continue;
            }
            let (name, hash) = heap.context_variable(binding.variable)?;
            if self.seen.len() >= MOST_VARIABLES {
                self.forget_addresses();
            }
            self.seen.insert(binding.variable);
            if let Some(known) = self.wanted.get_mut(&name) {
                known.push(Variable {
                    address: binding.variable,
                    name,
                    hash,
                });
                new = true;
            }
        }
        Ok(new)
    }

    fn name(&mut self, heap: &Heap, subject: Subject<'_>, key: SessionKey, session_id: String) -> Result<(), Fault> {
        let complete = |labels: &Labels| labels.agent.is_some() && labels.tenant.is_some();
        if self.labels.get(&key).is_some_and(|labels| complete(labels)) {
            return Ok(());
        }
        let label = |rules| self.first(heap, subject, rules, &mut Search::default());
        let (agent, tenant) = (label(&self.agent)?, label(&self.tenant)?);
        let known = self.labels.get(&key);
        // A task that carries fewer names than another of the same session does not take them away.
        let agent = agent.or_else(|| known.and_then(|k| k.agent.clone()));
        let tenant = tenant.or_else(|| known.and_then(|k| k.tenant.clone()));
        let labels = Labels {
            session_id,
            agent,
            tenant,
        };
        if known.is_none_or(|known| **known != labels) {
            self.labels.insert(key, Arc::new(labels));
            self.new_labels.push(key);
        }
        Ok(())
    }
}

/// What a search through the rules has come by.
#[derive(Default)]
struct Search {
    links: Links,
    /// A variable was not set here.
    is_unset: bool,
    /// A task would decide that was not at hand, or moved on.
    holds: Holds,
}

impl Search {
    /// The proof of what was found, and of what was not found before it.
    fn proof(self, heap: &Heap, vars: Addr) -> Result<Proof, Fault> {
        let mut parts = Links::new();
        // That a variable is not set, the whole trie shows.
        if self.is_unset || self.links.is_empty() {
            for (at, length) in heap.hamt_extent(vars)? {
                parts.push((at, heap.bytes(at, length)?));
            }
        }
        parts.extend(self.links);
        Ok(Proof {
            vars,
            parts,
            holds: self.holds,
        })
    }
}

fn by_task(heap: &Heap, subject: Subject<'_>, spec: &Spec, search: &mut Search) -> Result<Found, Fault> {
    for task in subject.tasks {
        let mut links = Links::new();
        if !is_of_context(heap, task, subject.context, &mut links)? {
            continue;
        }
        search.links.append(&mut links);
        let chain = waiting_chain(heap, task, &mut search.links)?;
        if spec.source == Source::RootTask {
            let root = chain.last().unwrap_or(task);
            let name = root_name(heap, root, &mut search.links)?;
            return Ok(name.map_or(Found::Nothing, |name| filtered(name, &spec.filters)));
        }
        for task in &chain {
            let found = of_task(heap, task, subject.threads, spec, search)?;
            if matches!(found, Found::Text(_)) {
                return Ok(found);
            }
        }
        return Ok(Found::Nothing);
    }
    search.holds = search.holds.max(Holds::Once);
    Ok(Found::Nothing)
}

/// What one task of a chain gives.
fn of_task(heap: &Heap, task: &Task, threads: &[Addr], spec: &Spec, search: &mut Search) -> Result<Found, Fault> {
    let links = &mut search.links;
    match &spec.source {
        Source::Local { coroutine, local } => {
            let holds = match coroutine_local(heap, task, (coroutine, local), threads, links)? {
                Local::Value(value) => return follow(heap, value, &spec.steps, &spec.filters, links),
                Local::Absent => Holds::Long,
                Local::AbsentNow => Holds::Once,
                Local::Torn => Holds::Never,
            };
            search.holds = search.holds.max(holds);
            Ok(Found::Nothing)
        }
        _ => match given_name(heap, task, links)? {
            Some(name) => text(heap, name, &spec.filters, links),
            None => Ok(Found::Nothing),
        },
    }
}
