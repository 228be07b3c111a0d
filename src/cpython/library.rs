//! Where the interpreter's standard library lies, as its own modules say it. Knows nothing of what counts as whose code.

use super::heap::Heap;
use super::threads::Runtime;
use crate::memory::Fault;

impl Heap {
    /// The folder of `os.py`. None: `os` is not imported, or does not say where it is from.
    pub fn library(&self, runtime: &Runtime) -> Result<Option<String>, Fault> {
        let Some(os) = self.module(runtime, "os")? else {
            return Ok(None);
        };
        // Frozen since 3.11, but it has its file's name all the same (Lib/importlib/_bootstrap.py: `_fix_up_module`).
        let Some(file) = self.dict_get(self.module_dict(os)?, "__file__")? else {
            return Ok(None);
        };
        let file = self.str(file)?;
        let folder = file.rsplit_once('/').filter(|(_, name)| name.starts_with("os.py"));
        Ok(folder
            .map(|(folder, _)| folder.to_string())
            .filter(|folder| !folder.is_empty()))
    }
}
