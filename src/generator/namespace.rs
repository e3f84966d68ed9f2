//! The tree of files that the events are about.

use super::cast::{floor, narrow};
use super::names::{Style, Words, write_block, write_name, write_uuid};
use super::random::Random;
use super::{Config, FILES_MAX, Profile};

/// Mean depth of a file (Agrawal et al., FAST '07).
const DEPTH_MEAN: f64 = 6.5;
const DEPTH_MAX: u32 = 24;
/// Lengths of components: lognormal, median in bytes.
const LENGTH_MEDIAN: f64 = 12.0;
const LENGTH_SIGMA: f64 = 1.05;
/// Files per directory: inverse polynomial of degree 2 with this offset (Agrawal et al.).
const FILES_OFFSET: f64 = 2.36;
const FILES_RUN_MAX: u32 = 500;
/// One in so many of the directories that are looked for is made, the others are there.
const DIRECTORY_NEW_EVERY: u32 = 2;
/// One file in so many has a path longer than 4 KiB.
const LONG_PATH_EVERY: u32 = 10_000;
/// Components on the way to such a file, and their length in bytes.
const LONG_PATH_COMPONENTS: u32 = 21;
const LONG_COMPONENT_BYTES: u32 = 215;

/// A file or a directory of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A directory, by its number; its path ends in `/`.
    Directory(u32),
    /// A file, by its number.
    File(u32),
}

#[derive(Debug, Clone, Copy)]
struct Text {
    start: u64,
    length: u32,
}

#[derive(Debug)]
struct File {
    directory: u32,
    name: Text,
}

/// All directories and files. A file's path is its directory's path and its name.
#[derive(Debug)]
pub struct Namespace {
    text: Vec<u8>,
    directories: Vec<Text>,
    files: Vec<File>,
}

impl Namespace {
    pub(super) fn new(config: &Config, random: &mut Random) -> Self {
        let files = config.files.clamp(1, FILES_MAX);
        let mut builder = Builder::new();
        for file in 0..files {
            match config.profile {
                Profile::Surveillance => builder.add_recording(random, file),
                Profile::Getattr | Profile::Sfs | Profile::Walk => builder.add_file(random, file),
            }
        }
        builder.tree
    }

    /// How many files there are.
    #[must_use]
    pub fn files(&self) -> u32 {
        narrow(self.files.len())
    }

    /// How many directories there are, the root among them.
    #[must_use]
    pub fn directories(&self) -> u32 {
        narrow(self.directories.len())
    }

    /// The path of every directory, parents first; each ends in `/`.
    pub fn directory_paths(&self) -> impl Iterator<Item = &[u8]> {
        self.directories.iter().map(|&path| self.slice(path))
    }

    /// The path of every file.
    pub fn file_paths(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.files()).map(|file| {
            let [directory, name] = self.parts(Place::File(file));
            [directory, name].concat()
        })
    }

    /// A path, as the directory's and the name in it (empty for a directory).
    #[must_use]
    pub fn parts(&self, place: Place) -> [&[u8]; 2] {
        match place {
            Place::Directory(directory) => [self.slice(self.directories[directory as usize]), b""],
            Place::File(file) => {
                let File { directory, name } = self.files[file as usize];
                [self.slice(self.directories[directory as usize]), self.slice(name)]
            }
        }
    }

    /// The directory of a file.
    pub(super) fn parent(&self, file: u32) -> u32 {
        self.files[file as usize].directory
    }

    fn slice(&self, text: Text) -> &[u8] {
        let start = usize::try_from(text.start).expect("an offset into a vector fits");
        &self.text[start..start + text.length as usize]
    }
}

/// Grows the tree file by file.
struct Builder {
    tree: Namespace,
    /// Entries of each directory so far: the next one's ordinal.
    entries: Vec<u32>,
    /// The directories of each depth.
    levels: Vec<Vec<u32>>,
    /// For each depth, the directory that files go to, and how many more it takes.
    homes: Vec<(u32, u32)>,
}

impl Builder {
    fn new() -> Self {
        let root = Text { start: 0, length: 1 };
        let tree = Namespace { text: b"/".to_vec(), directories: vec![root], files: Vec::new() };
        let depths = DEPTH_MAX as usize + 1;
        Self {
            tree,
            entries: vec![0],
            levels: vec![Vec::new(); depths],
            homes: vec![(0, 0); depths],
        }
    }

