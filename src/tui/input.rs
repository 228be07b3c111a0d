//! The input thread: turns what the terminal sends into keys of the view, and notices when the terminal is gone.
//! Knows nothing of what a key means.

use crate::view::Key;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::SIGWINCH;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Key(Key),
    /// The next draw sees the new size.
    Resize,
    /// The terminal hung up; no more input follows.
    Gone,
}

/// How long crossterm may look for more after it was found that there is something. Its `use-dev-tty` source, which
/// unlike the other one does not lose what is left of a paste of more than 1,024 bytes, sees nothing at all in no time.
const LOOK: Duration = Duration::from_millis(1);

/// Starts the input thread. It ends when `deliver` says false, or with the terminal.
pub fn events(deliver: impl FnMut(Input) -> bool + Send + 'static) -> io::Result<JoinHandle<()>> {
    let tty = tty()?;
    let (resized, on_resize) = UnixStream::pair()?;
    resized.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGWINCH, on_resize)?;
    thread::Builder::new()
        .name("otop-input".to_owned())
        .spawn(move || follow(&tty, resized, deliver))
}

/// The file that crossterm reads keys from.
fn tty() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => stdin.as_fd().try_clone_to_owned(),
        false => Ok(File::open("/dev/tty")?.into()),
    }
}

/// crossterm is asked only when there is something to read: its own wait does not say that a terminal hung up, and
/// turns in a circle at full speed.
fn follow(tty: &OwnedFd, mut resized: UnixStream, mut deliver: impl FnMut(Input) -> bool) {
    loop {
        let mut ready = [
            PollFd::new(tty.as_fd(), PollFlags::POLLIN),
            PollFd::new(resized.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => break,
        }
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let [tty_says, resize_says] = ready.map(|one| one.revents().unwrap_or(PollFlags::empty()));
        if tty_says.intersects(gone) {
            break;
        }
        if resize_says.contains(PollFlags::POLLIN) {
            while matches!(resized.read(&mut [0; 64]), Ok(count) if count > 0) {}
            if !deliver(Input::Resize) {
                return;
            }
        }
        if tty_says.contains(PollFlags::POLLIN) {
            match read_all(&mut deliver) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => break,
            }
        }
    }
    deliver(Input::Gone);
}

/// Delivers everything that can be read; false: nobody wants any more.
fn read_all(deliver: &mut impl FnMut(Input) -> bool) -> io::Result<bool> {
    while event::poll(LOOK)? {
        let input = match event::read()? {
            Event::Key(key) => key_of(key).map(Input::Key),
            Event::Resize(..) => Some(Input::Resize),
            _ => None,
        };
        if input.is_some_and(|input| !deliver(input)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The key as the view knows it; None: one that it has no use for.
fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    let with_alt = key.modifiers.contains(KeyModifiers::ALT);
    Some(match key.code {
        KeyCode::Char(c) if with_control => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(_) if with_alt => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_terminal_become_keys_of_the_view() {
        let key = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Char('q')));
        assert_eq!(key(KeyCode::Char('I'), KeyModifiers::SHIFT), Some(Key::Char('I')));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Ctrl('c')));
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::ALT), None);
        assert_eq!(key(KeyCode::PageDown, KeyModifiers::NONE), Some(Key::PageDown));
        assert_eq!(key(KeyCode::F(5), KeyModifiers::NONE), None);
        let mut released = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert_eq!(key_of(released), None);
    }
}
