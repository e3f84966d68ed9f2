//! Events to standard output: JSON lines, text for people, or a template.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink, SinkPart, io_reason};
use crate::component::{BuildError, Place, Resource, SinkContext};
use crate::encoders::{Encoder, Format, Lines};
use crate::event::{Reason, Selection};
use crate::telemetry::SinkAccount;
use crate::units::Consistent;

/// People watch: lines are not held back for long.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// Writes events to standard output.
///
/// When whoever reads it goes away (`qatime run | head`), the daemon goes on: its other sinks
/// have work to do. Events for this one are rejected as `output_closed` from then on.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What a line looks like: `"json"`, `{ json = { raw = true } }` (with the message as it
    /// came), `"text"` (for people; in colours on a terminal, unless `NO_COLOR` is set), or
    /// `{ template = "{time} {operation} {path:escaped}\n" }`.
    #[serde(default)]
    pub format: Format,
}

impl Consistent for Config {}

impl SinkPart for Config {
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        let stdout = io::stdout();
        // Its own handle, so that nothing is buffered twice.
        let output = stdout.as_fd().try_clone_to_owned();
        let output = output.map_err(|error| context.error(error))?;
        let colours = stdout.is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let encoder = self.format.encoder(colours);
        let sink = Stdout::new(output.into(), encoder, context.account);
        Ok(BuiltSink::new(sink, Pace::every(FLUSH_INTERVAL)))
    }

    fn doubts(&self) -> Vec<(String, String)> {
        let beneath = |(key, message)| (format!("format.{key}"), message);
        self.format.doubt().map(beneath).into_iter().collect()
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::own("type", Place::StandardOutput)]
    }
}

/// The sink.
struct Stdout {
    /// `None` once nobody reads it any more.
    output: Option<File>,
    encoder: Encoder,
    lines: Lines,
    account: Arc<SinkAccount>,
}

impl Stdout {
    fn new(output: File, encoder: Encoder, account: Arc<SinkAccount>) -> Self {
        Self { output: Some(output), encoder, lines: Lines::default(), account }
    }
}

/// Writes what it can, and settles it. After an error it goes on with the very next byte.
fn write_out(
    output: &mut Option<File>,
    account: &SinkAccount,
    lines: &mut Lines,
) -> Result<(), DeliverError> {
    while let Some(file) = output
        && !lines.is_empty()
    {
        #[expect(clippy::disallowed_methods, reason = "what was written is counted")]
        let written = file.write(lines.bytes());
        match written {
            Ok(0) => return Err(retry(&ErrorKind::WriteZero.into())),
            Ok(bytes) => account.delivered(lines.advance(bytes) as u64),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                tracing::warn!(
                    component = %account.name(),
                    "nobody reads standard output any more: its events are rejected from now on"
                );
                *output = None;
            }
            Err(error) => return Err(retry(&error)),
        }
    }
    let lost = lines.clear();
    account.count_rejected(Reason::OutputClosed, lost as u64);
    Ok(())
}

fn retry(error: &io::Error) -> DeliverError {
    // A terminal or pipe that another process has set not to block is soon ready again.
    let soon = error.kind() == ErrorKind::WouldBlock;
    let after = soon.then_some(Duration::from_millis(5));
    let cause = format!("cannot write to standard output: {error}");
    DeliverError::Retry { after, reason: io_reason(error), cause }
}

#[async_trait]
impl Sink for Stdout {
    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        if self.output.is_none() {
            let cause = "nobody reads standard output any more".to_owned();
            return Err(DeliverError::Reject { reason: Reason::OutputClosed, cause });
        }
        let Self { output, encoder, lines, account } = self;
        lines.fill(events, encoder, |lines| write_out(output, account, lines))
    }

    async fn settle(&mut self, _: Settle) -> Result<Settled, DeliverError> {
        write_out(&mut self.output, &self.account, &mut self.lines)?;
        Ok(Settled::Everything)
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        write_out(&mut self.output, &self.account, &mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::encoders::samples::selection;
    use crate::telemetry::Ledger;

    fn sink(output: impl Into<std::os::fd::OwnedFd>) -> (Stdout, Ledger, Arc<SinkAccount>) {
        let ledger = Ledger::default();
        let account = ledger.open_sink("out");
        let format = Format::Template("{path}\n".parse().unwrap());
        let output = File::from(output.into());
        (Stdout::new(output, format.encoder(false), Arc::clone(&account)), ledger, account)
    }

    async fn give(sink: &mut Stdout, account: &SinkAccount, events: &Selection) {
        account.routed(events.len() as u64);
        sink.deliver(events).await.unwrap();
    }

    #[test]
    fn the_configuration_is_short() {
        let config: Config = toml::from_str("format = 'text'").unwrap();
        assert_eq!(config.format, Format::Text);
        assert!(toml::from_str::<Config>("fromat = 'text'").is_err());
    }

    #[tokio::test]
    async fn lines_arrive_whole_and_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (mut sink, ledger, account) = sink(writer);
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        let paths: Vec<String> = (0..20_000).map(|number| format!("/data/file-{number}")).collect();
        for some in paths.chunks(7_000) {
            give(&mut sink, &account, &selection(some)).await;
        }
        sink.close().await.unwrap();
        assert_eq!(ledger.report().sinks[0].delivered, 20_000);
        assert!(ledger.report().is_settled());
        drop(sink);
        assert!(reading.join().unwrap().lines().eq(&paths));
    }

    #[tokio::test]
    async fn when_nobody_reads_any_more_events_are_rejected_and_the_daemon_goes_on() {
        let (reader, writer) = io::pipe().unwrap();
        let (mut sink, ledger, account) = sink(writer);
        give(&mut sink, &account, &selection(["/seen"])).await;
        let _settled = sink.settle(Settle::WhatIsDue).await.unwrap();
        drop(reader);
        give(&mut sink, &account, &selection(["/a", "/b"])).await;
        let _settled = sink.settle(Settle::WhatIsDue).await.unwrap();
        let error = sink.deliver(&selection(["/c"])).await.unwrap_err();
        assert!(matches!(error, DeliverError::Reject { reason: Reason::OutputClosed, .. }));
        sink.close().await.unwrap();
        let report = &ledger.report().sinks[0];
        assert_eq!((report.delivered, report.rejected.of(Reason::OutputClosed)), (1, 2));
        assert!(ledger.report().is_settled());
    }

    #[tokio::test]
    async fn a_full_disk_is_tried_again() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (mut sink, ledger, account) = sink(full);
        give(&mut sink, &account, &selection(["/a"])).await;
        let error = sink.settle(Settle::WhatIsDue).await.unwrap_err();
        assert!(matches!(error, DeliverError::Retry { reason: "storage_full", .. }), "{error}");
        assert_eq!(ledger.report().sinks[0].in_flight, 1);
        // The redirection's disk has room again.
        let (mut reader, writer) = io::pipe().unwrap();
        sink.output = Some(File::from(std::os::fd::OwnedFd::from(writer)));
        sink.close().await.unwrap();
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), ledger.report().is_settled()), ("/a\n", true));
    }
}
