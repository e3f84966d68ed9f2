//! What the audience sees.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use filetime::FileTime;
use indicatif::{HumanBytes, HumanCount};

use super::expectation::{Filtering, Finding, Verdict, wrong};
use super::tree::Tree;
use crate::cli::exit::CliError;
use crate::cli::output::Output;
use crate::encoders::ledger;
use crate::event::Timestamp;
use crate::generator::Namespace;
use crate::telemetry::LedgerReport;
use crate::telemetry::printable::{self, Backslash};

/// How many files are shown.
const SHOWN_MAX: usize = 8;
/// How many characters of a path.
const PATH_CHARACTERS_MAX: usize = 44;
/// How many of those that a filter changed something for, of each kind.
const FILTERED_SHOWN_MAX: usize = 2;

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) connections: usize,
    pub(super) took: Duration,
}

/// Standard output, act by act.
#[derive(Debug)]
pub(super) struct Stage {
    output: Output,
    colours: bool,
}

impl Stage {
    pub(super) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { output: Output::default(), colours: std::io::stdout().is_terminal() && !plain }
    }

    /// One step: its name in bold, what was done, and where, dimmed.
    fn step(&mut self, name: &str, done: &str, place: &str) -> Result<(), CliError> {
        let name = self.paint("1", &format!("{name:<8}"));
        let place = self.paint("2", place);
        self.output.push_styled(&format!("{name} {done}\n{:9}{place}\n", ""));
        self.output.flush()
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn tree(&mut self, tree: &Tree, namespace: &Namespace) -> Result<(), CliError> {
        let (files, directories) = (namespace.files(), namespace.directories());
        let done = format!("{files} files in {directories} directories, last read a year ago");
        self.step("tree", &done, &tree.root().display().to_string())
    }

    pub(super) fn daemon(&mut self, address: &str, file: &Path) -> Result<(), CliError> {
        let done = format!("listens on {address}, with the rules and filters that ship");
        self.step("daemon", &done, &file.display().to_string())
    }

    pub(super) fn stream(&mut self, sent: &Sent) -> Result<(), CliError> {
        let Sent { events, bytes, connections, took } = *sent;
        let done = format!(
            "{} events of the last hour over {connections} connections, one a node",
            HumanCount(events)
        );
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = HumanCount(events.saturating_mul(1_000_000) / micros);
        let size = HumanBytes(bytes);
        self.step(
            "stream",
            &done,
            &format!("{size} in {:.2} s: {rate} events/s", took.as_secs_f64()),
        )
    }

    /// Times before and after, the ledger, and whether all is right.
    pub(super) fn outcome(
        &mut self,
        verdict: &Verdict,
        report: &LedgerReport,
    ) -> Result<(), CliError> {
        let heading = format!(
            "{:>8}  {:<19}  {:<27}  {:<8}  {}",
            "accesses", "atime before", "atime now", "filters", "path on the cluster"
        );
        let heading = self.paint("1", &heading);
        self.output.push_styled(&format!("\n{heading}\n"));
        for finding in shown(verdict) {
            self.row(finding);
        }
        self.output.push("\n");
        self.output.push(&ledger::table(report));
        self.output.push("\n");
        self.judgement(verdict);
        self.output.flush()
    }

    fn row(&mut self, finding: &Finding) {
        let before = text(finding.before);
        let is_untouched = finding.accesses == 0 || finding.filtering == Filtering::Excluded;
        let now = match (finding.is_right, is_untouched) {
            (false, _) => self.paint("31", &format!("{:<27}", text(finding.now))),
            (true, true) => self.paint("2", &format!("{:<27}", "the same")),
            (true, false) => self.paint("32", &format!("{:<27}", text(finding.now))),
        };
        let accesses = HumanCount(finding.accesses).to_string();
        let path = shortened(&finding.path);
        let filtering = match finding.filtering {
            Filtering::None => "",
            Filtering::Decoded => "decoded",
            Filtering::Excluded => "excluded",
        };
        let before = &before[..19];
        let row = format!("{accesses:>8}  {before:<19}  {now}  {filtering:<8}  {path}\n");
        self.output.push_styled(&row);
    }

    fn judgement(&mut self, verdict: &Verdict) {
        let (accessed, untouched) = (verdict.accessed.len(), verdict.untouched.len());
        let (late, early) = (wrong(&verdict.accessed), wrong(&verdict.untouched));
        self.judge(
            late == 0,
            &format!(
                "{} of {accessed} files and directories that were accessed have the time of their \
                 newest access, to the nanosecond",
                accessed - late
            ),
        );
        let decoded = |finding: &&Finding| finding.filtering == Filtering::Decoded;
        let decoded = verdict.accessed.iter().filter(decoded).count();
        if decoded > 0 {
            self.output.push(&format!(
                "  {decoded} of them stand in the stream in windows-1252: a filter found them\n"
            ));
        }
        let (excluded, warm) = (verdict.excluded.len(), wrong(&verdict.excluded));
        if excluded > 0 {
            let kept = excluded - warm;
            let words = format!("{kept} of {excluded} that a filter excludes have kept theirs");
            self.judge(warm == 0, &words);
        }
        self.judge(
            early == 0,
            &format!("{} of {untouched} that were not have kept theirs", untouched - early),
        );
        self.judge(
            verdict.modified == 0,
            &match verdict.modified {
                0 => "no modification time has moved".to_owned(),
                moved => format!("{moved} modification times have moved"),
            },
        );
        if verdict.moved > 0 {
            let moved = verdict.moved;
            self.output.push(&format!(
                "  {moved} more were renamed or deleted in the stream, and are not judged\n"
            ));
        }
    }

    fn judge(&mut self, right: bool, words: &str) {
        let mark = if right { self.paint("32", "✔") } else { self.paint("31", "✘") };
        self.output.push_styled(&format!("{mark} {words}\n"));
    }

    /// What comes next, for those who liked it.
    pub(super) fn next(&mut self) -> Result<(), CliError> {
        self.output.push(
            "\nNothing of it is left. What next? `qatime help`, and qatime.toml, which explains \
             itself.\n",
        );
        self.output.flush()
    }

    pub(super) fn kept(&mut self, directory: &Path) -> Result<(), CliError> {
        let directory = directory.display();
        self.output.push(&format!(
            "\nIt is all kept in {directory}; look at it with\n  \
             find {directory}/mount -printf '%a %p\\n'\n  \
             QATIME_ROOT={directory}/mount qatime check --config {directory}/qatime.toml\n"
        ));
        self.output.flush()
    }
}

