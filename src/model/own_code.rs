//! Which code is the worker's own, and which line of a stack is the one to show. One rule for running stacks and for
//! what a task waits in. Knows nothing of how frames are read; it looks at file names only.

use super::Frame;
use std::borrow::Borrow;

/// What counts as the worker's own code: a file outside of the standard library, of any `site-packages` or
/// `dist-packages`, and of `<frozen …>`; and whatever the user added with `--own`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnCode {
    /// The folder of `os.py`, as code objects name it. None: not known; then a folder `lib/python3.N` is taken for it.
    pub library: Option<String>,
    /// Places that are own, wherever they lie: beginnings of paths (`/opt/app`), or of what stands behind
    /// `site-packages` (`myapp`). They match whole parts of a path.
    pub own: Vec<String>,
}

/// How far a file is from being own; the nearest is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Own,
    /// Code without a file: `<string>` is what `exec` and `python -c` run, but also what `dataclasses` writes.
    WithoutFile,
    Installed,
    Library,
}

impl OwnCode {
    /// With the folder of `os.py`, and what `--own` added.
    pub fn new(library: Option<String>, own: Vec<String>) -> OwnCode {
        OwnCode { library, own }
    }

    /// The file is own code.
    pub fn is_own(&self, file: &str) -> bool {
        self.distance(file) == Distance::Own
    }

    /// Which of `frames`, innermost first, is the line to show: the innermost of own code; if there is none, the
    /// innermost outside of the standard library; if there is none, the innermost. None: there are no frames.
    pub fn place<F: Borrow<Frame>>(&self, frames: &[F]) -> Option<usize> {
        self.place_in(frames.iter().map(|frame| &*frame.borrow().file))
    }

    /// As `place`, where only the files are at hand.
    pub fn place_in<'f>(&self, files: impl Iterator<Item = &'f str>) -> Option<usize> {
        let mut best: Option<(Distance, usize)> = None;
        for (index, file) in files.enumerate() {
            let distance = self.distance(file);
            if distance == Distance::Own {
                return Some(index);
            }
            // Of equally far ones the innermost, which came first. The innermost of all is beaten only by what is
            // nearer.
            if best.is_none_or(|(nearest, _)| distance < nearest) {
                best = Some((distance, index));
            }
        }
        best.map(|(_, index)| index)
    }

    fn distance(&self, file: &str) -> Distance {
        let installed = behind_packages(file);
        let added = |prefix: &String| {
            starts_with_parts(file, prefix) || installed.is_some_and(|inside| starts_with_parts(inside, prefix))
        };
        if self.own.iter().any(added) {
            return Distance::Own;
        }
        if file.starts_with("<frozen ") {
            return Distance::Library;
        }
        if file.starts_with('<') {
            return Distance::WithoutFile;
        }
        if installed.is_some() {
            return Distance::Installed;
        }
        let in_library = match &self.library {
            Some(library) => file != library && starts_with_parts(file, library),
            None => looks_like_library(file),
        };
        if in_library { Distance::Library } else { Distance::Own }
    }
}

/// What stands behind the last `site-packages` or `dist-packages` of a path.
fn behind_packages(file: &str) -> Option<&str> {
    let parts = file.match_indices("-packages/").filter(|&(at, _)| {
        let name = file.get(..at).unwrap_or("");
        let name = name.rsplit('/').next().unwrap_or("");
        matches!(name, "site" | "dist")
    });
    let (at, part) = parts.last()?;
    file.get(at + part.len()..)
}

/// `path` begins with all parts of `prefix`. The last of them may go without its ending: `app` is `app/…` and `app.py`.
fn starts_with_parts(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    match path.strip_prefix(prefix) {
        _ if prefix.is_empty() => false,
        Some(rest) => rest.is_empty() || rest.starts_with('/') || rest == ".py",
        None => false,
    }
}

