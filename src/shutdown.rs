//! The order to stop: given once, seen by all who listen.

use tokio::sync::watch;

/// What a source is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    /// Another takes over: begin nothing new, and finish what was begun.
    Retire,
    Stop,
    /// Stop, and wait for nobody any more.
    Conclude,
}

/// Gives the order to stop.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Order>);

/// Waits for the order to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<Order>);

/// A trigger, and the first of those who listen to it.
#[must_use]
pub fn shutdown() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Order::Run);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Orders to stop. Further calls change nothing.
    pub fn stop(&self) {
        self.0.send_modify(|order| *order = (*order).max(Order::Stop));
    }

    /// Orders to stop, and to wait for nothing any more: who has been told to stop and waits to
    /// hear of what it handed on writes down what it knows, and ends.
    pub fn conclude(&self) {
        self.0.send_replace(Order::Conclude);
    }

    /// Orders to leave what is new to a successor, and to go on with what was begun. After
    /// [`Self::stop`] it changes nothing.
    pub fn retire(&self) {
        self.0.send_modify(|order| *order = (*order).max(Order::Retire));
    }

    /// Whether nobody listens any more: all that were to stop have ended.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.0.is_closed()
    }
}

impl Shutdown {
    /// Returns once the order to stop was given, or whoever could give it is gone. Cancel-safe.
    pub async fn ordered(&mut self) {
        // An error means that the trigger was dropped: nobody is left to wait for.
        let _gone = self.0.wait_for(|order| *order >= Order::Stop).await;
    }

    /// Returns once nothing is to be waited for any more, or whoever could say so is gone.
    /// Cancel-safe.
    pub async fn concluded(&mut self) {
        let _gone = self.0.wait_for(|order| *order == Order::Conclude).await;
    }

    /// Returns once either order was given. Cancel-safe.
    pub async fn retired(&mut self) {
        let _gone = self.0.wait_for(|order| *order != Order::Run).await;
    }

    /// Whether the order to stop was given.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        *self.0.borrow() >= Order::Stop || self.0.has_changed().is_err()
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

    #[tokio::test]
    async fn who_retires_may_still_be_stopped_but_not_the_other_way_round() {
        let (trigger, mut shutdown) = shutdown();
        trigger.retire();
        shutdown.retired().await;
        assert!(!shutdown.is_ordered());
        trigger.stop();
        trigger.retire();
        shutdown.ordered().await;
        shutdown.retired().await;
        trigger.conclude();
        trigger.stop();
        shutdown.concluded().await;
        assert!(shutdown.is_ordered());
    }
}
