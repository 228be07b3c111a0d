//! Scenarios played on a `stage`, and every figure that comes of them; and what must hold for any observations at all.

mod blocks;
mod cpu;
mod history;
mod profile;
mod properties;
mod rows;
mod stacks;
mod stage;
