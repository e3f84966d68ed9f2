//! What is asked of an atime sink before it runs.

use super::{Atime, Config, Planner};
use crate::component::{BuildError, Place, Resource, SinkContext};
use crate::sinks::{BuiltSink, Preview, SinkPart};
use crate::units::{Duration, Within};

/// As long as an update can wait, in seconds.
const DAY_SECONDS: u64 = 86_400;

impl SinkPart for Config {
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        Ok(Atime::new(self, &context)?.built(self))
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::own("root", Place::Directory(self.root.to_path_buf()))]
    }

    fn for_archive(&mut self) {
        let all_of_it = Duration::from_secs(DAY_SECONDS);
        self.flush_interval = Within::new(all_of_it).expect("a day is the most");
        self.reorder_window = Within::new(all_of_it).expect("a day is the most");
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
