//! What is asked of an atime sink before it runs.

use super::{Atime, Config, Planner};
use crate::component::{BuildError, Place, Resource, SinkContext};
use crate::sinks::{BuiltSink, Preview, SinkPart};

impl SinkPart for Config {
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        Ok(Atime::new(self, &context)?.built(self))
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::own("root", Place::Directory(self.root.to_path_buf()))]
    }

    fn preview(&self) -> Option<Box<dyn Preview>> {
        Some(Box::new(self.planner()))
    }
}

impl Config {
    /// What decides, without touching a file, what an event does here.
    #[must_use]
    pub fn planner(&self) -> Planner {
        Planner::new(self)
    }
}
