//! What may be asked of the daemon's loop.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::Diagnosis;

/// So many commands wait at most; who brings more waits himself.
const COMMANDS_MAX: usize = 4;

/// What the loop is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Run with the configuration file as it is now.
    Reload {
        /// Is told what came of it. Nobody may listen any more.
        reply: oneshot::Sender<Reloaded>,
    },
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Reloaded {
    /// The daemon runs with the file.
    Applied {
        /// The generation that takes events now.
        generation: u64,
        /// What is odd about the file.
        diagnosis: Diagnosis,
    },
    /// Something else than the file is in the way: it cannot be read, a port is in use. The daemon
    /// runs as before.
    Failed {
        /// What, and what to do.
        message: String,
    },
    /// The file is wrong. The daemon runs as before.
    Refused {
        /// What is wrong with it.
        diagnosis: Diagnosis,
    },
}

impl Reloaded {
    /// `applied`, `failed`, `refused`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Failed { .. } => "failed",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Brings commands to the loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commander(mpsc::Sender<Command>);

/// The loop's end: it yields `None` once nobody is left who could ask.
pub type Commands = mpsc::Receiver<Command>;

/// Both ends of the way to the loop.
#[must_use]
pub fn commands() -> (Commander, Commands) {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    (Commander(sender), receiver)
}

impl Commander {
    /// Asks to have the file loaded anew, without waiting: gives where the answer comes. `None`
    /// where too many ask already, or the loop has ended.
    #[must_use]
    pub fn request_reload(&self) -> Option<oneshot::Receiver<Reloaded>> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Command::Reload { reply }).is_ok().then_some(answer)
    }

    /// Whether the loop has ended: nobody takes commands any more.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.0.is_closed()
    }

    /// Has the file loaded anew, and says what came of it.
    pub async fn reload(&self) -> Reloaded {
        let (reply, answer) = oneshot::channel();
        let stopping = || Reloaded::Failed { message: "the daemon is stopping".to_owned() };
        if self.0.send(Command::Reload { reply }).await.is_err() {
            return stopping();
        }
        answer.await.unwrap_or_else(|_gone| stopping())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_is_answered_even_by_a_daemon_that_stops() {
        let (commander, mut commands) = commands();
        let failed = |message: &str| Reloaded::Failed { message: message.to_owned() };
        let answering = async {
            let Some(Command::Reload { reply }) = commands.recv().await else { return };
            reply.send(failed("no")).unwrap();
            // The next one is taken, and never answered.
            drop(commands.recv().await);
            drop(commands);
        };
        let asking = async {
            assert_eq!(commander.reload().await, failed("no"));
            assert_eq!(commander.reload().await, failed("the daemon is stopping"));
            assert_eq!(commander.reload().await, failed("the daemon is stopping"));
        };
        tokio::join!(answering, asking);
        let json = serde_json::to_value(failed("no")).unwrap();
        assert_eq!(json, serde_json::json!({ "result": "failed", "message": "no" }));
    }
}
