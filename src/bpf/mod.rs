//! Memory of a running thread as it is at one instant, without stopping it and without taking its CPU: a small BPF program
//! copies it inside an interrupt of the CPU that the thread runs on. While the CPU is in the interrupt the thread does not
//! go on, so all that is copied belongs together, however short its steps are; a few microseconds later it does.
//!
//! The kernel runs the program when otop asks for it, on the CPU that otop names, and at no other time
//! (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_RUN_ON_CPU`, Linux 5.10, net/bpf/test_run.c): nothing is attached anywhere, and
//! nothing is left when otop ends. The program can read and not write (`bpf_probe_read_user`), and the kernel has proved
//! before the first run that it ends. If another thread runs on that CPU it says so and reads nothing.
//!
//! `instructions.rs` spells BPF instructions, `program.rs` is the program, `kernel.rs` are the calls, `chain.rs` what is
//! seen. Knows nothing of CPython: it copies some words, what one of them points at, and a chain of records.

mod chain;
mod instructions;
mod kernel;
mod program;

pub use chain::{Chain, ChainReader, Look};
pub use program::{Layout, MOST_RECORDS};

/// Why there is no such reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The kernel does not permit it: `CAP_BPF` and `CAP_PERFMON` are missing, or a lockdown or filter is in force.
    #[error("that takes BPF and PERFMON, and no lockdown")]
    NotPermitted,
    /// The kernel is too old, or was built without it.
    #[error("this kernel cannot, Linux 5.19 and later can")]
    NotSupported,
    /// otop does not see the kernel's own thread numbers: it runs in a PID namespace.
    #[error("otop is in a PID namespace of its own")]
    Namespace,
    /// Records that the program has no room for.
    #[error("not for records like these")]
    Layout,
}
