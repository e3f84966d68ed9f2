//! When a file is put aside, and under which name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::directory_of;
use crate::event::{Civil, Timestamp};
use crate::units::{DAY, Duration, KIB, SECOND, Size, TIB, Within, yes};

/// When a file is put aside, and how many are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "RotateConfig")]
pub struct Rotate {
    /// A file is never longer, but for a single line that is.
    pub(super) bytes_max: Option<u64>,
    /// Nanoseconds from one rotation to the next.
    pub(super) every_nanos: Option<i64>,
    pub(super) keep: Option<NonZeroU32>,
    pub(super) compress: bool,
}

/// `rotate = { size = "100 MiB", every = "1d", keep = 10 }` as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RotateConfig {
    /// The file is put aside before it would be longer than this; at least 1 KiB.
    #[serde(default)]
    size: Option<Within<Size, KIB, { 1024 * TIB }>>,
    /// The file is put aside at every full interval in UTC: `"1h"` at each full hour, `"1d"` at
    /// midnight; at least 1 s. An empty file stays.
    #[serde(default)]
    every: Option<Within<Duration, SECOND, { 3650 * DAY }>>,
    /// How many files are kept beside the one being written; older ones are deleted. Without it
    /// nothing is ever deleted.
    #[serde(default)]
    keep: Option<NonZeroU32>,
    /// Whether files put aside are compressed (gzip), in the background.
    #[serde(default = "yes")]
    compress: bool,
}

/// A rotation that is never due.
#[derive(Debug, thiserror::Error)]
#[error("rotate needs size, every or both, such as {{ size = \"100 MiB\", every = \"1d\" }}")]
struct NeverDue;

impl TryFrom<RotateConfig> for Rotate {
    type Error = NeverDue;

    fn try_from(config: RotateConfig) -> Result<Self, NeverDue> {
        let RotateConfig { size, every, keep, compress } = config;
        if size.is_none() && every.is_none() {
            return Err(NeverDue);
        }
        Ok(Self {
            bytes_max: size.map(|size| size.bytes()),
            every_nanos: every.map(|every| every.nanos()),
            keep,
            compress,
        })
    }
}

impl Rotate {
    /// The number of the interval in which a time lies; always the same without intervals.
    pub(super) fn period(&self, time: Timestamp) -> i64 {
        self.every_nanos.map_or(0, |every| time.as_nanos().div_euclid(every))
    }

    /// Whether files are ever put aside.
    pub(super) const fn is_wanted(&self) -> bool {
        self.bytes_max.is_some() || self.every_nanos.is_some()
    }
}

const NANOS_PER_MILLI: i64 = 1_000_000;

/// When a file was put aside, in milliseconds since 1970: `20261123T101500.123Z` in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(i64);

impl Stamp {
    const LENGTH: usize = "20261123T101500.123Z".len();

    pub(super) fn new(time: Timestamp) -> Self {
        Self(time.as_nanos().div_euclid(NANOS_PER_MILLI))
    }

    /// The first moment after it.
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to).filter(|digits| digits.iter().all(u8::is_ascii_digit));
            std::str::from_utf8(digits?).ok()?.parse::<u32>().ok()
        };
        let small = |from: usize, to: usize| u8::try_from(number(from, to)?).ok();
        if text.len() != Self::LENGTH || (text[8], text[15], text[19]) != (b'T', b'.', b'Z') {
            return None;
        }
        let time = Timestamp::from_civil(Civil {
            year: i64::from(number(0, 4)?),
            month: small(4, 6)?,
            day: small(6, 8)?,
            hour: small(9, 11)?,
            minute: small(11, 13)?,
            second: small(13, 15)?,
            nanosecond: number(16, 19)? * 1_000_000,
        })?;
        Some(Self::new(time))
    }

    /// The name of a file put aside at this time.
    pub(super) fn name(self, path: &Path) -> PathBuf {
        let civil = Timestamp::from_nanos(self.0.saturating_mul(NANOS_PER_MILLI)).to_civil();
        let Civil { year, month, day, hour, minute, second, nanosecond } = civil;
        let millis = nanosecond / 1_000_000;
        let date = format!("{year:04}{month:02}{day:02}");
        let time = format!("{hour:02}{minute:02}{second:02}.{millis:03}");
        with_ending(path, &format!(".{date}T{time}Z"))
    }
}

