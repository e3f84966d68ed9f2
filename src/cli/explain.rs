//! `qatime explain`: what would be done for a line, and why.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::input::{Input, Item};
use super::output::Output;
use crate::config::{Configuration, SinkConfig, Unmatched};
use crate::decoders::Decoder;
use crate::encoders::{json, text};
use crate::event::{EventRef, Timestamp};
use crate::rules::{Finding, RuleTrace};
use crate::sinks::atime::{Plan, Planner};
use crate::telemetry::printable::{self, Backslash};

/// Say what would be done for each line, and why
///
/// For each message on standard input (or in files): its fields; each rule, with the conditions
/// that failed or that it matched; the sinks that it goes to; and for an atime sink what would be
/// done to which path. Nothing is done: no sink is opened, and no file is touched.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  tail -n 20 audit.log | qatime explain
  qatime explain --json audit.log.gz | jq -c 'select(.unmatched) | .event.path'
  qatime generate --events 5 | qatime explain")]
pub(super) struct Explain {
    /// Files to read instead of standard input
    files: Vec<PathBuf>,

    /// Print a JSON object for each line: `event`, `rules`, `unmatched`, `sinks`
    #[arg(long)]
    json: bool,

    /// The year of stamps without one, instead of the last that is not in the future
    #[arg(long, value_name = "YEAR")]
    year: Option<i16>,
}

/// A sink as `explain` knows it.
struct Sink {
    name: String,
    kind: &'static str,
    planner: Option<Planner>,
}

struct Explainer {
    configuration: Configuration,
    sinks: Vec<Sink>,
    output: Output,
    json: bool,
    colours: bool,
}

/// What is said of one event.
struct Explanation {
    traces: Vec<RuleTrace>,
    unmatched: bool,
    /// Each sink that it goes to, with what an atime sink would do.
    sinks: Vec<(usize, Option<Plan>)>,
}

impl Explain {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let sinks = configuration.sinks.iter().map(|sink| Sink {
            name: sink.name.clone(),
            kind: sink.config.kind(),
            planner: match &sink.config {
                SinkConfig::Atime(config) => Some(config.planner()),
                SinkConfig::File(_) | SinkConfig::Stdout(_) => None,
            },
        });
        let decoder = Decoder::new(&configuration.decoder)?;
        let mut explainer = Explainer {
            sinks: sinks.collect(),
            configuration,
            output: Output::default(),
            json: self.json,
            colours: Output::is_terminal(),
        };
        let input = Input { files: self.files, decoder, year: self.year };
        input.visit(&mut explainer, Explainer::print, |explainer| explainer.output.flush())?;
        Ok(Exit::Success)
    }
}

impl Explainer {
    fn print(&mut self, item: Item<'_>) -> Result<(), CliError> {
        match item {
            Item::Event(event) => {
                let explanation = self.explain(event);
                if self.json {
                    self.print_json(event, &explanation);
                } else {
                    self.print_words(event, &explanation);
                }
            }
            Item::Rejected(rejected) if self.json => rejected.write_json(self.output.buffer()),
            Item::Rejected(rejected) => {
                rejected.write_text(self.output.buffer());
                self.output.push("\n");
            }
        }
        self.output.push("\n");
        self.output.flush_large()
    }

    fn explain(&self, event: EventRef<'_>) -> Explanation {
        let rules = &self.configuration.rule_set;
        let traces = rules.explain(event);
        let mut scratch = rules.scratch();
        let routes = rules.route(event, &mut scratch);
        let unmatched = routes.is_unmatched();
        let goes = |index: usize| match &self.configuration.unmatched {
            Unmatched::Sinks(names) if unmatched => names.contains(&self.sinks[index].name),
            Unmatched::Sinks(_) | Unmatched::Count => routes.sinks.contains(index),
        };
        let now: Timestamp = event.received();
        let sinks = self.sinks.iter().enumerate().filter(|(index, _)| goes(*index));
        let sinks = sinks.map(|(index, sink)| {
            (index, sink.planner.as_ref().map(|planner| planner.plan(event, now)))
        });
        Explanation { traces, unmatched, sinks: sinks.collect() }
    }

