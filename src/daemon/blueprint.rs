//! From a checked configuration to the blueprint of a generation.

use std::sync::Arc;

use super::plugins::Plugins;
use super::state::spool_plan;
use crate::config::Configuration;
use crate::decoders::Decoder;
use crate::explain;
use crate::pipeline::{Blueprint, BuildSink, Next, SinkPlan};

/// The blueprint of a configuration, with these sources.
///
/// # Panics
/// Where the configuration was not checked.
pub(super) fn blueprint(
    configuration: Configuration,
    plugins: &Plugins,
    sources: Vec<(String, Next)>,
) -> Blueprint {
    let configuration = configuration.without_disabled_sinks();
    let routing = Arc::new(explain::routing(&configuration, plugins.filters.clone()));
    let Configuration { decoder, sinks, workers, spool, .. } = configuration;
    let sinks = sinks.into_iter().map(|sink| {
        let (queue, config) = (sink.config.keys.queue, sink.config);
        let (resources, kind) = (config.part().resources(), Some(config.kind.clone()));
        let build: BuildSink = Box::new(move |context| config.part().build(context));
        SinkPlan { name: sink.name, queue, kind, resources, build }
    });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Blueprint {
        decoder: Decoder::new(&decoder),
        year: None,
        routing,
        workers: workers.unwrap_or(threads),
        sources,
        sinks: sinks.collect(),
        spool: spool_plan(spool, &|name| std::env::var(name).ok(), is_root()),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
