use super::*;
use crate::event::Operation;

fn small(profile: Profile) -> Config {
    Config { files: 20_000, ..Config::new(profile, 11) }
}

fn lines(config: Config, events: usize) -> Vec<u8> {
    let mut generator = Generator::new(config);
    let mut out = Vec::new();
    for _ in 0..events {
        generator.write_next(&mut out);
    }
    out
}

#[test]
fn a_seed_says_every_byte() {
    for (_, profile) in Profile::ALL {
        let first = lines(small(profile), 2_000);
        assert_eq!(first, lines(small(profile), 2_000));
        assert_ne!(first, lines(Config { seed: 12, ..small(profile) }, 2_000));
    }
}

/// Share of the events that fulfil a condition, in percent.
fn share(events: &[Event], condition: impl Fn(&Event) -> bool) -> f64 {
    let count = events.iter().filter(|event| condition(event)).count();
    100.0 * f64::from(u32::try_from(count).unwrap())
        / f64::from(u32::try_from(events.len()).unwrap())
}

#[test]
fn mixes_are_those_that_were_measured() {
    use Operation::{FsListDirectory, FsReadData, FsReadMetadata, FsWriteData};
    for (profile, reads, with_writes, metadata) in [
        (Profile::Surveillance, 10.9, 27.4, 19.5),
        (Profile::Sfs, 21.0, 31.0, 60.8),
        (Profile::Getattr, 6.0, 9.0, 84.8),
        (Profile::Walk, 48.5, 49.1, 50.5),
    ] {
        let mut generator = Generator::new(small(profile));
        let events: Vec<Event> = (0..100_000).map(|_| generator.draw()).collect();
        let is_read = |event: &Event| matches!(event.operation, FsReadData | FsListDirectory);
        for (expected, measured) in [
            (reads, share(&events, is_read)),
            (with_writes, share(&events, |e| is_read(e) || e.operation == FsWriteData)),
            (metadata, share(&events, |e| e.operation == FsReadMetadata)),
        ] {
            assert!((expected - measured).abs() < 0.6, "{profile:?}: {measured} for {expected}");
        }
        assert!((0.05..3.0).contains(&share(&events, |event| !event.ok)));
    }
}

#[test]
fn nodes_of_an_archive_share_the_work_as_measured() {
    let mut generator = Generator::new(small(Profile::Surveillance));
    let events: Vec<Event> = (0..100_000).map(|_| generator.draw()).collect();
    for (node, expected) in [(0, 50.0), (1, 27.0), (2, 23.0), (4, 0.0)] {
        let measured = share(&events, |event| event.node == node);
        assert!((expected - measured).abs() < 1.0, "node {node}: {measured}");
    }
}

#[test]
fn lines_are_as_long_as_real_ones() {
    for (profile, least, most) in [(Profile::Sfs, 240, 270), (Profile::Surveillance, 270, 300)] {
        let bytes: usize =
            (1..=4).map(|seed| lines(Config::new(profile, seed), 10_000).len()).sum();
        let average = bytes / 40_000;
        assert!((least..=most).contains(&average), "{profile:?}: {average}");
    }
}

#[test]
fn the_tree_has_every_kind_of_name() {
    let generator = Generator::new(Config::new(Profile::Sfs, 3));
    let paths: Vec<Vec<u8>> = generator.namespace().file_paths().collect();
    assert_eq!(paths.len(), 100_000);
    let count =
        |condition: &dyn Fn(&[u8]) -> bool| paths.iter().filter(|path| condition(path)).count();
    assert_eq!(count(&|path| !path.is_ascii()), 5_000);
    assert_eq!(count(&|path| path.iter().any(|byte| b"\",\\".contains(byte))), 100);
    assert_eq!(count(&|path| path.len() > 4_096), 10);
    assert!(paths.iter().all(|path| path.starts_with(b"/") && !path.ends_with(b"/")));
    assert!(paths.iter().all(|path| path.split(|byte| *byte == b'/').all(|c| c.len() <= 255)));
    let depth: usize = paths.iter().map(|path| path.iter().filter(|b| **b == b'/').count()).sum();
    assert!((640_000..660_000).contains(&depth), "{depth}");
    let distinct: std::collections::HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    assert_eq!(distinct.len(), paths.len());
    let mut seen = std::collections::HashSet::new();
    for directory in generator.namespace().directory_paths() {
        let parent = directory[..directory.len() - 1].rsplitn(2, |byte| *byte == b'/').nth(1);
        assert!(parent.is_none_or(|parent| seen.contains([parent, b"/"].concat().as_slice())));
        seen.insert(directory.to_vec());
    }
}

#[test]
fn most_files_are_read_again_soon_and_never_twice_by_one_user() {
    let mut generator = Generator::new(small(Profile::Sfs));
    let mut last = std::collections::HashMap::new();
    let mut told = std::collections::HashMap::new();
    let (mut repeats, mut soon, mut double, mut reads) = (0_u32, 0_u32, 0_u32, 0_u32);
    for _ in 0..300_000 {
        let event = generator.draw();
        let seconds = event.time.unix_seconds();
        if let Some(before) = last.insert(event.place, seconds) {
            repeats += 1;
            soon += u32::from(seconds - before < 60);
        }
        if event.operation == Operation::FsReadData {
            reads += 1;
            let key = (event.client, event.place);
            double += u32::from(told.insert(key, seconds).is_some_and(|t| seconds - t < 59));
        }
    }
    assert!(soon * 10 > repeats * 6, "{soon} of {repeats}");
    assert!(double * 20 < reads, "{double} of {reads}");
}

#[test]
fn a_node_tells_in_order_and_nodes_differ() {
    let mut generator = Generator::new(small(Profile::Sfs));
    let mut last = [Timestamp::default(); 6];
    let mut out_of_order = 0;
    let mut newest = Timestamp::default();
    for _ in 0..50_000 {
        let event = generator.draw();
        let node = &mut last[usize::from(event.node)];
        assert!(event.time >= *node);
        *node = event.time;
        out_of_order += u32::from(event.time < newest);
        newest = newest.max(event.time);
    }
    assert!(out_of_order > 1_000);
    assert!(last.iter().all(|time| *time != Timestamp::default()));
}

#[test]
fn limits_hold_at_their_ends() {
    for (nodes, files) in [(0, 0), (u16::MAX, 1), (1, 49), (3, 51)] {
        for (_, profile) in Profile::ALL {
            let config = Config { nodes, files, ..Config::new(profile, 1) };
            assert!(!lines(config, 200).is_empty());
        }
    }
}
