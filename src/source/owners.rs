//! Whose a context is, proved: what was found out about contexts before, what the second read of a tick shows of it, and
//! the look-up where that does not do. Knows nothing of threads but where their words are.

use crate::asyncio::{Task, asyncio_tasks_module, running_tasks, task_at};
use crate::cpython::{CONTEXT_HEAD, CONTEXT_WORDS, Heap, ONE_WALK, Runtime, word_at};
use crate::identity::{Fits, Naming, ProofSlots, Resolved, Resolver, Subject};
use crate::memory::{AddrMap, Fault, Scatter};
use crate::model::{Addr, Labels, Owner, SessionKey};
use std::sync::Arc;

/// Contexts that are remembered, and sets of variables; beyond this the memory starts over.
const MOST_CONTEXTS: usize = 20_000;

/// Where a context was not met before, so many sets of variables are asked for along with it: those that were seen last.
const RECENT: usize = 3;
/// Where it is not known which context it will be, so many are.
const LATELY: usize = 6;

/// Where a read will have the bytes that prove what is known of a context; where it was not met, of the sets that were seen
/// last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proofs([Option<(Addr, ProofSlots)>; LATELY]);

impl Proofs {
    fn of(&self, key: Addr) -> Option<ProofSlots> {
        let found = self.0.iter().flatten().find(|(known, _)| *known == key);
        found.map(|(_, slots)| *slots)
    }
}

/// What was seen of a context, or of all that have stood there.
#[derive(Clone, Copy)]
struct Met {
    /// Under what it was known last.
    key: Addr,
    /// It was known under something else before: its variables are set anew, or it was freed and another took its place.
    changes: bool,
}

/// What was found out about a set of variables, or a context.
struct Known {
    resolved: Resolved,
    /// Another answer stood at this address before: it was freed, and may be again while it is looked at.
    changes: bool,
}

/// What is known of contexts.
pub(super) struct Owners {
    naming: Naming,
    /// The presets by which the resolver goes.
    fits: Fits,
    resolver: Resolver,
    /// What was found out, by the set of variables that told it; by the context, where the rules need a task, for ids or for
    /// names.
    known: AddrMap<Known>,
    /// Of each context that was met. A step in a context of its own, as `call_soon` and `create_task` make them, mostly has
    /// the set of another: then there is nothing to look up, for which it would be too short.
    contexts: AddrMap<Met>,
    /// The keys of `known` that were met last, the newest first.
    recent: [Option<Addr>; LATELY],
    context_type: Option<Addr>,
    /// The `__dict__` of `asyncio.tasks`, where the rules need a task.
    asyncio_tasks: Option<Addr>,
}

/// A thread's `(context, context_ver)`, and where they stand.
#[derive(Clone, Copy)]
pub(super) struct ContextWords {
    pub at: Addr,
    pub context: Addr,
    pub version: u64,
}

impl ContextWords {
    /// Whether the bytes that were read at `at` are still these words.
    pub fn still(&self, bytes: &[u8]) -> bool {
        (Addr(word_at(bytes, 0)), word_at(bytes, 8)) == (self.context, self.version)
    }

    /// Whether the thread has at most left this context since, or entered one within it, once: each moves the version by one
    /// (`_PyContext_Enter`, `_PyContext_Exit` in Python/context.c, 3.8 to 3.15). No other step has begun.
    fn just_left(&self, bytes: &[u8]) -> bool {
        self.still(bytes) || word_at(bytes, 8) == self.version.wrapping_add(1)
    }
}

impl Owners {
    pub fn new(naming: Naming) -> Owners {
        let fits = naming.fits();
        Owners {
            resolver: naming.resolver(fits),
            naming,
            fits,
            known: AddrMap::default(),
            contexts: AddrMap::default(),
            recent: [None; LATELY],
            context_type: None,
            asyncio_tasks: None,
        }
    }

    /// Goes by other presets, if others fit by now, and finds where tasks are told of, if the rules need a task. To be
    /// called some five times a second.
    pub fn survey(&mut self, heap: &Heap, runtime: &Runtime) {
        let fits = self.naming.fits();
        if fits != self.fits {
            *self = Owners::new(self.naming.clone());
        }
        if self.asyncio_tasks.is_none() && self.resolver.needs_task_for_names() {
            heap.grant(ONE_WALK);
            self.asyncio_tasks = asyncio_tasks_module(heap, runtime).ok().flatten();
        }
    }