/// What is shown: what is wrong, the most accessed files and directories, some that a filter
/// decoded or excluded, and one that nobody accessed.
fn shown(verdict: &Verdict) -> impl Iterator<Item = &Finding> {
    let wrong = verdict.accessed.iter().chain(&verdict.excluded);
    let wrong = wrong.filter(|finding| !finding.is_right).take(SHOWN_MAX);
    let right = |directory: bool, filtering: Filtering| {
        let chosen = move |finding: &&Finding| {
            finding.is_right
                && finding.filtering == filtering
                && finding.path.ends_with(b"/") == directory
        };
        verdict.accessed.iter().chain(&verdict.excluded).filter(chosen)
    };
    let most = right(false, Filtering::None).take(SHOWN_MAX - 2 * FILTERED_SHOWN_MAX);
    let decoded = right(false, Filtering::Decoded).take(FILTERED_SHOWN_MAX);
    let excluded = right(false, Filtering::Excluded).take(FILTERED_SHOWN_MAX);
    let directories = right(true, Filtering::None).take(2);
    let last = verdict.untouched.iter().rev().take(1);
    wrong.chain(most).chain(directories).chain(decoded).chain(excluded).chain(last)
}

/// A time in UTC: `2026-01-27T14:12:23.955800Z`.
fn text(time: FileTime) -> String {
    let time = Timestamp::from_unix(time.unix_seconds(), time.nanoseconds());
    time.unwrap_or_default().to_string()
}

/// The end of a path, which tells more than its beginning.
fn shortened(path: &[u8]) -> String {
    let mut shown = Vec::new();
    printable::push(path, Backslash::Keep, &mut shown);
    let shown = String::from_utf8_lossy(&shown);
    match shown.chars().count().checked_sub(PATH_CHARACTERS_MAX) {
        None | Some(0) => shown.into_owned(),
        Some(over) => {
            let rest: String = shown.chars().skip(over + 1).collect();
            // From a slash on, where that leaves enough.
            let slash = rest.find('/').filter(|at| at * 2 < rest.len()).unwrap_or(0);
            format!("…{}", &rest[slash..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_shown_by_its_end() {
        assert_eq!(shortened(b"/a/b"), "/a/b");
        let long = shortened(format!("/{}/ende.mov", "ä".repeat(60)).as_bytes());
        assert_eq!(long.chars().count(), PATH_CHARACTERS_MAX);
        assert!(long.starts_with("…ä") && long.ends_with("/ende.mov"));
        let whole =
            shortened(format!("/{}/b/ende{}.mov", "a".repeat(9), "e".repeat(32)).as_bytes());
        assert!(whole.starts_with("…/b/ende"), "{whole}");
    }
}
