//! A plan for who asks what would be done: `explain`, for people and for programs.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::plan::{Plan, Planner};
use crate::encoders::json::push_base64;
use crate::event::{EventRef, Timestamp};
use crate::sinks::{Preview, Previewed};

impl Preview for Planner {
    fn of(&self, event: EventRef<'_>, now: Timestamp) -> Previewed {
        let plan = self.plan(event, now);
        Previewed { words: plan.to_string(), object: object(&plan) }
    }
}

/// A plan with its action and paths; `words` say the same.
fn object(plan: &Plan) -> Value {
    let mut value = json!({ "words": plan.to_string() });
    let mut set = |key: &str, entry: Value| value[key] = entry;
    let mut paths: Vec<(&str, Option<&PathBuf>)> = Vec::new();
    match plan {
        Plan::Each(plans) => {
            set("action", "each".into());
            set("each", plans.iter().map(object).collect());
        }
        Plan::Nothing => set("action", "nothing".into()),
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
        Plan::Set { path, time, clamped, unless } => {
            set("action", "set".into());
            set("time", time.to_string().into());
            set("clamped", (*clamped).into());
            paths.push(("path", Some(path)));
            paths.extend(unless.as_ref().map(|unless| ("unless", Some(unless))));
        }
    }
    for (key, path) in paths {
        set(key, path.map(|path| path.to_string_lossy()).into());
        if let Some(path) = path.filter(|path| path.to_str().is_none()) {
            let mut base64 = Vec::new();
            push_base64(path.as_os_str().as_bytes(), &mut base64);
            set(&format!("{key}_base64"), String::from_utf8_lossy(&base64).into());
        }
    }
    value
}
