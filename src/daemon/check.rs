//! Everything that can be found out about a configuration file without running it.

use super::plugins::{Plugins, folders, load_plugins};
use crate::config::{self, Configuration, Diagnosis, Problem, Problems};
use crate::explain;
use crate::operator::Digest;

/// A file, checked.
#[derive(Debug)]
pub struct Checked {
    /// What is said of it: what is wrong, or that nothing is.
    pub diagnosis: Diagnosis,
    /// Tells its text.
    pub digest: Digest,
    /// What can be run; `None` where anything is wrong.
    pub usable: Option<(Configuration, Plugins)>,
}

/// Reads a file as the daemon would, loads the plugins that it names, and runs its tests. `file` is
/// its name in messages. No socket is bound, no mount touched.
#[must_use]
pub fn check(bytes: Vec<u8>, file: &str) -> Checked {
    let digest = Digest::of(&bytes);
    let environment = |name: &str| std::env::var(name).ok();
    let wrong = |problems: &Problems| Checked {
        diagnosis: Diagnosis::new(file, problems.iter().cloned().collect(), None),
        digest,
        usable: None,
    };
    let text = config::text(bytes, file);
    let configuration = match text.and_then(|text| config::load(&text, file, &environment)) {
        Ok(configuration) => configuration,
        Err(problems) => return wrong(&problems),
    };
    let plugins = match load_plugins(&configuration, folders(&configuration)) {
        Ok(plugins) => plugins,
        Err(found) => {
            let warnings = configuration.warnings.iter();
            let problems: Vec<Problem> = warnings.chain(found.iter()).cloned().collect();
            let diagnosis = Diagnosis::new(file, problems, None);
            return Checked { diagnosis, digest, usable: None };
        }
    };
    let mut problems = configuration.warnings.clone();
    problems.extend(explain::run_tests(&configuration, &plugins.filters));
    let diagnosis = Diagnosis::new(file, problems, Some(&configuration));
    let usable = diagnosis.ok.then_some((configuration, plugins));
    Checked { diagnosis, digest, usable }
}
