//! One observation as bytes. What moves little from sample to sample is written as the distance from the sample before.
//! Its twin is `reading`; what is written here in some order is read there in the same. Knows nothing of parts and files.

use super::bytes::Out;
use super::dump;
use super::words::Numbers;
use crate::model::*;
use std::collections::HashMap;

/// The kinds of observations.
pub(super) mod kind {
    pub const BATCH: u8 = 1;
    pub const STACKS: u8 = 2;
    pub const CENSUS: u8 = 3;
    pub const WAITING: u8 = 4;
    pub const LABELS: u8 = 5;
    pub const ENDED: u8 = 6;
    /// From version 2 on.
    pub const DUMP: u8 = 7;
    /// A batch behind what the hypervisor took; from version 4 on.
    pub const STEAL_AND_BATCH: u8 = 8;
}

/// What the last sample of a thread said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    pub step: u64,
    pub progress: u64,
    pub cpu: u64,
    pub run_delay: u64,
}

/// No command line has more.
pub(super) const MOST_OWN: usize = 1_000;

/// From version 3 on.
pub(super) fn judging(out: &mut Out, judging: &Judging) {
    out.word(judging.slow_threshold.0);
    out.word(judging.slow_window.0);
    out.number(judging.own.len().min(MOST_OWN) as u64);
    for prefix in judging.own.iter().take(MOST_OWN) {
        out.text(prefix);
    }
}

/// What was written before, in this part.
#[derive(Debug, Default)]
pub(super) struct Writing {
    numbers: Numbers,
    at: u64,
    switches: u64,
    context_version: u64,
    process_cpu: u64,
    otop_cpu: u64,
    steal: u64,
    last: HashMap<ThreadIndex, Last>,
}

impl Writing {
    /// Bytes of all texts that a reader of the part will hand out.
    pub fn handed_out(&self) -> usize {
        self.numbers.handed_out()
    }

    pub fn observation(&mut self, out: &mut Out, observation: &Observation) {
        match observation {
            Observation::Batch(batch) => {
                match batch.steal {
                    Some(steal) => {
                        out.byte(kind::STEAL_AND_BATCH);
                        out.step(self.steal, steal.0);
                        self.steal = steal.0;
                    }
                    None => out.byte(kind::BATCH),
                }
                self.batch(out, batch);
            }
            Observation::Stacks(batch) => {
                out.byte(kind::STACKS);
                self.stacks(out, batch);
            }
            Observation::Census(census) => {
                out.byte(kind::CENSUS);
                self.census(out, census);
            }
            Observation::Waiting(waiting) => {
                out.byte(kind::WAITING);
                self.waiting(out, waiting);
            }
            Observation::Labels(key, labels) => {
                out.byte(kind::LABELS);
                self.numbers.key(out, *key);
                self.labels(out, labels);
            }
            Observation::Dump(at, dump) => {
                out.byte(kind::DUMP);
                self.at(out, *at);
                dump::write(out, &mut self.numbers, dump);
            }
            Observation::Ended(ending) => {
                out.byte(kind::ENDED);
                self.ending(out, ending);
            }
        }
    }

    fn batch(&mut self, out: &mut Out, batch: &Batch) {
        out.number(batch.ticks.len() as u64);
        for tick in &batch.ticks {
            self.tick(out, tick);
        }
        out.number(batch.samples.len() as u64);
        for sample in &batch.samples {
            self.sample(out, sample);
        }
        out.number(batch.threads.len() as u64);
        for thread in &batch.threads {
            out.number(u64::from(thread.index.0));
            out.signed(i64::from(thread.tid.0));
            self.numbers.text(out, &thread.name);
            out.flag(thread.is_loop);
        }
        out.number(batch.ended.len() as u64);
        for thread in &batch.ended {
            out.number(u64::from(thread.0));
        }
        out.number(u64::from(batch.missed));
        out.maybe(batch.process_cpu, |out, cpu| {
            out.step(self.process_cpu, cpu.0);
            self.process_cpu = cpu.0;
        });
        out.step(self.otop_cpu, batch.otop_cpu.0);
        self.otop_cpu = batch.otop_cpu.0;
        out.number(batch.dropped_batches);
    }

