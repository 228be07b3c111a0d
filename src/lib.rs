//! otop: the sessions of a Python asyncio worker, seen from outside. `ARCHITECTURE.md` walks one sample from
//! PID to row; rooms depend one way only, see `tests/layering.rs`.

pub mod analysis;
pub mod asyncio;
pub mod bpf;
pub mod cli;
pub mod cpython;
pub mod demo;
pub mod export;
pub mod identity;
pub mod memory;
pub mod model;
pub mod process;
pub mod recording;
pub mod sampler;
pub mod source;
pub mod tui;
pub mod view;
