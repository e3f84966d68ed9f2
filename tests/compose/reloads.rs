//! Rules edited while events flow, by an editor that puts a new file in the place of the old one.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::files::{Files, atime, long_ago};
use crate::kills::{SETTLED_WITHIN, settle};
use crate::load::Load;
use crate::project::Project;

/// How often the file is edited: to a good one and to a bad one in turn.
const EDITS: usize = 10;

/// How many events a second flow.
const PER_SECOND: usize = 1500;

/// How many events there are at most.
const EVENTS: usize = 90_000;

/// A rule that discards what happens in a directory, to stand before all others.
const QUIET: &str = "\n[[rules]]\nname = \"quiet\"\nwhen.path = \"/quiet/**\"\nfinal = true\n";

/// Puts a file with this text in the place of the configuration.
fn edit(project: &Project, text: &str) {
    let new = project.config().with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, project.config()).unwrap();
}

/// `qatime reload` in the container: its exit code, and what it said.
fn reload(project: &Project) -> (Option<i32>, String) {
    let arguments = ["exec", "-T", "qatime", "qatime", "reload"];
    let mut command = project.command(&arguments);
    command.args(["--config", "/etc/qatime/qatime.toml"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn rules_are_edited_while_events_flow_and_none_is_lost() {
    let project = Project::up();
    let files = Files::create(&project.tree(), EVENTS);
    let quiet = project.tree().join("quiet");
    fs::create_dir(&quiet).unwrap();
    fs::write(quiet.join("a"), "").unwrap();
    long_ago(&quiet.join("a"));
    let shipped = fs::read_to_string(project.config()).unwrap();
    let rules = shipped.find("\n[[rules]]").unwrap();
    let good = [&shipped[..rules], QUIET, &shipped[rules..]].concat();
    let bad = shipped.replace("\nwhen.operation = [", "\nwhen.operatoin = [");

    let load = Load::start(project.address(), 0..EVENTS, PER_SECOND);
    for edits in 0..EDITS {
        std::thread::sleep(Duration::from_millis(300));
        if edits % 2 == 0 {
            edit(&project, &good);
            let (code, said) = reload(&project);
            assert_eq!(code, Some(0), "{said}");
        } else {
            edit(&project, &bad);
            let (code, said) = reload(&project);
            assert_eq!(code, Some(78), "{said}");
            assert!(said.contains("operatoin") && said.contains("operation"), "{said}");
        }
    }
    project.send(
        r#"<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,"ann",nfs3,fs_read_data,ok,7,"/quiet/a","""#,
    );
    let (sent, connections) = load.stop();
    println!("{EDITS} edits while {} events flowed", sent.len());
    assert!(sent.len() > PER_SECOND && sent.len() < EVENTS, "{sent:?}");
    assert_eq!((settle(&project, &files, sent.clone(), SETTLED_WITHIN), connections), (vec![], 1));
    // The rules that run are those of the last good file, and whoever asks is told.
    assert_eq!(atime(&quiet.join("a")), 0);
    let status = ["exec", "-T", "qatime", "qatime", "status", "--json"];
    let status = project.compose(&status);
    assert!(status.contains("stale"), "{status}");

    project.compose(&["stop"]);
    let ledger = project.ledger();
    let source = &ledger["sources"][0];
    assert_eq!(source["received"], sent.len() + 1, "{ledger}");
    assert_eq!(source["in_flight"], 0, "{ledger}");
    assert_eq!(source["unmatched"], 0, "{ledger}");
    project.down();
}

#[test]
fn metrics_are_for_the_inner_network() {
    let project = Project::up();
    let ask = r"exec 3<>/dev/tcp/qatime/9514
        printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
        cat <&3";
    let answer = project.compose(&["exec", "-T", "rsyslog", "bash", "-c", ask]);
    assert!(answer.starts_with("HTTP/1.") && answer.contains("\nqatime_"), "{answer}");
    let ports = project.inspect("qatime", ".NetworkSettings.Ports");
    assert_eq!(ports, "map[]");
    project.down();
}
