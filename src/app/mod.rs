//! Composition: from a configuration to a pipeline.

use std::sync::Arc;

use crate::component::BuildError;
use crate::config::{Configuration, SinkConfig, SourceConfig, Unmatched};
use crate::decoders::Decoder;
use crate::pipeline::{Blueprint, BuildSink, Filtering, Routing};
use crate::rules::SinkSet;
use crate::sinks::QueueConfig;
use crate::sources::Source;

/// What replaces the sources of the configuration, or `None`.
pub type Sources = Option<Vec<(String, Box<dyn Source>)>>;

/// The blueprint of a configuration.
///
/// # Errors
/// Where a source cannot be built.
pub fn blueprint(configuration: Configuration, sources: Sources) -> Result<Blueprint, BuildError> {
    let Configuration { unmatched, decoder, rule_set, sinks, workers, .. } = configuration;
    let mut set = SinkSet::NONE;
    if let Unmatched::Sinks(names) = &unmatched {
        for (index, sink) in sinks.iter().enumerate() {
            if names.contains(&sink.name) {
                set.insert(index);
            }
        }
    }
    let sources = match sources {
        Some(sources) => sources,
        None => {
            let build = |source: &crate::config::Named<SourceConfig>| {
                let name = source.name.clone();
                let built = match &source.config {
                    SourceConfig::File(config) => config.build(&name),
                    SourceConfig::Stdin(config) => config.build(&name),
                    SourceConfig::Syslog(config) => config.build(&name),
                };
                built.map(|built| (name, built))
            };
            configuration.sources.iter().map(build).collect::<Result<_, _>>()?
        }
    };
    let routing = Routing::new(Arc::new(rule_set), set, sinks.len(), Filtering::default());
    let sinks = sinks.into_iter().map(|sink| {
        let (queue, build): (QueueConfig, BuildSink) = match sink.config {
            SinkConfig::Atime(config) => {
                (config.queue, Box::new(move |context| config.build(context)))
            }
            SinkConfig::File(config) => {
                (config.queue, Box::new(move |context| config.build(context)))
            }
            SinkConfig::Stdout(config) => {
                (config.queue, Box::new(move |context| config.build(context)))
            }
        };
        (sink.name, queue, build)
    });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Blueprint {
        decoder: Decoder::new(&decoder).expect("the configuration was checked"),
        year: None,
        routing: Arc::new(routing),
        workers: workers.map_or(threads, |workers| usize::from(workers.get())),
        sources,
        sinks: sinks.collect(),
    })
}
