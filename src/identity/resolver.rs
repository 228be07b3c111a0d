//! From a context's variables to the session that they name, and the proof by which a later sample can check in one
//! read that this still holds. Knows nothing of threads and time.

use super::aliases::{Aliases, Belongs, Ranked};
use super::credentials::{shown, untold};
use super::follow::{Found, follow};
use super::label_book::LabelBook;
use super::levels::{Level, Rivals, Rule, rivals};
use super::names::{Names, in_question, one};
use super::proof::{Holds, Proof};
use super::rules::Rules;
use super::search::{Search, by_task};
use super::spec::{Reading, Source};
use super::variables::Variable;
use crate::asyncio::Task;
use crate::cpython::{Heap, Links};
use crate::memory::Fault;
use crate::model::{Addr, Labels, SessionKey};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Contextvars that are known by address. A program that makes them by the thousand starts over.
const MOST_VARIABLES: usize = 50_000;

/// Variables of one name that are looked for in a context one by one. Of more, as a program has that makes one an object,
/// those that are set there are found by a walk over all that are.
const FEW_OF_A_NAME: usize = 4;

/// What was found in the variables of a context.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// None: no rule gives a text, or one that says nothing of any single session. As it was when it was looked up:
    /// where that is remembered, `session_of` says what it is by now.
    pub session: Option<SessionKey>,
    /// The id that was found there.
    pub(super) found: Option<Ranked>,
    pub proof: Proof,
}

impl Resolved {
    /// The id that was found there, whoever it belongs to.
    pub fn found(&self) -> Option<Ranked> {
        self.found
    }
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

/// A text that a rule gave.
struct Said {
    /// What tells one from another.
    text: String,
    /// What may be shown of it.
    shown: String,
}

/// One text of all that rules of the same right gave; None: none gave any.
fn one_of(texts: Vec<&String>) -> Option<String> {
    match texts.as_slice() {
        [] => None,
        [text] => Some((*text).clone()),
        texts => Some(in_question(texts.iter().copied())),
    }
}

/// The variables of this name that are set there.
fn set_here(heap: &Heap, vars: Addr, wanted: &str) -> Result<Vec<Variable>, Fault> {
    let mut set = Vec::new();
    for binding in heap.bindings(vars)? {
        let (name, hash) = heap.context_variable(binding.variable)?;
        if name == wanted {
            let address = binding.variable;
            set.push(Variable { address, name, hash });
        }
    }
    Ok(set)
}

/// Finds sessions by rules. Each reading thread has its own.
pub struct Resolver {
    /// The best first; the next is asked where it gives nothing.
    session: Arc<[Level]>,
    agent: Vec<Rivals>,
    tenant: Vec<Rivals>,
    /// Variables that some rule begins with, by name.
    wanted: HashMap<String, Vec<Variable>>,
    /// Addresses of variables that were looked at.
    seen: HashSet<Addr>,
    /// A context was given a session.
    has_named: bool,
    /// Rules of the same right, or variables of one name, gave different texts.
    disagreed: bool,
    labels: LabelBook,
    aliases: Aliases,
    /// What stands beside an id is looked for, and learned.
    learns_aliases: bool,
}

impl Resolver {
    pub fn new(rules: Rules) -> Resolver {
        Resolver::sharing(rules, Aliases::default())
    }

    /// One that goes by what others learn of aliases.
    pub fn sharing(rules: Rules, aliases: Aliases) -> Resolver {
        let best = Level {
            rank: rules.rank,
            rivals: rivals(std::iter::once(&rules.session).chain(&rules.rivals)),
        };
        let others = rules.others.iter().map(|(rank, lists)| Level {
            rank: *rank,
            rivals: rivals(lists),
        });
        let session: Arc<[Level]> = std::iter::once(best).chain(others).collect();
        let [agent, tenant] = [&rules.agent, &rules.tenant].map(|ranks| ranks.iter().map(rivals).collect::<Vec<_>>());
        let sessions = session.iter().map(|level| &level.rivals);
        let all = sessions.chain(&agent).chain(&tenant);
        let readings = all.flat_map(|rivals| rivals.iter().flatten());
        let names = readings.flat_map(|rule| rule.readings.iter().map(|reading| reading.variable.clone()));
        let wanted = names.map(|name| (name, Vec::new())).collect();
        Resolver {
            wanted,
            session,
            agent,
            tenant,
            seen: HashSet::new(),
            has_named: false,
            disagreed: false,
            labels: LabelBook::default(),
            aliases,
            learns_aliases: false,
        }
    }

