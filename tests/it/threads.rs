//! A system that gives no more threads: what runs goes on, and what needs one more is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::{Daemon, free_port, need, send};
use crate::operator::get;

/// More than any daemon needs.
const THREADS_MAX: usize = 1000;

/// A user that nobody else is: the limit counts all threads of a user, and none of root.
fn user() -> u32 {
    200_000 + std::process::id() % 100_000
}

/// A directory of a user.
fn directory_of(user: u32) -> TempDir {
    let directory = TempDir::new().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root, "the system does not bound root's threads: only root can become another user");
    chown(directory.path(), Some(user), Some(user)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A daemon of its own user, who may have so many threads.
fn spawn_as(user: u32, threads: usize, config: &str) -> Daemon {
    let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let limit = format!("--nproc={threads}:{THREADS_MAX}");
    let by = ["prlimit", &limit, "setpriv", &uid, &gid, "--clear-groups"];
    Daemon::spawn_by(directory_of(user), &by, config)
}

fn config(port: u16, admin: u16) -> String {
    format!(
        "admin.listen = ['unix://{{dir}}/admin.sock', 'tcp://127.0.0.1:{admin}']\n\
         spool.directory = ''\ngrace = '5s'\nworkers = 2\n\
         [sources.in]\ntype = 'syslog'\nlisten = 'tcp://127.0.0.1:{port}'\n\
         [[rules]]\nname = 'all'\nsinks = ['out']\n\
         [sinks.out]\ntype = 'file'\npath = '{{dir}}/out'\n\
         format = {{ template = \"{{path}}\\n\" }}\n"
    )
}

fn reads(numbers: std::ops::Range<u32>) -> String {
    let stamp = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - -";
    let line =
        |number| format!("{stamp} 10.0.0.1,\"u\",nfs3,fs_read_data,ok,1,\"/{number}\",\"\"\n");
    numbers.map(line).collect()
}

/// How many threads it may have from now on, beside those that it has. Its user says so: not every
/// root may set the limits of others.
fn allow(daemon: &Daemon, user: u32, more: usize) {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count();
    let limit = format!("--nproc={}:{THREADS_MAX}", threads + more);
    let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let mut command = Command::new(need("setpriv"));
    command.args([&uid, &gid, "--clear-groups", "prlimit"]);
    let status = command.args(["--pid", &daemon.pid().to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

fn reload(daemon: &Daemon) -> Output {
    let admin = format!("unix://{}", daemon.path("admin.sock").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["reload", "--admin", &admin]).output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

#[test]
fn a_reload_that_gets_no_threads_is_refused_and_a_later_one_succeeds() {
    let (port, admin) = (free_port(), free_port());
    let one = config(port, admin);
    let more = "[sinks.more]\ntype = 'file'\npath = '{dir}/more'\n\
                format = { template = \"{path}\\n\" }\n";
    let two = one.replace("sinks = ['out']", "sinks = ['out', 'more']") + more;
    let user = user();
    let mut daemon = spawn_as(user, THREADS_MAX, &one);
    daemon.wait_for_port(port, &one);
    send(port, reads(0..100).as_bytes());
    daemon.configure(&two);
    for (round, threads) in [(0, 0), (1, 1), (2, 2)] {
        // Threads that the start has used, and that wait for more to do, have gone by then.
        if round == 0 {
            std::thread::sleep(Duration::from_secs(12));
        }
        allow(&daemon, user, threads);
        let refused = reload(&daemon);
        assert!(!refused.status.success(), "{threads}: {}", text(&refused));
        let said = text(&refused);
        assert!(said.contains("the system gives no more threads"), "{threads}: {said}");
        assert_eq!(get(admin, "/healthz").0, 200);
        let (code, ready) = get(admin, "/readyz");
        assert!(code == 200 && ready.contains("the system gives no more threads"), "{ready}");
        send(port, reads(100 + round * 100..200 + round * 100).as_bytes());
        daemon.wait_for_lines("out", 200 + round as usize * 100);
    }
    allow(&daemon, user, 100);
    let applied = reload(&daemon);
    assert!(applied.status.success(), "{}", text(&applied));
    send(port, reads(400..500).as_bytes());
    daemon.wait_for_lines("more", 100);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.out")["delivered"], 500);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}

#[test]
fn sources_that_get_no_thread_at_once_get_it_later() {
    let (port, admin) = (free_port(), free_port());
    let one = config(port, admin);
    let sources = (0..6).map(|number| {
        let table = format!("[sources.s{number}]\ntype = 'file'\nfollow = true\n");
        format!("{table}paths = '{{dir}}/in{number}'\n")
    });
    let two = one.clone() + &sources.collect::<String>();
    let user = user() + 300_000;
    let mut daemon = spawn_as(user, THREADS_MAX, &one);
    daemon.wait_for_port(port, &one);
    for number in 0..6 {
        fs::write(daemon.path(&format!("in{number}")), reads(number * 10..number * 10 + 10))
            .unwrap();
    }
    daemon.configure(&two);
    // As few as there can be.
    let taken = (0..20).find(|threads| {
        allow(&daemon, user, *threads);
        reload(&daemon).status.success()
    });
    assert!(taken.is_some_and(|threads| threads > 1), "{taken:?}");
    daemon.wait_until("a word on it", || get(admin, "/readyz").1.contains("no_thread"));
    allow(&daemon, user, 20);
    daemon.wait_for_lines("out", 60);
    daemon.stop().assert_settled();
}

#[test]
fn the_end_needs_no_thread() {
    let (port, admin) = (free_port(), free_port());
    let config = config(port, admin);
    let user = user() + 100_000;
    let mut daemon = spawn_as(user, THREADS_MAX, &config);
    daemon.wait_for_port(port, &config);
    std::thread::sleep(Duration::from_secs(12));
    allow(&daemon, user, 0);
    send(port, reads(0..5_000).as_bytes());
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.out")["delivered"], 5_000);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}

#[test]
fn a_start_that_gets_too_few_threads_says_so() {
    let mut refusals = 0;
    for limit in 1.. {
        let (port, admin) = (free_port(), free_port());
        let mut daemon = spawn_as(user() + 200_000, limit, &config(port, admin));
        let has_started = || daemon.log().contains("\"message\":\"running\"");
        while !has_started() && daemon_runs(&daemon) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if has_started() {
            assert!(daemon.is_running());
            break;
        }
        let (code, said) = daemon.refusal();
        assert!(matches!(code, Some(1 | 78)), "{limit}: {code:?}\n{said}");
        assert!(said.contains("thread") && !said.contains("panicked"), "{limit}: {said}");
        refusals += 1;
    }
    assert!(refusals > 3, "{refusals}");
}

/// Whether its process has not ended.
fn daemon_runs(daemon: &Daemon) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
