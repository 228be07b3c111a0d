//! Bytes as one observation: the twin of `writing`. The bytes are anybody's: every number is bounded by what can be, every
//! count by the bytes that are left. Knows nothing of parts and files.

use super::bytes::{Damaged, In};
use super::dump;
use super::words::{Shared, Words};
use super::writing::{Last, MOST_OWN, WITHIN, kind};
use crate::model::*;
use std::collections::HashMap;
use std::sync::Arc;

/// More than this of anything in one observation is damage: 10 kHz for a second, of a hundred threads.
const MOST: usize = 1 << 20;

pub(super) fn judging(input: &mut In<'_>) -> Result<Judging, Damaged> {
    let (slow_threshold, slow_window) = (Nanos(input.word()?), Nanos(input.word()?));
    let mut own = Vec::new();
    for _ in 0..input.count(MOST_OWN)? {
        own.push(input.text()?.to_owned());
    }
    Ok(Judging {
        slow_threshold,
        slow_window,
        own,
    })
}

/// What was read before, in this part.
#[derive(Debug, Default)]
pub(super) struct Reading {
    words: Words,
    at: u64,
    switches: u64,
    context_version: u64,
    process_cpu: u64,
    otop_cpu: u64,
    steal: u64,
    last: HashMap<ThreadIndex, Last>,
}

impl Reading {
    pub fn observation(&mut self, input: &mut In<'_>, shared: &mut Shared) -> Result<Observation, Damaged> {
        Ok(match input.byte()? {
            kind::BATCH => Observation::Batch(self.batch(input)?),
            kind::STEAL_AND_BATCH => {
                self.steal = input.step(self.steal)?;
                Observation::Batch(Batch {
                    steal: Some(Nanos(self.steal)),
                    ..self.batch(input)?
                })
            }
            kind::STACKS => Observation::Stacks(self.stacks(input, shared)?),
            kind::CENSUS => Observation::Census(Box::new(self.census(input)?)),
            kind::WAITING => Observation::Waiting(self.waiting(input)?),
            kind::LABELS => Observation::Labels(self.words.key(input)?, Arc::new(self.labels(input)?)),
            kind::DUMP => Observation::Dump(self.at(input)?, Box::new(dump::read(input, &mut self.words)?)),
            kind::ENDED => Observation::Ended(self.ending(input)?),
            _ => return Err(Damaged),
        })
    }

    fn batch(&mut self, input: &mut In<'_>) -> Result<Batch, Damaged> {
        let mut batch = Batch {
            ticks: many(input, |input| self.tick(input))?,
            ..Batch::default()
        };
        batch.samples = many(input, |input| self.sample(input))?;
        batch.threads = many(input, |input| {
            Ok(ThreadFacts {
                index: ThreadIndex(input.small()?),
                tid: Tid(integer(input)?),
                name: self.words.text(input)?.to_string(),
                is_loop: input.flag()?,
            })
        })?;
        batch.ended = many(input, |input| Ok(ThreadIndex(input.small()?)))?;
        batch.missed = input.small()?;
        batch.process_cpu = input.maybe(|input| {
            self.process_cpu = input.step(self.process_cpu)?;
            Ok(Nanos(self.process_cpu))
        })?;
        self.otop_cpu = input.step(self.otop_cpu)?;
        batch.otop_cpu = Nanos(self.otop_cpu);
        batch.dropped_batches = input.number()?;
        Ok(batch)
    }

    fn tick(&mut self, input: &mut In<'_>) -> Result<Tick, Damaged> {
        Ok(Tick {
            at: self.at(input)?,
            late: Nanos(input.number()?),
            own_wait: Nanos(input.number()?),
            suspended: Nanos(input.number()?),
            held: Nanos::ZERO,
            gil: Gil {
                holder: input.maybe(|input| Ok(ThreadIndex(input.small()?)))?,
                switches: {
                    self.switches = input.step(self.switches)?;
                    self.switches
                },
            },
            collecting: maybe_flag(input)?,
            first: input.small()?,
            count: input.small()?,
        })
    }