    fn add_file(&mut self, random: &mut Random, file: u32) {
        if file % LONG_PATH_EVERY == LONG_PATH_EVERY - 1 {
            return self.add_long_path(random);
        }
        let depth = random.poisson(DEPTH_MEAN).clamp(1, DEPTH_MAX);
        let directory = self.home_at(random, depth - 1);
        let words = match file {
            _ if file % 20 == 10 => Words::Foreign,
            _ if file % 1_000 == 501 => Words::Quoted,
            _ => Words::Ascii,
        };
        let length = random.lognormal(LENGTH_MEDIAN, LENGTH_SIGMA);
        let style = Style { words, length, is_file: true };
        self.push_file(directory, |ordinal, out| write_name(random, style, ordinal, out));
    }

    /// A directory for a file at this depth (the root is at 0).
    fn home_at(&mut self, random: &mut Random, depth: u32) -> u32 {
        let (directory, room) = self.homes[depth as usize];
        if room > 0 {
            self.homes[depth as usize].1 -= 1;
            return directory;
        }
        let directory = self.directory_at(random, depth);
        let room = floor(FILES_OFFSET / random.unit() - FILES_OFFSET).min(FILES_RUN_MAX);
        self.homes[depth as usize] = (directory, room);
        directory
    }

    /// A directory at this depth: a new one, or any that is there.
    fn directory_at(&mut self, random: &mut Random, depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let there = &self.levels[depth as usize];
        if !there.is_empty() && !random.one_in(DIRECTORY_NEW_EVERY) {
            return random.pick(there);
        }
        let parent = self.directory_at(random, depth - 1);
        let length = random.lognormal(LENGTH_MEDIAN, LENGTH_SIGMA);
        let style = Style { words: Words::Ascii, length, is_file: false };
        let directory =
            self.push_directory(parent, |ordinal, out| write_name(random, style, ordinal, out));
        self.levels[depth as usize].push(directory);
        directory
    }

    /// A file whose path no system call takes whole.
    fn add_long_path(&mut self, random: &mut Random) {
        let style = |is_file| Style { words: Words::Ascii, length: LONG_COMPONENT_BYTES, is_file };
        let mut directory = 0;
        for _ in 0..LONG_PATH_COMPONENTS - 1 {
            directory = self.push_directory(directory, |ordinal, out| {
                write_name(random, style(false), ordinal, out);
            });
        }
        self.push_file(directory, |ordinal, out| write_name(random, style(true), ordinal, out));
    }

    /// `/m-rs3/<recorder>/<camera>_ARCHIVE_<time>/<stream>/block50002.blk`
    fn add_recording(&mut self, random: &mut Random, file: u32) {
        let parents: [(u32, usize); 4] = [(24_000, 1), (6_000, 2), (240, 3), (60, 4)];
        for (_, depth) in parents.into_iter().filter(|(every, _)| file.is_multiple_of(*every)) {
            let parent = self.levels[depth - 1].last().copied().unwrap_or(0);
            let directory = self.push_directory(parent, |ordinal, out| match depth {
                1 => out.extend_from_slice(format!("m-rs{}", ordinal + 1).as_bytes()),
                3 => {
                    write_uuid(random, out);
                    let (hour, minute) = (ordinal / 60 % 24, ordinal % 60);
                    let name = format!("_ARCHIVE_2026-01-06_{hour:02}-{minute:02}-15");
                    out.extend_from_slice(name.as_bytes());
                }
                _ => write_uuid(random, out),
            });
            self.levels[depth].push(directory);
        }
        let directory = self.levels[4].last().copied().unwrap_or(0);
        self.push_file(directory, |ordinal, out| write_block(random, ordinal, out));
    }

    fn push_file(&mut self, directory: u32, write: impl FnOnce(u32, &mut Vec<u8>)) {
        let start = self.tree.text.len();
        write(self.next_ordinal(directory), &mut self.tree.text);
        let name = self.text_from(start);
        self.tree.files.push(File { directory, name });
    }

    fn push_directory(&mut self, parent: u32, write: impl FnOnce(u32, &mut Vec<u8>)) -> u32 {
        let Text { start: parent_start, length } = self.tree.directories[parent as usize];
        let parent_start = usize::try_from(parent_start).expect("an offset into a vector fits");
        let start = self.tree.text.len();
        self.tree.text.extend_from_within(parent_start..parent_start + length as usize);
        write(self.next_ordinal(parent), &mut self.tree.text);
        self.tree.text.push(b'/');
        self.tree.directories.push(self.text_from(start));
        self.entries.push(0);
        narrow(self.tree.directories.len() - 1)
    }

    fn next_ordinal(&mut self, directory: u32) -> u32 {
        let entries = &mut self.entries[directory as usize];
        *entries += 1;
        *entries - 1
    }

    fn text_from(&self, start: usize) -> Text {
        Text { start: start as u64, length: narrow(self.tree.text.len() - start) }
    }
}