    /// Whose a context is, its variables alone do not tell.
    pub fn needs_task(&self) -> bool {
        self.resolver.needs_task()
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.resolver.take_new_labels()
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.resolver.forget_addresses();
        // A session that comes back after whoever listens has forgotten its name is named again.
        self.resolver.keep_labels(|_| false);
        self.known.clear();
        self.contexts.clear();
        self.recent = [None; LATELY];
    }

    /// Asks for the bytes that prove what is known of the context.
    pub fn push_proofs(&self, context: Addr, scatter: &mut Scatter) -> Proofs {
        match self.contexts.get(&context) {
            Some(met) => self.push_all(&[Some(met.key)], scatter),
            None => self.push_all(self.recent.get(..RECENT).unwrap_or_default(), scatter),
        }
    }

    /// Asks for the bytes that prove what is known of those that were met last, for who does not know yet which it will be.
    pub fn push_lately(&self, scatter: &mut Scatter) -> Proofs {
        self.push_all(&self.recent, scatter)
    }

    /// Something is known of the context with these variables, and what would prove it is not among what was read.
    pub fn lacks_proof(&self, context: Addr, vars: Addr, proofs: Proofs, read: &Scatter) -> bool {
        let key = self.key(context, vars);
        let read = |known: &Known| {
            proofs
                .of(key)
                .is_some_and(|slots| known.resolved.proof.is_read(read, slots))
        };
        self.known.get(&key).is_some_and(|known| !read(known))
    }

    fn push_all(&self, keys: &[Option<Addr>], scatter: &mut Scatter) -> Proofs {
        let mut proofs = Proofs::default();
        for (into, key) in proofs.0.iter_mut().zip(keys) {
            let known = key.and_then(|key| Some((key, self.known.get(&key)?)));
            *into = known.map(|(key, known)| (key, known.resolved.proof.push(scatter)));
        }
        proofs
    }

    /// Nothing is known of the context itself.
    pub fn is_new(&self, context: Addr) -> bool {
        !self.contexts.contains_key(&context)
    }

    /// A context's variables do not tell all that is to be known of it: a task's name, or a coroutine's local, is another one's
    /// in each.
    pub fn by_context(&self) -> bool {
        self.resolver.needs_task() || self.resolver.needs_task_for_names()
    }

    /// Under what a context with these variables is known.
    fn key(&self, context: Addr, vars: Addr) -> Addr {
        if self.by_context() { context } else { vars }
    }

    fn remember(&mut self, context: Addr, key: Addr) {
        if self.contexts.len() >= MOST_CONTEXTS {
            self.contexts.clear();
        }
        let before = self.contexts.get(&context);
        let changes = before.is_some_and(|met| met.changes || met.key != key);
        self.contexts.insert(context, Met { key, changes });
        self.meet(key);
    }

    fn meet(&mut self, key: Addr) {
        if self.by_context() || self.recent[0] == Some(key) {
            return;
        }
        let before = self.recent.iter().position(|known| *known == Some(key));
        self.recent[..=before.unwrap_or(LATELY - 1)].rotate_right(1);
        self.recent[0] = Some(key);
    }