    fn sample(&mut self, input: &mut In<'_>) -> Result<Sample, Damaged> {
        let bits = input.byte()?;
        let thread = ThreadIndex(input.small()?);
        let (owner, within, state) = if bits >> 5 == WITHIN {
            let (within, state) = {
                let bits = input.byte()?;
                self.owner_and_state(input, bits)?
            };
            (self.owner(input, bits)?, Some(within), state)
        } else {
            let (owner, state) = self.owner_and_state(input, bits)?;
            (owner, None, state)
        };
        let last = self.last.entry(thread).or_default();
        let mut next = |is_there: bool, before: &mut u64| -> Result<Option<u64>, Damaged> {
            if !is_there {
                return Ok(None);
            }
            *before = input.step(*before)?;
            Ok(Some(*before))
        };
        Ok(Sample {
            thread,
            owner,
            within,
            state,
            step: next(bits & 1 != 0, &mut last.step)?,
            progress: next(true, &mut last.progress)?.ok_or(Damaged)?,
            cpu: next(bits & 2 != 0, &mut last.cpu)?.map(Nanos),
            run_delay: next(bits & 4 != 0, &mut last.run_delay)?.map(Nanos),
        })
    }

    fn owner(&mut self, input: &mut In<'_>, bits: u8) -> Result<Owner, Damaged> {
        Ok(match bits >> 3 & 3 {
            0 => Owner::Session(self.words.key(input)?),
            1 => Owner::Nobody,
            2 => Owner::Torn,
            _ => Owner::Unreadable,
        })
    }

    fn owner_and_state(&mut self, input: &mut In<'_>, bits: u8) -> Result<(Owner, State), Damaged> {
        let owner = self.owner(input, bits)?;
        let state = match bits >> 5 {
            0 => State::Runnable,
            1 => State::GilWait,
            2 => State::Syscall(integer(input)?),
            3 => State::Stopped,
            4 => State::Unknown,
            _ => return Err(Damaged),
        };
        Ok((owner, state))
    }

    fn stacks(&mut self, input: &mut In<'_>, shared: &mut Shared) -> Result<StackBatch, Damaged> {
        let samples = many(input, |input| {
            let bits = input.byte()?;
            let at = self.at(input)?;
            let thread = ThreadIndex(input.small()?);
            let (owner, state) = self.owner_and_state(input, bits)?;
            self.context_version = input.step(self.context_version)?;
            let collects_explicitly = maybe_flag(input)?;
            let stack = (bits & 4 != 0).then(|| self.words.stack(input, shared));
            Ok(StackSample {
                at,
                thread,
                owner,
                context_version: self.context_version,
                in_step: bits & 1 != 0,
                state,
                collecting: bits & 2 != 0,
                collects_explicitly,
                stack: stack.transpose()?,
            })
        })?;
        Ok(StackBatch {
            samples,
            until: self.at(input)?,
            ticks: input.small()?,
            missed: input.small()?,
            mode: match input.byte()? {
                0 => StackMode::OwnCpu,
                1 => StackMode::OtherCpu,
                2 => StackMode::Interrupt,
                _ => return Err(Damaged),
            },
        })
    }

    fn census(&mut self, input: &mut In<'_>) -> Result<Census, Damaged> {
        Ok(Census {
            at: self.at(input)?,
            took: Nanos(input.number()?),
            sessions: many(input, |input| self.session(input))?,
            loops: many(input, |input| {
                Ok(LoopFacts {
                    kind: match input.byte()? {
                        0 => LoopKind::Asyncio,
                        1 => LoopKind::Uvloop,
                        2 => LoopKind::Other,
                        _ => return Err(Damaged),
                    },
                    thread: input.maybe(|input| Ok(ThreadIndex(input.small()?)))?,
                    ready: input.maybe(In::small)?,
                    tasks: input.small()?,
                })
            })?,
            tasks: input.small()?,
            session_from: input.maybe(|input| Ok(self.words.text(input)?.to_string()))?,
            asyncio_imported: input.flag()?,
            pool: input.maybe(|input| self.pool(input))?,
            rss_bytes: input.maybe(In::number)?,
            host: host(input)?,
            unreadable: input.small()?,
            stopped: input.flag()?,
            frozen: false,
            // Nobody's worker is stopped for a recording.
            pause: None,
        })
    }

    fn session(&mut self, input: &mut In<'_>) -> Result<SessionFacts, Damaged> {
        let key = self.words.key(input)?;
        let labels = Arc::new(self.labels(input)?);
        let flags = input.byte()?;
        Ok(SessionFacts {
            key,
            labels,
            live: flags & 1 != 0,
            errored: flags & 2 != 0,
            pinned: flags & 4 != 0,
            tasks: input.small()?,
            started_unix: input.maybe(In::float)?,
            reading: input.maybe(|input| {
                Ok(crate::model::Reading {
                    function: self.words.text(input)?,
                    file: self.words.text(input)?,
                    line: input.small()?,
                    state: state_word(&self.words.text(input)?),
                })
            })?,
        })
    }

