//! The order to stop: given once, seen by all who listen.

use tokio::sync::watch;

/// Gives the order to stop.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Waits for the order to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger, and the first of those who listen to it.
#[must_use]
pub fn shutdown() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Orders to stop. Further calls change nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Returns once the order was given, or whoever could give it is gone. Cancel-safe.
    pub async fn ordered(&mut self) {
        // An error means that the trigger was dropped: nobody is left to wait for.
        let _gone = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the order was given.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_listeners_see_the_order_and_late_ones_too() {
        let (trigger, mut early) = shutdown();
        let late = early.clone();
        assert!(!late.is_ordered());
        trigger.stop();
        early.ordered().await;
        assert!(late.is_ordered());
    }
}
