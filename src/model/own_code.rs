//! Which code is the user's own: the one rule by which `where`, blocks and dumps choose the line that they show. Knows
//! nothing of how frames are read.

use super::Frame;
use std::sync::Arc;

/// Own code is a file outside the interpreter's standard library, any site-packages or dist-packages, and `<frozen …>`.
#[derive(Clone, Debug, Default)]
pub struct OwnCode {
    /// The folder of the standard library, with a slash at its end; None: not known.
    library: Option<String>,
    /// Files that begin with one of these are own code, wherever they are.
    own: Vec<String>,
}

impl OwnCode {
    pub fn new(library: Option<String>, own: Vec<String>) -> OwnCode {
        let library = library.map(|folder| format!("{}/", folder.trim_end_matches('/')));
        OwnCode { library, own }
    }

    pub fn is_own(&self, file: &str) -> bool {
        self.own.iter().any(|prefix| file.starts_with(prefix.as_str()))
            || !(self.is_library(file) || is_installed(file))
    }

    /// The frame to show: the innermost of own code; if there is none, the innermost outside the standard library; if
    /// there is none, the innermost. `frames` are innermost first; None: there are none.
    pub fn place(&self, frames: &[Arc<Frame>]) -> Option<usize> {
        let own = frames.iter().position(|frame| self.is_own(&frame.file));
        let foreign = || frames.iter().position(|frame| !self.is_library(&frame.file));
        own.or_else(foreign).or((!frames.is_empty()).then_some(0))
    }

    /// In the standard library, or frozen into the interpreter.
    fn is_library(&self, file: &str) -> bool {
        let inside = self
            .library
            .as_ref()
            .is_some_and(|library| file.starts_with(library.as_str()));
        file.starts_with("<frozen ") || (inside && !is_installed(file))
    }
}

/// Installed by pip or a distribution.
fn is_installed(file: &str) -> bool {
    file.split('/')
        .any(|part| matches!(part, "site-packages" | "dist-packages"))
}
