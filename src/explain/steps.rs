//! What filters did to an event, in words and as JSON.

use serde_json::{Map, Value, json};

use super::trace::{Outcome, Replacement, Step};
use crate::config::Configuration;
use crate::encoders::json;
use crate::filters::OnFault;

/// What one filter did, in words. They may hold any bytes that stand in an event.
pub(super) fn words(configuration: &Configuration, step: &Step) -> Vec<u8> {
    let mut words = Vec::new();
    match &step.outcome {
        Outcome::Discarded => words.extend_from_slice(b"discards it"),
        Outcome::Failed(fault) => {
            let on_fault = configuration.filters[step.filter].config.on_fault;
            let (kind, name) = (fault.kind, on_fault.as_str());
            words.extend_from_slice(format!("fails ({kind}): {}; ", fault.message).as_bytes());
            let then = consequence(on_fault);
            words.extend_from_slice(format!("on_fault = \"{name}\": {then}").as_bytes());
        }
        Outcome::Kept => {
            words.extend_from_slice(b"keeps it");
            for Replacement { column, old, new } in &step.edits {
                words.extend_from_slice(format!("; {} \"", column.as_str()).as_bytes());
                words.extend_from_slice(old);
                words.extend_from_slice(b"\" becomes \"");
                words.extend_from_slice(new);
                words.push(b'"');
            }
            for (key, value) in &step.labels {
                words.extend_from_slice(format!("; label {key} = \"{value}\"").as_bytes());
            }
        }
    }
    words
}

const fn consequence(on_fault: OnFault) -> &'static str {
    match on_fault {
        OnFault::Keep => "it goes on unchanged",
        OnFault::Discard => "it ends here",
        OnFault::DeadLetter => "it goes to the sink of dead letters",
        OnFault::Halt => "it ends here, and the daemon stops",
    }
}

/// What one filter did: `filter`, `verdict`, `fault`, `edits`, `labels`.
pub(super) fn json(configuration: &Configuration, step: &Step) -> Value {
    let named = &configuration.filters[step.filter];
    let (verdict, fault) = match &step.outcome {
        Outcome::Kept => ("keep", None),
        Outcome::Discarded => ("discard", None),
        Outcome::Failed(fault) => (
            "failed",
            Some(json!({
                "kind": fault.kind.as_str(),
                "message": fault.message,
                "on_fault": named.config.on_fault.as_str(),
            })),
        ),
    };
    let labels: Map<String, Value> =
        step.labels.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let edits: Vec<Value> = step.edits.iter().map(edit_json).collect();
    let name = &named.name;
    json!({ "filter": name, "verdict": verdict, "fault": fault, "edits": edits, "labels": labels })
}

fn edit_json(edit: &Replacement) -> Value {
    let mut object = Map::new();
    object.insert("column".into(), edit.column.as_str().into());
    json::insert_bytes(&mut object, "old", &edit.old);
    json::insert_bytes(&mut object, "new", &edit.new);
    object.into()
}
