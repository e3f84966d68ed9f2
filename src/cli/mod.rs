//! The command line: one file a verb.
//!
//! Each verb's arguments are a type that `clap` reads, with a method that does it. Errors come back
//! here, and are printed in one place (`exit`), as `error: …` and `caused by: …`.

mod admin;
mod check;
mod cold;
mod configuration;
mod decode;
mod demo;
mod exit;
mod explain;
mod generate;
mod output;
mod plugin;
mod reload;
mod replay;
mod run;
mod schema;
mod status;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::configuration::ConfigurationFile;
use self::exit::{CliError, Exit};

/// Sets the access time (atime) of the files that the clients of a Qumulo cluster read.
///
/// qatime takes the audit stream of the cluster (syslog), routes each event by the rules of a TOML
/// file, and hands it to sinks. The sink that it was made for sets the access time of the file, on
/// a mount of the cluster.
#[derive(Debug, Parser)]
#[command(name = "qatime", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_long_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// The configuration [default: qatime.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Begin here:
  qatime demo                             see it work, without a cluster; nothing stays behind
  qatime check                            is qatime.toml right? says all that is not
  tail -n 100 audit.log | qatime explain  what would be done for these lines, and why
  QATIME_ROOT=/mnt/qumulo qatime run      do it
  qatime status                           what the running daemon does
  qatime reload                           have it take qatime.toml as it is now

Exit codes: 0 success, 1 failure, 64 wrong usage, 65 wrong input (decode --strict),
78 wrong configuration.";

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    Cold(cold::Cold),
    Decode(decode::Decode),
    Demo(demo::Demo),
    Explain(explain::Explain),
    Generate(generate::Generate),
    Plugin(plugin::Plugin),
    Reload(reload::Reload),
    Replay(replay::Replay),
    Run(run::Run),
    Schema(schema::Schema),
    Status(status::Show),
}

/// Does what the arguments ask for. The first of them is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => exit::conclude(arguments.run()),
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Where nobody hears it, the exit code has to do.
            let _unheard = error.print();
            exit.into()
        }
    }
}

impl Arguments {
    fn run(self) -> Result<Exit, CliError> {
        let configuration = ConfigurationFile::new(self.config);
        match self.verb {
            Verb::Check(verb) => verb.run(&configuration),
            Verb::Cold(verb) => verb.run(&configuration),
            Verb::Decode(verb) => verb.run(&configuration),
            Verb::Demo(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(&configuration),
            Verb::Generate(verb) => verb.run(),
            Verb::Plugin(verb) => verb.run(),
            Verb::Reload(verb) => verb.run(&configuration),
            Verb::Replay(verb) => verb.run(&configuration),
            Verb::Run(verb) => verb.run(&configuration),
            Verb::Schema(verb) => verb.run(),
            Verb::Status(verb) => verb.run(&configuration),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_teaches_by_example() {
        for verb in Arguments::command().get_subcommands() {
            let help = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("qatime {}", verb.get_name());
            assert!(help.contains(&example), "{}", verb.get_name());
            assert!(verb.get_about().is_some());
        }
    }

    #[test]
    fn every_verb_of_plugins_teaches_by_example() {
        let arguments = Arguments::command();
        let plugin = arguments.find_subcommand("plugin").unwrap();
        for verb in plugin.get_subcommands() {
            let help = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("qatime plugin {}", verb.get_name());
            assert!(help.contains(&example), "{}", verb.get_name());
            assert!(verb.get_about().is_some());
        }
    }
}
