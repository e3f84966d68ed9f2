//! The program as its users run it: arguments, standard input, output, exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const READ: &str = concat!(
    "<14>1 2026-01-27T14:12:23.9558Z tank-1 qumulo - - - ",
    r#"10.0.0.9,"AD\ann",smb2,fs_read_data,ok,7,"/a, b.mov","""#,
    "\n"
);
const METADATA: &str = concat!(
    "<14>1 2026-01-27T14:12:24Z tank-1 qumulo - - - ",
    r#"10.0.0.9,"ann",nfs3,fs_read_metadata,ok,7,"/a.mov","""#,
    "\n"
);

/// The program, with this directory as its own and the configuration that ships.
fn qatime(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).env_remove("QATIME_ROOT");
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read its input is the case of some tests.
            let _closed = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn help_teaches_and_wrong_usage_is_64() {
    let help = run(&mut qatime(&["--help"]), b"");
    assert_eq!(help.status.code(), Some(0));
    for word in ["decode", "explain", "check", "Exit codes", "qatime.toml"] {
        assert!(stdout(&help).contains(word), "{word}");
    }
    for arguments in [&[][..], &["bake"], &["decode", "--jason"], &["generate", "--files", "0"]] {
        let wrong = run(&mut qatime(arguments), b"");
        assert_eq!(wrong.status.code(), Some(64), "{arguments:?}");
        assert!(!wrong.stderr.is_empty() && wrong.stdout.is_empty());
    }
    let suggestion = run(&mut qatime(&["decode", "--strickt"]), b"");
    assert!(stderr(&suggestion).contains("--strict"));
}

#[test]
fn decode_prints_an_object_for_each_frame() {
    let input = [READ.as_bytes(), b"\n<14>1 junk\n", METADATA.as_bytes()].concat();
    let output = run(&mut qatime(&["decode"]), &input);
    assert_eq!(output.status.code(), Some(0));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["path"], "/a, b.mov");
    assert_eq!(lines[0]["time"], "2026-01-27T14:12:23.955800Z");
    assert_eq!(lines[0]["target"], Value::Null);
    assert_eq!(lines[1]["rejected"], "not_audit");
    assert_eq!(lines[1]["raw"], "<14>1 junk");
    assert_eq!(lines[2]["operation"], "fs_read_metadata");
}

#[test]
fn decode_keeps_the_order_of_what_framing_rejects() {
    let mut input = READ.as_bytes().to_vec();
    input.extend_from_slice(b"0 ");
    input.extend_from_slice(METADATA.as_bytes());
    input.extend_from_slice(&[b'x'; (1 << 20) + 1]);
    input.push(b'\n');
    input.extend_from_slice(READ.as_bytes());
    let output = run(&mut qatime(&["decode", "--strict"]), &input);
    assert_eq!(output.status.code(), Some(65));
    let lines = json_lines(&output);
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["rejected"].as_str().or_else(|| line["operation"].as_str()).unwrap())
        .collect();
    let expected =
        ["fs_read_data", "bad_count", "fs_read_metadata", "frame_too_long", "fs_read_data"];
    assert_eq!(kinds, expected);
    assert_eq!(lines[3]["bytes"], (1 << 20) + 1);
    assert_eq!(lines[3]["raw"].as_str().unwrap().len(), 1024);
}

#[test]
fn bytes_that_are_not_utf8_are_given_exactly() {
    let mut input = READ.replace("a, b", "caf\u{1}").into_bytes();
    let place = input.iter().position(|byte| *byte == 1).unwrap();
    input[place] = 0xe9;
    let lines = json_lines(&run(&mut qatime(&["decode"]), &input));
    assert_eq!(lines[0]["path"], "/caf\u{fffd}.mov");
    assert_eq!(lines[0]["path_base64"], "L2NhZukubW92");
    let lines = json_lines(&run(&mut qatime(&["decode"]), b"\xe9\n"));
    assert_eq!(lines[0]["raw"], "\u{fffd}");
    assert_eq!(lines[0]["raw_base64"], "6Q==");
}

#[test]
fn the_year_of_a_stamp_without_one_can_be_told() {
    let line =
        "Jun  6 14:52:28 tank-1 qumulo 10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"/a\",\"\"\n";
    let lines = json_lines(&run(&mut qatime(&["decode", "--year", "2019"]), line.as_bytes()));
    assert_eq!(lines[0]["time"], "2019-06-06T14:52:28Z");
}

