//! One observation after another, live or replayed.

pub mod error;
