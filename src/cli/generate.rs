//! `otop generate man|completions DIRECTORY`: the man pages and the completions, from the flags' definition. For those who
//! build otop, so it stands in no help and no completion. Away from everything that runs when otop watches.

use super::arguments::Arguments;
use clap::{CommandFactory, Parser};
use clap_complete::{Shell, generate as complete};
use std::io;
use std::path::{Path, PathBuf};

/// The word that asks for it, as first argument.
pub const WORD: &str = "generate";

#[derive(Debug, Parser)]
#[command(
    name = "otop generate",
    about = "Writes the man pages or the completions into a directory"
)]
pub struct GenerateArguments {
    #[arg(value_enum)]
    what: Generated,
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Generated {
    Man,
    Completions,
}

/// Writes the files into the directory, which must exist.
pub fn generate(arguments: &GenerateArguments) -> io::Result<()> {
    match arguments.what {
        // The commit is the build's, and a page is the source's.
        Generated::Man => {
            let pages = Arguments::command().version(env!("CARGO_PKG_VERSION"));
            clap_mangen::generate_to(pages.long_version(env!("CARGO_PKG_VERSION")), &arguments.directory)
        }
        Generated::Completions => completions(&arguments.directory),
    }
}

/// Named by their shells, since each shell's usual name for such a file says nothing in a directory of all of them.
fn completions(directory: &Path) -> io::Result<()> {
    for (shell, ending) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let mut text = Vec::new();
        complete(shell, &mut Arguments::command(), "otop", &mut text);
        std::fs::write(directory.join(format!("otop.{ending}")), text)?;
    }
    Ok(())
}
