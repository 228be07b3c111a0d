//! The same report for those who do not sit in front of it: a table as text, a line of JSON, a line for each block, and a
//! profile in the formats that other tools read. Everything comes back as a string or as bytes; who writes it where is
//! `cli`'s affair. Knows nothing of terminals and files.

mod about;
pub mod block_line;
pub mod difference;
pub mod dump;
pub mod firefox;
pub mod flamegraph;
pub mod folded;
pub mod json;
pub mod pprof;
#[cfg(test)]
pub(crate) mod sample;
mod shares;
pub mod speedscope;
pub mod text;
