//! The key `q` beside lines of output: the terminal stays as it is, but for keys that come one by one and are not shown.
//! Knows nothing of what is written meanwhile.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp};
use std::io::{Stdin, stdin};
use std::os::fd::AsFd;

/// Keys of the terminal, as long as it is ours. Dropped: the terminal is as it was.
pub struct QuitKey {
    terminal: Stdin,
    before: Termios,
}

impl QuitKey {
    /// None: standard input is no terminal, or another program is in its foreground and would be disturbed.
    pub fn listen() -> Option<QuitKey> {
        let terminal = stdin();
        let before = tcgetattr(&terminal).ok()?;
        if tcgetpgrp(&terminal).ok()? != getpgrp() {
            return None;
        }
        let mut by_key = before.clone();
        // Signals stay: Ctrl-C ends, Ctrl-Z stops.
        by_key.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        for (index, value) in [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)] {
            if let Some(place) = by_key.control_chars.get_mut(index as usize) {
                *place = value;
            }
        }
        tcsetattr(&terminal, SetArg::TCSANOW, &by_key).ok()?;
        Some(QuitKey { terminal, before })
    }

    /// `q` was pressed, or the terminal is gone. Does not wait.
    pub fn was_pressed(&self) -> bool {
        let mut files = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        let asked = poll(&mut files, PollTimeout::ZERO);
        let says = files[0].revents().unwrap_or(PollFlags::empty());
        if !matches!(asked, Ok(1)) || !says.contains(PollFlags::POLLIN) {
            return says.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL);
        }
        let mut keys = [0; 64];
        match read(&self.terminal, &mut keys) {
            Ok(0) => true,
            Ok(count) => keys.iter().take(count).any(|key| matches!(key, b'q' | b'Q')),
            Err(error) => !matches!(error, Errno::EINTR | Errno::EAGAIN),
        }
    }
}

impl Drop for QuitKey {
    fn drop(&mut self) {
        // There is nobody left to tell if the terminal is gone.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}
