//! The images: made once for all tests, and looked at.

use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Instant;

use crate::project::{is_there, text};

/// The largest that the image of qatime may be, with its plugins.
const QATIME_BYTES_MAX: u64 = 40_000_000;

/// The docker command with these arguments, and what it wrote to standard output.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    text(&output.unwrap_or_else(|_| panic!("docker is missing: run tests/run")), arguments)
}

/// Compose, which runs in the project's directory; arguments are to be added.
pub(crate) fn compose() -> Command {
    let named = std::env::var("QATIME_COMPOSE").ok();
    let found = if is_there("docker-compose") { "docker-compose" } else { "docker compose" };
    let words = named.unwrap_or_else(|| found.to_owned());
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.env("QATIME_VERSION", env!("CARGO_PKG_VERSION")).env("QATIME_REVISION", revision());
    // The engine here may have the builder of old alone.
    command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0");
    command
}

/// The commit that is checked out.
fn revision() -> String {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or("unknown".into(), |found| String::from_utf8_lossy(&found.stdout).trim().into())
}

/// Sees to it that the images are those of the sources. The first time it takes twenty minutes,
/// since crates are compiled; what comes of that stays on the machine.
pub(crate) fn build() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let info = Command::new("docker").arg("info").output();
        assert!(
            info.is_ok_and(|info| info.status.success()),
            "no Docker engine answers here: `docker info` says why"
        );
        if std::env::var_os("QATIME_IMAGES").is_some_and(|images| images == "as-they-are") {
            return;
        }
        let started = Instant::now();
        let status = Command::new("tests/rigs/docker/base-image").status().unwrap();
        assert!(status.success(), "there is no image debian:bookworm-slim");
        let output = compose().arg("build").stdin(Stdio::null()).output().unwrap();
        text(&output, &["build"]);
        println!("images are up to date after {:.1} s", started.elapsed().as_secs_f64());
    });
}

fn image(name: &str) -> String {
    format!("{name}:{}", env!("CARGO_PKG_VERSION"))
}

fn label(image: &str, key: &str) -> String {
    let format = format!(r#"{{{{index .Config.Labels "org.opencontainers.image.{key}"}}}}"#);
    docker(&["image", "inspect", "--format", &format, image])
}

#[test]
fn every_image_says_what_it_is() {
    build();
    for name in ["qatime", "qatime-rsyslog", "qatime-redis"] {
        let image = image(name);
        assert_eq!(label(&image, "title"), name);
        assert_eq!(label(&image, "version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(label(&image, "revision"), revision());
        assert!(!label(&image, "source").is_empty() && !label(&image, "licenses").is_empty());
    }
}

#[test]
fn the_image_of_qatime_is_small_and_holds_nothing_else() {
    build();
    let image = image("qatime");
    let size: u64 = docker(&["image", "inspect", "--format", "{{.Size}}", &image]).parse().unwrap();
    println!("the image of qatime has {:.1} MB", size as f64 / 1e6);
    assert!(size <= QATIME_BYTES_MAX, "{size}");

    let container = docker(&["create", &image]);
    let list = format!("docker export {container} | tar -t");
    let output = Command::new("sh").args(["-c", &list]).output().unwrap();
    docker(&["rm", &container]);
    let files = text(&output, &[list]);
    let programs: Vec<_> = files.lines().filter(|file| file.contains("bin/")).collect();
    assert_eq!(programs, ["usr/bin/", "usr/bin/qatime"]);
    assert!(!files.contains("dpkg") && !files.contains("apt"), "{files}");
    let plugins = files.lines().filter(|file| file.ends_with(".wasm")).count();
    assert_eq!(plugins, 3, "{files}");
}
