//! Who is there and not watched, how many they are, and why. Knows nothing of those who are watched.

use crate::cli::error::CliError;
use crate::model::{LeftOut, Nanos, Pid};
use crate::process::Fingerprint;
use crate::source::error::AttachError;
use std::collections::BTreeMap;

/// A process that is not watched, or not yet.
pub(super) struct Passed {
    pub fingerprint: Fingerprint,
    pub is: Unwatched,
    pub ask_again: Nanos,
}

/// What is known of it.
pub(super) enum Unwatched {
    /// Nothing that it maps is named Python.
    Foreign,
    /// Python that waits for its first turn.
    Unasked,
    /// Python that runs no loop.
    Idle,
    /// Python that has not imported asyncio.
    WithoutAsyncio,
    /// A worker, and there is no place for it.
    TooMany,
    Refused(AttachError),
}

/// Refusals below a root of which one is told for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alike {
    /// It may not be read.
    Forbidden,
    /// Nothing there is named as was asked for.
    Unnamed,
    /// A Python that otop does not know.
    Unknown,
}

impl Alike {
    /// None: it is no worker, or none any more.
    fn of(error: &AttachError) -> Option<Alike> {
        match error {
            AttachError::NotPermitted { .. } => Some(Alike::Forbidden),
            AttachError::NoSuchVariable { .. }
            | AttachError::NoSuchStep { .. }
            | AttachError::NoSuchLocal { .. }
            | AttachError::NoText { .. } => Some(Alike::Unnamed),
            AttachError::Unknown { .. } | AttachError::LayoutRefused { .. } | AttachError::FreeThreaded { .. } => {
                Some(Alike::Unknown)
            }
            _ => None,
        }
    }
}

impl Passed {
    /// Whether it is to have its turn now. `is_full`: there is no place for another worker.
    pub fn is_due(&self, now: Nanos, is_full: bool) -> bool {
        match self.is {
            Unwatched::Foreign => false,
            Unwatched::Unasked => true,
            Unwatched::TooMany => !is_full || self.ask_again <= now,
            Unwatched::Idle | Unwatched::WithoutAsyncio | Unwatched::Refused(_) => self.ask_again <= now,
        }
    }
}

/// How many they are.
pub(super) fn count<'p>(all: impl Iterator<Item = &'p Unwatched>) -> LeftOut {
    let mut left_out = LeftOut::default();
    for is in all {
        match is {
            Unwatched::TooMany => left_out.too_many += 1,
            Unwatched::Refused(error) => match Alike::of(error) {
                Some(Alike::Forbidden) => left_out.unreadable += 1,
                Some(Alike::Unnamed | Alike::Unknown) => left_out.refused += 1,
                None => {}
            },
            _ => {}
        }
    }
    left_out
}

/// Of those below a root one is told for all that are alike, and how many they are.
pub(super) fn refused_below<'p>(root: Pid, all: impl Iterator<Item = &'p Unwatched>) -> Vec<CliError> {
    let mut refused: BTreeMap<Alike, (&AttachError, usize)> = BTreeMap::new();
    for is in all {
        if let Unwatched::Refused(error) = is
            && let Some(alike) = Alike::of(error)
        {
            refused.entry(alike).or_insert((error, 0)).1 += 1;
        }
    }
    let word = |(alike, (error, count)): (Alike, (&AttachError, usize))| {
        let others = match (count - 1, alike) {
            (0, _) => None,
            (1, Alike::Forbidden) => Some("process may not be read either"),
            (_, Alike::Forbidden) => Some("processes may not be read either"),
            (1, _) => Some("process is not watched for the like"),
            _ => Some("processes are not watched for the like"),
        };
        let also = others.map(|others| format!(" ({} more Python {others}, below process {root})", count - 1));
        CliError::Below {
            root,
            error: Box::new(error.clone()),
            also: also.unwrap_or_default(),
        }
    };
    refused.into_iter().map(word).collect()
}

/// Why a process that was named is not watched; None: for nothing that is its own fault.
pub(super) fn word(pid: Pid, is: &Unwatched) -> Option<String> {
    match is {
        Unwatched::Refused(error) => Some(refusal(&error.clone().into())),
        Unwatched::Idle => Some(format!(
            "process {pid} is Python that runs no event loop, so it is not watched; try: otop doctor --pid {pid}"
        )),
        Unwatched::WithoutAsyncio => Some(refusal(&CliError::NoAsyncio(pid))),
        Unwatched::Foreign | Unwatched::Unasked | Unwatched::TooMany => None,
    }
}

/// As it would be told if it were the end.
pub(super) fn refusal(error: &CliError) -> String {
    match error.remedy() {
        Some(remedy) => format!("{error}; try: {remedy}"),
        None => error.to_string(),
    }
}
