//! The pipeline: sources, workers that decode and route, and a lane for each sink.
//!
//! States are types: a [`Blueprint`] is checked and inert; a [`Successor`] has its sinks built and
//! its threads started, which wait; a [`RunningPipeline`] can be watched, given a successor, and
//! told to stop; a [`Stopping`] one ends in phases.
//! The order to stop goes to the sources. Workers end when the last source is gone, lanes when the
//! last worker is: whatever was read finds its way out. What hangs has its deadline.

mod blueprint;
mod delivery;
mod generation;
mod halt;
mod lanes;
mod monitor;
mod parked;
mod passage;
mod retirement;
mod routed;
mod router;
mod router_state;
mod routing;
mod running;
mod settling;
mod sources;
mod stopping;
#[cfg(test)]
mod tests;
mod threads;
mod worker;

pub use blueprint::{Blueprint, BuildSink, Next, SinkPlan, SpoolPlan};
pub use halt::Halt;
pub use monitor::{
    LaneReport, LaneView, Monitor, Phase, PipelineReport, SourceGauges, SpoolView, View,
};
pub use routed::{Fates, Routed, Step};
pub use router::Router;
pub use routing::{Filtering, Routing, Stage};
pub use running::{Groundwork, RunningPipeline, Successor};
pub use stopping::Stopping;
