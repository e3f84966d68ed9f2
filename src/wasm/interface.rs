//! The version of the interface, and how a plugin's own version of it is told.

/// The version of `qatime:plugin` that this host has: that of `wit/plugin.wit`.
pub const VERSION: &str = "0.1.0";

/// The package that plugins import from and export.
const PACKAGE: &str = "qatime:plugin/";

/// The version in a name such as `qatime:plugin/filter@0.1.0`; empty where it names none.
pub(super) fn version_of<'n>(name: &'n str, interface: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix(interface)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('@') }
}

/// Whether a name is one of this package, in whatever version.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PACKAGE)
}

/// Whether a plugin made for `version` runs here: same major and minor version before 1.0, same
/// major version after that, and no newer than the host.
pub(super) fn is_compatible(version: &str) -> bool {
    let parse = |text: &str| -> Option<[u32; 3]> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(numbers)
    };
    let (Some(plugin), Some(host)) = (parse(version), parse(VERSION)) else {
        return false;
    };
    let significant = if host[0] == 0 { 2 } else { 1 };
    plugin[..significant] == host[..significant] && plugin <= host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Column, NumberColumn};

    const WIT: &str = include_str!("../../wit/plugin.wit");

    /// What stands in backquotes in a part of the text.
    fn quoted<'t>(text: &'t str, from: &str, to: &str) -> Vec<&'t str> {
        let part = text.split_once(from).and_then(|(_, rest)| rest.split_once(to));
        let (part, _) = part.unwrap_or_else(|| panic!("{from:?} to {to:?}"));
        part.split('`').skip(1).step_by(2).collect()
    }

    fn names<T: Copy>(columns: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
        columns.iter().copied().map(name).collect()
    }

    #[test]
    fn the_wit_file_and_the_readme_name_all_columns() {
        let texts = names(Column::ALL, Column::as_str);
        let numbers = names(NumberColumn::ALL, NumberColumn::as_str);
        assert_eq!(quoted(WIT, "Text columns:", "and `label"), texts);
        assert_eq!(quoted(WIT, "Number columns:", "resource batch"), numbers);
        let fixed = texts
            .iter()
            .copied()
            .filter(|name| !Column::from_name(name).is_some_and(Column::is_editable));
        assert_eq!(quoted(WIT, "All but", "labels can be edited"), fixed.collect::<Vec<_>>());
        let readme = include_str!("../../plugins/README.md");
        assert_eq!(quoted(readme, "Numbers (", "come as such"), numbers);
    }

    #[test]
    fn the_sdk_has_all_columns() {
        use qatime_plugin::{Column as SdkColumn, NumberColumn as SdkNumber};

        let sdk = SdkColumn::ALL.iter().map(|column| (column.as_str(), column.is_editable()));
        let own = Column::ALL.iter().map(|column| (column.as_str(), column.is_editable()));
        assert_eq!(sdk.collect::<Vec<_>>(), own.collect::<Vec<_>>());
        assert_eq!(
            names(SdkNumber::ALL, SdkNumber::as_str),
            names(NumberColumn::ALL, NumberColumn::as_str)
        );
    }

    #[test]
    fn versions_are_found_and_compared() {
        assert_eq!(version_of("qatime:plugin/filter@0.1.0", "filter"), Some("0.1.0"));
        assert_eq!(version_of("qatime:plugin/filter", "filter"), Some(""));
        assert_eq!(version_of("qatime:plugin/filters@1.0.0", "filter"), None);
        assert_eq!(version_of("wasi:cli/exit@0.2.0", "exit"), None);
        assert!(is_compatible(VERSION));
        for other in ["", "0.1", "0.0.9", "0.2.0", "1.0.0", "0.1.99", "0.1.0-rc1", "x"] {
            assert!(!is_compatible(other), "{other}");
        }
    }

    #[test]
    fn the_version_is_that_of_the_wit_file() {
        assert!(WIT.contains(&format!("package qatime:plugin@{VERSION};")));
    }
}