    fn tick(&mut self, out: &mut Out, tick: &Tick) {
        self.at(out, tick.at);
        out.number(tick.late.0);
        out.number(tick.own_wait.0);
        out.number(tick.suspended.0);
        out.maybe(tick.gil.holder, |out, holder| out.number(u64::from(holder.0)));
        out.step(self.switches, tick.gil.switches);
        self.switches = tick.gil.switches;
        maybe_flag(out, tick.collecting);
        out.number(u64::from(tick.first));
        out.number(u64::from(tick.count));
    }

    fn sample(&mut self, out: &mut Out, sample: &Sample) {
        let flags = [sample.step.is_some(), sample.cpu.is_some(), sample.run_delay.is_some()];
        let flags = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
        let state = sample.within.map_or(state_bits(sample.state), |_| WITHIN);
        out.byte(flags | owner_bits(sample.owner) << 3 | state << 5);
        out.number(u64::from(sample.thread.0));
        if let Some(within) = sample.within {
            out.byte(owner_bits(within) << 3 | state_bits(sample.state) << 5);
            self.owner_and_state(out, within, sample.state);
            self.owner_and_state(out, sample.owner, State::Unknown);
        } else {
            self.owner_and_state(out, sample.owner, sample.state);
        }
        let last = self.last.entry(sample.thread).or_default();
        for (now, before) in [
            (sample.step, &mut last.step),
            (Some(sample.progress), &mut last.progress),
            (sample.cpu.map(|cpu| cpu.0), &mut last.cpu),
            (sample.run_delay.map(|delay| delay.0), &mut last.run_delay),
        ] {
            if let Some(now) = now {
                out.step(*before, now);
                *before = now;
            }
        }
    }

    /// What does not fit into the bits.
    fn owner_and_state(&mut self, out: &mut Out, owner: Owner, state: State) {
        if let Owner::Session(key) = owner {
            self.numbers.key(out, key);
        }
        if let State::Syscall(number) = state {
            out.signed(i64::from(number));
        }
    }

    fn stacks(&mut self, out: &mut Out, batch: &StackBatch) {
        out.number(batch.samples.len() as u64);
        for sample in &batch.samples {
            let flags =
                u8::from(sample.in_step) | u8::from(sample.collecting) << 1 | u8::from(sample.stack.is_some()) << 2;
            out.byte(flags | owner_bits(sample.owner) << 3 | state_bits(sample.state) << 5);
            self.at(out, sample.at);
            out.number(u64::from(sample.thread.0));
            self.owner_and_state(out, sample.owner, sample.state);
            out.step(self.context_version, sample.context_version);
            self.context_version = sample.context_version;
            maybe_flag(out, sample.collects_explicitly);
            if let Some(stack) = &sample.stack {
                self.numbers.stack(out, stack);
            }
        }
        self.at(out, batch.until);
        out.number(u64::from(batch.ticks));
        out.number(u64::from(batch.missed));
        out.byte(match batch.mode {
            StackMode::OwnCpu => 0,
            StackMode::OtherCpu => 1,
            StackMode::Interrupt => 2,
        });
    }

    fn census(&mut self, out: &mut Out, census: &Census) {
        self.at(out, census.at);
        out.number(census.took.0);
        out.number(census.sessions.len() as u64);
        for facts in &census.sessions {
            self.session(out, facts);
        }
        out.number(census.loops.len() as u64);
        for facts in &census.loops {
            out.byte(match facts.kind {
                LoopKind::Asyncio => 0,
                LoopKind::Uvloop => 1,
                LoopKind::Other => 2,
            });
            out.maybe(facts.thread, |out, thread| out.number(u64::from(thread.0)));
            out.maybe(facts.ready, |out, ready| out.number(u64::from(ready)));
            out.number(u64::from(facts.tasks));
        }
        out.number(u64::from(census.tasks));
        out.maybe(census.session_from.as_deref(), |out, text| self.numbers.text(out, text));
        out.flag(census.asyncio_imported);
        out.maybe(census.pool.as_ref(), |out, pool| self.pool(out, pool));
        out.maybe(census.rss_bytes, Out::number);
        host(out, &census.host);
        out.number(u64::from(census.unreadable));
        // By what is not told apart there: the mend of a worker that stood still then is nobody's errand now.
        out.flag(census.stopped || census.frozen);
    }

