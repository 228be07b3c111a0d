//! Reading a live worker: attaching, one tick, one walk. Knows how to read, not when; `sampler` knows when. What was
//! read are `Observation`s; nothing is concluded here.

mod attach;
mod dump;
mod dump_parts;
mod dump_threads;
pub mod error;
mod examine;
mod first;
mod fixed;
mod foreseen;
mod instant;
mod interrupt;
mod loop_watch;
mod owners;
mod place;
mod readings;
mod said;
mod stacks;
mod still;
mod threads;
mod ticks;
mod waiting;
mod walk;
mod whose;

pub use attach::{Attachment, Plan, Proved, attach, of_fault};
pub use examine::{Examination, Interpreter, examine};
pub use stacks::StackReader;
pub use still::{Seat, Unseated};
pub use ticks::TickReader;
pub use walk::{Broken, Walker};
