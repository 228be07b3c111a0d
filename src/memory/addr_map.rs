//! Maps and sets by address, or by another small key, quicker than those of the standard library: a walk looks every task
//! up several times. Knows nothing of what lies at the addresses.
//!
//! The keys come from the worker, who must not be able to choose such that all fall into one place: the hash depends on
//! numbers that foldhash draws anew for each map.

use crate::model::Addr;
use std::collections::{HashMap, HashSet};

pub type QuickMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
pub type AddrMap<V> = QuickMap<Addr, V>;
pub type AddrSet = HashSet<Addr, foldhash::fast::RandomState>;
