//! What routing costs, in nanoseconds an event: `cargo bench --bench rules [-- NAME…]`.
//!
//! Each case routes the same 8,192 events, again and again; the best round counts, since
//! disturbances only add to it. Half of the events match one of the rules, drawn evenly, and the
//! others come close, so that one rule and a thousand do the same work but for their number.
//! `--rounds 1` and one case make it ready for callgrind.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use qatime::event::{Batch, Operation, Record};
use qatime::rules::{Rule, RuleSet};

const EVENTS: usize = 8_192;
const ROUNDS: usize = 30;
const COUNTS: [usize; 4] = [1, 10, 100, 1000];
/// Added to the number of a rule to get a name that no rule has.
const MISS: usize = 5_000;

/// One kind of rule.
struct Case {
    name: &'static str,
    /// The condition of a rule, from its name and number.
    condition: fn(&str, usize) -> String,
    /// The path of an event that it matches, from the rule's name, its number, and a directory.
    path: fn(&str, usize, &str) -> String,
}

const CASES: [Case; 11] = [
    Case {
        name: "unwanted",
        condition: |_, _| "operation = 'fs_delete'".to_owned(),
        path: |name, _, tail| format!("/projects/{name}/{tail}/take.mov"),
    },
    Case {
        name: "operation",
        condition: |_, _| "operation = 'fs_read_data', status = 'ok'".to_owned(),
        path: |name, _, tail| format!("/projects/{name}/{tail}/take.mov"),
    },
    Case {
        name: "prefix",
        condition: |name, _| reads(&format!("'/projects/{name}/**'")),
        path: |name, _, tail| format!("/projects/{name}/{tail}/take.mov"),
    },
    Case {
        name: "exact",
        condition: |name, _| reads(&format!("'/projects/{name}/readme.txt'")),
        path: |name, _, _| format!("/projects/{name}/readme.txt"),
    },
    Case {
        name: "suffix",
        condition: |name, _| reads(&format!("'**/*.{name}'")),
        path: |name, _, tail| format!("/projects/{tail}/take.{name}"),
    },
    Case {
        name: "glob",
        condition: |name, _| reads(&format!("'/projects/*/{name}/**'")),
        path: |name, _, tail| format!("/projects/show/{name}/{tail}/take.mov"),
    },
    Case {
        name: "deep glob",
        condition: |name, _| reads(&format!("'/projects/**/{name}/*.mov'")),
        path: |name, _, tail| format!("/projects/{tail}/{name}/take.mov"),
    },
    Case {
        name: "regex",
        condition: |name, _| reads(&format!("{{ regex = '/cache/{name}/.*[.]exr$' }}")),
        path: |name, _, tail| format!("/projects/{tail}/cache/{name}/take.exr"),
    },
    Case { name: "mixed", condition: mixed, path: mixed_path },
    Case {
        name: "user",
        condition: |name, _| format!("user = 'AD\\{name}'"),
        path: |_, _, tail| format!("/projects/{tail}/take.mov"),
    },
    Case {
        name: "client",
        condition: |_, number| format!("client = '10.{}.{}.0/24'", number / 250, number % 250),
        path: |_, _, tail| format!("/projects/{tail}/take.mov"),
    },
];

fn reads(path: &str) -> String {
    format!("operation = 'fs_read_data', status = 'ok', path = {path}")
}

/// The kinds of path rules in turn: prefixes most often, as people write them.
fn mixed_case(number: usize) -> &'static Case {
    let name = ["prefix", "exact", "prefix", "suffix", "prefix", "glob", "deep glob", "regex"];
    let found = CASES.iter().find(|case| case.name == name[number % name.len()]);
    found.expect("the mixed kinds are all among the cases")
}

fn mixed(name: &str, number: usize) -> String {
    (mixed_case(number).condition)(name, number)
}

fn mixed_path(name: &str, number: usize, tail: &str) -> String {
    (mixed_case(number).path)(name, number, tail)
}

fn main() {
    let mut rounds = ROUNDS;
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().map_or(1, |count| count.parse().unwrap_or(1)),
            // Cargo passes it.
            "--bench" => {}
            _ => names.push(argument),
        }
    }
    println!(
        "{:<10} {:>6} {:>10} {:>9} {:>8}",
        "rules", "count", "ns/event", "of first", "matched"
    );
    for case in CASES {
        if !names.is_empty() && !names.iter().any(|name| name == case.name) {
            continue;
        }
        // One rule of each kind is the least that a mixture can have.
        let least = if case.name == "mixed" { 8 } else { 1 };
        let mut first = None;
        for count in COUNTS.map(|count| count.max(least)) {
            let (nanos, matched) = measure(&case, count, rounds);
            let ratio = nanos / *first.get_or_insert(nanos);
            let matched = matched * 100 / EVENTS;
            println!("{:<10} {count:>6} {nanos:>10.1} {ratio:>9.2} {matched:>7}%", case.name);
        }
    }
}

/// Routes all events, again and again: the time of an event, and how many matched.
fn measure(case: &Case, count: usize, rounds: usize) -> (f64, usize) {
    let mut text = String::new();
    for number in 0..count {
        let condition = (case.condition)(&name(number), number);
        writeln!(text, "[[rules]]\nname = 'r{number}'\nwhen = {{ {condition} }}\nsinks = 'atime'")
            .expect("writing to a String never fails");
    }
    let rules: Rules = toml::from_str(&text).expect("the rules are sound");
    let set = RuleSet::compile(&rules.rules, &["atime".to_owned()]).expect("the rules are sound");
    let batch = events(case, count);
    let mut scratch = set.scratch();
    let mut best = f64::INFINITY;
    let mut matched = 0;
    for _ in 0..rounds {
        matched = 0;
        let start = Instant::now();
        for event in batch.events() {
            let routes = black_box(set.route(event, &mut scratch));
            matched += usize::from(!routes.sinks.is_empty());
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    (best * 1e9 / EVENTS as f64, matched)
}

#[derive(serde::Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

/// Reads of files some seven directories deep; most paths are 80 to 120 bytes long.
fn events(case: &Case, count: usize) -> Batch {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut batch = Batch::default();
    for _ in 0..EVENTS {
        let number = random.below(count) + MISS * random.below(2);
        let mut tail = name(random.below(40));
        for _ in 0..3 + random.below(3) {
            // A few names are much more frequent than others.
            let spread = [40, 400, 4000][random.below(3)];
            tail = tail + "/" + &name(MISS + random.below(spread));
        }
        let rule_name = name(number);
        let path = (case.path)(&rule_name, number, &tail);
        let user = format!("AD\\{rule_name}");
        let client = format!("10.{}.{}.{}", number / 250, number % 250, random.below(250));
        let mut record = Record::default();
        record.operation = Operation::FsReadData;
        record.operation_name = batch.push_side(b"fs_read_data");
        record.status = batch.push_side(b"ok");
        record.ok = true;
        record.path = batch.push_side(path.as_bytes());
        record.user = batch.push_side(user.as_bytes());
        record.client = batch.push_side(client.as_bytes());
        batch.push(record);
    }
    batch
}

/// The name of a directory or user: always the same for a number.
fn name(number: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ta", "ren", "shot", "mo", "fil", "gra", "de", "comp", "lay", "out", "an", "im", "tex",
        "mat", "rig", "plate",
    ];
    let mixed = number.wrapping_mul(0x9E37_79B9) % 4096;
    let mut name = String::new();
    for shift in [0, 4, 8] {
        name += SYLLABLES[(mixed >> shift) % 16];
    }
    name + &number.to_string()
}

/// Marsaglia's xorshift: the same events every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }
}
