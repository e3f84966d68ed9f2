//! Up, in order and healthy; closed but for what is needed; and down again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::files::{atime, long_ago};
use crate::images;
use crate::project::{Project, SERVICES, is_there, text};

/// How long `docker-compose up` may take until all services are healthy, on a machine that has the
/// images and nothing else to do.
const HEALTHY_WITHIN: Duration = Duration::from_secs(5);

/// What a machine that runs other tests as well may add to that.
const BUSY: Duration = Duration::from_secs(15);

/// The longest that `down` may take: the longest grace of a service, and some more.
const DOWN_WITHIN: Duration = Duration::from_secs(20);

/// The bits of CAP_DAC_READ_SEARCH and CAP_FOWNER.
const CAPABILITIES: u64 = 1 << 2 | 1 << 3;

/// Does what README.md shows to see an access time move: in this project's tree.
fn follow_the_readme(project: &Project) {
    assert!(is_there("logger"), "logger is missing: run tests/run, which installs it");
    let readme = fs::read_to_string("README.md").unwrap();
    let block = readme.split("```bash\n").nth(1).unwrap().split("```").next().unwrap();
    let commands = block.replace("docker/tree", project.tree().to_str().unwrap());
    assert_ne!(commands, block);
    let arguments = ["-e", "-c", &commands];
    let mut command = Command::new("bash");
    command.args(arguments).env("QATIME_SYSLOG_PORT", project.port().to_string());
    let said = text(&command.output().unwrap(), &arguments);
    assert!(said.ends_with("/projects/hello.txt"), "{said}");
}

/// A file that was last read in 1970, with these rights, which belongs to this user.
fn file(path: &Path, mode: u32, owner: u32) {
    fs::write(path, "").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).unwrap();
    long_ago(path);
}

#[test]
fn an_access_that_is_logged_moves_the_time_and_all_goes_down_in_time() {
    let project = Project::prepared(&[]);
    fs::create_dir(project.tree().join("projects")).unwrap();
    let file_path = project.tree().join("projects/hello.txt");
    file(&file_path, 0o644, 1000);

    let healthy_after = project.start();
    println!("healthy {:.1} s after up", healthy_after.as_secs_f64());
    assert!(healthy_after <= HEALTHY_WITHIN + BUSY, "{healthy_after:?}");

    let before = jiff::Timestamp::now().as_nanosecond();
    follow_the_readme(&project);
    project.wait_until("the access time moves", || atime(&file_path) != 0);
    // logger writes microseconds.
    let moved = atime(&file_path) + 1000;
    assert!(moved >= before && moved <= jiff::Timestamp::now().as_nanosecond() + 1000, "{moved}");

    let down_after = project.down();
    println!("down after {:.1} s", down_after.as_secs_f64());
    assert!(down_after <= DOWN_WITHIN, "{down_after:?}");
}

#[test]
fn services_have_no_right_that_they_do_not_need() {
    let project = Project::up();
    for service in SERVICES {
        let is_set = |property: &str| project.inspect(service, property);
        assert_eq!(is_set(".HostConfig.Privileged"), "false");
        assert_eq!(is_set(".HostConfig.ReadonlyRootfs"), "true");
        assert_eq!(is_set(".HostConfig.CapDrop"), "[ALL]");
        assert_eq!(is_set(".HostConfig.SecurityOpt"), "[no-new-privileges:true]");
        assert_eq!(is_set(".HostConfig.RestartPolicy.Name"), "unless-stopped");
        assert_eq!(is_set(".HostConfig.LogConfig.Config"), "map[max-file:5 max-size:10m]");
        assert_ne!(is_set(".HostConfig.Memory"), "0");
        assert_ne!(is_set(".HostConfig.PidsLimit"), "<nil>");

        let status = fs::read_to_string(format!("/proc/{}/status", project.pid(service))).unwrap();
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        let capabilities = u64::from_str_radix(&of("CapEff:"), 16).unwrap();
        assert_eq!(of("NoNewPrivs:"), "1");
        if service == "qatime" {
            assert_eq!((of("Uid:"), capabilities), ("0".into(), CAPABILITIES));
            assert_eq!(of("Name:"), "qatime");
        } else {
            assert_ne!(of("Uid:"), "0");
            assert_eq!(capabilities, 0, "{service}");
        }
    }
    assert_eq!(project.inspect("qatime", ".NetworkSettings.Ports"), "map[]");
    assert_eq!(project.inspect("redis", ".NetworkSettings.Ports"), "map[]");
    project.down();
}

