//! What filters cost as WebAssembly plugins, in nanoseconds of processor time an event, against the
//! same filters compiled natively: `cargo bench --bench wasm [-- [--rounds N] CASE…]`.
//!
//! Batches of 256 events, with paths of 114 bytes on average, are run again and again on one
//! thread. Rounds of all cases take turns, and the best of each counts, since disturbances only add
//! to it; cases that are named run alone, as a profiler wants them. `tests/plugins/plain` and the bundled plugins have to be built before; a missing file is
//! an error that says how.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use charset_normalize::CharsetNormalize;
use path_exclude::PathExclude;
use qatime::event::{Batch, Column, Fields};
use qatime::wasm::{Engine, Instance, Limits, Metering, Plugin, thread_time};
use qatime_plugin::testing::{self, Events, Row};
use qatime_plugin::{BatchFilter, Column as GuestColumn};
use sha2::{Digest, Sha256};

/// Events of a batch.
const BATCH: usize = 256;
/// Batches that take turns, so that no branch predictor knows them by heart.
const BATCHES: usize = 16;
/// Runs of all batches of a case.
const ROUNDS: usize = 60;
/// How often a plugin is loaded, and an instance renewed.
const STARTS: usize = 30;

/// Eight patterns, of which one event in sixteen matches one.
const GLOBS: &str = r#"{"exclude":["*.tmp","/scratch/**","**/.cache/**","~$*","/projects/*/trash/**",
    "**/node_modules/**","*.swp","/projects/**/backup-[0-9]*/*"]}"#;

/// A path of an animation studio; one in sixteen is of no interest.
fn path(number: usize) -> String {
    // Some multiplier, so that neighbours differ.
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let pick = |shift: usize, below: usize| (random >> shift) % below;
    let [show, sequence, shot] = [pick(0, 40), pick(5, 200), pick(9, 900)];
    let department = ["animation", "lighting", "compositing", "fx"][pick(3, 4)];
    let [version, frame] = [pick(7, 100), 1000 + pick(11, 9000)];
    let extension = if number.is_multiple_of(16) { "tmp" } else { "exr" };
    let tail = "x".repeat(pick(2, 40));
    format!(
        "/projects/show{show:03}/sequences/sq{sequence:04}/shots/sh{shot:04}/{department}/renders/\
         v{version:03}/beauty_{tail}/beauty.{frame}.{extension}"
    )
}

fn paths(batch: usize) -> impl Iterator<Item = String> {
    (0..BATCH).map(move |index| path(batch * BATCH + index))
}

fn host_batch(batch: usize) -> Arc<Batch> {
    let mut events = Batch::new(Vec::new());
    for path in paths(batch) {
        let mut fields = Fields::default();
        fields.set_text(Column::Path, path);
        events.push_fields(&fields);
    }
    Arc::new(events)
}

/// The folder of build output, in which this program lies as well.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

fn read(file: &str, command: &str) -> Vec<u8> {
    let path = target().join(file);
    match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            println!("{}: {error}; build it first: {command}", path.display());
            std::process::abort()
        }
    }
}

/// One way to run a filter.
struct Case {
    name: &'static str,
    /// Runs one batch, by its number.
    run: Box<dyn FnMut(usize)>,
    /// The shortest time for all batches.
    best: Duration,
}

fn wasm(name: &'static str, plugin: &Plugin, settings: &str, batches: &[Arc<Batch>]) -> Case {
    let mut instance = start(plugin, settings);
    let batches = batches.to_vec();
    let all: Vec<u32> = (0..u32::try_from(BATCH).unwrap()).collect();
    let run = move |batch: usize| {
        let answer = instance.run(&batches[batch], &all).unwrap();
        assert_eq!(black_box(answer).verdicts.len(), BATCH);
    };
    Case { name, run: Box::new(run), best: Duration::MAX }
}

fn native<F: BatchFilter + 'static>(name: &'static str, settings: &str) -> Case {
    let mut filter: F = testing::start(settings).unwrap();
    let row = |path| Row::new().text(GuestColumn::Path, path);
    let batches: Vec<Events> = (0..BATCHES).map(|batch| paths(batch).map(row).collect()).collect();
    let run = move |batch: usize| {
        let answer = testing::run(&mut filter, &batches[batch]).unwrap();
        assert_eq!(black_box(answer).verdicts().len(), BATCH);
    };
    Case { name, run: Box::new(run), best: Duration::MAX }
}

fn start(plugin: &Plugin, settings: &str) -> Instance {
    // Nothing is in a hurry here: a benchmark on a busy machine is slow, not a fault.
    let limits = Limits { deadline: Duration::from_secs(10), ..Limits::default() };
    plugin.start("filters.bench", settings, limits).unwrap()
}

impl Case {
    fn round(&mut self) {
        // A daemon has just decoded what it filters, so it is not far away in memory.
        (0..BATCHES).for_each(&mut self.run);
        let begun = thread_time();
        (0..BATCHES).for_each(&mut self.run);
        self.best = self.best.min(thread_time() - begun);
    }

    fn nanos_per_event(&self) -> f64 {
        self.best.as_secs_f64() * 1e9 / (BATCHES * BATCH) as f64
    }
}

/// The shortest of several times.
fn shortest(starts: usize, mut measure: impl FnMut() -> Duration) -> f64 {
    (0..starts).map(|_| measure()).min().unwrap().as_secs_f64() * 1e3
}

