use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::limiter::{INTERVAL_MS, MESSAGES_MAX};
use super::*;

/// What was written, for the test to read.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Runs `work` with a log of its own, whose clock it may turn, and returns what was logged.
fn logged(style: Style, level: &str, work: impl FnOnce(&AtomicU64)) -> String {
    let paper = Paper::default();
    let uptime_ms = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&uptime_ms);
    let clock = Box::new(move || Now {
        wall: Timestamp::from_nanos(1_795_000_000_042_000_000),
        uptime_ms: shown.load(Ordering::Relaxed),
    });
    let log = Log::new(style, Box::new(paper.clone()), clock).unwrap();
    let Level(targets) = level.parse().unwrap();
    tracing::subscriber::with_default(log.subscriber(targets), || work(&uptime_ms));
    drop(log);
    paper.text()
}

const TEXT: Style = Style::Text { colours: false };

#[test]
fn text_is_for_people() {
    let text = logged(TEXT, "info", |_| {
        tracing::warn!(component = "sinks.atime", count = 3, big = u64::MAX, ok = true, "gone");
        tracing::info!(path = %"/a b", user = "", equals = "a=\"b\"", share = 0.5);
        tracing::debug!("not shown");
    });
    assert_eq!(
        text,
        "11:06:40.042Z WARN  gone component=sinks.atime count=3 big=18446744073709551615 ok=true\n\
         11:06:40.042Z INFO   path=\"/a b\" user=\"\" equals=\"a=\\\"b\\\"\" share=0.5\n"
    );
    let coloured = logged(Style::Text { colours: true }, "info", |_| tracing::error!(a = 1, "b"));
    assert_eq!(
        coloured,
        "\x1b[2m11:06:40.042Z\x1b[0m \x1b[1;31mERROR\x1b[0m b \x1b[2ma=\x1b[0m1\n"
    );
}

#[test]
fn json_is_for_machines() {
    let error = io::Error::other("disk");
    let text = logged(Style::Json, "trace", |_| {
        let count = -3;
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::trace!(target: "part", count, nan = f64::NAN, time = "x", error, "said {}", "\"");
    });
    let expected = serde_json::json!({
        "time": "2026-11-18T11:06:40.042Z", "level": "trace", "target": "part",
        "message": "said \"", "count": -3, "nan": "NaN", "time_": "x", "error": "disk",
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
}

#[test]
fn examples_are_escaped_once_and_can_be_had_back() {
    let line = b"<14>1 - \"it's\\\"\tx";
    let broken = b"caf\xe9 \"a\"";
    let json = logged(Style::Json, "info", |_| {
        tracing::warn!(example = &line[..], broken = &broken[..], "rejected");
    });
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["example"].as_str().unwrap().as_bytes(), line);
    assert!(value.get("example_base64").is_none());
    assert_eq!(value["broken"], "caf\u{fffd} \"a\"");
    assert_eq!(value["broken_base64"], "Y2Fm6SAiYSI=");
    let text = logged(TEXT, "info", |_| {
        tracing::warn!(example = &line[..], broken = &broken[..], "rejected");
    });
    let expected = r#"rejected example=$'<14>1 - "it\'s\\"\tx' broken=$'caf\xe9 "a"'"#;
    assert!(text.ends_with(&format!("{expected}\n")), "{text}");
}

#[test]
fn an_object_is_an_object_in_json_and_words_in_text() {
    let object = serde_json::json!({ "a\u{9b}": [1, { "b": "c\n" }] });
    let field = Object::new(&object, "a 1, b\u{9b}".to_owned());
    let json = logged(Style::Json, "info", |_| tracing::info!(ledger = field.field(), "x"));
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["ledger"], object);
    assert!(!json.trim_end().chars().any(char::is_control), "{json}");
    let text = logged(TEXT, "info", |_| tracing::info!(ledger = field.field(), "x"));
    assert!(text.ends_with("x ledger=\"a 1, b\\u{9b}\"\n"), "{text}");
}

#[test]
fn no_name_can_forge_a_line_or_drive_a_terminal() {
    let evil = "/a\n12:00:00.000Z ERROR all is lost\r\x1b[2J\u{9b}\u{202e}\0\x7f\u{85}";
    for style in [TEXT, Style::Json] {
        let text = logged(style, "info", |_| {
            tracing::info!(path = evil, shown = %evil, debugged = ?evil, "{evil}");
        });
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        if style == Style::Json {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["path"], evil);
            assert_eq!(value["message"], evil);
        } else {
            assert!(!line.contains('\u{202e}'));
        }
    }
}

