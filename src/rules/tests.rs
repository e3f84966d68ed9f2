//! Rules as an operator writes them, on events as they come.

mod oracle;

use super::*;
use crate::event::{Batch, IoSizes, Operation, OperationSet, Protocol, Record};

/// The fields of an event, as bytes.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) operation: Vec<u8>,
    pub(super) status: Vec<u8>,
    pub(super) protocol: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) client: Vec<u8>,
    pub(super) node: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) file_id: Vec<u8>,
    pub(super) size: Option<u64>,
    pub(super) labels: Vec<(String, String)>,
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = [&self.operation, &self.status, &self.protocol, &self.user, &self.client];
        let more = [&self.node, &self.path, &self.target, &self.file_id];
        let shown = fields.into_iter().chain(more).map(|field| String::from_utf8_lossy(field));
        formatter.debug_list().entries(shown).entry(&self.size).entry(&self.labels).finish()
    }
}

impl Sample {
    fn read(path: &[u8]) -> Self {
        Self {
            operation: b"fs_read_data".to_vec(),
            status: b"ok".to_vec(),
            protocol: b"nfsv3".to_vec(),
            user: br"AD\alice".to_vec(),
            client: b"10.1.2.3".to_vec(),
            node: b"tank-3".to_vec(),
            path: path.to_vec(),
            target: Vec::new(),
            file_id: b"140624751830626345080086044861".to_vec(),
            size: None,
            labels: Vec::new(),
        }
    }

    /// The same with other values: `key=value`, parted by spaces.
    fn with(mut self, changes: &str) -> Self {
        for change in changes.split_whitespace() {
            let (key, value) = change.split_once('=').unwrap();
            if let Some(key) = key.strip_prefix("labels.") {
                self.labels.push((key.to_owned(), value.to_owned()));
                continue;
            }
            let value = value.as_bytes().to_vec();
            match key {
                "operation" => self.operation = value,
                "status" => self.status = value,
                "protocol" => self.protocol = value,
                "user" => self.user = value,
                "client" => self.client = value,
                "node" => self.node = value,
                "path" => self.path = value,
                "target" => self.target = value,
                "file_id" => self.file_id = value,
                "size" => self.size = Some(String::from_utf8(value).unwrap().parse().unwrap()),
                _ => panic!("{key}"),
            }
        }
        self
    }

    pub(super) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        let hyphen = self.node.iter().rposition(|&byte| byte == b'-').unwrap_or(0);
        let mut record = Record::default();
        for (span, bytes) in [
            (&mut record.node, &self.node),
            (&mut record.client, &self.client),
            (&mut record.user, &self.user),
            (&mut record.protocol_name, &self.protocol),
            (&mut record.operation_name, &self.operation),
            (&mut record.status, &self.status),
            (&mut record.file_id, &self.file_id),
            (&mut record.path, &self.path),
            (&mut record.target, &self.target),
        ] {
            *span = batch.push_side(bytes);
        }
        record.cluster_length = u8::try_from(hyphen).unwrap();
        record.operation = Operation::from_bytes(&self.operation);
        record.protocol = Protocol::from_bytes(&self.protocol);
        record.ok = self.status == b"ok";
        if let Some(bytes) = self.size {
            batch.push_io(&mut record, IoSizes { size: Some(bytes), ..IoSizes::default() });
        }
        batch.push(record);
        for (key, value) in &self.labels {
            assert!(batch.label(0, key, value));
        }
        batch
    }
}

/// The `[[rules]]` of a configuration.
fn rules(text: &str) -> Vec<Rule> {
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(default)]
        rules: Vec<Rule>,
    }
    toml::from_str::<Config>(text).unwrap_or_else(|error| panic!("{error}")).rules
}

fn sinks() -> Vec<String> {
    ["atime", "archive", "stdout"].map(str::to_owned).to_vec()
}

