//! From a context to a session: which contextvar, and which path from its value, names session, agent and tenant. Knows
//! nothing of samples and time.

mod openrtc;
mod path;
mod resolver;
mod rules;
mod variables;

pub use openrtc::{Pool, PoolLook, PoolSession};
pub use path::{PathStep, Text};
pub use resolver::{Proof, ProofSlots, Resolved, Resolver};
pub use rules::{Rule, Rules};
pub use variables::{Variable, all_variables, likely_variables, variables_in_use};
