//! The same report for those who do not sit in front of it: a table as text, a line of JSON. Everything comes back as
//! a string; who writes it where is `cli`'s affair. Knows nothing of terminals and files.

mod about;
pub mod flamegraph;
pub mod folded;
pub mod json;
pub mod speedscope;
pub mod text;