    fn pool(&mut self, input: &mut In<'_>) -> Result<PoolFacts, Damaged> {
        Ok(PoolFacts {
            draining: maybe_flag(input)?,
            max_sessions: input.maybe(In::number)?,
            started: input.maybe(In::number)?,
            failed: input.maybe(In::number)?,
            last_error: self.words.maybe_text(input)?.map(|text| text.to_string()),
            uptime_s: input.maybe(In::float)?,
        })
    }

    fn waiting(&mut self, input: &mut In<'_>) -> Result<Waiting, Damaged> {
        Ok(Waiting {
            at: self.at(input)?,
            thread: ThreadIndex(input.small()?),
            sessions: input.maybe(|input| many(input, |input| self.words.key(input)))?,
            peer: input.maybe(|input| self.peer(input))?,
        })
    }

    fn peer(&mut self, input: &mut In<'_>) -> Result<Peer, Damaged> {
        let peer = Peer {
            syscall: i32::try_from(input.small()?).map_err(|_| Damaged)?,
            address: self.words.text(input)?,
        };
        // It is shown as it is.
        match peer.address.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(peer),
            false => Err(Damaged),
        }
    }

    fn labels(&mut self, input: &mut In<'_>) -> Result<Labels, Damaged> {
        Ok(Labels {
            session_id: self.words.text(input)?.to_string(),
            agent: self.words.maybe_text(input)?.map(|text| text.to_string()),
            tenant: self.words.maybe_text(input)?.map(|text| text.to_string()),
        })
    }

    fn ending(&mut self, input: &mut In<'_>) -> Result<Ending, Damaged> {
        Ok(match input.byte()? {
            0 => Ending::Exited,
            1 => Ending::Execed,
            2 => Ending::Lost(self.words.text(input)?.to_string()),
            _ => return Err(Damaged),
        })
    }

    fn at(&mut self, input: &mut In<'_>) -> Result<Nanos, Damaged> {
        self.at = input.step(self.at)?;
        Ok(Nanos(self.at))
    }
}

pub(super) fn hello(input: &mut In<'_>) -> Result<Hello, Damaged> {
    let text = |input: &mut In<'_>| input.text().map(str::to_owned);
    Ok(Hello {
        pid: Pid(integer(input)?),
        python: text(input)?,
        name: input.maybe(text)?,
        session_from: input.maybe(text)?,
        attached_at: Nanos(input.number()?),
        realtime_offset: i128::from_le_bytes(input.take(16)?.try_into().map_err(|_| Damaged)?),
        started_unix: input.maybe(In::float)?,
        vcpus: Some(input.small()?).filter(|&vcpus| vcpus > 0),
        rate_hz: input.float()?,
        stack_rate_hz: input.maybe(In::float)?,
        library: input.maybe(text)?,
    })
}

fn host(input: &mut In<'_>) -> Result<HostFacts, Damaged> {
    Ok(HostFacts {
        cpu_pct: input.maybe(In::float)?,
        mem_used_bytes: input.maybe(In::number)?,
        mem_total_bytes: input.maybe(In::number)?,
        swap_used_bytes: input.maybe(In::number)?,
        swap_total_bytes: input.maybe(In::number)?,
        load: input.maybe(|input| Ok([input.float()?, input.float()?, input.float()?]))?,
        net_rate_bps: input.maybe(In::float)?,
    })
}

pub(super) fn many<'a, T>(
    input: &mut In<'a>,
    mut read: impl FnMut(&mut In<'a>) -> Result<T, Damaged>,
) -> Result<Vec<T>, Damaged> {
    let count = input.count(MOST)?;
    // Not the whole capacity at once: what is promised need not be there.
    let mut all = Vec::with_capacity(count.min(4_096));
    for _ in 0..count {
        all.push(read(input)?);
    }
    Ok(all)
}

pub(super) fn integer(input: &mut In<'_>) -> Result<i32, Damaged> {
    i32::try_from(input.signed()?).map_err(|_| Damaged)
}

fn maybe_flag(input: &mut In<'_>) -> Result<Option<bool>, Damaged> {
    match input.byte()? {
        0 => Ok(None),
        1 => Ok(Some(false)),
        2 => Ok(Some(true)),
        _ => Err(Damaged),
    }
}

/// The words that the reading side has for the state of a place; another one is not known here.
fn state_word(word: &str) -> &'static str {
    const WORDS: [&str; 3] = ["running", "waiting", "ready"];
    WORDS.into_iter().find(|known| *known == word).unwrap_or("unknown")
}
