//! Names of sessions on their way to whoever listens: each is said once, so none may be lost where nobody takes it now. Knows
//! nothing of who found them.

use crate::model::{Labels, Observation, SessionKey};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

/// So many wait at most; without a listener for so long, the walks will name who still lives.
const MOST: usize = 16_384;

#[derive(Default)]
pub(super) struct Unsaid(Vec<(SessionKey, Arc<Labels>)>);

impl Unsaid {
    /// Says these, and those that could not be said before, as far as there is room.
    pub fn say(&mut self, new: Vec<(SessionKey, Arc<Labels>)>, to: &SyncSender<Observation>) {
        let room = MOST - self.0.len();
        self.0.extend(new.into_iter().take(room));
        while let Some((key, labels)) = self.0.pop() {
            match to.try_send(Observation::Labels(key, labels)) {
                Ok(()) => {}
                Err(TrySendError::Full(Observation::Labels(key, labels))) => {
                    self.0.push((key, labels));
                    return;
                }
                // Nobody listens any more.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn what_finds_no_room_is_said_later() {
        let (sender, receiver) = sync_channel(2);
        let mut unsaid = Unsaid::default();
        let label = |n: usize| {
            let id = format!("s-{n}");
            let labels = Labels {
                session_id: id.clone(),
                agent: None,
                tenant: None,
            };
            (SessionKey::of(&id), Arc::new(labels))
        };
        unsaid.say((0..5).map(label).collect(), &sender);
        let mut said = Vec::new();
        for _ in 0..4 {
            said.extend(receiver.try_iter());
            unsaid.say(Vec::new(), &sender);
        }
        assert_eq!(said.len(), 5);
        unsaid.say((0..MOST + 9).map(label).collect(), &sender);
        assert!(unsaid.0.len() <= MOST);
    }
}
