mod args;
mod error;
mod plan;
mod values;