#[test]
fn the_two_capabilities_are_needed_and_enough() {
    let project = Project::prepared(&[]);
    let closed = project.tree().join("closed");
    fs::create_dir(&closed).unwrap();
    let path = closed.join("private.mov");
    file(&path, 0o400, 1001);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&closed, Some(1002), Some(1002)).unwrap();
    let line = concat!(
        "<14>1 2026-01-27T14:12:23.5Z tank-1 qumulo - - - ",
        r#"10.0.0.9,"ann",nfs3,fs_read_data,ok,7,"/closed/private.mov","""#
    );
    let archive = project.tree().join("audit.log");
    fs::write(&archive, line).unwrap();

    let replay = |dropped: Option<&str>| {
        let tree = format!("{}:/mnt/qumulo", project.tree().display());
        let config = format!("{}:/etc/qatime:ro", project.config().parent().unwrap().display());
        let kept = ["FOWNER", "DAC_READ_SEARCH"].into_iter().filter(|name| Some(*name) != dropped);
        let kept: Vec<_> = kept.flat_map(|name| ["--cap-add", name]).collect();
        let image = format!("qatime:{}", env!("CARGO_PKG_VERSION"));
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--cap-drop", "ALL"]).args(kept);
        command.args(["-v", &tree, "-v", &config, &image, "replay"]);
        command.args(["--config", "/etc/qatime/qatime.toml", "/mnt/qumulo/audit.log"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (atime(&path), said)
    };
    for dropped in ["FOWNER", "DAC_READ_SEARCH"] {
        let (found, said) = replay(Some(dropped));
        assert_eq!(found, 0, "without {dropped}: {said}");
    }
    let (found, said) = replay(None);
    assert_eq!(found, 1_769_523_143_500_000_000, "{said}");
}

#[test]
fn tools_work_on_the_same_configuration() {
    let project = Project::prepared(&[]);
    let tool = |name: &str, input: &str| {
        let arguments = ["--profile", "tools", "run", "--rm", "-T", name];
        let input_path = project.tree().join("input");
        fs::write(&input_path, input).unwrap();
        let mut command = project.command(&arguments);
        command.stdin(fs::File::open(&input_path).unwrap());
        text(&command.output().unwrap(), &arguments)
    };
    let checked = tool("check", "");
    assert!(checked.contains("is fine") && checked.contains("tests passed"), "{checked}");
    let line = concat!(
        "<14>1 2026-01-27T14:12:23.5Z tank-1 qumulo - - - ",
        r#"10.0.0.9,"ann",nfs3,fs_read_data,ok,7,"/a.mov","""#,
        "\n"
    );
    let explained = tool("explain", line);
    assert!(explained.contains("accesses") && explained.contains("/a.mov"), "{explained}");
    project.down();
}

#[test]
fn the_cluster_is_mounted_with_every_option() {
    let project = Project::prepared(&[
        ("QATIME_TREE", "cluster"),
        ("QATIME_CLUSTER_ADDRESS", "10.9.8.7"),
        ("QATIME_CLUSTER_EXPORT", "/media"),
    ]);
    let shown = project.compose(&["config"]);
    let options = "o: addr=10.9.8.7,nfsvers=3,tcp,nolock,hard,timeo=600,noac,lookupcache=none,\
                   noatime,nodiratime";
    for expected in [options, "device: :/media", "type: nfs"] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert!(shown.contains("cluster:/mnt/qumulo") || shown.contains("source: cluster"), "{shown}");
    images::docker(&["version"]);
}
