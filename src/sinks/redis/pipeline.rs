//! Commands on their way to a Redis: the server works on some while others are being written,
//! and what it has not answered with success is kept, to be sent again.
//!
//! A command leaves only when it was answered. Where the connection breaks, those that were not
//! answered are sent again, though they may have been done: at least once. Where the server
//! refuses some of them (its memory is used up), only these are sent again, so that their order
//! among the others is lost.

use std::collections::VecDeque;

use crate::redis::{Client, Commands, Error, ErrorKind, Value};

/// How many used buffers are kept.
const SPARES_MAX: usize = 4;

/// How much may be on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Commands, at least one.
    pub(super) commands_max: usize,
    /// Their bytes.
    pub(super) bytes_max: usize,
}

/// Whether an answer says that its command was done.
pub(super) type Judge = fn(&Value) -> bool;

/// The commands on their way.
#[derive(Debug)]
pub(super) struct Pipeline {
    client: Client,
    limits: Limits,
    /// What an answer has to be.
    is_done: Judge,
    /// What is being written.
    filling: Commands,
    /// What was sent and is not answered, the oldest first.
    sent: VecDeque<Commands>,
    /// What has to be sent again before anything else, the oldest first.
    again: VecDeque<Commands>,
    /// Buffers that were used.
    spares: Vec<Commands>,
    /// How many commands were done and not been asked for.
    done: u64,
    /// The error that is not told yet.
    trouble: Option<Error>,
}

impl Pipeline {
    /// A pipeline of a client that is not connected yet.
    pub(super) fn new(client: Client, limits: Limits, is_done: Judge) -> Self {
        Self {
            client,
            limits,
            is_done,
            filling: Commands::default(),
            sent: VecDeque::new(),
            again: VecDeque::new(),
            spares: Vec::new(),
            done: 0,
            trouble: None,
        }
    }

    /// Connects anew. What was sent and not answered will be sent again.
    pub(super) fn connect(&mut self) -> Result<(), Error> {
        self.recall();
        self.trouble = None;
        self.client.connect()
    }

    /// Whether everything that was sent before is in order, so that more may be written. Where
    /// something has to be sent again, this does it.
    pub(super) fn ready(&mut self) -> Result<(), Error> {
        if self.trouble.is_none() && self.again.is_empty() {
            return Ok(());
        }
        self.finish()
    }

    /// Where to write the next commands. After each or a few of them comes [`Self::pump`].
    pub(super) fn filling(&mut self) -> &mut Commands {
        &mut self.filling
    }

    /// Sends what was written, where it is enough to be worth it, and reads old answers
    /// meanwhile. An error is kept, and told by the next [`Self::ready`] or [`Self::finish`].
    pub(super) fn pump(&mut self) {
        let Limits { commands_max, bytes_max } = self.limits;
        // Halves: one is being worked on by the server while the other is being written.
        if self.filling.len() * 2 < commands_max && self.filling.bytes().len() * 2 < bytes_max {
            return;
        }
        if self.sent.len() > 1 {
            self.receive();
        }
        self.send();
    }

    /// Sends everything, and waits until all of it is done.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        // The answers to what was sent without trouble come first.
        while !self.sent.is_empty() {
            self.receive();
        }
        if let Some(error) = self.trouble.take() {
            // Only told: whoever calls has to wait, or to connect, before the next attempt.
            return Err(error);
        }
        while let Some(commands) = self.again.pop_front() {
            self.run(commands)?;
        }
        self.send();
        while !self.sent.is_empty() {
            self.receive();
        }
        self.trouble.take().map_or(Ok(()), Err)
    }

    /// How many commands were done since this was last asked.
    pub(super) fn take_done(&mut self) -> u64 {
        std::mem::take(&mut self.done)
    }

    fn send(&mut self) {
        if self.filling.is_empty() {
            return;
        }
        let spare = self.spares.pop().unwrap_or_default();
        let commands = std::mem::replace(&mut self.filling, spare);
        // After trouble nothing is sent before it is told; the order is kept.
        if self.trouble.is_none() && self.again.is_empty() {
            match self.client.send(&commands) {
                Ok(()) => return self.sent.push_back(commands),
                Err(error) => {
                    self.recall();
                    self.trouble = Some(error);
                }
            }
        }
        // What is still on its way is older.
        while !self.sent.is_empty() {
            self.receive();
        }
        self.again.push_back(commands);
    }

    /// What was sent has to be sent again, in its order. It is newer than what has to be already.
    fn recall(&mut self) {
        self.again.append(&mut self.sent);
    }

    /// Reads the answers to the oldest commands.
    fn receive(&mut self) {
        let Some(commands) = self.sent.pop_front() else { return };
        let mut answers = Answers::new(commands.len(), self.is_done);
        let read = self.client.receive(commands.len(), |index, answer| answers.take(index, answer));
        let (left, error) = self.settle(&answers, commands);
        self.again.extend(left);
        if !self.client.is_connected() {
            self.recall();
        }
        // What a cluster has moved is followed at the next occasion, without a word.
        let error = error.filter(|error| error.kind() != ErrorKind::Moved);
        self.trouble = self.trouble.take().or_else(|| read.err()).or(error);
    }

    /// Sends commands for another time, and waits for the answers.
    fn run(&mut self, commands: Commands) -> Result<(), Error> {
        let mut answers = Answers::new(commands.len(), self.is_done);
        let read = self.client.run(&commands, |index, answer| answers.take(index, answer));
        let (left, error) = self.settle(&answers, commands);
        if let Some(left) = left {
            self.again.push_front(left);
        }
        read.and_then(|()| error.map_or(Ok(()), Err))
    }

    /// Counts what was done. Gives the rest, and an error of it.
    fn settle(
        &mut self,
        answers: &Answers,
        mut commands: Commands,
    ) -> (Option<Commands>, Option<Error>) {
        let done = answers.done.iter().filter(|done| **done).count();
        self.done += done as u64;
        let left = (done < commands.len()).then(|| {
            let mut left = self.spares.pop().unwrap_or_default();
            let places = answers.done.iter().enumerate().filter(|(_, done)| !**done);
            places.for_each(|(place, _)| left.copy(&commands, place));
            left
        });
        commands.clear();
        self.spares.push(commands);
        self.spares.truncate(SPARES_MAX);
        (left, answers.error.clone())
    }
}

/// The answers to some commands.
struct Answers {
    is_done: Judge,
    /// For each command whether it was done.
    done: Vec<bool>,
    error: Option<Error>,
}

impl Answers {
    fn new(commands: usize, is_done: Judge) -> Self {
        Self { is_done, done: vec![false; commands], error: None }
    }

    fn take(&mut self, index: usize, answer: Result<Value, Error>) {
        let error = match answer {
            Ok(value) if (self.is_done)(&value) => return self.done[index] = true,
            Ok(_) => Error::senseless("the address", "answer to a command as Redis does"),
            Err(error) => error,
        };
        // Of several the one that is not a matter of course.
        if self.error.as_ref().is_none_or(|known| known.kind() == ErrorKind::Moved) {
            self.error = Some(error);
        }
    }
}