    fn session(&mut self, out: &mut Out, facts: &SessionFacts) {
        self.numbers.key(out, facts.key);
        self.labels(out, &facts.labels);
        let flags = [facts.live, facts.errored, facts.pinned];
        out.byte(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        out.number(u64::from(facts.tasks));
        out.maybe(facts.started_unix, Out::float);
        out.maybe(facts.reading.as_ref(), |out, reading| {
            self.numbers.text(out, &reading.function);
            self.numbers.text(out, &reading.file);
            out.number(u64::from(reading.line));
            self.numbers.text(out, reading.state);
        });
    }

    fn pool(&mut self, out: &mut Out, pool: &PoolFacts) {
        maybe_flag(out, pool.draining);
        out.maybe(pool.max_sessions, Out::number);
        out.maybe(pool.started, Out::number);
        out.maybe(pool.failed, Out::number);
        self.numbers.maybe_text(out, pool.last_error.as_deref());
        out.maybe(pool.uptime_s, Out::float);
    }

    fn waiting(&mut self, out: &mut Out, waiting: &Waiting) {
        self.at(out, waiting.at);
        out.number(u64::from(waiting.thread.0));
        out.maybe(waiting.sessions.as_ref(), |out, sessions| {
            out.number(sessions.len() as u64);
            for session in sessions {
                self.numbers.key(out, *session);
            }
        });
        out.maybe(waiting.peer.as_ref(), |out, peer| {
            out.number(u64::from(peer.syscall.unsigned_abs()));
            self.numbers.text(out, &peer.address);
        });
    }

    fn labels(&mut self, out: &mut Out, labels: &Labels) {
        self.numbers.text(out, &labels.session_id);
        self.numbers.maybe_text(out, labels.agent.as_deref());
        self.numbers.maybe_text(out, labels.tenant.as_deref());
    }

    fn ending(&mut self, out: &mut Out, ending: &Ending) {
        match ending {
            Ending::Exited => out.byte(0),
            Ending::Execed => out.byte(1),
            Ending::Lost(why) => {
                out.byte(2);
                self.numbers.text(out, why);
            }
        }
    }

    fn at(&mut self, out: &mut Out, at: Nanos) {
        out.step(self.at, at.0);
        self.at = at.0;
    }
}

pub(super) fn hello(out: &mut Out, hello: &Hello) {
    out.signed(i64::from(hello.pid.0));
    out.text(&hello.python);
    out.maybe(hello.name.as_deref(), Out::text);
    out.maybe(hello.session_from.as_deref(), Out::text);
    out.number(hello.attached_at.0);
    out.bytes.extend(hello.realtime_offset.to_le_bytes());
    out.maybe(hello.started_unix, Out::float);
    // A host has one at least.
    out.number(u64::from(hello.vcpus.unwrap_or(0)));
    out.float(hello.rate_hz);
    out.maybe(hello.stack_rate_hz, Out::float);
    out.maybe(hello.library.as_deref(), Out::text);
}

fn host(out: &mut Out, host: &HostFacts) {
    out.maybe(host.cpu_pct, Out::float);
    for bytes in [
        host.mem_used_bytes,
        host.mem_total_bytes,
        host.swap_used_bytes,
        host.swap_total_bytes,
    ] {
        out.maybe(bytes, Out::number);
    }
    out.maybe(host.load, |out, load| load.into_iter().for_each(|one| out.float(one)));
    out.maybe(host.net_rate_bps, Out::float);
}

fn maybe_flag(out: &mut Out, flag: Option<bool>) {
    out.byte(match flag {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
}

fn owner_bits(owner: Owner) -> u8 {
    match owner {
        Owner::Session(_) => 0,
        Owner::Nobody => 1,
        Owner::Torn => 2,
        Owner::Unreadable => 3,
    }
}

/// In place of a state, from version 3 on: a byte more tells the state, and whose step the context was entered in.
pub(super) const WITHIN: u8 = 7;

fn state_bits(state: State) -> u8 {
    match state {
        State::Runnable => 0,
        State::GilWait => 1,
        State::Syscall(_) => 2,
        State::Stopped => 3,
        State::Unknown => 4,
    }
}
