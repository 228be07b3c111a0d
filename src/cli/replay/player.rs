//! A recording as a source of observations, with a clock of its own: the one of the machine that recorded. Time passes in
//! it when it is told to. Knows nothing of what the observations mean.

use crate::model::{Hello, Nanos, Observation, Origin};
use crate::recording::{Arrived, Recording};
use std::fs::File;
use std::io;

pub struct Player {
    recording: Recording<File>,
    clock: Nanos,
    next: Option<Arrived>,
    error: Option<io::Error>,
}

impl Player {
    pub fn new(recording: Recording<File>) -> Player {
        let clock = recording.hello().attached_at;
        let mut player = Player {
            recording,
            clock,
            next: None,
            error: None,
        };
        player.fetch();
        player
    }

    pub fn origin(&self) -> &Origin {
        self.recording.origin()
    }

    pub fn hello(&self) -> &Hello {
        self.recording.hello()
    }

    /// What time it is in the recording.
    pub fn now(&self) -> Nanos {
        self.clock
    }

    /// When the recording ends.
    pub fn until(&self) -> Nanos {
        self.recording.until()
    }

    /// When the next observation came.
    pub fn next_at(&self) -> Option<Nanos> {
        self.next.as_ref().map(|arrived| arrived.at)
    }

    /// Nothing more comes.
    pub fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// What keeps the recording from being whole.
    pub fn defect(&self) -> Option<String> {
        match &self.error {
            Some(error) => Some(format!("the recording could be read no further: {error}")),
            None => self.recording.defect().map(str::to_owned),
        }
    }

    /// From the begin again.
    pub fn rewind(&mut self) {
        self.recording.rewind();
        self.clock = self.recording.hello().attached_at;
        self.fetch();
    }

    /// The next observation, if it came until then; the clock is then where it came.
    pub fn next_until(&mut self, limit: Nanos) -> Option<Observation> {
        if self.next.as_ref()?.at > limit {
            return None;
        }
        let arrived = self.next.take()?;
        self.clock = self.clock.max(arrived.at);
        self.fetch();
        Some(arrived.observation)
    }

    /// Lets time pass up to then.
    pub fn pass(&mut self, until: Nanos) {
        self.clock = self.clock.max(until);
    }

    fn fetch(&mut self) {
        self.next = self.recording.next_arrived().unwrap_or_else(|error| {
            self.error = Some(error);
            None
        });
    }
}