fn compile(text: &str) -> RuleSet {
    RuleSet::compile(&rules(text), &sinks()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// The rules that match, which `route` and `explain` must agree on, and their sinks.
fn routed(set: &RuleSet, sample: &Sample) -> (Vec<usize>, Vec<usize>) {
    let batch = sample.batch();
    let mut scratch = set.scratch();
    let routes = set.route(batch.event(0), &mut scratch);
    let matched: Vec<usize> = routes.matched().collect();
    assert_eq!(routes.is_unmatched(), matched.is_empty());
    let explained = set.explain(batch.event(0)).into_iter();
    let explained: Vec<usize> = explained
        .filter(|trace| trace.finding == Finding::Matched)
        .map(|trace| trace.rule)
        .collect();
    assert_eq!(matched, explained, "{sample:?}");
    (matched, routes.sinks.iter().collect())
}

fn matches(condition: &str, sample: &Sample) -> bool {
    let set = compile(&format!("[[rules]]\nname = 'a'\nsinks = 'atime'\n{condition}"));
    !routed(&set, sample).0.is_empty()
}

fn errors(text: &str) -> Vec<String> {
    let errors = RuleSet::compile(&rules(text), &sinks()).unwrap_err();
    errors.iter().map(|error| format!("{}: {error}", error.rule)).collect()
}

#[test]
fn every_condition_looks_at_its_field() {
    let event = Sample::read(b"/projects/x/a.mov").with("target=/projects/x/b.mov size=4096");
    for (condition, expected) in [
        ("", true),
        ("when = {}", true),
        ("when.operation = 'fs_read_data'", true),
        ("when.operation = ['fs_delete', 'fs_read_data']", true),
        ("when.operation = 'fs_read_*'", true),
        ("when.operation = 'fs_delete'", false),
        ("when.operation = ['fs_*', 'fs_*', { prefix = ['fs_', 'fs_'] }]", true),
        ("when.operation = { prefix = 'fs_', suffix = '_data' }", true),
        ("when.operation = { prefix = 'fs_', suffix = '_link' }", false),
        ("when.status = 'ok'", true),
        ("when.status = 'o*'", true),
        ("when.status = 'fs_*'", false),
        ("when.protocol = 'nfs'", true),
        ("when.protocol = ['smb', 'nfs3']", true),
        ("when.protocol = 'nfs4'", false),
        ("when.user = 'AD\\alice'", true),
        ("when.user = 'AD\\*'", true),
        ("when.user = 'AD\\Alice'", false),
        ("when.user = 'alice'", false),
        ("when.user = { regex = '(?i)^ad.ALICE$' }", true),
        ("when.client = '10.1.2.3'", true),
        ("when.client = ['192.168.0.0/16', '10.0.0.0/8']", true),
        ("when.client = '::/0'", false),
        ("when.client = '::ffff:10.1.2.3'", true),
        ("when.node = 'tank-3'", true),
        ("when.node = 'tank-[12]'", false),
        ("when.cluster = 'tank'", true),
        ("when.cluster = 'tank-3'", false),
        ("when.path = '/projects/**'", true),
        ("when.path = '/projects/*'", false),
        ("when.path = '/Projects/**'", false),
        ("when.path = '/projects/x/a.mov'", true),
        ("when.path = '**/*.{mov,mp4}'", true),
        ("when.path = { exact = '/projects/x/a.mov' }", true),
        ("when.path = { exact = '/projects/**' }", false),
        ("when.path = { prefix = '/proj' }", true),
        ("when.path = { suffix = ['.mp4', '.mov'] }", true),
        ("when.path = { regex = '/x/.*[.]mov$' }", true),
        ("when.path = { prefix = '/projects/', suffix = '.mp4' }", false),
        ("when.path = ['/none', { prefix = '/projects/', suffix = '.mov' }]", true),
        ("when.path = ['/none', { prefix = '/projects/', suffix = '.mp4' }]", false),
        ("when.target = '/projects/x/b.mov'", true),
        ("when.target = '/projects/x/a.mov'", false),
        ("when.file_id = '140624751830626345080086044861'", true),
        ("when.file_id = [7, 140624751830626345]", false),
        ("when.file_name = 'a.mov'", true),
        ("when.file_name = ['*.mxf', 'projects', '']", false),
        ("when.size = '> 4095'", true),
        ("when.size = ['> 1 MiB', '= 4 KiB']", true),
        ("when.size = { max = '4095' }", false),
        ("when.size = { min = 4096, max = 4096 }", true),
        ("when = { path = '/projects/**', user = 'AD\\alice', protocol = 'nfs' }", true),
        ("when = { path = '/projects/**', user = 'AD\\bob', protocol = 'nfs' }", false),
    ] {
        assert_eq!(matches(condition, &event), expected, "{condition}");
    }
}

#[test]
fn labels_are_matched_as_texts() {
    let event = Sample::read(b"/a").with("labels.charset=unmapped labels.area=projects/x");
    for (condition, expected) in [
        ("when.labels.charset = 'unmapped'", true),
        ("when.labels.charset = ['mapped', 'un*']", true),
        ("when.labels.charset = { prefix = 'un', suffix = 'ped' }", true),
        ("when.labels.charset = { regex = '^map' }", false),
        ("when.labels.charset = ''", false),
        ("when.labels.area = 'projects*'", true),
        ("when.labels = { charset = 'unmapped', area = 'projects/x' }", true),
        ("when.labels = { charset = 'unmapped', area = 'projects/y' }", false),
        ("when.labels.other = 'x'", false),
        ("when.labels.other = ''", true),
        ("when.labels.other = ['x', '*']", true),
        ("when.not.labels.charset = 'unmapped'", false),
        ("when.not.labels.other = 'x'", true),
        ("when.any = [{ labels.charset = 'x' }, { labels.area = 'projects/x' }]", true),
        ("when = { path = '/a', labels.charset = 'unmapped', user = 'AD\\alice' }", true),
        ("when = { path = '/b', labels.charset = 'unmapped' }", false),
    ] {
        assert_eq!(matches(condition, &event), expected, "{condition}");
    }
    let without = Sample::read(b"/a");
    assert!(matches("when.labels.charset = ''", &without));
    assert!(!matches("when.labels.charset = 'unmapped'", &without));
}

#[test]
fn labels_are_explained() {
    let set = compile(
        "[[rules]]\nname = 'a'\nsinks = 'atime'\nwhen.labels = { charset = 'x', area = ['y', 'z*'] }",
    );
    let event = Sample::read(b"/a").with("labels.charset=unmapped");
    let trace = set.explain(event.batch().event(0)).remove(0);
    let Finding::Failed(failures) = &trace.finding else { panic!("{trace}") };
    let keys: Vec<_> = failures.iter().map(|failure| failure.key.as_str()).collect();
    assert_eq!(keys, ["when.labels.area", "when.labels.charset"]);
    assert_eq!(
        trace.to_string(),
        "a: label area (absent) matches none of \"y\", glob \"z*\"; \
         label charset \"unmapped\" does not match \"x\""
    );
}

#[test]
fn impossible_labels_are_refused() {
    let rule = |when: &str| format!("[[rules]]\nname = 'a'\nsinks = 'atime'\nwhen.{when}");
    for (when, message) in [
        ("labels = {}", "0: when.labels: the table is empty: name a label"),
        ("labels.A = 'x'", "0: when.labels.A: no label can have the key \"A\": it has 1 to 64"),
        ("labels.a = []", "0: when.labels.a: the list is empty"),
        ("labels.a = ['x', { regex = '(' }]", "0: when.labels.a[1].regex: "),
        ("any.labels.b = { glob = '[' }", "0: when.any.labels.b.glob: "),
    ] {
        let found = errors(&rule(when));
        assert!(found.len() == 1 && found[0].starts_with(message), "{when}: {found:?}");
    }
    let many = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("l{number} = 'x'")).collect();
        rule(&format!("labels = {{ {} }}", keys.join(", ")))
    };
    compile(&many(48));
    let found = errors(&many(49));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("the rules ask for more than 48 labels"), "{found:?}");
}

