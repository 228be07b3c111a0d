//! What a file that otop writes is about, beside the worker's own facts. Knows nothing of files.

use super::Nanos;

/// Who wrote it, and how the worker was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The version of otop.
    pub otop: String,
    /// The worker's command line, secrets in it masked; None: not to be had.
    pub command: Option<String>,
    /// How it was judged while it was watched; None: not known, the file is an older one.
    pub judging: Option<Judging>,
}

/// What is made of what was seen, as far as a user may choose. A replay does the same, where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judging {
    /// Blocks are those that are longer than this.
    pub slow_threshold: Nanos,
    /// How long a session stays slow after one.
    pub slow_window: Nanos,
    /// Places whose files are own code, besides those that are so anyway.
    pub own: Vec<String>,
}
