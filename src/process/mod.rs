//! What the kernel says of a process, from `/proc`: who it is, whether it is still the same one, whether its memory
//! may be read, where it lives. Looks once a second at most; what is asked at every sample is `thread_clock`.
//! Knows nothing of CPython, of sessions, or of what the figures are for.

pub mod candidates;
pub mod container;
mod control_group;
pub mod cpu_group;
mod error;
mod facts;
pub mod family;
mod fingerprint;
mod freezer;
pub mod gates;
mod holds;
mod host;
mod hostname;
mod maps;
pub mod namespaces;
mod pause;
mod peer;
pub mod permission;
pub mod privilege;
mod read;
pub mod remedies;
mod secrets;
pub mod sight;
mod socket_owner;
mod steal;
mod thread_clock;

pub use error::ProcessError;
pub use facts::{
    Credentials, State, comm, command_line, cpus_allowed, credentials, otop_cpu, process_cpu, rss_bytes, started_unix,
    state, threads, uptime,
};
pub use fingerprint::{Fingerprint, Sameness};
pub use freezer::Freezer;
pub use holds::Holds;
pub use host::Host;
pub use hostname::uts_hostname;
pub use maps::{Mapping, maps};
pub use pause::{PauseError, WhilePaused, not_to_be_suspended, while_paused};
pub use peer::peer;
pub use permission::whole_process;
pub use secrets::masked;
pub use socket_owner::socket_owner;
pub use steal::StealClock;
pub use thread_clock::{Doing, ThreadClock};
