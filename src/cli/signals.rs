//! Signals that ask otop to end. The first is noted, and the loops look at the note; the second one kills, in case a loop
//! hangs in a terminal that takes nothing.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone, Default)]
pub struct Signals {
    raised: Arc<AtomicBool>,
}

impl Signals {
    /// From here on these signals no longer end the process by themselves.
    pub fn listen() -> anyhow::Result<Signals> {
        let signals = Signals::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the second one finds the note of the first.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&signals.raised))?;
            signal_hook::flag::register(signal, Arc::clone(&signals.raised))?;
        }
        Ok(signals)
    }

    pub fn raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}
