//! How long the hypervisor has kept this machine's CPUs from it. Knows nothing of threads, nor of what the time was
//! missing for.

use crate::model::Nanos;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// A machine with many CPUs and interrupts takes a millisecond to say it (it counts them all for the lines below): no
/// more than this part of the time is spent on asking.
const AT_MOST: u32 = 500;

/// The open file, and when it may be read again.
#[derive(Debug)]
pub struct StealClock {
    stat: Option<File>,
    /// Nanoseconds of one of the units in which the kernel counts.
    unit: u64,
    not_before: Option<Instant>,
}

impl StealClock {
    pub fn open() -> StealClock {
        StealClock {
            stat: File::open("/proc/stat").ok(),
            unit: 1_000_000_000 / procfs::ticks_per_second().max(1),
            not_before: None,
        }
    }

    /// All CPUs together, since the machine booted (`/proc/stat`, `steal`), in whole hundredths of a second. A CPU that is
    /// given back says so at its next scheduler tick, up to 10 ms later. None: it was asked a moment ago, or does not say.
    pub fn read(&mut self) -> Option<Nanos> {
        let began = Instant::now();
        if self.not_before.is_some_and(|not_before| began < not_before) {
            return None;
        }
        let mut buffer = [0; 256];
        let length = self.stat.as_ref()?.read_at(&mut buffer, 0).ok()?;
        let units = steal(buffer.get(..length)?)?;
        self.not_before = Some(Instant::now() + began.elapsed().min(Duration::from_millis(20)) * AT_MOST);
        Some(Nanos(units.saturating_mul(self.unit)))
    }
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice` (fs/proc/stat.c, `show_stat`).
fn steal(stat: &[u8]) -> Option<u64> {
    let line = stat.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    (words.next()? == "cpu").then(|| words.nth(7)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eighth_of_all_cpus() {
        let stat = b"cpu  5000764 636265 636855 3079921 14681 0 56227 58425 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(steal(stat), Some(58_425));
        // A kernel before 2.6.11, and a file of something else.
        for stat in [
            &b"cpu  1 2 3 4 5 6 7\n"[..],
            b"",
            b"cpu0 1 2 3 4 5 6 7 8\n",
            b"cpu  1 2 3 4 5 6 7 x\n",
        ] {
            assert_eq!(steal(stat), None);
        }
    }

    #[test]
    fn it_never_shrinks_and_asking_is_a_small_part_of_the_time() {
        let mut clock = StealClock::open();
        let first = clock.read().expect("every kernel of today has it");
        assert_eq!(clock.read(), None, "asked a moment ago");
        let (began, mut read) = (Instant::now(), Vec::new());
        while read.len() < 3 && began.elapsed() < Duration::from_secs(60) {
            read.extend(clock.read());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(
            read.len() == 3 && read.iter().all(|now| *now >= first),
            "{first:?} {read:?}"
        );
    }
}
