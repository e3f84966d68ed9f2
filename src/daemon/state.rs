//! The state directory: where the spool lies when the configuration does not say.

use std::path::PathBuf;

use crate::lane::spool;
use crate::pipeline::SpoolPlan;

/// The state directory of root's daemon, as the file system hierarchy has it.
const OF_ROOT: &str = "/var/lib/qatime";

/// What keeps events on disk. Where the configuration names no directory, it is `spool` in
/// `$STATE_DIRECTORY` (systemd sets it), else in `/var/lib/qatime` for root; `directory = ""` wants
/// none.
pub(super) fn spool_plan(
    config: spool::Config,
    environment: &dyn Fn(&str) -> Option<String>,
    is_root: bool,
) -> SpoolPlan {
    match &config.directory {
        Some(directory) if directory.as_os_str().is_empty() => SpoolPlan::None,
        Some(_) => SpoolPlan::Named(config),
        None => {
            // systemd separates several directories by colons.
            let set = environment("STATE_DIRECTORY");
            let set = set.as_deref().and_then(|paths| paths.split(':').next());
            let state = set.filter(|path| !path.is_empty()).map(PathBuf::from);
            let state = state.or_else(|| is_root.then(|| OF_ROOT.into()));
            let Some(state) = state else { return SpoolPlan::None };
            SpoolPlan::Usual(spool::Config { directory: Some(state.join("spool")), ..config })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_lies_in_the_state_directory_unless_it_is_named_or_not_wanted() {
        let plan = |directory: Option<&str>, state: Option<&str>, is_root| {
            let config =
                spool::Config { directory: directory.map(PathBuf::from), ..Default::default() };
            let environment =
                |name: &str| state.filter(|_| name == "STATE_DIRECTORY").map(str::to_owned);
            match spool_plan(config, &environment, is_root) {
                SpoolPlan::None => "none".to_owned(),
                SpoolPlan::Named(config) => {
                    format!("named {}", config.directory.unwrap().display())
                }
                SpoolPlan::Usual(config) => {
                    format!("usual {}", config.directory.unwrap().display())
                }
            }
        };
        assert_eq!(plan(None, None, false), "none");
        assert_eq!(plan(None, None, true), "usual /var/lib/qatime/spool");
        assert_eq!(plan(None, Some("/state:/more"), true), "usual /state/spool");
        assert_eq!(plan(None, Some(""), false), "none");
        assert_eq!(plan(Some("/here"), Some("/state"), true), "named /here");
        assert_eq!(plan(Some(""), Some("/state"), true), "none");
    }
}
