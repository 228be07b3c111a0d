//! From a context's variables to the session that they name, and the proof by which a later sample can check in one
//! read that this still holds. Knows nothing of threads and time.

use super::path::{Text, follow};
use super::rules::{Rule, Rules};
use super::variables::Variable;
use crate::cpython::Heap;
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
    parts: Vec<(Addr, Vec<u8>)>,
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
        let mut parts = self.parts.iter().enumerate();
        vars == self.vars && parts.all(|(i, (_, known))| scatter.bytes(slots.first + i) == Some(known.as_slice()))
    }
}

/// Where links stand, and their bytes.
type Links = Vec<(Addr, Vec<u8>)>;

/// Finds sessions by rules. Each reading thread has its own.
pub struct Resolver {
    rules: Rules,
    /// Variables that some rule begins with, by name.
    wanted: HashMap<String, Vec<Variable>>,
    /// Addresses of variables that were looked at.
    seen: HashSet<Addr>,
    labels: HashMap<SessionKey, Arc<Labels>>,
    new_labels: Vec<SessionKey>,
}

impl Resolver {
    pub fn new(rules: Rules) -> Resolver {
        let wanted = rules.variables().map(|name| (name.to_string(), Vec::new())).collect();
        Resolver {
            rules,
            wanted,
            seen: HashSet::new(),
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

    /// A variable that a session rule begins with was met.
    pub fn knows_session_variable(&self) -> bool {
        self.rules
            .session
            .iter()
            .any(|rule| self.wanted.get(&rule.variable).is_some_and(|known| !known.is_empty()))
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
        let session_rules = self.rules.session.clone();
        let mut found = self.first(heap, vars, &session_rules)?;
        if found.is_none() && self.learn(heap, vars)? {
            found = self.first(heap, vars, &session_rules)?;
        }
        let Some((mut parts, text)) = found else {
            let extent = heap.hamt_extent(vars)?;
            let parts = extent.into_iter().map(|(at, length)| Ok((at, heap.bytes(at, length)?)));
            let parts = parts.collect::<Result<_, Fault>>()?;
            return Ok(Resolved {
                session: None,
                proof: Proof { vars, parts },
            });
        };
        parts.extend(text.proof);
        let key = SessionKey::of(&text.text);
        self.name(heap, vars, key, text.text)?;
        Ok(Resolved {
            session: Some(key),
            proof: Proof { vars, parts },
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

    /// The first rule that gives a text, and the links that lead to the value which it begins with.
    fn first(&self, heap: &Heap, vars: Addr, rules: &[Rule]) -> Result<Option<(Links, Text)>, Fault> {
        for rule in rules {
            for variable in self.wanted.get(&rule.variable).into_iter().flatten() {
                let mut links = Vec::new();
                let binding = heap.binding_by(vars, variable.address, variable.hash, &mut links)?;
                let Some(binding) = binding else { continue };
                if let Some(text) = follow(heap, binding.value, &rule.path)? {
                    return Ok(Some((links, text)));
                }
            }
        }
        Ok(None)
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

    fn name(&mut self, heap: &Heap, vars: Addr, key: SessionKey, session_id: String) -> Result<(), Fault> {
        let complete = |labels: &Labels| labels.agent.is_some() && labels.tenant.is_some();
        if self.labels.get(&key).is_some_and(|labels| complete(labels)) {
            return Ok(());
        }
        let unknown = |rules: &[Rule]| {
            rules
                .iter()
                .any(|r| self.wanted.get(&r.variable).is_some_and(Vec::is_empty))
        };
        if unknown(&self.rules.agent) || unknown(&self.rules.tenant) {
            self.learn(heap, vars)?;
        }
        let agent = self.first(heap, vars, &self.rules.agent)?.map(|(_, text)| text.text);
        let tenant = self.first(heap, vars, &self.rules.tenant)?.map(|(_, text)| text.text);
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
