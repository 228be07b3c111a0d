//! Which of libuv's callbacks runs: a word that is another one for the next callback, also where both are timers or
//! sockets of one turn and share a context. Knows nothing of steps, and of Python.
//!
//! Nothing that libuv counts moves between two callbacks of one turn. What does:
//!
//! - Sockets. While `uv__io_poll` hands out what epoll said, a word of its `uv__loop_internal_fields_t` points to its own
//!   frame on the stack (`inv`), and right below that frame lie those of `w->cb` and `uv__read`: the socket, and how
//!   often it may still be read. They stand still for as long as the callback runs.
//! - Timers. uvloop closes a timer when its callback is over (`TimerHandle._run`), which puts it at the head of
//!   `loop->closing_handles`.
//!
//! The same word proves the same callback. Another word may be the same callback still: a step that cancels a timer.

use crate::memory::Scatter;
use crate::model::Addr;

/// More than `uv__loop_internal_fields_t` of libuv 1.48 to 1.52.
const FIELDS: usize = 448;
/// `closing_handles` in `uv_loop_t` (include/uv/unix.h; `time`, whose place is known too, follows at 544).
const CLOSING: u64 = 360;
/// The frame of `uv__io_poll` has 1024 `struct epoll_event` and little more.
const POLL_FRAME: u64 = 16 << 10;
/// The frames of `uv__stream_io` and `uv__read` lie within so much below it, and no Python's.
const BELOW: u64 = 640;

/// Where to look in one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Libuv {
    /// Its `uv_loop_t`.
    pub uv_loop: Addr,
    /// Its `uv__loop_internal_fields_t`.
    pub fields: Addr,
}

/// Slots of a scatter read.
#[derive(Clone, Copy, Debug)]
pub struct CallbackSlots {
    fields: usize,
    closing: usize,
    stack: usize,
    /// The stack pointer where the loop sleeps in epoll.
    sleeps_at: u64,
}

impl Libuv {
    /// Reads into `scatter` what tells the callbacks apart. `sleeps_at`: the stack pointer of the loop's thread in
    /// `epoll_wait`, which `uv__io_poll` called.
    pub fn push(&self, sleeps_at: u64, scatter: &mut Scatter) -> CallbackSlots {
        CallbackSlots {
            fields: scatter.push(self.fields, FIELDS),
            closing: scatter.push(self.uv_loop.offset(CLOSING), 8),
            stack: scatter.push(Addr(sleeps_at.saturating_sub(BELOW)), BELOW as usize),
            sleeps_at,
        }
    }
}

impl CallbackSlots {
    /// The word; None: not readable.
    pub fn word(&self, scatter: &Scatter) -> Option<u64> {
        word(
            scatter.bytes(self.fields)?,
            scatter.u64(self.closing, 0)?,
            scatter.bytes(self.stack)?,
            self.sleeps_at,
        )
    }
}

fn word(fields: &[u8], closing: u64, stack: &[u8], sleeps_at: u64) -> Option<u64> {
    let own_frame = sleeps_at..sleeps_at.saturating_add(POLL_FRAME);
    let mut words = fields.chunks_exact(8).filter_map(|word| word.try_into().ok());
    let hands_out = words.any(|word| own_frame.contains(&u64::from_le_bytes(word)));
    Some(if hands_out { fold(stack) } else { closing | 1 << 63 })
}

/// FNV-1a, by words; without its highest bit, which says that it is no address.
fn fold(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
    let all = words.fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ u64::from_le_bytes(word))
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23)
    });
    all & !(1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SP: u64 = 0x7ffc_0000_1000;

    fn fields(inv: u64) -> Vec<u8> {
        let mut bytes = vec![0; FIELDS];
        bytes[432..440].copy_from_slice(&inv.to_le_bytes());
        bytes
    }

    #[test]
    fn a_socket_is_told_by_the_frames_below_epoll() {
        let (one, other) = ([1; BELOW as usize], [2; BELOW as usize]);
        let hands_out = fields(SP + 12_000);
        assert_eq!(word(&hands_out, 5, &one, SP), word(&hands_out, 6, &one, SP));
        assert_ne!(word(&hands_out, 5, &one, SP), word(&hands_out, 5, &other, SP));
    }

    #[test]
    fn a_timer_is_told_by_the_one_that_was_closed_last() {
        let (one, other) = ([1; BELOW as usize], [2; BELOW as usize]);
        let timers = fields(0);
        assert_eq!(word(&timers, 5, &one, SP), word(&timers, 5, &other, SP));
        assert_ne!(word(&timers, 5, &one, SP), word(&timers, 6, &one, SP));
        assert_ne!(word(&timers, 5, &one, SP), word(&fields(SP + 12_000), 5, &one, SP));
    }
}