    /// The same, which learns aliases for all who share them.
    pub fn learning_aliases(mut self) -> Resolver {
        self.learns_aliases = true;
        self
    }

    /// After a look at all contexts anew, which met these ids.
    pub fn keep_aliases(&mut self, met: &HashSet<Ranked>) {
        self.aliases.keep(met);
    }

    /// Whose it is by now: that an id is another session's may have been learned since it was looked up.
    pub fn session_of(&mut self, resolved: &Resolved) -> Option<SessionKey> {
        self.session_of_id(resolved.found?)
    }

    fn session_of_id(&mut self, id: Ranked) -> Option<SessionKey> {
        if self.session.first().is_some_and(|best| best.rank == id.rank) {
            return Some(id.key);
        }
        self.aliases.refresh();
        match self.aliases.belongs(id) {
            Belongs::Itself => Some(id.key),
            Belongs::Nobody => None,
            Belongs::To(key, session_id) => {
                // Whoever learned it met that session; here it may have no name yet.
                self.labels.meet(key, &session_id);
                Some(key)
            }
        }
    }

    /// All rules that name sessions.
    fn session_rules(&self) -> impl Iterator<Item = &Rule> {
        self.session.iter().flat_map(|level| level.rivals.iter().flatten())
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.labels.take_new()
    }

    /// The names of a session that was met.
    pub fn labels(&self, key: SessionKey) -> Option<Arc<Labels>> {
        self.labels.get(key).map(Arc::clone)
    }

    /// A variable that a session rule begins with was met, or a task that one of them gives a session.
    pub fn knows_session_variable(&self) -> bool {
        let met = |reading: &Reading| {
            self.wanted
                .get(&reading.variable)
                .is_some_and(|known| !known.is_empty())
        };
        let mut rules = self.session_rules();
        self.has_named || rules.any(|rule| rule.readings.iter().any(met))
    }

    /// Rules of the same right, or variables of one name, gave different texts for one and the same context.
    pub fn has_disagreed(&self) -> bool {
        self.disagreed
    }

    /// Whose a context is, its variables alone do not tell: the resolver wants to know its task.
    pub fn needs_task(&self) -> bool {
        self.session_rules().any(|rule| rule.spec.needs_task())
    }

    /// The same, for the names of sessions too.
    pub fn needs_task_for_names(&self) -> bool {
        let names = self.agent.iter().chain(&self.tenant);
        let mut of_names = names.flat_map(|rivals| rivals.iter().flatten());
        self.needs_task() || of_names.any(|rule| rule.spec.needs_task())
    }

    /// Forgets all addresses, so that memory which was freed and used again is looked at anew. To be called now and then.
    pub fn forget_addresses(&mut self) {
        self.seen.clear();
        self.wanted.values_mut().for_each(Vec::clear);
        self.labels.make_room();
    }

