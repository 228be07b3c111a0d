//! Who waits for a loop that makes no progress: the sessions with a handle ready, or a timer due. Knows nothing of when
//! to ask.

use super::loop_watch::Stuck;
use super::walk::{Broken, Walker};
use super::whose::Carrier;
use crate::asyncio::{Handle, HandleSlots, MOST_HANDLES, scheduled};
use crate::cpython::ONE_WALK;
use crate::memory::Fault;
use crate::model::{LoopKind, Nanos, Owner, SessionKey, Waiting};
use std::collections::BTreeSet;

impl Walker {
    /// Looks whether loops make progress, and asks who waits for those that do not. To be called some forty times a
    /// second between the walks; costs one read, and a question to the kernel, unless a loop is stuck. `now` is
    /// `CLOCK_MONOTONIC`.
    pub fn watch(&mut self, now: impl Fn() -> Nanos) -> Result<Vec<Waiting>, Broken> {
        self.heap.grant(ONE_WALK);
        let mut waiting = Vec::new();
        for stuck in self.watch.look(&self.plan, &self.heap, now())? {
            let at = now();
            match self.sessions_waiting(&stuck, at) {
                Ok(sessions) => waiting.push(Waiting {
                    at,
                    thread: stuck.thread,
                    sessions,
                    peer: stuck.peer.clone(),
                }),
                Err(fault @ (Fault::Gone | Fault::Denied)) => return Err(fault.into()),
                // The loop went on meanwhile.
                Err(_) => {}
            }
        }
        Ok(waiting)
    }

    /// Sessions with something to do in this loop, each once; None: not to be had.
    fn sessions_waiting(&mut self, stuck: &Stuck, now: Nanos) -> Result<Option<Vec<SessionKey>>, Fault> {
        let Some(slots) = self.handle_slots()? else {
            return Ok(None);
        };
        let event_loop = &stuck.event_loop;
        let Some(queue) = event_loop.ready.filter(|_| event_loop.kind == LoopKind::Asyncio) else {
            return Ok(None);
        };
        let Some(timers) = scheduled(&self.heap, event_loop)?.filter(|_| self.shares_clock) else {
            return Ok(None);
        };
        let ready = slots.ready(&self.heap, queue, MOST_HANDLES)?;
        let due = slots.timers(&self.heap, timers, Some(now.as_secs_f64()), MOST_HANDLES)?;
        let handles: Vec<Handle> = ready.found.into_iter().chain(due.found).collect();
        let carriers: Vec<Carrier> = handles.iter().map(|handle| carrier(&slots, handle)).collect();
        let owners = self.whose.of(&self.heap, &mut self.resolver, &carriers, false)?;
        let sessions: BTreeSet<SessionKey> = owners
            .into_iter()
            .filter_map(|owner| match owner {
                Owner::Session(key) => Some(key),
                _ => None,
            })
            .collect();
        Ok(Some(sessions.into_iter().collect()))
    }

    /// Where handles keep what, once asyncio is imported.
    fn handle_slots(&mut self) -> Result<Option<HandleSlots>, Fault> {
        if self.slots.is_none() {
            let modules = self.heap.modules(&self.plan.runtime)?;
            if let Some(events) = self.heap.dict_get(modules, "asyncio.events")? {
                let events = self.heap.module_dict(events)?;
                self.slots = Some(HandleSlots::find(&self.heap, events)?);
            }
        }
        Ok(self.slots)
    }
}

fn carrier(slots: &HandleSlots, handle: &Handle) -> Carrier {
    Carrier {
        context: handle.context,
        link: Some(handle.address.offset(slots.context)),
        task: None,
    }
}
