//! A mistake in otop itself: kept from the terminal where it happens, and told as one line at the end. Knows nothing of
//! terminals; `tui` gives its own back before this hook is asked.

use std::sync::Mutex;

static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Panics leave a note instead of a backtrace.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let place = panic
            .location()
            .map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
        if let Ok(mut first) = FIRST.lock() {
            first.get_or_insert_with(|| format!("{text}{place}"));
        }
    }));
}

/// What the first panic of any thread said, if there was one.
pub fn noted() -> Option<String> {
    FIRST.lock().ok()?.clone()
}

/// The line about it.
pub fn line(note: &str) -> String {
    crate::view::printable(&format!("otop: a mistake in otop itself, please report it: {note}"))
}
