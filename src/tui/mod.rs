//! The live screen on a real terminal, and the keys that come from it. What stands on the screen is decided in
//! `view`; here it is only put there. Knows nothing of workers, and owns no loop: `cli` does.
//!
//! ```text
//! let mut screen = Screen::open(tui::wants_colour())?;      // raw mode, alternate screen; dropped: restored
//! tui::events(move |input| sender.send(input).is_ok())?;    // the input thread
//! loop {
//!     screen.draw(&mut view, &report, now)?;                // an error: the terminal is gone, so end
//!     match receive() {
//!         Input::Key(key) => …                              // view::action_for, then ViewState::update; its Effect is the loop's
//!         Input::Resize => {}                               // the next draw sees the new size
//!         Input::Gone => break,
//!     }
//! }
//! ```
//!
//! The terminal is restored when the `Screen` is dropped, by a panic in any thread, and by `restore()`, which a
//! signal handler's thread may call at any time; whichever comes first does it, the others do nothing.

mod draw;
mod input;
#[cfg(test)]
mod page_tests;
mod quit_key;
mod style;
mod terminal;
#[cfg(test)]
mod tests;

pub use draw::draw;
pub use input::{Input, events};
pub use quit_key::QuitKey;
pub use style::Palette;
pub use terminal::{Screen, restore};

/// Colours are wanted, unless `NO_COLOR` says otherwise (<https://no-color.org>).
pub fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