#[test]
fn decode_answers_each_line_of_a_pipe_at_once() {
    let mut child = qatime(&["decode"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in [READ, METADATA, READ] {
        stdin.write_all(line.as_bytes()).unwrap();
        // Blocks for ever, should the answer wait for more input.
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["cluster"], "tank");
    }
    drop(stdin);
    assert!(answers.next().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let mut child = qatime(&["generate", "--events", "1000000"]).spawn().unwrap();
    let mut first = [0; 100];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}

#[test]
fn text_for_people_has_no_control_characters() {
    let input = READ.replace("a, b", "\u{1b}[2Jx") + "\u{1b}]junk\n";
    let output = run(&mut qatime(&["decode", "--text"]), input.as_bytes());
    let text = stdout(&output);
    assert!(text.contains(r"/\x1b[2Jx.mov") && text.contains("rejected (not_audit)"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn decode_reads_files_plain_and_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain.log");
    let packed = directory.path().join("packed");
    fs::write(&plain, READ).unwrap();
    let file = fs::File::create(&packed).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(METADATA.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let arguments = ["decode", plain.to_str().unwrap(), packed.to_str().unwrap()];
    let lines = json_lines(&run(&mut qatime(&arguments), b""));
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["operation"], "fs_read_metadata");
    let missing = run(&mut qatime(&["decode", "no-such.log"]), b"");
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(
        stderr(&missing),
        "error: cannot open no-such.log\ncaused by: No such file or directory (os error 2)\n"
    );
}

#[test]
fn decode_works_without_a_configuration_but_not_with_a_wrong_one() {
    let directory = tempfile::tempdir().unwrap();
    let bare = run(qatime(&["decode"]).current_dir(directory.path()), READ.as_bytes());
    assert_eq!(json_lines(&bare).len(), 1);
    let named = ["decode", "--config", "qatime.toml"];
    let missing = run(qatime(&named).current_dir(directory.path()), READ.as_bytes());
    assert_eq!(missing.status.code(), Some(78));
    fs::write(directory.path().join("qatime.toml"), "grac = '5s'\n").unwrap();
    let wrong = run(qatime(&["decode"]).current_dir(directory.path()), READ.as_bytes());
    assert_eq!(wrong.status.code(), Some(78));
    assert!(stderr(&wrong).contains("qatime.toml:1:1: grac: "), "{}", stderr(&wrong));
}

#[test]
fn explain_says_what_would_be_done_to_which_path() {
    let mut command = qatime(&["explain"]);
    let input = [READ, METADATA, "junk\n"].concat();
    let output = run(command.env("QATIME_ROOT", "/mnt/q"), input.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for words in [
        "+ accesses  matched, to atime",
        r#"- moves     operation "fs_read_data" does not match "fs_rename""#,
        "> atime: set atime of /mnt/q/a, b.mov to 2026-01-27T14:12:23.955800Z",
        "no rule matches: it is counted as unmatched",
        "rejected (not_audit)",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn explain_in_json_says_the_same() {
    let rename = READ.replace("fs_read_data", "fs_rename").replace(r#","""#, r#","/c""#);
    let snapshot = rename.replace("/a, b.mov", "/.snapshot/1_x/a").replace("/c", "/.snapshot/b");
    let input = [READ, METADATA, &rename, &snapshot, "junk\n"].concat();
    let mut command = qatime(&["explain", "--json"]);
    let lines = json_lines(&run(command.env("QATIME_ROOT", "/mnt/q"), input.as_bytes()));
    let plan = |line: usize| &lines[line]["sinks"][0]["plan"];
    assert_eq!(lines[0]["event"]["path"], "/a, b.mov");
    assert_eq!(lines[0]["rules"][0]["finding"], "matched");
    assert_eq!(lines[0]["rules"][1]["failures"][0]["key"], "when.operation");
    assert_eq!(lines[0]["unmatched"], false);
    assert_eq!(plan(0)["action"], "set");
    assert_eq!(plan(0)["path"], "/mnt/q/a, b.mov");
    assert_eq!(plan(0)["time"], "2026-01-27T14:12:23.955800Z");
    assert_eq!(lines[1]["unmatched"], true);
    assert_eq!(lines[1]["sinks"], Value::Array(vec![]));
    assert_eq!(plan(2)["action"], "move");
    assert_eq!(plan(2)["target"], "/mnt/q/c");
    assert_eq!(plan(3)["reason"], "snapshot");
    assert_eq!(lines[4]["rejected"], "not_audit");
}

#[test]
fn the_configuration_that_ships_is_fine() {
    let output = run(&mut qatime(&["check"]), b"");
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(
        stdout(&output).starts_with("qatime.toml is fine: 1 source, 2 filters, 3 rules, 2 sinks, ")
    );
    let json = &json_lines(&run(&mut qatime(&["check", "--json"]), b""))[0];
    assert_eq!(json["ok"], true);
    assert_eq!(json["problems"], Value::Array(vec![]));
    assert!(json["tests"].as_u64().unwrap() > 0);
}

/// Checks a configuration in a directory of its own.
fn check(text: impl AsRef<[u8]>, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("qatime.toml");
    fs::write(&file, text).unwrap();
    run(qatime(&[&["check"], arguments].concat()).current_dir(directory.path()), b"")
}

#[test]
fn check_shows_every_problem_with_its_place() {
    let text = "grase = '5s'\n[sinks.out]\ntype = 'stdout'\nformatt = 'json'\n\
                [[rules]]\nname = 'all'\nsinks = ['inn']\n";
    let output = check(text, &[]);
    assert_eq!(output.status.code(), Some(78));
    let shown = stdout(&output);
    for place in ["qatime.toml:1:1: grase: ", "qatime.toml:4:1: sinks.out.formatt: "] {
        assert!(shown.contains(place), "{place}: {shown}");
    }
    assert!(
        shown.contains("rules[0].sinks") && shown.ends_with("3 problems, 2 warnings\n"),
        "{shown}"
    );
    let json = &json_lines(&check(text, &["--json"]))[0];
    assert_eq!(json["ok"], false);
    let problems = json["problems"].as_array().unwrap();
    let errors = problems.iter().filter(|problem| problem["severity"] == "error");
    assert_eq!((errors.count(), problems.len()), (3, 5));
    assert_eq!(json["problems"][0]["line"], 1);
    assert_eq!(check("= what", &[]).status.code(), Some(78));
}

#[test]
fn a_file_that_is_not_utf8_is_told_with_its_place() {
    let text = b"# of the caf\xC3\xA9\ngrace = '5s' # caf\xE9\n";
    let output = check(text, &[]);
    assert_eq!(output.status.code(), Some(78));
    let told = "qatime.toml:2:19: the byte 0xE9 is not UTF-8; save the file as UTF-8";
    assert!(stdout(&output).starts_with(told), "{}", stdout(&output));
    let json = &json_lines(&check(text, &["--json"]))[0];
    assert_eq!(
        (&json["problems"][0]["line"], &json["problems"][0]["column"]),
        (&2.into(), &19.into())
    );
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("qatime.toml"), text).unwrap();
    for verb in ["run", "explain"] {
        let output = run(qatime(&[verb]).current_dir(directory.path()), b"");
        assert_eq!(output.status.code(), Some(78), "{verb}");
        assert!(stderr(&output).contains(told), "{verb}: {}", stderr(&output));
    }
}

#[test]
fn check_runs_the_tests_of_the_file() {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("qatime.toml"));
    let test = format!("\n[[tests]]\nname = 'wrong'\ninput = '{}'\nrules = []\n", READ.trim_end());
    let output = check(&(shipped.unwrap() + &test), &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stdout(&output).contains("rules"), "{}", stdout(&output));
    assert!(stdout(&output).contains(": 1 problem in "), "{}", stdout(&output));
}

/// A read of a large video in the JSON format.
const LARGE_READ: &str = concat!(
    "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - ",
    r#"{"user_ip":"10.0.0.9","user_id":{"sid":"S-1-5-21-1-500","auth_id":"500","name":"ann"},"#,
    r#""protocol":"smb2","operation":"fs_read_data","status":"ok","details":{"path":"/a/b.mov","#,
    r#""file_id":"7","offset":0,"size":4096,"file_size":5368709120}}"#,
    "\n"
);

/// What `explain` says of some lines, with a rule for each condition: `rule 0`, `rule 1`, …
fn explained(conditions: &[&str], input: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let rules = conditions.iter().enumerate().map(|(number, condition)| {
        format!("[[rules]]\nname = 'rule {number}'\nwhen.{condition}\nsinks = 'out'\n")
    });
    let text = rules.collect::<String>() + "[sinks.out]\ntype = 'stdout'\n";
    fs::write(directory.path().join("qatime.toml"), text).unwrap();
    let output = run(qatime(&["explain"]).current_dir(directory.path()), input.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn rules_ask_for_the_size_of_the_file() {
    let conditions = ["file_size = '> 1 GiB'", "file_size = { max = '1 GiB' }"];
    let text = explained(&conditions, LARGE_READ);
    for words in ["+ rule 0  matched", "- rule 1  file_size 5 GiB does not match <= 1 GiB"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // A line in CSV says no size: no condition on it holds.
    let text = explained(&conditions, READ);
    assert_eq!(text.matches("file_size (absent) does not match").count(), 2, "{text}");
}

#[test]
fn rules_ask_for_the_name_of_the_file() {
    let conditions = ["file_name = '*.mov'", "file_name = ['.DS_Store', '~$*']"];
    let text = explained(&conditions, READ);
    for words in ["+ rule 0  matched", "- rule 1  file_name \"a, b.mov\" matches none of"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_schema_is_the_one_that_ships() {
    let output = run(&mut qatime(&["schema"]), b"");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/qatime.schema.json");
    assert_eq!(stdout(&output), fs::read_to_string(shipped).unwrap());
}

#[test]
fn generated_lines_are_the_same_for_a_seed_and_all_decode() {
    for arguments in [
        &["--profile", "sfs"][..],
        &["--profile", "walk", "--framing", "octet"],
        &["--profile", "surveillance", "--format", "json", "--start", "2024-02-29T00:00:00Z"],
    ] {
        let arguments = [&["generate", "--events", "500", "--files", "900"], arguments].concat();
        let lines = run(&mut qatime(&arguments), b"").stdout;
        assert_eq!(lines, run(&mut qatime(&arguments), b"").stdout);
        let decoded = run(&mut qatime(&["decode", "--strict"]), &lines);
        assert_eq!(decoded.status.code(), Some(0));
        assert_eq!(stdout(&decoded).lines().count(), 500);
    }
}

#[test]
fn generated_events_are_about_the_files_that_are_listed() {
    let listed = run(&mut qatime(&["generate", "--list", "--files", "300"]), b"");
    let listed: Vec<&str> = std::str::from_utf8(&listed.stdout).unwrap().lines().collect();
    assert_eq!(listed.len(), 300);
    let events = run(&mut qatime(&["generate", "--files", "300", "--events", "400"]), b"");
    for event in json_lines(&run(&mut qatime(&["decode"]), &events.stdout)) {
        let path = event["path"].as_str().unwrap();
        assert!(path.ends_with('/') || listed.contains(&path), "{path}");
    }
}

#[test]
fn generated_streams_go_over_a_connection_for_each_node() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    let arguments = ["generate", "--to", &to, "--events", "300", "--nodes", "4", "--rate", "9000"];
    let child = qatime(&arguments).spawn().unwrap();
    let connections: Vec<_> = (0..4).map(|_| listener.accept().unwrap().0).collect();
    let mut total = 0;
    for connection in connections {
        let lines: Vec<String> = BufReader::new(connection).lines().map(Result::unwrap).collect();
        let host = |line: &String| line.split(' ').nth(2).unwrap().to_owned();
        let hosts: std::collections::HashSet<String> = lines.iter().map(host).collect();
        assert!(hosts.len() <= 1, "{hosts:?}");
        total += lines.len();
    }
    assert_eq!(total, 300);
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn generated_datagrams_hold_a_message_each() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = format!("udp://{}", socket.local_addr().unwrap());
    let sent = run(&mut qatime(&["generate", "--to", &to, "--events", "20"]), b"");
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    let mut datagram = vec![0; 65_536];
    for _ in 0..20 {
        let length = socket.recv(&mut datagram).unwrap();
        assert!(datagram.starts_with(b"<14>1 ") && datagram[length - 1] == b'"');
    }
    let refused = run(&mut qatime(&["generate", "--to", "tcp://127.0.0.1:1"]), b"");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).starts_with("error: cannot connect to tcp://127.0.0.1:1\ncaused by: ")
    );
}
