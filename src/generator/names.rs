//! Names of files and directories, as people and programs give them.

use super::random::Random;

/// The longest component that Linux can name, in bytes.
const COMPONENT_BYTES_MAX: usize = 255;

const WORDS: &[&str] = &[
    "archive",
    "assembly",
    "assay",
    "asset",
    "backup",
    "batch",
    "budget",
    "build",
    "cache",
    "camera",
    "capture",
    "chapter",
    "comp",
    "config",
    "daily",
    "dataset",
    "delivery",
    "design",
    "draft",
    "edit",
    "export",
    "final",
    "footage",
    "frame",
    "grade",
    "home",
    "image",
    "import",
    "index",
    "ingest",
    "job",
    "layout",
    "lib",
    "log",
    "master",
    "matte",
    "mesh",
    "model",
    "notes",
    "output",
    "plate",
    "preview",
    "project",
    "proxy",
    "quarter",
    "raw",
    "reel",
    "reference",
    "render",
    "report",
    "result",
    "review",
    "run",
    "sample",
    "scan",
    "scene",
    "season",
    "seq",
    "sequence",
    "shared",
    "shot",
    "sim",
    "source",
    "src",
    "stage",
    "stems",
    "survey",
    "take",
    "temp",
    "test",
    "texture",
    "tile",
    "tmp",
    "track",
    "trial",
    "v2",
    "version",
    "work",
    "2023",
    "2024",
    "2025",
    "v001",
    "v002",
    "v017",
];

/// Beyond ASCII: composed and decomposed Latin, Greek, Cyrillic, Arabic, Han, Kana, an emoji.
const FOREIGN_WORDS: &[&str] = &[
    "Übersicht",
    "Entwürfe",
    "Größe",
    "café",
    "cafe\u{301}",
    "Ångström",
    "A\u{30a}ngstro\u{308}m",
    "naïve",
    "résumé",
    "œuvre",
    "señal",
    "Проект",
    "данные",
    "отчёт",
    "μετρήσεις",
    "مشروع",
    "日本語",
    "映像",
    "テスト",
    "项目",
    "报告",
    "한국어",
    "🎬",
];

/// What the cluster must quote: quotes, commas, backslashes.
const QUOTED_WORDS: &[&str] =
    &["12\" plate", "notes, final", "a\"b\"c", "C:\\temp", "1,2,3", "\"quoted\"", "back\\slash,"];

const EXTENSIONS: &[&str] = &[
    ".bam",
    ".csv",
    ".dat",
    ".docx",
    ".dpx",
    ".exr",
    ".fastq.gz",
    ".h5",
    ".jpg",
    ".json",
    ".log",
    ".mov",
    ".mxf",
    ".pdf",
    ".png",
    ".py",
    ".tif",
    ".txt",
    ".wav",
    ".xlsx",
    "",
];

/// What a name looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) words: Words,
    /// About so many bytes, without what makes it unique and an extension.
    pub(super) length: u32,
    pub(super) is_file: bool,
}

/// What kind of words a name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Ascii,
    Foreign,
    Quoted,
}

/// Appends a name. `ordinal` parts it from all others of its directory.
pub(super) fn write_name(random: &mut Random, style: Style, ordinal: u32, out: &mut Vec<u8>) {
    let Style { words, length, is_file } = style;
    let extension = if is_file && length > 7 { random.pick(EXTENSIONS) } else { "" };
    let mut tail = Vec::with_capacity(16);
    write_base36(ordinal, &mut tail);
    let tail_length = tail.len() + extension.len();
    let room = (length as usize).min(COMPONENT_BYTES_MAX - tail_length);
    let mut stem = String::new();
    match words {
        Words::Ascii => {}
        Words::Foreign => stem.push_str(random.pick(FOREIGN_WORDS)),
        Words::Quoted => stem.push_str(random.pick(QUOTED_WORDS)),
    }
    let least = stem.len();
    let list = if words == Words::Foreign { FOREIGN_WORDS } else { WORDS };
    // Whole words, as many as fit.
    let mut misses = 0;
    while misses < 4 && stem.len() < room {
        let word = random.pick(list);
        let separator = if stem.is_empty() { "" } else { random.pick(&["_", "_", "-", ".", " "]) };
        if stem.len() + separator.len() + word.len() > room {
            misses += 1;
        } else {
            stem.push_str(separator);
            stem.push_str(word);
        }
    }
    if stem.is_empty() {
        stem.push(char::from(b'a' + u8::try_from(random.below(26)).unwrap_or(0)));
    }
    let end = stem.floor_char_boundary(room.max(least).max(1).min(stem.len()));
    out.extend_from_slice(&stem.as_bytes()[..end]);
    out.extend_from_slice(&tail);
    out.extend_from_slice(extension.as_bytes());
}

/// `_2s`: what makes a name unique in its directory.
fn write_base36(mut number: u32, out: &mut Vec<u8>) {
    out.push(b'_');
    let start = out.len();
    loop {
        out.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}

/// `7ea9b53b-749e-420b-891b-43b238f6144e`, as recorders name what they keep.
pub(super) fn write_uuid(random: &mut Random, out: &mut Vec<u8>) {
    let (high, low) = (random.next(), random.next());
    for position in 0..32_u32 {
        if matches!(position, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        let half = if position < 16 { high } else { low };
        out.push(b"0123456789abcdef"[(half >> (position % 16 * 4) & 15) as usize]);
    }
}

/// The name of a piece of video. The shares of the endings are measured ones.
pub(super) fn write_block(random: &mut Random, ordinal: u32, out: &mut Vec<u8>) {
    let extension = match random.below(386) {
        0..286 => ".blk",
        286..332 => ".idx",
        332..367 => ".pic",
        _ => ".xml",
    };
    out.extend_from_slice(format!("block{:05}", 50_000 + ordinal).as_bytes());
    out.extend_from_slice(extension.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let mut random = Random::new(5);
        for words in [Words::Ascii, Words::Foreign, Words::Quoted] {
            let mut names: Vec<String> = (0..2_000)
                .map(|ordinal| {
                    let mut name = Vec::new();
                    let style = Style { words, length: ordinal % 300, is_file: true };
                    write_name(&mut random, style, ordinal, &mut name);
                    assert!((2..=COMPONENT_BYTES_MAX).contains(&name.len()), "{}", name.len());
                    assert!(!name.contains(&b'/'));
                    String::from_utf8(name).unwrap()
                })
                .collect();
            assert_eq!(words == Words::Foreign, names.iter().all(|name| !name.is_ascii()));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), 2_000);
        }
    }

    #[test]
    fn identifiers_have_their_usual_form() {
        let mut uuid = Vec::new();
        write_uuid(&mut Random::new(1), &mut uuid);
        let groups: Vec<usize> = uuid.split(|byte| *byte == b'-').map(<[u8]>::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
    }
}
