//! The real program, with one sink that is fed by lines, as fast or as slowly as a test wants.

use std::io::Write;
use std::process::ChildStdin;

use tempfile::TempDir;

use crate::daemon::{Daemon, Ended, lines};

/// A running daemon and the pipe from which it reads lines.
#[derive(Debug)]
pub(crate) struct Feed {
    config: String,
    daemon: Daemon,
    pipe: ChildStdin,
    probes: usize,
}

/// What a daemon is made of.
#[derive(Debug, Clone)]
pub(crate) struct FeedSetup<'a> {
    /// The table of the sink.
    pub(crate) sink: &'a str,
    /// Whether there is a spool.
    pub(crate) spool: bool,
    /// A program that runs it, with its arguments.
    pub(crate) tracer: &'a [&'a str],
}

impl Feed {
    /// Starts a daemon that sends accesses and changes of names to a sink.
    pub(crate) fn start(FeedSetup { sink, spool, tracer }: &FeedSetup<'_>) -> Self {
        let spool = if *spool { "spool.directory = '{dir}/spool'\n" } else { "" };
        let config = format!(
            r#"
            grace = "1m"
            {spool}
            sources.in = {{ type = "stdin" }}
            [[rules]]
            name = "accesses"
            when.operation = ["fs_read_data", "fs_list_directory"]
            sinks = "out"
            [[rules]]
            name = "names"
            when.operation = ["fs_rename", "fs_delete", "fs_tree_delete", "tree_delete_start"]
            sinks = "out"
            [[rules]]
            name = "probes"
            when.operation = "fs_fsstat"
            sinks = "probe"
            [sinks.probe]
            type = "file"
            path = "{{dir}}/probe"
            format = {{ template = "{{path}}\n" }}
            [sinks.out]
            queue.wait_max = "2m"
            {sink}
            "#
        );
        let (daemon, pipe) = Daemon::start_on_pipe_in(TempDir::new().unwrap(), &config, tracer);
        Self { config, daemon, pipe, probes: 0 }
    }

    /// The daemon.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Sends lines.
    pub(crate) fn send(&mut self, text: &str) {
        self.pipe.write_all(text.as_bytes()).unwrap();
    }

    /// Kills the daemon as a crash would once it has routed all lines, and starts it again.
    pub(crate) fn kill(mut self) -> Self {
        self.probes += 1;
        let probe = format!("/probe/{}", self.probes);
        let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3";
        self.send(&format!("{head},fs_fsstat,ok,7,\"{probe}\",\"\"\n"));
        let file = self.daemon.path("probe");
        self.daemon.wait_until("the probe", || lines(&file).contains(&probe));
        let directory = self.daemon.kill();
        let (daemon, pipe) = Daemon::start_on_pipe_in(directory, &self.config, &[]);
        Self { daemon, pipe, ..self }
    }

    /// Lets the daemon come to its end, and starts another one after it.
    pub(crate) fn restart(self) -> Self {
        drop(self.pipe);
        let ended = self.daemon.end();
        ended.assert_settled();
        let (daemon, pipe) = Daemon::start_on_pipe_in(ended.directory, &self.config, &[]);
        Self { config: self.config, daemon, pipe, probes: self.probes }
    }

    /// Ends the lines, and with them the daemon.
    pub(crate) fn end(self) -> Ended {
        drop(self.pipe);
        self.daemon.end()
    }
}
