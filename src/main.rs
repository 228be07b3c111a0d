//! The program; see `otop::cli`.

use std::process::ExitCode;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("otop reads the memory of Linux processes on x86-64; this target is another one");

fn main() -> ExitCode {
    otop::cli::main(&otop::cli::wire::Machine)
}
