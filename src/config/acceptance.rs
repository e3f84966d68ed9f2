//! Whatever `qatime check` accepts, the parts are built from; where one refuses, the world is not
//! as the file says. Configurations are drawn from a table of keys and of values that they could
//! have, sensible and senseless ones.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

use super::load;
use crate::component::SinkContext;
use crate::sources::syslog::Sockets;
use crate::telemetry::Ledger;

/// A key and the values that it could have, as TOML. A value that begins with `~` names something
/// that the world does not have, or has otherwise: whoever is built with it may refuse it.
type Key = (&'static str, &'static [&'static str]);

/// A part: its section, its `type`, and its keys.
struct Part {
    section: &'static str,
    keys: &'static [Key],
}

const COUNTS: &[&str] = &["0", "1", "7", "1024", "65535", "5000000", "9223372036854775807", "-1"];
const SPANS: &[&str] = &[
    "'0s'", "'1ns'", "'1ms'", "'250ms'", "'5s'", "'10m'", "'12h'", "'40d'", "'3650d'", "'19000y'",
    "5",
];
const SIZES: &[&str] =
    &["0", "1", "64", "'10 B'", "'64 KiB'", "'1 MiB'", "'3 GiB'", "'9 TiB'", "-1"];
const SWITCHES: &[&str] = &["true", "false", "'maybe'"];
const NAMES: &[&str] = &["''", "'qatime'", "'a{b}'", "'a:b'", "'ä'"];
const FILES: &[&str] =
    &["'{here}/file'", "''", "'{here}/'", "~'{here}/none/file'", "\"a\\u0000b\""];
const POSITIONS: &[&str] = &["'{here}/positions'", "''", "~'{here}/none/file'", "~'{here}/file'"];
const PEM: &[&str] = &["'{here}/file'", "''", "~'{here}/none'"];
const URLS: &[&str] = &[
    "'redis://127.0.0.1:1'",
    "[]",
    "'http://a'",
    "'unix:///run/redis.sock'",
    "['redis://a', 'rediss://b']",
];
const CLIENTS: &[&str] = &["[]", "'10.0.0.7'", "['10.0.0.0/8']", "'10.0.0.7/8'"];

/// The keys of a table `server`.
macro_rules! server {
    ($($more:expr,)*) => {
        &[
            ("server.url", URLS),
            ("server.topology", &["'single'", "'cluster'", "'sentinel'"]),
            ("server.sentinel_master", NAMES),
            ("server.sentinel_username", &["''", "'u'"]),
            ("server.username", &["''", "'u'"]),
            ("server.password", &["''", "'p'"]),
            ("server.password_file", PEM),
            ("server.database", &["0", "1", "65535", "70000"]),
            ("server.ca_file", PEM),
            ("server.certificate_file", PEM),
            ("server.key_file", PEM),
            ("server.connect_timeout", SPANS),
            ("server.response_timeout", SPANS),
            $($more,)*
        ]
    };
}

const PARTS: &[Part] = &[
    Part {
        section: "[sinks.x]\ntype = 'atime'",
        keys: &[
            ("root", &["'{here}'", "''", "~'{here}/none'", "~'{here}/file'"]),
            ("require_mount", &["false"]),
            ("map", &["[]", "[{ from = '/a', to = '/' }, { from = '/a/b', to = '/' }]"]),
            ("strip_prefix", &["'/'", "'/a'", "'a'"]),
            ("threads", COUNTS),
            ("pending_files_max", COUNTS),
            ("pending_bytes_max", SIZES),
            ("flush_interval", SPANS),
            ("granularity", SPANS),
            ("future_max", SPANS),
            ("reorder_window", SPANS),
            ("verify_file_id", SWITCHES),
            ("ignore_clients", CLIENTS),
            ("parents_max", COUNTS),
            ("parent_ttl", SPANS),
            ("retry_max", COUNTS),
            ("retry_delay", SPANS),
            ("retry_delay_max", SPANS),
            ("queue.events_max", COUNTS),
            ("queue.bytes_max", SIZES),
            ("queue.wait_max", SPANS),
        ],
    },
    Part {
        section: "[sinks.x]\ntype = 'file'",
        keys: &[
            ("path", FILES),
            ("format", &["'json'", "'text'", "{ template = '' }", "{ template = '{path}' }"]),
            ("rotate.size", SIZES),
            ("rotate.every", SPANS),
            ("rotate.keep", COUNTS),
            ("rotate.compress", SWITCHES),
            ("sync", &["'never'", "'flush'", "'batch'"]),
            ("mode", &["'0640'", "'000'", "'0400'", "'9'"]),
            ("create_dirs", SWITCHES),
            ("flush_interval", SPANS),
        ],
    },
    Part {
        section: "[sinks.x]\ntype = 'redis'\nmode = 'stream'",
        keys: server![
            ("pipeline_commands_max", COUNTS),
            ("pipeline_bytes_max", SIZES),
            ("stream.key", NAMES),
            ("stream.partitions", COUNTS),
            ("stream.trim", &["'never'", "{ entries_max = 0 }", "{ age_max = '1h' }"]),
            ("stream.trim_exactly", SWITCHES),
            ("index.names", SWITCHES),
        ],
    },
    Part {
        section: "[sinks.x]\ntype = 'redis'\nmode = 'index'",
        keys: server![
            ("index.prefix", NAMES),
            ("index.partitions", COUNTS),
            ("index.names", SWITCHES),
            ("index.batch_paths_max", COUNTS),
            ("index.future_max", SPANS),
            ("index.reorder_window", SPANS),
            ("index.ignore_clients", CLIENTS),
            ("stream.raw", SWITCHES),
        ],
    },
    Part {
        section: "[sources.x]\ntype = 'file'",
        keys: &[
            ("paths", &["'{here}/file'", "[]", "'{here}/a['", "~'{here}/none'", "~'{here}/no*'"]),
            ("follow", SWITCHES),
            ("from_start", SWITCHES),
            ("positions", POSITIONS),
            ("poll_interval", SPANS),
            ("frame_bytes_max", SIZES),
            ("nul_separates", SWITCHES),
        ],
    },
    Part {
        section: "[sources.x]\ntype = 'syslog'",
        keys: &[
            (
                "listen",
                &[
                    "'tcp://127.0.0.1:0'",
                    "['udp://127.0.0.1:0', 'unix://{here}/s']",
                    "[]",
                    "~'unix://{here}/none/s'",
                    "'unix://{here}/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\
                     nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'",
                ],
            ),
            ("senders", &["'10.0.0.0/8'", "['fd00::/8', '127.0.0.1']", "[]", "'10.0.0.5/8'"]),
            ("frame_bytes_max", SIZES),
            ("connections_max", COUNTS),
            ("idle_timeout", SPANS),
            ("keepalive", SPANS),
            ("frames_pending_bytes_max", SIZES),
            ("udp_buffer_bytes", SIZES),
            ("socket_mode", &["0o660", "0", "0o777", "660"]),
        ],
    },
    Part {
        section: "[sources.x]\ntype = 'redis'",
        keys: server![
            ("key", NAMES),
            ("partitions", COUNTS),
            ("group", NAMES),
            ("consumer", NAMES),
            ("from_start", SWITCHES),
            ("read_events_max", COUNTS),
            ("unacknowledged_max", COUNTS),
            ("claim_idle", SPANS),
            ("consumer_idle_max", SPANS),
        ],
    },
];

/// A part's table, in a world beneath `here`, and whether the world may refuse it. Few keys are
/// chosen, so that many tables are right as a whole; the first one must mostly be given.
fn table(part: &Part, choices: &[(Index, Index)], here: &Path) -> (String, bool) {
    let mut text = format!("{}\n", part.section);
    let mut is_refusable = false;
    let mut given = Vec::new();
    let first = (0, choices.first().map_or(0, |(_, value)| value.index(2)));
    let chosen = choices.iter().skip(1).map(|(key, value)| {
        let key = key.index(part.keys.len());
        (key, value.index(part.keys[key].1.len()))
    });
    for (key, value) in std::iter::once(first).chain(chosen) {
        let (name, values) = part.keys[key];
        if given.contains(&name) {
            continue;
        }
        given.push(name);
        let value = values[value % values.len()];
        is_refusable |= value.starts_with('~');
        let value = value.trim_start_matches('~').replace("{here}", here.to_str().unwrap());
        text.push_str(&format!("{name} = {value}\n"));
    }
    (text, is_refusable)
}

/// Builds what a table says, if it is accepted: `None` where it is not.
fn build(text: &str) -> Option<Result<(), String>> {
    const SMALL: &str = "[sources.in]\ntype = 'stdin'\n[[rules]]\nname = 'all'\nsinks = 'out'\n\
                         [sinks.out]\ntype = 'stdout'\n";
    let configuration = load(&format!("{SMALL}{text}"), "q.toml", &|_| None).ok()?;
    let ledger = Ledger::default();
    for sink in configuration.sinks.iter().filter(|sink| sink.name == "x") {
        let context = SinkContext { name: sink.name.clone(), account: ledger.open_sink("x") };
        if let Err(error) = sink.config.part().build(context) {
            return Some(Err(error.to_string()));
        }
    }
    let sockets = Sockets::default();
    for source in configuration.sources.iter().filter(|source| source.name == "x") {
        if let Err(error) = source.config.part().build("x", &mut sockets.prepare()) {
            return Some(Err(error.to_string()));
        }
    }
    Some(Ok(()))
}

#[test]
fn what_is_accepted_is_built_unless_the_world_refuses() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "<14>one\n").unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let choices = prop::collection::vec((any::<Index>(), any::<Index>()), 1..5);
    let accepted = std::cell::Cell::new(0);
    let outcome = runner.run(&(any::<Index>(), choices), |(part, choices)| {
        let (text, is_refusable) =
            table(&PARTS[part.index(PARTS.len())], &choices, directory.path());
        match build(&text) {
            Some(Err(error)) => prop_assert!(is_refusable, "{error}\n{text}"),
            Some(Ok(())) => accepted.set(accepted.get() + 1),
            None => {}
        }
        Ok(())
    });
    outcome.unwrap();
    // Enough of what was drawn made sense.
    assert!(accepted.get() > 200, "{} were accepted", accepted.get());
}

#[test]
fn each_part_is_built_from_its_smallest_table() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "<14>one\n").unwrap();
    for part in PARTS {
        let (key, values) = part.keys[0];
        let value = values[0].replace("{here}", directory.path().to_str().unwrap());
        let text = format!("{}\n{key} = {value}\n", part.section);
        assert_eq!(build(&text), Some(Ok(())), "{text}");
    }
}
