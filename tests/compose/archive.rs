//! The archive that rsyslog keeps where it is told to: rotated, compressed, and replayed.

use std::time::Duration;

use crate::files::Files;
use crate::kills::{SETTLED_WITHIN, settle};
use crate::load::Load;
use crate::project::Project;

/// How many events there are.
const EVENTS: usize = 8_000;

#[test]
fn the_archive_is_rotated_and_brings_everything_back() {
    let project =
        Project::up_with(&[("QATIME_ARCHIVE", "yes"), ("QATIME_ARCHIVE_FILE_BYTES", "64k")]);
    let files = Files::create(&project.tree(), EVENTS);
    let load = Load::start(project.address(), 0..EVENTS, 4000);
    project.wait_until("all are sent", || load.written() == EVENTS);
    let (sent, _) = load.stop();
    assert_eq!(settle(&project, &files, sent.clone(), SETTLED_WITHIN), [0; 0]);

    let is_compressed = |name: &String| name.ends_with(".log.gz");
    project.wait_until("files are compressed", || {
        project.archive().iter().filter(|name| is_compressed(name)).count() > 10
    });
    std::thread::sleep(Duration::from_secs(1));
    files.forget(sent.clone());
    project.replay();
    assert_eq!(files.missing(sent), [0; 0]);
    project.down();
}

#[test]
fn of_each_cluster_the_newest_files_are_kept() {
    let project = Project::up_with(&[
        ("QATIME_ARCHIVE", "yes"),
        ("QATIME_ARCHIVE_FILE_BYTES", "16k"),
        ("QATIME_ARCHIVE_KEEP", "3"),
    ]);
    let files = Files::create(&project.tree(), EVENTS);
    let load = Load::start(project.address(), 0..EVENTS, 4000);
    project.wait_until("all are sent", || load.written() == EVENTS);
    let (sent, _) = load.stop();
    assert_eq!(settle(&project, &files, sent, SETTLED_WITHIN), [0; 0]);
    // One that was put aside since it was last looked for, and the one that is written to.
    let kept = project.archive();
    assert!((3..=5).contains(&kept.len()), "{kept:?}");
    assert!(kept.iter().all(|name| name.starts_with("/var/log/qumulo/tank")), "{kept:?}");
    project.down();
}
