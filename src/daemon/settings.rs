//! Settings that a running daemon does not take over.

use crate::config::{AdminConfig, Configuration, Problem};
use crate::lane::spool;
use crate::telemetry::logging;

/// The settings that count from one start to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    admin: AdminConfig,
    log: logging::Config,
    spool: spool::Config,
}

impl Settings {
    pub(super) fn of(configuration: &Configuration) -> Self {
        let Configuration { admin, log, spool, .. } = configuration;
        Self { admin: admin.clone(), log: log.clone(), spool: spool.clone() }
    }

    /// A warning for each of them that is another one in this configuration.
    pub(super) fn left_for_the_next_start(&self, configuration: &Configuration) -> Vec<Problem> {
        let next = Self::of(configuration);
        let changed = [
            ("admin", self.admin != next.admin),
            ("log", self.log != next.log),
            ("spool", self.spool != next.spool),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        let warn =
            |(key, _)| configuration.warning(key, "counts from the next start of the daemon");
        changed.map(warn).collect()
    }
}
