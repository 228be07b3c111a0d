//! What sessions are called, as far as they were met, and which names are news. Knows nothing of how names are found.

use super::names::{Names, one};
use crate::model::{Labels, SessionKey};
use std::collections::HashMap;
use std::sync::Arc;

/// Sessions whose names are remembered; more than live at once, far fewer than ever were.
const MOST_LABELS: usize = 50_000;

#[derive(Default)]
pub(super) struct LabelBook {
    labels: HashMap<SessionKey, Arc<Labels>>,
    /// Those that were called something new since the last look.
    new: Vec<SessionKey>,
}

impl LabelBook {
    pub fn get(&self, key: SessionKey) -> Option<&Arc<Labels>> {
        self.labels.get(&key)
    }

    /// Sessions that were called something new since the last call.
    pub fn take_new(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        let keys = std::mem::take(&mut self.new);
        keys.into_iter()
            .filter_map(|key| Some((key, Arc::clone(self.labels.get(&key)?))))
            .collect()
    }

    /// Notes a session of which only the id is known, where nothing is known of it yet.
    pub fn meet(&mut self, key: SessionKey, session_id: &str) {
        if !self.labels.contains_key(&key) {
            let labels = Labels {
                session_id: session_id.to_owned(),
                agent: None,
                tenant: None,
            };
            self.call(key, labels);
        }
    }

    pub fn call(&mut self, key: SessionKey, labels: Labels) {
        if self.labels.get(&key).is_none_or(|known| **known != labels) {
            self.labels.insert(key, Arc::new(labels));
            self.new.push(key);
        }
    }

    /// What all live contexts of a session say of it. What none of them says stays as it was known.
    pub fn agree(&mut self, key: SessionKey, names: &Names) {
        let Some(known) = self.labels.get(&key) else { return };
        let labels = Labels {
            session_id: known.session_id.clone(),
            agent: one(&names.agents).or_else(|| known.agent.clone()),
            tenant: one(&names.tenants).or_else(|| known.tenant.clone()),
        };
        self.call(key, labels);
    }

    /// Keeps the names of these sessions only.
    pub fn keep(&mut self, keep: impl Fn(SessionKey) -> bool) {
        self.labels.retain(|&key, _| keep(key));
    }

    /// Starts over where there are very many.
    pub fn make_room(&mut self) {
        if self.labels.len() > MOST_LABELS {
            self.labels.clear();
        }
    }
}
