//! Standard output as a file that may be closed at any time. Knows nothing of what is written.

use super::error::CliError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

/// Writes all of it and makes sure that it has arrived.
pub fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(failed)
}

fn failed(error: std::io::Error) -> CliError {
    CliError::Output {
        what: "standard output".to_owned(),
        error,
    }
}

/// Nobody reads any more: said before there is something to write, since a window may be long.
pub fn check_open() -> Result<(), CliError> {
    let stdout = std::io::stdout();
    let mut files = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let asked = poll(&mut files, PollTimeout::ZERO);
    let says = files[0].revents().unwrap_or(PollFlags::empty());
    match asked {
        Ok(_) if says.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) => {
            Err(failed(std::io::Error::from_raw_os_error(nix::libc::EPIPE)))
        }
        _ => Ok(()),
    }
}

/// Somebody can look at a live table and press keys.
pub fn has_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Columns of the terminal; None where standard output is none.
pub fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    crossterm::terminal::size()
        .ok()
        .map(|(columns, _)| usize::from(columns))
        .filter(|&columns| columns > 0)
}

/// Escape codes for colours are welcome.
pub fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && crate::tui::wants_colour()
}

/// A word for the user, not for what reads standard output.
pub fn say(word: &str) {
    say_line(&crate::view::printable(&format!("otop: {word}")));
}

/// A line, or several, on standard error. Not `eprintln!`, which panics where nobody reads.
pub fn say_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end_matches('\n'));
}
