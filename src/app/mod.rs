//! Composition: from a configuration to a pipeline.

mod plugins;

pub use plugins::{Plugins, folders, load_plugins};

use std::sync::Arc;

use crate::component::BuildError;
use crate::config::{Configuration, SinkConfig, SourceConfig};
use crate::decoders::Decoder;
use crate::pipeline::{Blueprint, BuildSink};
use crate::sinks::QueueConfig;
use crate::sources::Source;
use crate::spool;

/// What replaces the sources of the configuration, or `None`. There is no spool then: it is the
/// daemon's.
pub type Sources = Option<Vec<(String, Box<dyn Source>)>>;

/// The blueprint of a configuration.
///
/// # Errors
/// Where a source cannot be built.
pub fn blueprint(
    configuration: Configuration,
    plugins: &Plugins,
    sources: Sources,
) -> Result<Blueprint, BuildError> {
    let routing = Arc::new(configuration.routing(plugins.filters.clone()));
    let Configuration { decoder, sinks, workers, spool, .. } = configuration;
    // Those who bring sources of their own can begin anew with them.
    let spool = if sources.is_some() { spool::Config::default() } else { spool };
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
        routing,
        workers: workers.map_or(threads, |workers| usize::from(workers.get())),
        sources,
        sinks: sinks.collect(),
        spool,
    })
}