#[test]
fn an_absent_field_is_the_empty_text() {
    let event = Sample::read(b"");
    for (condition, expected) in [
        ("when.path = ''", true),
        ("when.path = '**'", true),
        ("when.path = '/**'", false),
        ("when.target = ''", true),
        ("when.size = '>= 0'", false),
        ("when.not.size = '>= 0'", true),
        ("when.client = '0.0.0.0/0'", true),
    ] {
        assert_eq!(matches(condition, &event), expected, "{condition}");
    }
    assert!(!matches("when.client = ['0.0.0.0/0', '::/0']", &event.with("client=")));
}

#[test]
fn names_that_are_not_utf8_match() {
    let event = Sample::read(b"/data/caf\xE9/\xC0\xAF.mov");
    for (condition, expected) in [
        ("when.path = '/data/**'", true),
        ("when.path = '**/*.mov'", true),
        ("when.path = '/data/caf?/*.mov'", true),
        ("when.path = '/data/*/*.mov'", true),
        ("when.path = '/data/café/*.mov'", false),
        (r"when.path = { regex = '^/data/caf\xE9/.*\.mov$' }", true),
        ("when.path = { regex = '^/data/caf./..[.]mov$' }", true),
        ("when.path = { prefix = '/data/caf' }", true),
    ] {
        assert_eq!(matches(condition, &event), expected, "{condition}");
    }
    let event = Sample::read("/data/café.mov".as_bytes());
    for (condition, expected) in [
        ("when.path = '/data/café.mov'", true),
        ("when.path = '/data/caf?.mov'", true),
        ("when.path = { regex = 'é' }", true),
        ("when.path = '/data/cafe\u{301}.mov'", false),
    ] {
        assert_eq!(matches(condition, &event), expected, "{condition}");
    }
}

