//! The program's name before the body, in its RFC 3164 spellings.

use super::scan;

/// The name under which the cluster logs; relays may lengthen it, so that it is a beginning.
pub(super) const APP_NAME: &[u8] = b"qumulo";

/// The position behind `qumulo`, `qumulo:`, `qumulo[12]` or `qumulo[12]:`; `None` where no such tag
/// stands at `at`. A tag without colon or brackets ends at a space.
pub(super) fn end(text: &[u8], at: usize) -> Option<usize> {
    let name_end = name_end(text, at)?;
    behind_name(text, name_end)
}

/// The same for a tag that is nothing but the name: a host can be called `qumulo-1`.
pub(super) fn exact_end(text: &[u8], at: usize) -> Option<usize> {
    let name_end = name_end(text, at)?;
    if name_end == at + APP_NAME.len() { behind_name(text, name_end) } else { None }
}

fn name_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./".contains(byte);
    let length = rest.iter().take_while(|byte| in_name(byte)).count();
    rest.starts_with(APP_NAME).then_some(at + length)
}

fn behind_name(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at) {
        None | Some(b' ') => Some(at),
        Some(b':') => Some(at + 1),
        Some(b'[') => {
            let close = scan::digits(text, at + 1);
            (text.get(close) == Some(&b']')).then_some(())?;
            Some(close + 1 + usize::from(text.get(close + 1) == Some(&b':')))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for (text, rest) in [
            ("qumulo body", Some(" body")),
            ("qumulo: body", Some(" body")),
            ("qumulo:body", Some("body")),
            ("qumulo[12] body", Some(" body")),
            ("qumulo[12]: body", Some(" body")),
            ("qumulo[12]:body", Some("body")),
            ("qumulo-audit body", Some(" body")),
            ("qumulo", Some("")),
            ("qumulo[12 body", None),
            ("qumulo[x]: body", None),
            ("qumulo,body", None),
            ("qumul body", None),
            ("Qumulo body", None),
            ("rsyslogd: body", None),
            ("", None),
        ] {
            let found = end(text.as_bytes(), 0).map(|end| &text[end..]);
            assert_eq!(found, rest, "{text}");
        }
        assert_eq!(exact_end(b"qumulo-1 body", 0), None);
        assert_eq!(exact_end(b"qumulo: body", 0), Some(7));
    }
}