    /// Whose the context is, by what the second read shows, or by looking it up now. The thread is in it, or came through
    /// it, for as long as its words stay. `seen` is what the second read shows.
    pub fn owner(&mut self, heap: &Heap, words: ContextWords, context: Addr, seen: Seen<'_>) -> Result<Owner, Fault> {
        let vars = seen.vars;
        let key = self.key(context, vars);
        let met = self.contexts.get(&context).filter(|met| met.key == key).copied();
        // Known from before this tick, and unchanged after it: so it was at the tick, whatever ran since. Not so of a context
        // that is new, or that changes, and was not read in the step: what it has now it may not have had when the thread
        // was in it. Nor of a set whose address another one had before.
        if let (Some(known), Some(slots)) = (self.known.get(&key), seen.proofs.of(key))
            && (seen.lasts || met.is_some_and(|met| !met.changes) || (seen.in_step && !known.changes))
            && known.resolved.proof.holds(vars, seen.read, slots)
        {
            let owner = of(self.resolver.session_of(&known.resolved));
            match met {
                Some(_) => self.meet(key),
                None => self.remember(context, key),
            }
            return Ok(owner);
        }
        if (seen.lasts || seen.in_step)
            && !self.by_context()
            && let Some(owner) = self.by_its_set(heap, words, context, seen)?
        {
            return Ok(owner);
        }
        let tasks = match (self.resolver.needs_task(), self.resolver.needs_task_for_names()) {
            (true, _) => self.running(heap, words),
            // A name that is not found costs no session.
            (false, true) => Ok(self.running(heap, words).unwrap_or_default()),
            (false, false) => Ok(Vec::new()),
        };
        let resolved = tasks.and_then(|tasks| {
            let subject = Subject {
                vars,
                context,
                tasks: &tasks,
                threads: &[thread_of(heap, words)],
            };
            self.resolver.resolve_subject(heap, subject)
        });
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(Fault::Gone) => return Err(Fault::Gone),
            Err(_) => return torn_or_unreadable(heap, words),
        };
        // Does the thread still run in it, and are its variables still those that were looked up?
        let mut last = Scatter::new();
        let head = last.push(context, CONTEXT_HEAD);
        let slots = resolved.proof.push(&mut last);
        let again = last.push(words.at, CONTEXT_WORDS);
        last.read_each(heap.memory())?;
        let now = last.bytes(head).map(|b| heap.context_words(b).vars);
        let same_step = last.bytes(again).is_some_and(|bytes| words.still(bytes));
        let proved = now.is_some_and(|now| resolved.proof.holds_once(now, &last, slots));
        if !proved {
            return Ok(Owner::Torn);
        }
        if self.known.len() >= MOST_CONTEXTS {
            self.known.clear();
        }
        let session = resolved.session;
        let before = self.known.get(&key);
        let changes = before.is_some_and(|known| known.changes || known.resolved.found() != resolved.found());
        self.known.insert(key, Known { resolved, changes });
        self.remember(context, key);
        Ok(if same_step { of(session) } else { Owner::Torn })
    }

    /// Whose a context is that was not met before, and whose set of variables was: the second read has shown it there while
    /// the thread was in the step. What the set says was known before this tick, and is the same after it; and either no
    /// other set ever had its memory, or no other step has begun that could have given it to another. None: it does not
    /// hold, or is not known.
    fn by_its_set(
        &mut self,
        heap: &Heap,
        words: ContextWords,
        context: Addr,
        seen: Seen<'_>,
    ) -> Result<Option<Owner>, Fault> {
        let vars = seen.vars;
        let Some(known) = self.known.get(&vars) else {
            return Ok(None);
        };
        let mut last = Scatter::new();
        let slots = known.resolved.proof.push(&mut last);
        let again = last.push(words.at, CONTEXT_WORDS);
        last.read_each(heap.memory())?;
        let just_left = || last.bytes(again).is_some_and(|bytes| words.just_left(bytes));
        let is_same = (seen.in_step && !known.changes) || (seen.lasts && just_left());
        if !is_same || !known.resolved.proof.holds(vars, &last, slots) {
            return Ok(None);
        }
        let owner = of(self.resolver.session_of(&known.resolved));
        self.remember(context, vars);
        Ok(Some(owner))
    }

    /// The tasks that run now, as far as they can be told: the thread's own is among them.
    fn running(&self, heap: &Heap, words: ContextWords) -> Result<Vec<Task>, Fault> {
        let tasks = running_tasks(heap, thread_of(heap, words), self.asyncio_tasks)?.into_iter();
        let tasks = tasks
            .map(|address| task_at(heap, address))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(tasks.into_iter().flatten().collect())
    }

    /// The type object is that of contexts.
    pub fn is_context_type(&mut self, heap: &Heap, class: Addr) -> bool {
        if self.context_type == Some(class) {
            return true;
        }
        let fits = heap
            .name_of_type(class)
            .is_ok_and(|name| name.rsplit('.').next() == Some("Context"));
        if fits {
            self.context_type = Some(class);
        }
        fits
    }
}

/// What the second read shows of a context.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    /// Its set of variables (`ctx_vars`).
    pub vars: Addr,
    pub read: &'s Scatter,
    /// Where the bytes are that were asked for.
    pub proofs: Proofs,
    /// The set was the context's while the thread was in the step.
    pub in_step: bool,
    /// No other step has begun since the thread was seen in this one.
    pub lasts: bool,
}

fn of(session: Option<SessionKey>) -> Owner {
    session.map_or(Owner::Nobody, Owner::Session)
}

/// The state of the thread whose words these are.
fn thread_of(heap: &Heap, words: ContextWords) -> Addr {
    Addr(words.at.0.wrapping_sub(heap.offsets.tstate_context))
}

/// What could not be looked up was torn, unless the thread is still in it: then it is something unknown.
fn torn_or_unreadable(heap: &Heap, words: ContextWords) -> Result<Owner, Fault> {
    let mut again = [0; CONTEXT_WORDS];
    heap.memory().read(words.at, &mut again)?;
    Ok(if words.still(&again) {
        Owner::Unreadable
    } else {
        Owner::Torn
    })
}