    fn print_words(&mut self, event: EventRef<'_>, explanation: &Explanation) {
        let colours = text::Options { colours: self.colours };
        text::write(event, colours, self.output.buffer());
        self.output.push("\n");
        let names = explanation.traces.iter().map(|trace| trace.name.chars().count());
        let width = names.max().unwrap_or(0);
        for trace in &explanation.traces {
            let mark = if trace.finding == Finding::Matched { '+' } else { '-' };
            let words = match &trace.finding {
                Finding::Matched => self.matched(trace.rule),
                finding => finding.to_string(),
            };
            self.line(&format!("  {mark} {:<width$}  ", trace.name), &words);
        }
        if explanation.unmatched {
            let fate = if explanation.sinks.is_empty() { "it is counted" } else { "goes as below" };
            self.line("  ", &format!("no rule matches: {fate} as unmatched"));
        } else if explanation.sinks.is_empty() {
            self.line("  ", "the rules that match have no sinks: it is discarded");
        }
        for (index, plan) in &explanation.sinks {
            let Sink { name, kind, .. } = &self.sinks[*index];
            let words = match plan {
                Some(plan) => plan.to_string(),
                None if *kind == name => "writes the event".to_owned(),
                None => format!("writes the event ({kind})"),
            };
            self.line(&format!("  > {name}: "), &words);
        }
    }

    fn matched(&self, rule: usize) -> String {
        let rules = &self.configuration.rule_set;
        let names: Vec<&str> =
            rules.sinks(rule).iter().map(|sink| self.sinks[sink].name.as_str()).collect();
        let ends =
            if self.configuration.rules[rule].r#final { ", and ends the search" } else { "" };
        match names.as_slice() {
            [] => format!("matched, no sinks{ends}"),
            names => format!("matched, to {}{ends}", names.join(", ")),
        }
    }

    /// A line of words, which may hold anything that stands in names of files.
    fn line(&mut self, head: &str, words: &str) {
        self.output.push(head);
        printable::push(words.as_bytes(), Backslash::Keep, self.output.buffer());
        self.output.push("\n");
    }

    fn print_json(&mut self, event: EventRef<'_>, explanation: &Explanation) {
        let rules: Vec<Value> =
            explanation.traces.iter().map(|trace| self.trace_json(trace)).collect();
        let sinks: Vec<Value> = explanation
            .sinks
            .iter()
            .map(|(index, plan)| {
                let Sink { name, kind, .. } = &self.sinks[*index];
                json!({ "name": name, "type": kind, "plan": plan.as_ref().map(plan_json) })
            })
            .collect();
        let out = self.output.buffer();
        out.extend_from_slice(b"{\"event\":");
        json::write(event, json::Options::default(), out);
        let rest = json!({ "rules": rules, "sinks": sinks, "unmatched": explanation.unmatched });
        // The event is written as it is everywhere, the rest behind it in the same object.
        out.push(b',');
        out.extend_from_slice(&rest.to_string().as_bytes()[1..]);
    }

    fn trace_json(&self, trace: &RuleTrace) -> Value {
        let rules = &self.configuration.rule_set;
        let sinks: Vec<&str> =
            rules.sinks(trace.rule).iter().map(|sink| self.sinks[sink].name.as_str()).collect();
        let (finding, failures, after) = match &trace.finding {
            Finding::Disabled => ("disabled", None, None),
            Finding::Failed(failures) => {
                let failures: Vec<Value> = failures
                    .iter()
                    .map(|failure| json!({ "key": failure.key, "words": failure.words }))
                    .collect();
                ("failed", Some(failures), None)
            }
            Finding::Matched => ("matched", None, None),
            Finding::NotReached { after } => ("not_reached", None, Some(after)),
        };
        json!({
            "name": trace.name,
            "finding": finding,
            "failures": failures.unwrap_or_default(),
            "after": after,
            "sinks": sinks,
        })
    }
}

/// A plan with its action and paths; `words` say the same.
fn plan_json(plan: &Plan) -> Value {
    use std::os::unix::ffi::OsStrExt;

    let mut value = json!({ "words": plan.to_string() });
    let mut set = |key: &str, entry: Value| value[key] = entry;
    let mut paths: Vec<(&str, Option<&PathBuf>)> = Vec::new();
    match plan {
        Plan::Forget { path, tree } => {
            set("action", "forget".into());
            set("tree", (*tree).into());
            paths.push(("path", Some(path)));
        }
        Plan::Move { from, to } => {
            set("action", "move".into());
            paths.extend([("path", from.as_ref()), ("target", to.as_ref())]);
        }
        Plan::Reject(reason) => {
            set("action", "reject".into());
            set("reason", reason.as_str().into());
        }
        Plan::Set { path, time, clamped } => {
            set("action", "set".into());
            set("time", time.to_string().into());
            set("clamped", (*clamped).into());
            paths.push(("path", Some(path)));
        }
    }
    for (key, path) in paths {
        set(key, path.map(|path| path.to_string_lossy()).into());
        if let Some(path) = path.filter(|path| path.to_str().is_none()) {
            let mut base64 = Vec::new();
            json::push_base64(path.as_os_str().as_bytes(), &mut base64);
            set(&format!("{key}_base64"), String::from_utf8_lossy(&base64).into());
        }
    }
    value
}
