//! The loop of a program that runs a pipeline: it alone changes what runs.
//!
//! It never blocks. Whatever touches a file system, a server or a plugin is done by a preparation
//! on a thread of its own, which can be abandoned: so the order to stop is obeyed in every state,
//! also while a start or a reload hangs.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, Interval};

use super::preparation::{Outcome, Plan};
use super::reload::{Operated, Reply};
use super::running::{Running, threads_missing};
use super::signals::Signals;
use super::{Checked, PrepareError};
use crate::component::{ThreadTask, spawn_thread};
use crate::config::Configuration;
use crate::operator::{Command, Digest, Reloaded};
use crate::pipeline::Halt;
use crate::telemetry::LedgerReport;

/// A sink that works on may take as long as it needs.
const PATIENT: Duration = Duration::from_secs(365 * 86_400);

/// A preparation that takes longer than this may hang. It goes on, unless another reload is asked
/// for: that one takes its place.
const PREPARING_MAX: Duration = Duration::from_secs(20);

/// What makes a plan; it may block.
pub type MakePlan = Box<dyn FnOnce() -> Result<Plan, PrepareError> + Send>;

/// Is shown the ledger now and then.
pub struct Progress {
    /// When.
    pub beat: Interval,
    /// To whom.
    pub show: Box<dyn FnMut(&LedgerReport) + Send>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Progress").field("beat", &self.beat).finish_non_exhaustive()
    }
}

/// What happens to a program that runs a pipeline.
#[derive(Debug)]
enum Event {
    /// A reload is asked for.
    Asked(Command),
    /// The ledger is to be shown.
    Beat,
    /// All sources have come to their end.
    Exhausted,
    /// A filter has failed that has `on_fault = "halt"`.
    Halted,
    /// SIGHUP.
    Hangup,
    /// What is prepared takes so long that it may hang.
    Late,
    /// What is to run next is ready, or cannot be had.
    Prepared(Box<Outcome>),
    /// SIGTERM or SIGINT.
    Stop(&'static str),
}

/// A preparation under way.
#[derive(Debug)]
struct Preparing {
    /// An error where the system gave no thread for it.
    task: io::Result<ThreadTask<Outcome>>,
    /// Who waits to hear of it.
    reply: Option<Reply>,
    late_at: Instant,
    /// Whether it takes so long that it may hang: then another reload takes its place.
    is_late: bool,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// What became of every event.
    pub report: LedgerReport,
    /// Whether all sources had come to their end.
    pub exhausted: bool,
    /// The filter that has stopped it.
    pub halted_by: Option<String>,
}

/// Runs a pipeline until it is told to stop, or all its sources have come to their end.
#[derive(Debug)]
pub struct Supervisor {
    running: Running,
    preparing: Option<Preparing>,
    /// A reload was wanted while something else was prepared.
    reload_wanted: bool,
    signals: Signals,
    halt: Halt,
    operated: Option<Operated>,
    progress: Option<Progress>,
    /// Whether sinks have all the time they need once the sources have come to their end.
    is_patient: bool,
}

impl Supervisor {
    /// Nothing runs. Called within a tokio runtime.
    #[must_use]
    pub fn new(signals: Signals) -> Self {
        let running = Running::default();
        Self {
            halt: running.halt(),
            running,
            preparing: None,
            reload_wanted: false,
            signals,
            operated: None,
            progress: None,
            is_patient: false,
        }
    }

    /// With an operator, who sees it and may ask for a reload.
    #[must_use]
    pub fn operated(mut self, operated: Operated) -> Self {
        self.operated = Some(operated);
        self
    }

    /// With somebody who watches its progress, and with patience for its sinks at the end.
    #[must_use]
    pub fn watched(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self.is_patient = true;
        self
    }

    /// Starts with a plan, and runs to the end.
    ///
    /// # Errors
    /// Where the first plan cannot be had. Then nothing has run.
    pub async fn run(mut self, first: MakePlan) -> Result<Ended, PrepareError> {
        self.prepare(None, move || (None, first()));
        let (why, exhausted) = loop {
            match self.next().await {
                Event::Stop(why) => break (why, false),
                Event::Halted => break ("a filter failed that has on_fault = \"halt\"", false),
                Event::Exhausted => break ("all sources have come to their end", true),
                Event::Asked(Command::Reload { reply }) => self.reload(Some(reply)),
                Event::Hangup => self.hang_up(),
                Event::Beat => self.show_progress(),
                Event::Late => self.note_lateness(),
                Event::Prepared(outcome) => self.take_over(*outcome)?,
            }
        };
        Ok(self.stop(why, exhausted).await)
    }

    /// What happens next. Cancel-safe.
    async fn next(&mut self) -> Event {
        let Self { running, preparing, signals, halt, operated, progress, .. } = self;
        let runs = running.generation() > 0;
        let is_free = preparing.as_ref().is_none_or(|preparing| runs && preparing.is_late);
        let has_operator = operated.is_some();
        tokio::select! {
            biased;
            why = signals.stop.next() => Event::Stop(why),
            _ = halt.ordered() => Event::Halted,
            event = prepared(preparing) => event,
            () = running.exhausted(), if runs => Event::Exhausted,
            _ = signals.hangup.recv(), if has_operator => Event::Hangup,
            Some(command) = asked(operated), if is_free => Event::Asked(command),
            () = beat(progress) => Event::Beat,
        }
    }