/// From the bytes of a file of compiled code to a plugin, as a cache does it: its digest is checked.
#[expect(unsafe_code, reason = "what is measured is the loading of compiled code")]
fn load_from_cache(engine: &Engine, name: &str, plugin: &Plugin, starts: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let compiled = plugin.to_compiled().unwrap();
    let digest = Sha256::digest(&compiled);
    fs::write(&file, compiled).unwrap();
    shortest(starts, || {
        let begun = Instant::now();
        let compiled = fs::read(&file).unwrap();
        assert_eq!(Sha256::digest(&compiled), digest);
        // SAFETY: it is what `to_compiled` gave, in a folder of this process alone.
        let loaded = unsafe { Plugin::from_compiled(engine, &compiled) }.unwrap();
        let took = begun.elapsed();
        assert_eq!(loaded.description(), plugin.description());
        took
    })
}

/// From a trap to an instance that is ready for the next batch.
fn reset_after_trap(plugin: &Plugin, batch: &Arc<Batch>, starts: usize) -> f64 {
    let mut instance = start(plugin, "{\"do\":\"abort\"}");
    shortest(starts, || {
        instance.run(batch, &[0]).unwrap_err();
        let begun = Instant::now();
        instance = start(plugin, "{\"do\":\"abort\"}");
        begun.elapsed()
    })
}

/// What the command line asks for.
struct Arguments {
    rounds: usize,
    starts: usize,
    /// Cases to run alone; all, with everything else, where none is named.
    names: Vec<String>,
}

impl Arguments {
    fn read() -> Self {
        let brief = std::env::var_os("QATIME_BENCH_BRIEF").is_some();
        let (mut rounds, starts) = if brief { (1, 1) } else { (ROUNDS, STARTS) };
        let mut names = Vec::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
                // What cargo says to every benchmark.
                "--bench" => {}
                _ => names.push(argument),
            }
        }
        Self { rounds, starts, names }
    }
}

/// The plugins, compiled.
struct Plugins {
    plain: Plugin,
    hostile: Plugin,
    exclude: Plugin,
    normalize: Plugin,
}

impl Plugins {
    fn compile(engine: &Engine) -> Self {
        let compile =
            |file: &str, command: &str| Plugin::compile(engine, &read(file, command)).unwrap();
        let for_tests = |name: &str| {
            let file = format!("plugins-for-tests/{name}.wasm");
            let command = format!("plugins/build tests/plugins/{name} --out target/{file}");
            compile(&file, &command)
        };
        let bundled = |name: &str| {
            compile(&format!("lib/qatime/plugins/{name}.wasm"), &format!("plugins/build {name}"))
        };
        Self {
            plain: for_tests("plain"),
            hostile: for_tests("hostile"),
            exclude: bundled("path-exclude"),
            normalize: bundled("charset-normalize"),
        }
    }
}

fn main() {
    let arguments = Arguments::read();
    let engine = Engine::new(Metering::Deadline).unwrap();
    let plugins = Plugins::compile(&engine);
    let batches: Vec<_> = (0..BATCHES).map(host_batch).collect();
    let bytes: usize = (0..BATCHES).flat_map(paths).map(|path| path.len()).sum();
    println!("{BATCH} events a batch, paths of {} bytes on average", bytes / (BATCH * BATCHES));
    let mut cases = [
        wasm("keep all", &plugins.plain, "{}", &batches),
        wasm("edit each 16th", &plugins.plain, "{\"edit_every\":16}", &batches),
        wasm("8 globs", &plugins.exclude, GLOBS, &batches),
        native::<PathExclude>("8 globs native", GLOBS),
        wasm("charset", &plugins.normalize, "{}", &batches),
        native::<CharsetNormalize>("charset native", "{}"),
    ];
    let names = &arguments.names;
    let is_wanted = |case: &Case| names.is_empty() || names.iter().any(|name| name == case.name);
    for _ in 0..arguments.rounds {
        cases.iter_mut().filter(|case| is_wanted(case)).for_each(Case::round);
    }
    for case in cases.iter().filter(|case| is_wanted(case)) {
        println!("{:<16} {:8.1} ns/event", case.name, case.nanos_per_event());
    }
    if names.is_empty() {
        let nanos = cases.each_ref().map(Case::nanos_per_event);
        summarize(nanos, &engine, &plugins, &batches[0], arguments.starts);
    }
}

/// Prints what there are aims for.
fn summarize(
    nanos: [f64; 6],
    engine: &Engine,
    plugins: &Plugins,
    batch: &Arc<Batch>,
    starts: usize,
) {
    let [keep, edit, globs, globs_native, charset, _] = nanos;
    println!("boundary         {keep:8.1} ns/event");
    println!("edits            {:8.1} ns/event more", edit - keep);
    println!("globs            {:8.2} x native", globs / globs_native);
    println!("normalize        {:8.2} M events/s", 1e3 / charset);
    let load = |name: &str, plugin: &Plugin| {
        let took = load_from_cache(engine, name, plugin, starts);
        println!("load {name:<18} {took:8.2} ms");
        took
    };
    let exclude = load("path-exclude", &plugins.exclude);
    let normalize = load("charset-normalize", &plugins.normalize);
    println!("load             {:8.2} ms", exclude.max(normalize));
    println!("reset            {:8.3} ms", reset_after_trap(&plugins.hostile, batch, starts));
}