#[test]
fn clients_are_compared_as_addresses() {
    for (network, client, expected) in [
        ("10.0.0.0/8", "::ffff:10.9.9.9", true),
        ("::ffff:10.0.0.0/104", "10.9.9.9", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("2001:db8::/32", "2001:0DB8:0::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("fe80::1", "fe80::1%eth0", true),
        ("0.0.0.0/0", "host", false),
    ] {
        let event = Sample::read(b"/a").with(&format!("client={client}"));
        assert_eq!(matches(&format!("when.client = '{network}'"), &event), expected, "{client}");
    }
}

#[test]
fn conditions_stand_in_each_other() {
    for (condition, expected) in [
        ("when.not.user = 'AD\\alice'", false),
        ("when.not.user = 'AD\\bob'", true),
        ("when.not = [{ user = 'AD\\bob' }, { user = 'AD\\eve' }]", true),
        ("when.not = [{ user = 'AD\\bob' }, { user = 'AD\\alice' }]", false),
        ("when.not = { user = 'AD\\alice', path = '/b/**' }", true),
        ("when.not.not.user = 'AD\\alice'", true),
        ("when.any = [{ user = 'AD\\bob' }, { path = '/a/**' }]", true),
        ("when.any = [{ user = 'AD\\bob' }, { path = '/b/**' }]", false),
        ("when.any = { user = 'AD\\alice' }", true),
        ("when.all = [{ user = 'AD\\alice' }, { path = '/b/**' }]", false),
        ("when.all = [{ path = '/a/**' }, { path = '**/*.mov' }]", true),
        ("when = { path = '/a/**', not.path = '**/*.mov' }", false),
        ("when = { path = '/a/**', not.path = '**/*.tmp' }", true),
        ("when.any = [{ operation = 'fs_delete' }, { operation = 'fs_read_data' }]", true),
        ("when.not.any = [{ not.all = [{ path = '/a/**' }, { status = 'ok' }] }]", true),
    ] {
        assert_eq!(matches(condition, &Sample::read(b"/a/x.mov")), expected, "{condition}");
    }
}

#[test]
fn operations_that_are_not_known_are_told_by_name() {
    let event = Sample::read(b"/a").with("operation=fs_defragment");
    for (condition, expected) in [
        ("", true),
        ("when.operation = 'fs_defragment'", true),
        ("when.operation = 'fs_*'", true),
        ("when.operation = 'fs_read_*'", false),
        ("when.operation = 'fs_read_data'", false),
        ("when.operation = ['fs_read_data', 'nfs_create_export']", false),
        ("when.not.operation = 'fs_read_data'", true),
    ] {
        assert_eq!(matches(condition, &event), expected, "{condition}");
    }
}

#[test]
fn rules_apply_in_order_until_one_is_final() {
    let set = compile(
        "[[rules]]
         name = 'noise'
         when.user = 'backup'
         final = true
         [[rules]]
         name = 'reads'
         when = { operation = 'fs_read_data', status = 'ok' }
         sinks = 'atime'
         [[rules]]
         name = 'off'
         enabled = false
         sinks = 'stdout'
         final = true
         [[rules]]
         name = 'secret'
         when.path = '/secret/**'
         sinks = ['archive', 'stdout']
         final = true
         [[rules]]
         name = 'rest'
         sinks = 'archive'",
    );
    let read = |changes| routed(&set, &Sample::read(b"/a").with(changes));
    assert_eq!(read("user=backup"), (vec![0], vec![]));
    assert_eq!(read(""), (vec![1, 4], vec![0, 1]));
    assert_eq!(read("path=/secret/a"), (vec![1, 3], vec![0, 1, 2]));
    assert_eq!(read("path=/secret/a status=fs_error"), (vec![3], vec![1, 2]));
    assert_eq!(read("operation=fs_delete"), (vec![4], vec![1]));
    assert_eq!(set.name(3), "secret");
    assert_eq!(set.sinks(3).iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn without_rules_nothing_matches() {
    let set = RuleSet::compile(&[], &[]).unwrap();
    assert!(set.is_empty());
    assert_eq!(set.wanted(), OperationSet::NONE);
    assert_eq!(routed(&set, &Sample::read(b"/a")), (vec![], vec![]));
}

#[test]
fn the_operations_wanted_are_those_that_can_match() {
    use Operation as O;
    for (condition, wanted) in [
        ("", OperationSet::ALL),
        ("when.path = '/a'", OperationSet::ALL),
        ("when.operation = 'fs_delete'", [O::FsDelete].into_iter().collect()),
        ("when.operation = 'gopher_open'", [O::Unknown].into_iter().collect()),
        ("when.operation = 'fs_write_data*'", [O::FsWriteData, O::Unknown].into_iter().collect()),
        (
            "when.any = [{ operation = 'fs_delete' }, { operation = 'fs_open', path = '/a' }]",
            [O::FsDelete, O::FsOpen].into_iter().collect(),
        ),
        ("when.all = [{ operation = 'fs_delete' }, { operation = 'fs_open' }]", OperationSet::NONE),
        ("enabled = false", OperationSet::NONE),
    ] {
        let set = compile(&format!("[[rules]]\nname = 'a'\nsinks = 'atime'\n{condition}"));
        let all = |set: OperationSet| {
            let named = Operation::NAMED.iter().copied().chain([O::Unknown]);
            named.filter(|operation| set.contains(*operation)).collect::<Vec<_>>()
        };
        assert_eq!(all(set.wanted()), all(wanted), "{condition}");
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let found = errors(
        r#"[[rules]]
        name = "reads"
        sinks = ["atime", "atme", "atime"]
        when.operation = ["fs_read_dat", "FS_DELETE", "fs_read_dat*", "nfs_create_export"]
        when.status = "OK"
        when.path = ["/a/{b", { glob = ["/ok", "*.mov", "/a[/b]"], regex = "(a" }, {}]
        when.client = ["10.0.0.1/8", "x"]
        when.protocol = "nsf"
        when.size = "< 0"
        when.any = [{ user = [] }, {}]
        when.not = { not = { path = "projects/**" } }
        [[rules]]
        name = "reads"
        [[rules]]
        name = ""
        sinks = "kafka"
        when.all = []
        "#,
    );
    let expected = r#"
0: when.client[0]:
    "10.0.0.1/8" has bits set outside of its mask: write "10.0.0.0/8", or the address alone
0: when.client[1]:
    "x" is no address such as "10.0.0.7", and no network such as "10.0.0.0/8"
0: when.protocol:
    no protocol begins with "nsf"; did you mean "nfs"?
0: when.operation[0]:
    no operation is named "fs_read_dat"; did you mean "fs_read_data"? If not, write { exact =
    "fs_read_dat" }
0: when.operation[1]:
    no operation is named "FS_DELETE"; did you mean "fs_delete"? If not, write { exact =
    "FS_DELETE" }
0: when.status:
    no status is named "OK"; did you mean "ok"? If not, write { exact = "OK" }
0: when.path[0]:
    nothing closes the brace that opens at character 4; a brace itself is written [{]
0: when.path[1].glob[1]:
    "*.mov" matches no path, since paths begin with a slash: write "**/*.mov" for any directory,
    or { exact = … } for a text that is no path
0: when.path[1].glob[2]:
    a slash stands between brackets, which never match one
0: when.path[1].regex:
    at character 1: unclosed group
0: when.path[2]:
    the table is empty: give it a glob, prefix, or such
0: when.size:
    no size lies in this range
0: when.not.not.path:
    "projects/**" matches no path, since paths begin with a slash: write "**/projects/**" for
    any directory, or { exact = … } for a text that is no path
0: when.any[0].user:
    the list is empty, so no event can match: fill it or leave the key out
0: when.any[1]:
    the condition is empty, so every event matches: give it a key
0: sinks[1]:
    no sink is named "atme"; did you mean "atime"?
0: sinks[2]:
    "atime" stands in this list twice
1: name:
    another rule is named "reads" already: names are unique
1: sinks:
    the rule does nothing: name a sink, or set final = true to discard events
2: name:
    a rule's name is not empty, and has no control characters
2: when.all:
    the list is empty, so no event can match: fill it or leave the key out
2: sinks:
    no sink is named "kafka"; the sinks are atime, archive, stdout
"#;
    let expected: Vec<String> = entries(expected);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

/// Texts that each begin at a line's start, and go on in lines that begin with spaces.
fn entries(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match entries.last_mut() {
            Some(entry) if line.starts_with(' ') => *entry = format!("{entry} {}", line.trim()),
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

#[test]
fn a_name_near_a_known_one_is_taken_when_written_exactly() {
    let event = Sample::read(b"/a").with("operation=smb3_notify_req status=OK");
    assert!(matches("when.operation = { exact = 'smb3_notify_req' }", &event));
    assert!(matches("when.status = { exact = 'OK' }", &event));
    assert!(matches("when.operation = 'smb?_notify_req'", &event));
}

#[test]
fn limits_are_kept() {
    let names: Vec<String> = (0..65).map(|number| format!("sink{number}")).collect();
    let rules = rules("[[rules]]\nname = 'a'\nsinks = ['sink63', 'sink64']");
    let errors = RuleSet::compile(&rules, &names).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].key, [KeyPart::Key("sinks".into()), KeyPart::Index(1)]);
    assert!(RuleSet::compile(&rules[..0], &names).is_ok());

    let deep = |depth| {
        format!("[[rules]]\nname = 'a'\nsinks = 'atime'\nwhen{} = 'x'", {
            ".not".repeat(depth) + ".user"
        })
    };
    compile(&deep(32));
    assert!(
        self::errors(&deep(33))[0].ends_with("conditions stand in each other more than 32 deep")
    );
}

#[test]
fn findings_are_told_in_words() {
    let set = compile(
        "[[rules]]
         name = 'other'
         when = { operation = ['fs_delete', 'fs_rename'], path = '/projects/**', not.user = 'AD*' }
         sinks = 'atime'
         [[rules]]
         name = 'any'
         when.any = [{ path = ['/x/**', { regex = '^/y' }] }, { protocol = 'smb', status = 'ok' }]
         sinks = 'atime'
         [[rules]]
         name = 'sizes'
         when = { size = ['> 1 MiB', '< 10'], target = '', client = '192.168.0.0/16' }
         sinks = 'atime'
         [[rules]]
         name = 'off'
         enabled = false
         sinks = 'atime'
         [[rules]]
         name = 'all'
         sinks = 'atime'
         final = true
         [[rules]]
         name = 'rest'
         sinks = 'atime'",
    );
    let batch = Sample::read(b"/a/b\xE9").batch();
    let traces = set.explain(batch.event(0));
    let told: Vec<String> = traces.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "other: operation \"fs_read_data\" matches none of \"fs_delete\", \"fs_rename\"; \
             path \"/a/b\u{FFFD}\" does not match glob \"/projects/**\"; \
             user \"AD\\\\alice\" matches glob \"AD*\"",
            "any: path \"/a/b\u{FFFD}\" matches none of glob \"/x/**\", regex \"^/y\" and \
             protocol \"nfsv3\" does not match \"smb\"",
            "sizes: client \"10.1.2.3\" does not match 192.168.0.0/16; \
             size (absent) matches none of >= 1048577 B, <= 9 B",
            "off: not enabled",
            "all: matched",
            "rest: not reached: rule \"all\" matched, and is final",
        ]
    );
    let Finding::Failed(failures) = &traces[0].finding else { panic!("{:?}", traces[0]) };
    let keys: Vec<&str> = failures.iter().map(|failure| failure.key.as_str()).collect();
    assert_eq!(keys, ["when.operation", "when.path", "when.not"]);
}

/// `count` rules that each ask for a path, in all the ways that there are.
fn path_rules(count: usize) -> RuleSet {
    let mut text = String::new();
    for number in 0..count {
        let path = match number % 5 {
            0 => format!("'/projects/p{number}/**'"),
            1 => format!("'/projects/*/renders/r{number}/**'"),
            2 => format!("'**/*.x{number}'"),
            3 => format!("{{ regex = '/cache/c{number}/' }}"),
            _ => format!("'/exact/file{number}'"),
        };
        text += &format!(
            "[[rules]]\nname = 'r{number}'\nsinks = 'atime'\n\
             when = {{ operation = 'fs_read_data', status = 'ok', path = {path} }}\n"
        );
    }
    compile(&text)
}

#[test]
fn a_thousand_path_rules_are_not_all_looked_at() {
    let set = path_rules(1000);
    for (path, expected) in [
        ("/projects/p10/a", &[10][..]),
        ("/projects/p10/renders/r11/a.x12", &[]),
        ("/projects/q/renders/r11/a.x12", &[11, 12]),
        ("/projects/p995/cache/c998/a.x997", &[995, 997, 998]),
        ("/exact/file999", &[999]),
        ("/nowhere/at/all.mov", &[]),
    ] {
        let expected: Vec<usize> = match path {
            "/projects/p10/renders/r11/a.x12" => vec![10, 11, 12],
            _ => expected.to_vec(),
        };
        let batch = Sample::read(path.as_bytes()).batch();
        let mut scratch = set.scratch();
        let matched: Vec<usize> = set.route(batch.event(0), &mut scratch).matched().collect();
        assert_eq!(matched, expected, "{path}");
        assert_eq!(scratch.visits, expected.len(), "{path}");
        assert_eq!(routed(&set, &Sample::read(path.as_bytes())).0, expected);
    }
}

#[test]
fn a_scratch_remembers_nothing_of_the_last_event() {
    let set = path_rules(100);
    let mut scratch = set.scratch();
    for path in ["/projects/p10/a.x12", "/none", "/projects/p15/a", "/exact/file4", "/none"] {
        let batch = Sample::read(path.as_bytes()).batch();
        let again: Vec<usize> = set.route(batch.event(0), &mut scratch).matched().collect();
        let mut fresh = set.scratch();
        let once: Vec<usize> = set.route(batch.event(0), &mut fresh).matched().collect();
        assert_eq!(again, once, "{path}");
    }
}

#[test]
fn the_schema_describes_every_key() {
    let schema = schemars::schema_for!(Rule).to_value();
    let condition = &schema["$defs"]["Condition"]["properties"];
    for key in ["operation", "client", "path", "file_id", "size", "not", "all", "any"] {
        assert!(condition[key]["description"].is_string(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["name"]));
    assert!(!schema.to_string().contains("null"), "{schema:#}");
}
