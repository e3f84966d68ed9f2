//! What a plugin says of one event.

use std::collections::BTreeMap;

use crate::wasm::{Answer, Verdict};

/// All verdicts.
pub(super) const VERDICTS: [Verdict; 3] = [Verdict::Keep, Verdict::Discard, Verdict::Abstain];

/// A verdict as case files and `wit/plugin.wit` call it.
pub(super) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Keep => "keep",
        Verdict::Discard => "discard",
        Verdict::Abstain => "abstain",
    }
}

/// What a plugin says of one event, or is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin_kit) struct Judgement {
    pub(in crate::plugin_kit) verdict: Verdict,
    /// New values of columns, by the column's name.
    pub(in crate::plugin_kit) edits: BTreeMap<&'static str, Vec<u8>>,
    pub(in crate::plugin_kit) labels: BTreeMap<String, String>,
}

impl Judgement {
    pub(in crate::plugin_kit) fn new(verdict: Verdict) -> Self {
        Self { verdict, edits: BTreeMap::new(), labels: BTreeMap::new() }
    }

    /// One for each event of an answer. Edits and labels of events that are not kept count for
    /// nothing, and of two edits of a column the later one counts, as in the daemon.
    pub(in crate::plugin_kit) fn of(answer: Answer) -> Vec<Self> {
        let mut judgements: Vec<Self> = answer.verdicts.into_iter().map(Self::new).collect();
        for edit in answer.edits {
            let judgement = &mut judgements[edit.index as usize];
            if judgement.verdict == Verdict::Keep {
                judgement.edits.insert(edit.column.as_str(), edit.value);
            }
        }
        for label in answer.labels {
            let judgement = &mut judgements[label.index as usize];
            if judgement.verdict == Verdict::Keep {
                judgement.labels.insert(label.key, label.value);
            }
        }
        judgements
    }
}
