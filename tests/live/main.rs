//! The live tests: otop, as the binary that a user runs, at real workers that print their own truth. One program, so that
//! it is linked once; each file is one promise. They know otop's contract alone, but for `frames`, `stacks` and `waits`,
//! which hold its readers against the target's own word.

mod support;

mod bad_input;
mod between;
mod blocks;
mod boxes;
mod cpu;
mod demo;
mod doctor;
mod dump;
mod follow;
mod frames;
mod frozen;
mod gc;
mod livekit;
mod nested;
mod openrtc;
mod paths;
mod pause;
mod pool;
mod presets;
mod record;
mod rights;
mod sessions;
mod stacks;
mod terminal;
mod vars;
mod waits;