/// A path with something behind its file name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The ending of a compressed file.
pub(super) const PACKED: &str = ".gz";
/// The ending of a file that is being compressed.
pub(super) const PARTIAL: &str = ".gz.partial";
/// How much longer a rotated file's name gets at most.
pub(super) const ENDING_BYTES_MAX: usize = 1 + Stamp::LENGTH + PARTIAL.len();

/// What there is of a file that was put aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) plain: bool,
    pub(super) packed: bool,
    /// A compression has been begun.
    pub(super) partial: bool,
}

/// The files that were put aside, oldest first.
pub(super) fn rotated(path: &Path) -> io::Result<BTreeMap<Stamp, Forms>> {
    let mut found = BTreeMap::<Stamp, Forms>::new();
    let name = path.file_name().unwrap_or_default();
    for entry in std::fs::read_dir(directory_of(path))? {
        if let Some((stamp, ending)) = parse_name(name, &entry?.file_name()) {
            let forms = found.entry(stamp).or_default();
            match ending {
                Ending::Plain => forms.plain = true,
                Ending::Packed => forms.packed = true,
                Ending::Partial => forms.partial = true,
            }
        }
    }
    Ok(found)
}

enum Ending {
    Packed,
    Partial,
    Plain,
}

fn parse_name(base: &OsStr, name: &OsStr) -> Option<(Stamp, Ending)> {
    let rest = name.as_bytes().strip_prefix(base.as_bytes())?.strip_prefix(b".")?;
    let (stamp, ending) = rest.split_at_checked(Stamp::LENGTH)?;
    let ending = match ending {
        b"" => Ending::Plain,
        _ if ending == PACKED.as_bytes() => Ending::Packed,
        _ if ending == PARTIAL.as_bytes() => Ending::Partial,
        _ => return None,
    };
    Some((Stamp::parse(stamp)?, ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_are_found_again() {
        let base = Path::new("/logs/audit.jsonl");
        let stamps = [0, 1, 999, 1_000, 1_795_000_000_955].map(Stamp);
        let names = stamps.map(|stamp| stamp.name(base));
        assert_eq!(names[4], Path::new("/logs/audit.jsonl.20261118T110640.955Z"));
        assert!(names.is_sorted());
        for (stamp, name) in stamps.iter().zip(&names) {
            let (found, _) =
                parse_name(OsStr::new("audit.jsonl"), name.file_name().unwrap()).unwrap();
            assert_eq!(found, *stamp);
        }
        for name in [
            "audit.jsonl",
            "audit.jsonl.gz",
            "audit.jsonl.20261118T110640.955",
            "audit.jsonl.20261118T110640.955Z.bz2",
            "audit.jsonl.20261318T110640.955Z",
            "audit.jsonl.20261118T110640,955Z",
            "audit.jsonl.2026111éT110640.95Z",
            "other.20261118T110640.955Z",
        ] {
            let found = parse_name(OsStr::new("audit.jsonl"), OsStr::new(name));
            assert!(found.is_none(), "{name}");
        }
    }

    #[test]
    fn intervals_begin_at_full_hours_and_at_midnight() {
        let day: Rotate = toml::from_str("every = '1d'").unwrap();
        let at = |hour, minute| {
            let time =
                Civil { hour, minute, year: 2026, month: 11, day: 23, second: 0, nanosecond: 0 };
            Timestamp::from_civil(time).unwrap()
        };
        assert_eq!(day.period(at(0, 0)), day.period(at(23, 59)));
        assert_eq!(day.period(at(0, 0)), day.period(at(0, 0).saturating_add_nanos(-1)) + 1);
        let hour: Rotate = toml::from_str("every = '1h'").unwrap();
        assert_eq!(hour.period(at(10, 0)), hour.period(at(9, 59)) + 1);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, message) in [
            ("keep = 3", "rotate needs size, every or both"),
            ("size = '10 B'", "10 B is out of range: from 1 KiB"),
            ("every = '10ms'", "10ms is out of range: from 1s"),
            ("size = '1 MiB'\nkeep = 0", "expected a nonzero u32"),
            ("sise = '1 MiB'", "unknown field `sise`"),
        ] {
            let error = toml::from_str::<Rotate>(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
