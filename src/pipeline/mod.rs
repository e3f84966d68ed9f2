//! The pipeline: sources, workers that decode and route, and a lane for each sink.
//!
//! Three states are three types: a [`Blueprint`] is checked and inert; a [`Pipeline`] has its
//! sockets bound and its sinks built; a [`RunningPipeline`] can only be watched, given a
//! successor of its rules and sinks, and drained.
//! The order to stop goes to the sources alone. Workers end when the last source is gone, lanes
//! when the last worker is: whatever was read finds its way out.

mod blueprint;
mod delivery;
mod generation;
mod halt;
mod intakes;
mod lanes;
mod monitor;
mod passage;
mod routing;
mod running;
#[cfg(test)]
mod tests;
mod worker;

pub use blueprint::{Blueprint, BuildSink, Next, Pipeline};
pub use halt::Halt;
pub use monitor::{ConnectionsReport, LaneReport, LaneView, Monitor, Phase, PipelineReport, View};
pub use routing::{BEFORE_RULES, Fates, Filtering, Routed, Router, Routing, Step};
pub use running::{Groundwork, RunningPipeline, Successor};