#[test]
fn a_flood_is_cut_and_counted() {
    let say = |reason: &str| tracing::warn!(component = "sinks.a", reason, path = "/x", "rejected");
    let text = logged(TEXT, "info", |uptime_ms| {
        for _ in 0..MESSAGES_MAX + 5 {
            say("gone");
        }
        say("symlink");
        uptime_ms.store(INTERVAL_MS, Ordering::Relaxed);
        // Any message brings the summary of others.
        tracing::info!("else");
        say("gone");
        for _ in 0..MESSAGES_MAX {
            say("symlink");
        }
        say("symlink");
    });
    let lines: Vec<&str> = text.lines().collect();
    let first = MESSAGES_MAX as usize;
    let gone = "WARN  rejected component=sinks.a reason=gone path=/x";
    assert!(lines[..first].iter().all(|line| line.ends_with(gone)), "{text}");
    assert!(lines[first].ends_with("reason=symlink path=/x"));
    assert_eq!(
        lines[first + 1],
        "11:06:40.042Z WARN  more messages like this were held back: rejected \
         component=sinks.a reason=gone suppressed=5"
    );
    assert!(lines[first + 2].ends_with("INFO  else"));
    assert!(lines[first + 3].ends_with(gone));
    // The rest comes at the end.
    assert_eq!(lines.len(), first + 4 + MESSAGES_MAX as usize + 1);
    assert!(lines.last().unwrap().ends_with("reason=symlink suppressed=1"));
}

#[test]
fn what_limits_itself_and_what_was_asked_for_is_not_cut() {
    let text = logged(TEXT, "debug", |_| {
        for _ in 0..100 {
            tracing::warn!(suppressed = 0, "limited elsewhere");
            tracing::debug!("asked for");
        }
    });
    assert_eq!(text.lines().count(), 200);
}

#[test]
fn the_limiter_itself_has_a_limit() {
    let text = logged(TEXT, "info", |_| {
        for number in 0..2000 {
            tracing::warn!(component = number.to_string(), "each of another kind");
        }
    });
    // 256 kinds, then twenty of the rest, then how many were held back.
    assert_eq!(text.lines().count(), 256 + 20 + 1);
    assert!(text.ends_with(" suppressed=1724\n"), "{text}");
}

/// A reader who reads nothing until it is told to.
struct Stuck(std::sync::mpsc::Receiver<()>, Paper);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once the other end is gone, it reads.
        let _gone = self.0.recv();
        self.1.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nobody_waits_for_who_does_not_read_and_what_is_lost_is_counted() {
    let (reads, stuck) = std::sync::mpsc::channel();
    let paper = Paper::default();
    let clock = Box::new(Now::default);
    let log = Log::new(TEXT, Box::new(Stuck(stuck, paper.clone())), clock).unwrap();
    let targets = Level::default().0;
    let asked = Instant::now();
    tracing::subscriber::with_default(log.subscriber(targets), || {
        for _ in 0..10 {
            tracing::info!(suppressed = 0, path = "x".repeat(writer::PENDING_BYTES_MAX / 4));
        }
        log.0.writer.flush(Duration::from_millis(10));
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
        drop(reads);
        log.0.writer.flush(Duration::from_secs(60));
        tracing::info!("read again");
    });
    drop(log);
    let text = paper.text();
    let last = Vec::from_iter(text.lines().rev().take(2));
    assert!(last[0].ends_with("INFO  read again"), "{last:?}");
    let lost: usize = last[1].rsplit_once("messages were lost lost=").unwrap().1.parse().unwrap();
    // One or two were taken by the writer, three or so wait.
    assert_eq!(text.lines().count(), 10 - lost + 2);
    assert!((4..=8).contains(&lost), "{lost}");
}

#[test]
fn levels_are_checked() {
    let config: Config = toml::from_str("level = 'warn, qatime::sinks = debug'").unwrap();
    let Level(targets) = config.level;
    assert!(targets.would_enable("qatime::sinks::file", &tracing::Level::DEBUG));
    assert!(!targets.would_enable("qatime::sources", &tracing::Level::INFO));
    let Level(targets) = Config::default().level;
    assert!(targets.would_enable("qatime", &tracing::Level::INFO));
    for text in ["", "infoo", "qatime=loud", "=debug", "info,", "5"] {
        let error = text.parse::<Level>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{text:?} is not a log level; write off, ")), "{error}");
    }
    let error = toml::from_str::<Config>("level = 'loud'").unwrap_err();
    assert_eq!(error.span(), Some(8..14));
    assert!(toml::from_str::<Config>("format = 'xml'").is_err());
    let format: Config = toml::from_str("format = 'json'").unwrap();
    assert_eq!(format.format, Format::Json);
}

/// Runs in a process of its own: there is one log a process.
#[test]
fn where_nobody_watches_the_log_is_json_on_standard_error() {
    const MARK: &str = "QATIME_TEST_STARTS_LOG";
    if std::env::var_os(MARK).is_some() {
        let config: Config = toml::from_str("level = 'error'").unwrap();
        let error = start(&config, Some("loud")).unwrap_err();
        assert!(matches!(error, StartError::Level(_)));
        let log = start(&config, Some("info")).unwrap();
        tracing::info!(port = 5140, "listening");
        assert!(matches!(start(&config, None), Err(StartError::AlreadyStarted(_))));
        drop(log);
        return;
    }
    let name = "telemetry::logging::tests::where_nobody_watches_the_log_is_json_on_standard_error";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["message"], &value["port"]), (&"listening".into(), &5140.into()));
}
