//! `otop dump`: one look at everything in a worker, printed. Knows nothing of how it is read or drawn.

pub mod arguments;
pub mod plan;

use super::error::CliError;
use super::wire::{self, AttachOptions};
use super::{output, run};
use crate::model::Pid;
use plan::Dumping;

pub fn show(pid: Pid, options: &AttachOptions, dumping: &Dumping) -> Result<(), CliError> {
    let look = || wire::dump(pid, options, &dumping.asked);
    let wire::Dumped { dump, notes } = run::patiently(pid, look)?.ok_or(CliError::NoAsyncio(pid))?;
    notes.iter().for_each(|note| output::say(note));
    output::write(&wire::dump_shown(&dump, dumping.json))
}
