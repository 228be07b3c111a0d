//! Takes the terminal and gives it back, whatever happens: quit, error, panic, signal. Knows nothing of what is drawn.

use super::draw;
use super::style::Palette;
use crate::model::{Nanos, Report};
use crate::view::{self, ViewState};
use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::{Hide, Show};
use crossterm::style::ResetColor;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, window_size};
use crossterm::{Command, execute};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal is in raw mode and on the alternate screen, and has to be brought back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Not `Stdout`: its lock could be held by a draw that hangs or panics while another thread restores.
type Output = BufWriter<File>;

/// The terminal, as long as it is ours.
pub struct Screen {
    /// Never dropped: ratatui would show the cursor once more, and where the terminal is gone complain about it with
    /// `eprintln!`, which panics there. `restore` does what is to be done.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Output>>>,
    size: Rect,
    palette: Palette,
}

impl Screen {
    /// Takes the terminal. Standard output must be one.
    pub fn open(colour: bool) -> io::Result<Screen> {
        restore_on_panic();
        let size = size()?;
        let output = BufWriter::with_capacity(1 << 16, File::from(io::stdout().as_fd().try_clone_to_owned()?));
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let opened = Screen::enter(output, size, colour);
        if opened.is_err() {
            restore();
        }
        opened
    }

    fn enter(mut output: Output, size: Rect, colour: bool) -> io::Result<Screen> {
        execute!(output, EnterAlternateScreen, Hide)?;
        // A fixed viewport, because ratatui would else ask for the size in a way that starts a process (`tput`) when
        // the terminal is gone.
        let options = TerminalOptions {
            viewport: Viewport::Fixed(size),
        };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(output), options)?;
        terminal.resize(size)?;
        Ok(Screen {
            terminal: ManuallyDrop::new(terminal),
            size,
            palette: Palette { colour },
        })
    }

    /// Draws what the view shows of the report. An error means that there is no terminal any more. `now` is
    /// `CLOCK_MONOTONIC`.
    pub fn draw(&mut self, view: &mut ViewState, report: &Report, now: Nanos) -> io::Result<()> {
        if !IS_TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the terminal was given back"));
        }
        let size = size()?;
        if size != self.size {
            self.terminal.resize(size)?;
            self.size = size;
        }
        let picture = view::picture(view, report, now, size.width.into(), size.height.into());
        self.terminal.draw(|frame| draw(frame, &picture, self.palette))?;
        view.saw(&picture);
        Ok(())
    }

    /// Puts the text on the clipboard of the terminal, where it can (OSC 52); one that cannot ignores it.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it is taken. May be called from any thread, and more than once.
pub fn restore() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut leave = String::new();
    // Writing into a string cannot fail.
    let _ = ResetColor.write_ansi(&mut leave);
    let _ = LeaveAlternateScreen.write_ansi(&mut leave);
    let _ = Show.write_ansi(&mut leave);
    // There is nobody left to tell if the terminal is gone.
    if let Ok(output) = io::stdout().as_fd().try_clone_to_owned() {
        let _ = File::from(output).write_all(leave.as_bytes());
    }
    let _ = disable_raw_mode();
}

/// A panic's message belongs on the normal screen, in cooked mode.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}

/// Size of the terminal; 80×24 where it does not say (a pty that nobody gave a size).
fn size() -> io::Result<Rect> {
    let size = window_size()?;
    Ok(match (size.columns, size.rows) {
        (0, _) | (_, 0) => Rect::new(0, 0, 80, 24),
        (columns, rows) => Rect::new(0, 0, columns, rows),
    })
}
