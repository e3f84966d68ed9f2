//! The order to stop that a filter gives, whose plugin failed and which has `on_fault = "halt"`.

use tokio::sync::watch;

/// Gives the order.
#[derive(Debug, Clone)]
pub(super) struct Halting(watch::Sender<Option<String>>);

/// Waits for the order.
#[derive(Debug, Clone)]
pub struct Halt(watch::Receiver<Option<String>>);

/// The two ends.
pub(super) fn halt() -> (Halting, Halt) {
    let (sender, receiver) = watch::channel(None);
    (Halting(sender), Halt(receiver))
}

impl Halting {
    /// Orders to stop on behalf of a filter; the first order counts.
    pub(super) fn halt(&self, filter: &str) {
        self.0.send_if_modified(|by| {
            let is_first = by.is_none();
            by.get_or_insert_with(|| filter.to_owned());
            is_first
        });
    }
}

impl Halt {
    /// Returns once a filter orders to stop: its name. Never returns where none does. Cancel-safe.
    pub async fn ordered(&mut self) -> String {
        if let Ok(by) = self.0.wait_for(Option::is_some).await
            && let Some(filter) = &*by
        {
            return filter.clone();
        }
        // All workers have ended without such an order.
        std::future::pending().await
    }

    /// The filter that has ordered to stop.
    #[must_use]
    pub fn filter(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}