    /// Keeps the names of these sessions only.
    pub fn keep_labels(&mut self, keep: impl Fn(SessionKey) -> bool) {
        self.labels.keep(keep);
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
        // Before the first look, not after it: a rule whose variable is not known yet may come before one that fits. And
        // also where all names are known: two variables may have one.
        self.learn(heap, vars)?;
        let mut search = Search::default();
        let Some((id, mut text)) = self.session_id(heap, subject, &mut search)? else {
            return Ok(Resolved {
                session: None,
                found: None,
                proof: search.proof(heap, vars)?,
            });
        };
        self.has_named = true;
        let session = self.session_of_id(id);
        if let Some(key) = session {
            if key != id.key
                && let Some(labels) = self.labels.get(key)
            {
                text = labels.session_id.clone();
            }
            if !self.name(heap, subject, key, text, &search)? {
                // Without its name it would be a session that nobody can show; the next look finds it.
                search.holds = Holds::Never;
            }
        }
        Ok(Resolved {
            session,
            found: Some(id),
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

    /// The best id that there is, and what may be shown of it.
    fn session_id(
        &mut self,
        heap: &Heap,
        subject: Subject<'_>,
        search: &mut Search,
    ) -> Result<Option<(Ranked, String)>, Fault> {
        let levels = Arc::clone(&self.session);
        let mut levels = levels.iter();
        while let Some(level) = levels.next() {
            let found = self.said_by(heap, subject, &level.rivals, search)?;
            self.disagreed |= found.len() > 1;
            let text = one_of(found.iter().map(|said| &said.text).collect());
            let shown = one_of(found.iter().map(|said| &said.shown).collect());
            let (Some(text), Some(shown)) = (text, shown) else {
                // Perhaps the better rule would give one: then what the next give is not the session's id.
                if search.is_undecided {
                    return Ok(None);
                }
                continue;
            };
            let key = SessionKey::of(&text);
            let id = Ranked { rank: level.rank, key };
            if self.learns_aliases && !self.learn_aliases(heap, subject, (id, &shown), levels.as_slice(), search)? {
                search.holds = search.holds.max(Holds::Once);
            }
            return Ok(Some((id, shown)));
        }
        Ok(None)
    }

    /// Learns that what worse rules give in this context belongs to the session, and makes that a part of the proof. False:
    /// it moved on, or could not be read; to be looked at again.
    fn learn_aliases(
        &mut self,
        heap: &Heap,
        subject: Subject<'_>,
        (session, shown): (Ranked, &str),
        worse: &[Level],
        search: &mut Search,
    ) -> Result<bool, Fault> {
        let mut found = Vec::new();
        let mut beside = Search::default();
        for level in worse {
            let texts = match self.said_by(heap, subject, &level.rivals, &mut beside) {
                Err(fault @ (Fault::Gone | Fault::Denied | Fault::Budget)) => return Err(fault),
                Err(_) => return Ok(false),
                Ok(found) => found.into_iter().map(|said| said.text).collect::<Vec<_>>(),
            };
            // Where they differ, other contexts may have one of them alone.
            let in_question = (texts.len() > 1).then(|| in_question(&texts));
            let ids = texts.iter().chain(&in_question).map(|text| Ranked {
                rank: level.rank,
                key: SessionKey::of(text),
            });
            found.extend(ids);
        }
        search.is_unset |= beside.is_unset;
        search.links.append(&mut beside.links);
        if found.is_empty() {
            return Ok(beside.holds != Holds::Never);
        }
        if beside.holds == Holds::Never || !search.still_holds(heap)? {
            return Ok(false);
        }
        for lower in found {
            self.aliases.learn(lower, session, shown);
        }
        Ok(true)
    }

    /// The texts that rules of the same right give.
    fn said_by(
        &self,
        heap: &Heap,
        subject: Subject<'_>,
        rivals: &[Vec<Rule>],
        search: &mut Search,
    ) -> Result<Vec<Said>, Fault> {
        let mut found: Vec<Said> = Vec::new();
        for rules in rivals {
            for said in self.first(heap, subject, rules, search)? {
                if !found.iter().any(|known| known.text == said.text) {
                    found.push(said);
                }
            }
        }
        Ok(found)
    }

    /// What the context says of its session's agent and tenant, proved for this moment: several where rules of the same
    /// right differ.
    pub fn names(&self, heap: &Heap, subject: Subject<'_>) -> Result<Names, Fault> {
        let mut search = Search::default();
        let mut of = |ranks: &[Rivals]| {
            for rivals in ranks {
                let found = self.said_by(heap, subject, rivals, &mut search)?;
                if !found.is_empty() {
                    return Ok(found.into_iter().map(|said| said.shown).collect());
                }
            }
            Ok(BTreeSet::new())
        };
        let names = Names {
            agents: of(&self.agent)?,
            tenants: of(&self.tenant)?,
        };
        match search.still_holds(heap)? {
            true => Ok(names),
            false => Err(Fault::Implausible("name of a session (it moved)")),
        }
    }

    /// The text of the first rule that gives one; several where variables of one name differ.
    fn first(
        &self,
        heap: &Heap,
        subject: Subject<'_>,
        rules: &[Rule],
        search: &mut Search,
    ) -> Result<Vec<Said>, Fault> {
        for rule in rules {
            let texts = match &rule.spec.source {
                Source::Variable(_) | Source::Quoted(_) => self.by_variable(heap, subject.vars, rule, search)?,
                Source::TaskName | Source::RootTask | Source::Local { .. } => {
                    match by_task(heap, subject, &rule.spec, search)? {
                        Found::Text(text) => BTreeSet::from([text]),
                        _ => BTreeSet::new(),
                    }
                }
            };
            if !texts.is_empty() {
                let said = texts.into_iter().map(|text| {
                    let shown = match rule.gives_credentials {
                        true => untold(&text),
                        false => shown(text.clone()),
                    };
                    Said { text, shown }
                });
                return Ok(said.collect());
            }
        }
        Ok(Vec::new())
    }

    /// The texts behind all variables of the name: a module that was imported under two names has its own twice. Sorted, so
    /// that it is not the order of addresses in which they are said.
    fn by_variable(
        &self,
        heap: &Heap,
        vars: Addr,
        rule: &Rule,
        search: &mut Search,
    ) -> Result<BTreeSet<String>, Fault> {
        let mut found = BTreeSet::new();
        // The longest name that is a variable is the one that is meant, whether it is set here or not.
        let known = rule.readings.iter().find_map(|reading| {
            let known = self.wanted.get(&reading.variable)?;
            (!known.is_empty()).then_some((reading, known))
        });
        let Some((reading, known)) = known else {
            search.is_unset = true;
            return Ok(found);
        };
        let set: Vec<Variable>;
        let known = match known.len() {
            ..=FEW_OF_A_NAME => known,
            _ => {
                search.is_unset = true;
                set = set_here(heap, vars, &reading.variable)?;
                &set
            }
        };
        for variable in known {
            let mut links = Links::new();
            match heap.binding_by(vars, variable.address, variable.hash, &mut links)? {
                None => search.is_unset = true,
                Some(binding) => {
                    search.links.append(&mut links);
                    let end = follow(
                        heap,
                        binding.value,
                        &reading.steps,
                        &rule.spec.filters,
                        &mut search.links,
                    )?;
                    if let Found::Text(text) = end {
                        found.insert(text);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Looks at all variables that are set here.
    fn learn(&mut self, heap: &Heap, vars: Addr) -> Result<(), Fault> {
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
            }
        }
        Ok(())
    }

    /// Notes what a session that was met is called, so far as it is not known yet: contexts of one session may carry fewer
    /// names than others, or other ones. `search` found the id: where that is not there any more, the names are another's,
    /// nothing is noted, and the answer is false.
    fn name(
        &mut self,
        heap: &Heap,
        subject: Subject<'_>,
        key: SessionKey,
        session_id: String,
        search: &Search,
    ) -> Result<bool, Fault> {
        let known = self.labels.get(key);
        if known.is_some_and(|labels| labels.agent.is_some() && labels.tenant.is_some()) {
            return Ok(true);
        }
        // A name that moved on is there at the next look, and costs no session.
        let found = match self.names(heap, subject) {
            Err(fault @ (Fault::Gone | Fault::Denied | Fault::Budget)) => return Err(fault),
            found => found.unwrap_or_default(),
        };
        if !search.still_holds(heap)? {
            return Ok(false);
        }
        let known = self.labels.get(key);
        let labels = Labels {
            session_id,
            agent: known.and_then(|k| k.agent.clone()).or_else(|| one(&found.agents)),
            tenant: known.and_then(|k| k.tenant.clone()).or_else(|| one(&found.tenants)),
        };
        self.labels.call(key, labels);
        Ok(true)
    }

    /// What all live contexts of a session say of it. What none of them says stays as it was known.
    pub fn agree(&mut self, key: SessionKey, names: &Names) {
        self.labels.agree(key, names);
    }
}
