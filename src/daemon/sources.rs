//! The sources of a daemon, from one configuration to the next.

use crate::component::BuildError;
use crate::config::{Named, SourceConfig};
use crate::net::{ListenAddress, Sockets};
use crate::pipeline::Next;

/// The sources at work, and the sockets that they listen on.
#[derive(Debug, Default)]
pub struct Sources {
    at_work: Vec<Named<SourceConfig>>,
    sockets: Sockets,
}

impl Sources {
    /// What becomes of each source: those whose tables say the same as before go on; others are
    /// built, on the sockets that are bound already.
    ///
    /// # Errors
    /// Where one cannot be built. Those at work have not noticed.
    pub fn build(
        &mut self,
        next: &[Named<SourceConfig>],
    ) -> Result<Vec<(String, Next)>, BuildError> {
        // Whoever built before may have gone away.
        self.keep();
        for source in next.iter().filter(|source| self.at_work.contains(source)) {
            self.sockets.hold(addresses(source));
        }
        let built = next.iter().map(|source| {
            let name = source.name.clone();
            if self.at_work.contains(source) {
                return Ok((name, Next::Keep));
            }
            let built = match &source.config {
                SourceConfig::File(config) => config.build(&name),
                SourceConfig::Redis(config) => config.build(&name),
                SourceConfig::Stdin(config) => config.build(&name),
                SourceConfig::Syslog(config) => config.build(&name, &mut self.sockets),
            };
            built.map(|built| (name, Next::Begin(built)))
        });
        let built: Result<_, _> = built.collect();
        if built.is_err() {
            self.keep();
        }
        built
    }

    /// Those at work go on, and nothing of what was built is used.
    pub fn keep(&mut self) {
        self.settle(self.at_work.clone());
    }

    /// These are at work from now on; sockets of others are closed.
    pub fn settle(&mut self, at_work: Vec<Named<SourceConfig>>) {
        let listened: Vec<_> = at_work.iter().flat_map(addresses).cloned().collect();
        self.sockets.keep_only(&listened);
        self.at_work = at_work;
    }
}

/// Where a source listens.
fn addresses(source: &Named<SourceConfig>) -> &[ListenAddress] {
    match &source.config {
        SourceConfig::Syslog(config) => config.listen.values(),
        SourceConfig::File(_) | SourceConfig::Redis(_) | SourceConfig::Stdin(_) => &[],
    }
}