/// `…/lib/python3.N/…`, or `lib64`.
fn looks_like_library(file: &str) -> bool {
    let mut parts = file.split('/').peekable();
    while let Some(part) = parts.next() {
        let minor = parts.peek().and_then(|next| next.strip_prefix("python3."));
        if matches!(part, "lib" | "lib64")
            && minor.is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn usual() -> OwnCode {
        OwnCode {
            library: Some("/usr/lib/python3.12".to_string()),
            own: vec![],
        }
    }

    #[test]
    fn own_is_what_is_neither_library_nor_installed() {
        let rule = usual();
        for own in [
            "/srv/app/main.py",
            "main.py",
            "./agents/booking.py",
            "/usr/lib/python3.12x/a.py",
            "/srv/my-packages/a.py",
            "/usr/lib/python3.11/asyncio/tasks.py",
        ] {
            assert!(rule.is_own(own), "{own}");
        }
        for foreign in [
            "/usr/lib/python3.12/asyncio/tasks.py",
            "/usr/lib/python3.12/site-packages/requests/api.py",
            "/usr/lib/python3/dist-packages/yaml/__init__.py",
            "/srv/app/.venv/lib/python3.12/site-packages/app/main.py",
            "<frozen importlib._bootstrap>",
            "<frozen os>",
            "<string>",
        ] {
            assert!(!rule.is_own(foreign), "{foreign}");
        }
        assert!(rule.distance("/usr/lib/python3.12/asyncio/tasks.py") == Distance::Library);
        assert!(rule.distance("<frozen os>") == Distance::Library);
        assert!(rule.distance("/usr/lib/python3.12/site-packages/requests/api.py") == Distance::Installed);
    }

    #[test]
    fn a_library_that_is_not_known_is_told_by_its_folder() {
        let rule = OwnCode::default();
        assert!(!rule.is_own("/opt/x/lib/python3.8/threading.py"));
        assert!(!rule.is_own("/usr/lib64/python3.11/asyncio/base_events.py"));
        assert!(rule.is_own("/srv/lib/python/app.py"));
        assert!(rule.is_own("/srv/python3.11/app.py"));
    }

    #[test]
    fn places_that_were_added_are_own_and_match_whole_parts() {
        let rule = OwnCode {
            own: vec!["myapp".into(), "/opt/shared/".into(), "/usr/lib/python3.12/http".into()],
            ..usual()
        };
        for own in [
            "/venv/lib/python3.12/site-packages/myapp/views.py",
            "/venv/lib/python3.12/site-packages/myapp.py",
            "/opt/shared/site-packages/other/a.py",
            "/usr/lib/python3.12/http/client.py",
            "myapp/a.py",
        ] {
            assert!(rule.is_own(own), "{own}");
        }
        for foreign in [
            "/venv/lib/python3.12/site-packages/myapp2/views.py",
            "/venv/lib/python3.12/site-packages/other/myapp/views.py",
            "/usr/lib/python3.12/httpx.py",
        ] {
            assert!(!rule.is_own(foreign), "{foreign}");
        }
        let nothing = OwnCode {
            own: vec![String::new(), "/".into()],
            ..usual()
        };
        assert!(!nothing.is_own("/usr/lib/python3.12/os.py"));
    }

    fn place(files: &[&str]) -> Option<usize> {
        let frames: Vec<Arc<Frame>> = files
            .iter()
            .map(|&file| {
                Arc::new(Frame {
                    function: "f".into(),
                    file: file.into(),
                    line: 1,
                    first_line: 1,
                })
            })
            .collect();
        usual().place(&frames)
    }

    #[test]
    fn the_innermost_own_line_is_shown_else_what_is_nearest_to_it() {
        let (library, installed) = ("/usr/lib/python3.12/ssl.py", "/v/site-packages/requests/adapters.py");
        assert_eq!(
            place(&[library, installed, "/srv/a.py", library, "/srv/main.py"]),
            Some(2)
        );
        // A dataclass's `__init__` is code without a file, and its caller says more.
        assert_eq!(place(&["<string>", "/srv/a.py"]), Some(1));
        assert_eq!(place(&[library, installed, "<string>"]), Some(2));
        assert_eq!(place(&[library, "<frozen runpy>", installed, installed]), Some(2));
        assert_eq!(place(&["<frozen runpy>", library]), Some(0));
        assert_eq!(place(&[]), None);
    }
}
