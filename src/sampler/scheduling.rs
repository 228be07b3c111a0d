//! The sampler's place in the kernel's order: woken in time, also on a machine that is busy; and that of who holds a worker.
//! Beside `bpf/kernel.rs` the only file with calls that have no safe wrapper. Knows nothing of what the thread does.
#![allow(unsafe_code)]

use nix::libc;

/// Asks that the calling thread be woken as exactly as the kernel can, and before all that is not real-time
/// (`SCHED_FIFO`, the lowest priority of it). Without the right to that it stays as it is. Returns whether it was given.
///
/// At 1 kHz the sampler uses a few per cent of one CPU, in pieces of some ten microseconds, so that it displaces nobody
/// for long; on a loaded CPU an ordinary thread gets only half of its ticks in time, which would blame the worker for the
/// machine.
pub fn be_woken_in_time() -> bool {
    let _ = nix::sys::prctl::set_timerslack(1);
    schedule(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1)
}

/// Asks that the calling thread, and those that it starts, go before all that is not real-time: while they hold a worker,
/// it waits for them, and not for whatever else the machine does. Without the right to that they stay as they are.
pub fn go_first_with_children() -> bool {
    schedule(libc::SCHED_FIFO, 1)
}

/// The calling thread is an ordinary one again, which takes no right.
pub fn go_with_all() {
    let _ = schedule(libc::SCHED_OTHER, 0);
}

fn schedule(policy: libc::c_int, sched_priority: libc::c_int) -> bool {
    let parameter = libc::sched_param { sched_priority };
    // SAFETY: 0 is the calling thread; the parameter is a valid `sched_param` that outlives the call, which only reads it.
    unsafe { libc::sched_setscheduler(0, policy, &parameter) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class() -> String {
        // proc(5): field 41 of `stat`, the policy.
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("own thread");
        let behind_name = stat.rsplit_once(") ").expect("a name").1;
        behind_name.split(' ').nth(41 - 3).expect("a policy").to_owned()
    }

    #[test]
    fn who_goes_first_takes_its_children_along_and_each_may_go_back() {
        let thread = std::thread::spawn(|| {
            if !go_first_with_children() {
                return;
            }
            let child = std::thread::spawn(|| {
                let before = class();
                go_with_all();
                (before, class())
            });
            assert_eq!(child.join().expect("it ends"), ("1".to_owned(), "0".to_owned()));
            assert_eq!(class(), "1");
            // Those of the samplers are their own.
            assert!(be_woken_in_time());
            assert_eq!(std::thread::spawn(class).join().expect("it ends"), "0");
        });
        thread.join().expect("it ends");
    }
}
