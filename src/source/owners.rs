//! Whose a context is, proved: what was found out about contexts before, what the second read of a tick shows of it, and
//! the look-up where that does not do. Knows nothing of threads but where their words are.

use crate::asyncio::{Task, asyncio_tasks_module, running_tasks, task_at};
use crate::cpython::{CONTEXT_HEAD, CONTEXT_WORDS, Heap, ONE_WALK, Runtime, word_at};
use crate::identity::{Fits, Naming, ProofSlots, Resolved, Resolver, Subject};
use crate::memory::{AddrMap, Fault, Scatter};
use crate::model::{Addr, Labels, Owner, SessionKey};
use std::sync::Arc;

/// Contexts that are remembered; beyond this the memory starts over.
const MOST_CONTEXTS: usize = 20_000;

/// What is known of contexts.
pub(super) struct Owners {
    naming: Naming,
    /// The presets by which the resolver goes.
    fits: Fits,
    resolver: Resolver,
    contexts: AddrMap<Resolved>,
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
}

impl Owners {
    pub fn new(naming: Naming) -> Owners {
        let fits = naming.fits();
        Owners {
            resolver: naming.resolver(fits),
            naming,
            fits,
            contexts: AddrMap::default(),
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
        self.contexts.clear();
    }

    /// Asks for the bytes that prove what is known of the context; None: nothing is.
    pub fn push_proof(&self, context: Addr, scatter: &mut Scatter) -> Option<ProofSlots> {
        self.contexts.get(&context).map(|known| known.proof.push(scatter))
    }

    /// Whose the context is, by what the second read shows, or by looking it up now. The thread is in it, or came through
    /// it, for as long as its words stay. `vars` is what the second read shows of the context, `proof` where it has the
    /// bytes that were asked for.
    pub fn owner(
        &mut self,
        heap: &Heap,
        words: ContextWords,
        context: Addr,
        vars: Addr,
        second: &Scatter,
        proof: Option<ProofSlots>,
    ) -> Result<Owner, Fault> {
        let of = |session: Option<SessionKey>| session.map_or(Owner::Nobody, Owner::Session);
        if let (Some(known), Some(slots)) = (self.contexts.get(&context), proof)
            && known.proof.holds(vars, second, slots)
        {
            // Known from before this tick, and unchanged after it: so it was at the tick, whatever ran since.
            return Ok(of(self.resolver.session_of(known)));
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
        if self.contexts.len() >= MOST_CONTEXTS {
            self.contexts.clear();
        }
        let session = resolved.session;
        self.contexts.insert(context, resolved);
        Ok(if same_step { of(session) } else { Owner::Torn })
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
