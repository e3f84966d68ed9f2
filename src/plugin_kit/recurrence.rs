//! A fault of the daemon, run again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::PluginError;
use super::cases::{event_table, fault_text, plain};
use super::locate::Located;
use crate::encoders::json as event_json;
use crate::event::Batch;
use crate::filters::{Digest, FaultFile};
use crate::wasm::{Engine, Fault, Instance, Limits, Metering, Plugin, StartError};

/// So many events that fail alone are looked for.
const POISON_MAX: usize = 10;

/// A recorded fault, and what happens when the plugin is run on its events again. Its text is for
/// people.
#[derive(Debug)]
pub struct Recurrence {
    recorded: FaultFile,
    located: Located,
    digest: Digest,
    again: Again,
    batch: Arc<Batch>,
}

impl Recurrence {
    /// Runs the fault in `file` again, on the plugin that failed or on another (a file, the
    /// directory of a project, or a name).
    ///
    /// # Errors
    /// It is not a file of a fault, there is no such plugin, or the daemon would refuse it.
    pub fn of(file: &Path, plugin: Option<&str>) -> Result<Self, PluginError> {
        let recorded = FaultFile::read(file)
            .map_err(|source| PluginError::FaultFile { path: file.to_owned(), source })?;
        let failed = recorded.plugin.display().to_string();
        let located = Located::find(plugin.unwrap_or(&failed))?;
        let engine = Engine::new(Metering::Deadline)?;
        let plugin = located.compile(&engine)?.plugin;
        let batch = Arc::new(recorded.batch());
        let again = Rerun::new(&recorded, &plugin).run(&batch);
        let digest = Digest::of(&located.wasm);
        Ok(Self { recorded, located, digest, again, batch })
    }

    /// One object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { recorded, located, digest, again, batch } = self;
        to_json(recorded, located, *digest, again, batch)
    }
}

impl fmt::Display for Recurrence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&heading(&self.recorded, &self.located, self.digest))?;
        formatter.write_str(&words(&self.again, &self.batch))
    }
}

/// What came of running it again.
#[derive(Debug, Default)]
struct Again {
    /// What happened to the whole batch; `None` where all is well.
    whole: Option<String>,
    /// The events that fail alone, at most [`POISON_MAX`], and what happens.
    alone: Vec<(u32, Fault)>,
}

/// A plugin with the settings and limits of a recorded fault.
struct Rerun<'a> {
    plugin: &'a Plugin,
    name: String,
    settings: String,
    limits: Limits,
}

impl<'a> Rerun<'a> {
    fn new(recorded: &FaultFile, plugin: &'a Plugin) -> Self {
        let limits = Limits {
            memory_bytes_max: usize::try_from(recorded.limits.memory_bytes_max)
                .unwrap_or(usize::MAX),
            deadline: Duration::from_nanos(recorded.limits.deadline_ns),
            deadline_per_event: Duration::from_nanos(recorded.limits.deadline_per_event_ns),
        };
        let settings = Value::Object(recorded.settings.clone()).to_string();
        Self { plugin, name: format!("filters.{}", recorded.filter), settings, limits }
    }

    fn start(&self) -> Result<Instance, StartError> {
        self.plugin.start(&self.name, &self.settings, self.limits)
    }

    fn run(&self, batch: &Arc<Batch>) -> Again {
        let mut again = Again::default();
        let events: Vec<u32> = (0..u32::try_from(batch.len()).unwrap_or(u32::MAX)).collect();
        match self.start() {
            Err(error) => again.whole = Some(plain(&error.to_string())),
            Ok(mut instance) if !events.is_empty() => {
                if let Err(fault) = instance.run(batch, &events) {
                    again.whole = Some(fault_text(&fault));
                    self.bisect(batch, &events, fault, &mut again.alone);
                }
            }
            Ok(_) => {}
        }
        again
    }

    /// Looks for events that fail alone among `events`, which fail together with `fault`.
    fn bisect(
        &self,
        batch: &Arc<Batch>,
        events: &[u32],
        fault: Fault,
        alone: &mut Vec<(u32, Fault)>,
    ) {
        if let [event] = events {
            alone.push((*event, fault));
            return;
        }
        let (first, second) = events.split_at(events.len() / 2);
        for half in [first, second] {
            if alone.len() >= POISON_MAX {
                return;
            }
            let Ok(mut instance) = self.start() else { return };
            if let Err(fault) = instance.run(batch, half) {
                self.bisect(batch, half, fault, alone);
            }
        }
    }
}

/// What was recorded.
fn heading(recorded: &FaultFile, located: &Located, digest: Digest) -> String {
    let FaultFile { filter, name, version, time, rule, kind, message, .. } = recorded;
    let mut text = format!(
        "filters.{filter} ({name} {version}) failed at {time} for {rule}\n  recorded  {kind}: {}\n",
        plain(message)
    );
    let count = recorded.events.len();
    let poison = recorded.poison.len();
    text.push_str(&format!("  events    {count}, of which {poison} failed alone\n"));
    let path = located.path.display();
    if digest == recorded.sha256 {
        text.push_str(&format!("  plugin    {path}, the same file\n"));
    } else {
        let expected = recorded.sha256;
        text.push_str(&format!("  plugin    {path}, another file: its SHA-256 is\n"));
        text.push_str(&format!("            {digest}, it was\n            {expected}\n"));
    }
    text
}

/// What happens now.
fn words(again: &Again, batch: &Batch) -> String {
    let Some(whole) = &again.whole else {
        return format!(
            "\nit does not happen again: all {} events pass. A deadline depends on the machine, \
             and what a plugin remembers on the events before\n",
            batch.len()
        );
    };
    let mut text = format!("\nit happens again: {whole}\n");
    if again.alone.is_empty() {
        text.push_str(
            "no event fails alone: it takes several of them, or fails before the first\n",
        );
    }
    for (index, fault) in &again.alone {
        let event = batch.event(*index);
        let operation = plain(&String::from_utf8_lossy(event.operation_name()));
        let path = plain(&String::from_utf8_lossy(event.path()));
        text.push_str(&format!("\nevent {index}: {operation} {path}\n  {}\n", fault_text(fault)));
    }
    if again.alone.len() == POISON_MAX {
        text.push_str("\n(others were not looked for)\n");
    }
    if let Some((index, _)) = again.alone.first() {
        let table = event_table(batch.event(*index));
        text.push_str(&format!(
            "\na case for the tests of the plugin:\n\n[[cases]]\nname = \"it does not fail\"\n\
             event = {table}\nverdict = \"keep\"\n"
        ));
    }
    text
}

fn to_json(
    recorded: &FaultFile,
    located: &Located,
    digest: Digest,
    again: &Again,
    batch: &Batch,
) -> Value {
    let alone = again.alone.iter().map(|(index, fault)| {
        let event = event_json::object(batch.event(*index), event_json::Options { raw: true });
        json!({
            "index": index,
            "kind": fault.kind.as_str(),
            "message": fault.message,
            "event": event,
        })
    });
    json!({
        "filter": recorded.filter,
        "rule": recorded.rule,
        "time": recorded.time,
        "recorded": { "kind": recorded.kind, "message": recorded.message },
        "plugin": located.path.display().to_string(),
        "same_file": digest == recorded.sha256,
        "events": batch.len(),
        "again": again.whole.is_some(),
        "message": again.whole,
        "alone": alone.collect::<Value>(),
    })
}
