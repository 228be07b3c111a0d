//! From a context to a session: which contextvar, and which path from its value, names session, agent and tenant. Knows
//! nothing of samples and time.

mod aliases;
mod at_work;
mod chooser;
mod credentials;
mod follow;
mod hints;
mod inventory;
mod issuers;
mod label_book;
mod levels;
mod names;
mod openrtc;
mod places;
mod presets;
mod proof;
mod resolver;
mod rules;
mod search;
mod spec;
mod spec_parser;
mod trial;
mod variables;

pub use aliases::{Aliases, Ranked};
pub use at_work::disagree;
pub use chooser::{Chooser, Fits, Naming};
pub use credentials::{is_name_of_one, is_perhaps_one, is_surely_one, shown};
pub use follow::{Found, follow};
pub use hints::{distance, is_near, nearest};
pub use inventory::{Held, Inventory, Suggestion, inventory};
pub use names::Names;
pub use openrtc::{Pool, PoolLook, PoolSession};
pub use presets::{Module, PRESETS, Preset};
pub use proof::{Proof, ProofSlots};
pub use resolver::{Resolved, Resolver, Subject};
pub use rules::Rules;
pub use spec::{Filter, Reading, Source, Spec, SpecError, Step};
pub use trial::{Live, Misfits, Trial, attempt, live_contexts, misfits, settled};
pub use variables::{Variable, all_variables, likely_variables, variables_in_use};
