//! The same report for those who do not sit in front of it: a table as text, a line of JSON, a line for each block.
//! Everything comes back as
//! a string; who writes it where is `cli`'s affair. Knows nothing of terminals and files.

pub mod block_line;
pub mod dump;
pub mod json;
pub mod text;
