//! A history as the cluster tells it.

use super::history::Case;
use super::tree::Step;

/// The line of a step, with its end. `nanos` is its time since 1970, `path` says where a path of
/// the tree lies on the cluster.
pub(crate) fn line(step: &Step, nanos: i64, path: impl Fn(&str) -> String) -> String {
    let is_directory = |path: &str| path.ends_with('/');
    let (operation, name, target) = match step {
        Step::Create(name) if is_directory(name) => {
            ("fs_create_directory", path(name), String::new())
        }
        Step::Create(name) => ("fs_create_file", path(name), String::new()),
        Step::Delete(name) => ("fs_delete", path(name), String::new()),
        Step::DeleteTree(name) => ("fs_tree_delete", path(name), String::new()),
        Step::Read(name) if is_directory(name) => ("fs_list_directory", path(name), String::new()),
        Step::Read(name) => ("fs_read_data", path(name), String::new()),
        Step::ReadStream(name) => ("fs_read_data", format!("{}:meta", path(name)), String::new()),
        Step::Rename(from, to) => ("fs_rename", path(from), path(to)),
    };
    let is_smb = step.paths().iter().any(|path| path.contains(':'));
    let protocol = if is_smb || matches!(step, Step::ReadStream(_)) { "smb2" } else { "nfs3" };
    let time = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap();
    format!(
        "<14>1 {time} tank-1 qumulo - - - 10.0.0.9,\"ann\",{protocol},{operation},ok,7,\
         \"{name}\",\"{target}\"\n"
    )
}

/// The time of a tick.
pub(crate) fn at(base: i64, tick: i64) -> i64 {
    base + tick * 1000
}

/// The lines of a case in the order of their arrival.
pub(crate) fn lines_of(case: &Case, path: impl Fn(&str) -> String) -> String {
    let base = 1_769_523_143_123_456_789;
    let line = |step: &usize| line(&case.steps[*step], at(base, case.ticks[*step]), &path);
    case.arrivals.iter().map(line).collect()
}
