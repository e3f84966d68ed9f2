//! An audit line of a case, as an event. Lines come from the cluster (RFC 5424, CSV); of all other
//! forms that qatime reads, `qatime plugin test` knows more than this.

use toml::value::{Datetime, Offset};

use super::Row;
use crate::batch::{Column, NumberColumn};

/// The columns of the body, in its order.
const FIELDS: [Column; 8] = [
    Column::Client,
    Column::User,
    Column::Protocol,
    Column::Operation,
    Column::Status,
    Column::FileId,
    Column::Path,
    Column::Target,
];

/// The event of a line such as `<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,"ann",…`.
pub(super) fn row(line: &str) -> Result<Row, String> {
    let foreign = || {
        format!(
            "`cargo test` reads lines as the cluster sends them; try `qatime plugin test`: {line:?}"
        )
    };
    let parts: Vec<&str> = line.trim_end_matches(['\r', '\n']).splitn(8, ' ').collect();
    let [_, time, host, _, _, _, _, body] = parts[..] else { return Err(foreign()) };
    let fields = csv(body).filter(|fields| fields.len() == FIELDS.len()).ok_or_else(foreign)?;
    let (cluster, _) = host.rsplit_once('-').ok_or_else(foreign)?;
    let row = Row::new()
        .number(NumberColumn::Time, nanoseconds(time)?)
        .text(Column::Node, host)
        .text(Column::Cluster, cluster)
        .text(Column::Raw, line);
    let path = fields.get(6).map_or("", |path| path.strip_suffix('/').unwrap_or(path));
    let row = row.text(Column::FileName, path.rsplit('/').next().unwrap_or(path));
    Ok(FIELDS.into_iter().zip(fields).fold(row, |row, (column, value)| row.text(column, value)))
}

/// The fields of a body; a quote within a quoted field is doubled.
fn csv(body: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = body;
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (field, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (field.to_owned(), rest)
            }
        };
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return rest.is_empty().then_some(fields),
        }
    }
}

/// The field that a quote has opened, and what follows its closing quote.
fn unquote(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

/// A time such as `2026-01-27T14:12:23.5Z`, in nanoseconds since 1970, UTC.
pub(super) fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("{text:?} is no time such as 2026-01-27T14:12:23Z");
    let stamp: Datetime = text.parse().map_err(|_| invalid())?;
    let (Some(date), Some(time), Some(offset)) = (stamp.date, stamp.time, stamp.offset) else {
        return Err(invalid());
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - offset_minutes;
    let seconds = minutes * 60 + i64::from(time.second.unwrap_or(0));
    let nanos = i64::from(time.nanosecond.unwrap_or(0));
    seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanos)).ok_or_else(invalid)
}

/// Days of the Gregorian calendar, counted in years that begin in March, so that the leap day is
/// the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_1970() {
        assert_eq!(nanoseconds("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(nanoseconds("1969-12-31T23:59:59.5Z"), Ok(-500_000_000));
        assert_eq!(nanoseconds("2026-01-27T14:12:23Z"), Ok(1_769_523_143_000_000_000));
        assert_eq!(nanoseconds("2026-01-27T15:12:23+01:00"), nanoseconds("2026-01-27T14:12:23Z"));
        assert_eq!(nanoseconds("2024-02-29T00:00:00Z"), Ok(1_709_164_800_000_000_000));
        assert!(nanoseconds("2026-01-27").is_err());
    }

    #[test]
    fn a_line_of_the_cluster_is_an_event() {
        let line = r#"<14>1 2026-01-27T14:12:23Z tank-x-1 qumulo - - - 10.0.0.9,"AD\ann",nfs3,fs_rename,ok,7,"/a, ""b""","/c d""#;
        let expected = Row::new()
            .number(NumberColumn::Time, 1_769_523_143_000_000_000)
            .text(Column::Node, "tank-x-1")
            .text(Column::Cluster, "tank-x")
            .text(Column::Client, "10.0.0.9")
            .text(Column::User, r"AD\ann")
            .text(Column::Protocol, "nfs3")
            .text(Column::Operation, "fs_rename")
            .text(Column::Status, "ok")
            .text(Column::FileId, "7")
            .text(Column::Path, r#"/a, "b""#)
            .text(Column::FileName, r#"a, "b""#)
            .text(Column::Target, "/c d")
            .text(Column::Raw, line);
        assert_eq!(row(line), Ok(expected));
        assert!(row("Jan 27 14:12:23 tank-1 qumulo: x").is_err());
        assert!(row(r#"<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,"ann"#).is_err());
    }
}
