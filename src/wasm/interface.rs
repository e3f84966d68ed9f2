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
        let wit = include_str!("../../wit/plugin.wit");
        assert!(wit.contains(&format!("package qatime:plugin@{VERSION};")));
    }
}
