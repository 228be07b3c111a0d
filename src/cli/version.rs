//! What `otop --version` says. Knows nothing of how the commit was found; `build.rs` does.

use crate::cpython::MINORS;
use std::sync::LazyLock;

static SHORT: LazyLock<String> = LazyLock::new(|| match option_env!("OTOP_BUILT_FROM") {
    Some(commit) => format!("{} (commit {commit})", env!("CARGO_PKG_VERSION")),
    None => env!("CARGO_PKG_VERSION").to_owned(),
});

static LONG: LazyLock<String> = LazyLock::new(|| {
    let (first, last) = (MINORS.first().copied(), MINORS.last().copied());
    format!(
        "{}\nReads CPython 3.{} to 3.{} with a GIL, stock asyncio and uvloop, on Linux x86-64.",
        *SHORT,
        first.unwrap_or(0),
        last.unwrap_or(0)
    )
});

/// `0.1.0`, with the commit behind it where the build knew one.
pub fn short() -> &'static str {
    &SHORT
}

/// With the Pythons and the machines that this build reads.
pub fn long() -> &'static str {
    &LONG
}
