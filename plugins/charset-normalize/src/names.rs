//! One name: from the bytes in the log to those on the file system.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use qatime_plugin::SettingsError;
use serde::Deserialize;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick};

use crate::escapes;

/// How long a name may be that a filter answers, in bytes.
const NAME_BYTES_MAX: usize = 256 * 1024;

/// A Unicode normalization form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Composed: é is one character.
    Nfc,
    /// Decomposed: é is an e and an accent.
    Nfd,
    /// As it is.
    None,
}

/// The encodings that names may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encodings {
    /// Whether what is valid UTF-8 is UTF-8.
    utf8: bool,
    /// What the rest is.
    legacy: Option<&'static Encoding>,
}

impl Encodings {
    /// Those of the settings `from` and `fallback`.
    pub(crate) fn new(from: &str, fallback: Option<&str>) -> Result<Self, SettingsError> {
        if from == "auto" {
            let legacy = fallback.map(|label| encoding("/fallback", label)).transpose()?;
            return Ok(Self { utf8: true, legacy: legacy.filter(|found| *found != UTF_8) });
        }
        if fallback.is_some() {
            let message = "a fallback goes with from = \"auto\" only: drop one of them";
            return Err(SettingsError::new("/fallback", message));
        }
        let found = encoding("/from", from)?;
        Ok(if found == UTF_8 {
            Self { utf8: true, legacy: None }
        } else {
            Self { utf8: false, legacy: Some(found) }
        })
    }

    /// Whether names of ASCII bytes alone may stand for others: those of ISO-2022-JP do, after an
    /// escape character.
    pub(crate) fn change_ascii(self) -> bool {
        self.legacy.is_some_and(|encoding| !encoding.is_ascii_compatible())
    }

    fn decode<'a>(&self, name: &'a [u8]) -> Option<Cow<'a, str>> {
        if self.utf8
            && let Ok(text) = std::str::from_utf8(name)
        {
            return Some(Cow::Borrowed(text));
        }
        let text = self.legacy?.decode_without_bom_handling_and_without_replacement(name)?;
        // The standard maps bytes that an encoding leaves undefined, such as 0x81 of windows-1252,
        // to control characters. No name has those: it was written in another encoding.
        let controls = text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c));
        (!controls).then_some(text)
    }
}

/// The encoding of a label.
fn encoding(pointer: &str, label: &str) -> Result<&'static Encoding, SettingsError> {
    let Some(found) = Encoding::for_label_no_replacement(label.as_bytes()) else {
        let message = format!(
            "unknown encoding {label:?}: write auto or a label of the WHATWG Encoding Standard, \
             such as windows-1252"
        );
        return Err(SettingsError::new(pointer, message));
    };
    if found.name().starts_with("UTF-16") {
        let message = format!("{label} has NUL bytes in every ASCII name, and a log line has none");
        return Err(SettingsError::new(pointer, message));
    }
    Ok(found)
}

/// What is done with a name, in this order: the escapes of rsyslog, percent-encoding, the
/// encoding, the normalization form.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) encodings: Encodings,
    pub(crate) form: Form,
    pub(crate) rsyslog_escapes: bool,
    pub(crate) percent: bool,
}

impl Names {
    /// The name on the file system; none if this one cannot be mapped.
    pub(crate) fn normalize<'a>(&self, name: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let mut bytes = Cow::Borrowed(name);
        if self.rsyslog_escapes {
            bytes = escapes::rsyslog(bytes);
        }
        if self.percent {
            bytes = escapes::percent(bytes)?;
        }
        let text = match bytes {
            Cow::Borrowed(bytes) => self.encodings.decode(bytes)?,
            Cow::Owned(bytes) => Cow::Owned(self.encodings.decode(&bytes)?.into_owned()),
        };
        let text = compose(text, self.form);
        let possible = text.len() <= NAME_BYTES_MAX && !text.contains('\0');
        possible.then(|| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

/// The text in a normalization form.
fn compose(text: Cow<'_, str>, form: Form) -> Cow<'_, str> {
    match form {
        Form::Nfc if is_nfc_quick(text.chars()) != IsNormalized::Yes => text.nfc().collect(),
        Form::Nfd if is_nfd_quick(text.chars()) != IsNormalized::Yes => text.nfd().collect(),
        _ => text,
    }
}
