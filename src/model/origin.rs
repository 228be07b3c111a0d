//! What a file that otop writes is about, beside the worker's own facts. Knows nothing of files.

/// Who wrote it, and how the worker was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The version of otop.
    pub otop: String,
    /// The worker's command line, secrets in it masked; None: not to be had.
    pub command: Option<String>,
}
