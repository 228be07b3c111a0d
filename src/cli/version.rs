//! What `otop --version` says. Knows nothing of how the commit was found; `build.rs` does.

use crate::cpython::MINORS;

/// `0.1.0`, with the commit behind it where the build knew one.
pub fn short() -> String {
    match option_env!("OTOP_BUILT_FROM") {
        Some(commit) => format!("{} (commit {commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// With the Pythons and the machines that this build reads.
pub fn long() -> String {
    let (first, last) = (
        MINORS.first().copied().unwrap_or(0),
        MINORS.last().copied().unwrap_or(0),
    );
    format!(
        "{}\nReads CPython 3.{first} to 3.{last} with a GIL, stock asyncio and uvloop, on Linux x86-64.",
        short()
    )
}
