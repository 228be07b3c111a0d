//! Scenarios played on a `stage`, and every figure that comes of them; and what must hold for any observations at all.

mod block_checks;
mod block_gil;
mod block_machine;
mod block_steal;
mod block_told;
mod blocks;
mod cpu;
mod cpu_gaps;
mod cpu_windows;
mod history;
mod profile;
mod properties;
mod rows;
mod stacks;
mod stage;
