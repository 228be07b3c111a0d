//! What it costs only to wake up as often as otop does: `sleeper RATE STACK_RATE SECONDS [CPU]` sleeps to the same
//! wake-ups as otop at these rates, and does nothing else. The second thread keeps to CPU, as the stack sampler keeps to the
//! worker's. Prints the CPU seconds that it took a second. Started by scripts/bench in otop's scheduling class, by chrt.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::Pid;
use std::error::Error;
use std::time::Duration;

/// The walker looks at the loops, and the main thread takes a batch of either sampler, so often.
const OTHERS_HZ: f64 = 40.0 + 2.0 * 20.0;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| {
        words
            .get(at)
            .ok_or("RATE STACK_RATE SECONDS [CPU]")?
            .parse::<f64>()
            .map_err(|e| e.to_string())
    };
    let (rate, stack_rate, seconds) = (number(0)?, number(1)?, number(2)?);
    let cpu: Option<usize> = words.get(3).map(|word| word.parse()).transpose()?;
    for (hz, pinned) in [(rate, None), (stack_rate, cpu), (OTHERS_HZ, None)] {
        if hz > 0.0 {
            std::thread::spawn(move || sleep_to(hz, pinned));
        }
    }
    // Its start is no part of it.
    std::thread::sleep(Duration::from_millis(300));
    let (cpu, wall) = (
        clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)?,
        clock(ClockId::CLOCK_MONOTONIC)?,
    );
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (cpu, wall) = (
        clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - cpu,
        clock(ClockId::CLOCK_MONOTONIC)? - wall,
    );
    println!("{:.6}", cpu / wall);
    Ok(())
}

/// Once in every period, at a random place in it, for ever.
fn sleep_to(hz: f64, cpu: Option<usize>) -> Result<(), nix::Error> {
    let _ = nix::sys::prctl::set_timerslack(1);
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
    }
    let period = 1.0 / hz;
    let (mut next, mut random) = (clock(ClockId::CLOCK_MONOTONIC)?, 88_172_645_463_325_252u64);
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = next + period * (random % 1000) as f64 / 1000.0;
        let at = TimeSpec::from_duration(Duration::from_secs_f64(at));
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
        next += period;
    }
}

fn clock(id: ClockId) -> Result<f64, nix::Error> {
    let now = clock_gettime(id)?;
    Ok(now.tv_sec() as f64 + now.tv_nsec() as f64 / 1e9)
}
