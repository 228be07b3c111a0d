//! One stack, read inside an interrupt of the CPU that the thread runs on (`bpf`): all that is copied there is one instant,
//! and the thread has lost some microseconds, and not its CPU. Knows nothing of which threads matter, nor of sessions: what
//! proves those comes along, and is judged elsewhere.
//!
//! What is copied are the thread's words, its context, its frames, the words that stand around all threads, and what proves
//! whose the contexts are that were met last: which one it will be is known afterwards. Code objects are read afterwards, and
//! proved as where a thread is read from another CPU: they were known before and are the same after.

use super::fixed::FixedWords;
use super::instant::{ContextHead, Instant, Reader};
use super::owners::{Owners, Proofs};
use super::still::{Followed, look};
use super::threads::Thread;
use crate::bpf::{ChainReader, Layout, Look};
use crate::cpython::{CONTEXT_HEAD, GilWords, Heap, Runtime};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, Pid, StackMode};

/// A thread that is found elsewhere is followed this often.
const HOPS: usize = 3;

/// Reads stacks by interrupts.
pub(super) struct Interrupts {
    pid: Pid,
    chain: ChainReader,
    fixed: FixedWords,
    /// What is copied beside words, context and frames: the fixed words, from slot 0 on, and proofs.
    beside: Scatter,
    proofs: Proofs,
    /// It may not be done any more.
    pub refused: bool,
}

impl Interrupts {
    /// What the program has to copy.
    pub fn layout(reader: &Reader) -> Layout {
        let (context, top) = reader.at.context_and_top();
        Layout {
            words: reader.at.range(),
            pointed: (context, CONTEXT_HEAD),
            top,
            through: reader.walk.through(),
            head: reader.walk.head,
            next: reader.walk.caller_in_frame(),
        }
    }

    pub fn new(pid: Pid, chain: ChainReader, heap: &Heap, runtime: &Runtime) -> Interrupts {
        Interrupts {
            pid,
            chain,
            fixed: FixedWords::apart(heap, runtime),
            beside: Scatter::new(),
            proofs: Proofs::default(),
            refused: false,
        }
    }

    /// Catches the thread, if it is on that CPU. An error: it ended, or another one took its place.
    pub fn catch(&mut self, thread: &Thread, cpu: u32, owners: &Owners) -> Result<bool, Fault> {
        let Some(tid) = thread.tid else {
            return Ok(false);
        };
        self.beside.clear();
        self.fixed.push(&mut self.beside);
        self.proofs = owners.push_lately(&mut self.beside);
        self.chain.ask(self.beside.ranges());
        match self.chain.look(self.pid, tid, thread.state.address, cpu) {
            Ok(Look::Seen) => {
                let chain = &self.chain;
                self.beside.fill(|slot| chain.range(slot))?;
                Ok(true)
            }
            Ok(Look::Unreadable) => Err(Fault::Unmapped),
            Ok(Look::Elsewhere) => Ok(false),
            Err(_) => {
                self.refused = true;
                Ok(false)
            }
        }
    }

    /// As `catch`, of a thread that was on that CPU a moment ago, if that is known, and may have gone to another one. None: it is
    /// on no CPU, and can be read in other ways.
    pub fn follow(
        &mut self,
        heap: &Heap,
        thread: &Thread,
        followed: &Followed,
        reader: &Reader,
        mut cpu: Option<u32>,
        owners: &Owners,
    ) -> Result<Option<u32>, Fault> {
        let now_on = || {
            let found = look(
                heap,
                reader.at,
                thread,
                followed.which,
                &followed.clock,
                &mut Scatter::new(),
            );
            found.map(|(_, cpu)| cpu)
        };
        if cpu.is_none() {
            cpu = now_on()?;
        }
        for _ in 0..HOPS {
            let Some(on) = cpu else {
                return Ok(None);
            };
            if self.catch(thread, on, owners)? {
                return Ok(Some(on));
            }
            cpu = now_on()?;
            if cpu == Some(on) || self.refused {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The GIL, as it was when a thread was caught.
    pub fn gil(&self) -> Option<GilWords> {
        self.fixed.gil(&self.beside, 0)
    }

    /// Whether garbage was being collected then.
    pub fn collecting(&self) -> Option<bool> {
        self.fixed.collecting(&self.beside, 0)
    }

    /// The newest thread state then.
    pub fn newest(&self) -> Option<Addr> {
        self.fixed.newest(&self.beside, 0)
    }

    /// The number of code objects' generation then.
    pub fn generation(&self) -> Option<u64> {
        self.fixed.generation(&self.beside, 0)
    }

    /// What was copied beside words, context and frames.
    pub fn beside(&self) -> &Scatter {
        &self.beside
    }

    /// What the thread that was caught was doing. `generation` as it was before.
    pub fn instant(
        &self,
        heap: &Heap,
        runtime: &Runtime,
        thread: &Thread,
        followed: &mut Followed,
        reader: &mut Reader,
        generation: Option<u64>,
    ) -> Result<Instant, Fault> {
        let words = reader.at.of(self.chain.words());
        // It ended, or another one took its place.
        if words.id != thread.state.id {
            return Err(Fault::Unmapped);
        }
        let context: Option<ContextHead> = self.chain.pointed().and_then(|bytes| bytes.try_into().ok());
        let mut instant = Instant {
            words,
            held: true,
            mode: StackMode::Interrupt,
            switches: 0,
            vars: context
                .as_ref()
                .map_or(Addr::NULL, |head| heap.context_words(head).vars),
            context,
            proofs: self.proofs,
            stack: None,
        };
        let chain = self.chain.chain();
        let walked = reader.walk.walk_from(&chain, chain.top(), &mut reader.raw).is_ok();
        // Where not even the first frame could be read it is not known whether there is one.
        let begins = self.chain.is_whole() || !reader.raw.frames.is_empty();
        if walked && begins && followed.root.is(&reader.raw) {
            // What cannot be resolved leaves the owner as it is.
            instant.stack = match reader.stacks.resolve(heap, runtime, &reader.raw, generation) {
                Ok(stack) => Some(stack),
                Err(fault @ (Fault::Gone | Fault::Denied)) => return Err(fault),
                Err(_) => None,
            };
        }
        Ok(instant)
    }
}
