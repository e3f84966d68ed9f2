//! Settings that a running daemon does not take over.

use crate::config::{Configuration, Problem};

/// The settings that count from one start to the next, each as a text that tells it from others.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    pub(super) fn of(configuration: &Configuration) -> Self {
        Self(vec![
            ("admin", format!("{:?}", configuration.admin)),
            ("log", format!("{:?}", configuration.log)),
            ("spool", format!("{:?}", configuration.spool)),
        ])
    }

    /// A warning for each of them that is another one now.
    pub(super) fn left_for_the_next_start(
        &self,
        next: &Self,
        configuration: &Configuration,
    ) -> Vec<Problem> {
        let changed = self.0.iter().zip(&next.0).filter(|(before, now)| before != now);
        changed
            .map(|((key, _), _)| {
                configuration.warning(key, "counts from the next start of the daemon on")
            })
            .collect()
    }
}
