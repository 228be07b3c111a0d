//! Reading a live worker: attaching, one tick, one walk. Knows how to read, not when; `sampler` knows when. What was
//! read are `Observation`s; nothing is concluded here.

mod attach;
pub mod error;
mod examine;
mod owners;
mod threads;
mod ticks;
mod walk;

pub use attach::{Attachment, Plan, Proved, attach};
pub use examine::{Examination, Interpreter, examine};
pub use ticks::TickReader;
pub use walk::{Broken, Walker};