    /// Makes a plan and prepares it, on a thread that may block.
    fn prepare(
        &mut self,
        reply: Option<Reply>,
        make: impl FnOnce() -> (Option<Digest>, Result<Plan, PrepareError>) + Send + 'static,
    ) {
        let beside = self.running.beside();
        let task = spawn_thread("preparation", move || {
            let (digest, plan) = make();
            let result = plan.and_then(|plan| beside.prepare(plan).map_err(PrepareError::Build));
            Outcome { digest, result }
        });
        let late_at = Instant::now() + PREPARING_MAX;
        self.preparing = Some(Preparing { task, reply, late_at, is_late: false });
    }

    fn hang_up(&mut self) {
        tracing::info!("SIGHUP: files are opened anew, and the configuration is reloaded");
        self.running.reopen();
        self.reload(None);
    }

    /// Checks the file and prepares what it says, unless that is done already.
    fn reload(&mut self, reply: Option<Reply>) {
        if self.preparing.as_ref().is_some_and(|preparing| !preparing.is_late) {
            self.reload_wanted = true;
            return;
        }
        if let Some(Preparing { reply: Some(reply), .. }) = self.preparing.take() {
            let message = "another reload took its place, since it had not ended for long: a file \
                           system or server that the configuration names may hang";
            // Who asked may have gone away.
            let _unheard = reply.send(Reloaded::Failed { message: message.to_owned() });
        }
        let Some(operated) = &self.operated else { return };
        let check = operated.check();
        self.prepare(reply, move || match check() {
            Err(message) => (None, Err(PrepareError::Unreadable(message))),
            Ok(checked) => (Some(checked.digest), plan(checked)),
        });
    }

    /// Runs what was prepared, or says why not. Where nothing runs yet, that is the end.
    fn take_over(&mut self, outcome: Outcome) -> Result<(), PrepareError> {
        let reply = self.preparing.take().and_then(|preparing| preparing.reply);
        if self.running.generation() == 0 {
            self.running.take_over(outcome.result?).map_err(PrepareError::Build)?;
            if let Some(operated) = &self.operated {
                operated.show(&self.running);
                let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
                tracing::info!(version, pid, "running");
            }
        } else if let Some(operated) = &self.operated {
            operated.conclude(outcome, &mut self.running, reply);
        }
        if std::mem::take(&mut self.reload_wanted) {
            self.reload(None);
        }
        Ok(())
    }

    fn note_lateness(&mut self) {
        if let Some(preparing) = &mut self.preparing {
            preparing.is_late = true;
            tracing::warn!(
                "preparing the configuration takes long: a file system or server that it names may \
                 hang; what ran goes on, and another reload takes the place of this one"
            );
        }
        if std::mem::take(&mut self.reload_wanted) {
            self.reload(None);
        }
    }

    fn show_progress(&mut self) {
        if let Some(progress) = &mut self.progress {
            (progress.show)(&self.running.report());
        }
    }

    /// Stops what runs. Another signal ends the grace period; where the sinks had more patience
    /// than that, it begins with it.
    async fn stop(mut self, why: &'static str, exhausted: bool) -> Ended {
        let mut grace = self.running.grace();
        let mut is_patient = exhausted && self.is_patient;
        self.show_progress();
        let Self { running, mut signals, halt, operated, .. } = self;
        if let Some(operated) = operated {
            tracing::info!(why, ?grace, "stopping");
            // Who waits for an answer is told that there will be none.
            operated.stop();
        }
        let mut stopping = running.stop();
        loop {
            let period = if is_patient { PATIENT } else { grace };
            tokio::select! {
                () = stopping.finish(period) => break,
                why = signals.stop.next() => {
                    if !std::mem::take(&mut is_patient) {
                        grace = Duration::ZERO;
                    }
                    tracing::warn!(why, ?grace, "told to stop again");
                }
            }
        }
        Ended { report: stopping.report(), exhausted, halted_by: halt.filter() }
    }
}

/// The plan of a file that was checked.
fn plan(checked: Checked) -> Result<Plan, PrepareError> {
    let Checked { diagnosis, usable, .. } = checked;
    match usable {
        None => Err(PrepareError::Refused(Box::new(diagnosis))),
        Some((Configuration { sources, .. }, _)) if sources.is_empty() => {
            Err(PrepareError::NoSource)
        }
        Some((configuration, plugins)) => {
            Ok(Plan::new(configuration, plugins).with_diagnosis(diagnosis))
        }
    }
}

/// Returns once the preparation is done, or is late; never where there is none. Cancel-safe.
async fn prepared(preparing: &mut Option<Preparing>) -> Event {
    let Some(Preparing { task, late_at, is_late, .. }) = preparing else {
        return std::future::pending().await;
    };
    let outcome = match task {
        Ok(task) => tokio::select! {
            biased;
            outcome = task.ended() => {
                let fault = "its thread panicked; the log says where".to_owned();
                outcome.map_err(|_panic| PrepareError::Fault(fault))
            }
            () = tokio::time::sleep_until(*late_at), if !*is_late => return Event::Late,
        },
        Err(error) => Err(PrepareError::Build(threads_missing(error))),
    };
    let failed = |error| Outcome { digest: None, result: Err(error) };
    Event::Prepared(Box::new(outcome.unwrap_or_else(failed)))
}

/// Returns once the operator asks for something. Cancel-safe.
async fn asked(operated: &mut Option<Operated>) -> Option<Command> {
    match operated {
        Some(operated) => operated.asked().await,
        None => std::future::pending().await,
    }
}

/// Returns when the ledger is to be shown. Cancel-safe.
async fn beat(progress: &mut Option<Progress>) {
    match progress {
        Some(progress) => drop(progress.beat.tick().await),
        None => std::future::pending().await,
    }
}
