//! Signals that ask otop to end. The first is noted, and the loops look at the note; the second one kills, in case a loop
//! hangs in a terminal that takes nothing.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
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
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    /// It would end this test's process by itself, and leave a live table's terminal as it is. The second of them still
    /// does, so that there is one here; of the others, live tests.
    #[test]
    fn the_signal_that_asks_to_quit_is_noted() {
        let signals = Signals::listen().expect("listens");
        assert!(!signals.raised());
        raise(Signal::SIGQUIT).expect("sent");
        assert!(signals.raised());
    }
}
