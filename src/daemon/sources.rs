//! The sources of a daemon, from one configuration to the next.

use crate::component::BuildError;
use crate::config::Named;
use crate::pipeline::Next;
use crate::sources::SourceConfig;
use crate::sources::syslog::{Afterwards, Preparation, Sockets};

/// The sources at work, and the sockets that they listen on. Clones have the same sockets.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    at_work: Vec<Named<SourceConfig>>,
    sockets: Sockets,
}

/// The sources of a configuration that may come. Dropped, they leave no trace.
#[derive(Debug)]
pub struct BuiltSources {
    at_work: Vec<Named<SourceConfig>>,
    preparation: Preparation,
}

impl Sources {
    /// What becomes of each source: those whose tables say the same as before go on; others are
    /// built, on the sockets that are bound already. Those at work do not notice.
    ///
    /// # Errors
    /// Where one cannot be built.
    pub fn build(
        &self,
        next: &[Named<SourceConfig>],
    ) -> Result<(Vec<(String, Next)>, BuiltSources), BuildError> {
        let mut preparation = self.sockets.prepare();
        for source in next.iter().filter(|source| self.at_work.contains(source)) {
            preparation.keep(&source.name);
        }
        let mut built = Vec::with_capacity(next.len());
        for source in next {
            let name = source.name.clone();
            if self.at_work.contains(source) {
                built.push((name, Next::Keep));
                continue;
            }
            let begins = source.config.part().build(&name, &mut preparation);
            built.push((name, Next::Begin(begins?)));
        }
        Ok((built, BuiltSources { at_work: next.to_vec(), preparation }))
    }

    /// These are at work from now on. To be called right before they begin, and those before them
    /// are told to end.
    ///
    /// # Errors
    /// Where a socket cannot be opened; then nothing has changed. With it comes what was prepared,
    /// to be dropped where a file system may block.
    pub fn settle(
        &mut self,
        built: BuiltSources,
    ) -> Result<Afterwards, (BuildError, Box<Preparation>)> {
        let afterwards = self.sockets.commit(built.preparation).map_err(|(cause, left)| {
            let component = "sources".to_owned();
            (BuildError { component, cause: cause.into() }, left)
        })?;
        self.at_work = built.at_work;
        Ok(afterwards)
    }
}
