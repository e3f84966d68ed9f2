//! Events to nowhere: each is counted as delivered and dropped.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuiltSink, DeliverError, Pace, Sink, SinkPart};
use crate::component::{BuildError, Resource, SinkContext};
use crate::event::Selection;
use crate::telemetry::SinkAccount;
use crate::units::Consistent;

/// Counts events and drops them: to measure what the rest of a daemon can take, or to try rules on
/// a live stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Consistent for Config {}

impl SinkPart for Config {
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        Ok(BuiltSink::new(Null(context.account), Pace::default()))
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
}

/// The sink.
struct Null(Arc<SinkAccount>);

#[async_trait]
impl Sink for Null {
    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        self.0.delivered(events.len() as u64);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        Ok(())
    }
}
