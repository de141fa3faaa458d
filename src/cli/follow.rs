use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use super::printer::{Printer, Telling, next};
use super::session::Session;
use super::signals::{Signals, asked};
use super::status::{Interrupted, Status};
use crate::engine::{Attempt, Command, Event, RunInfo, sleep_until};
use crate::key::PublishableKey;
use crate::report::{self, Results, ServedKeys, json};
use crate::rules::alarm::Alarm;
use crate::rules::moment::Moment;
use crate::rules::run::{Halt, RunPhase};
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::rules::tally::{Ending, Tally};
use crate::site::SiteId;
use crate::text::Count;

/// What becomes of a run that holds.
mod hold;
use hold::Hold;

/// Two signals so short after each other are one: it went to the whole group, or was forwarded.
const SAME_SIGNAL: Duration = Duration::from_millis(300);
/// How long the last records may take when nothing else is waited for.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// What the store may take to write what it was told, when the process ends at once.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// While only settling sites are left, a line tells so this often.
const STILL_HERE: Duration = Duration::from_secs(30);

/// What is followed, and for how long.
pub(super) struct Followed {
    /// The sites that were asked for, in the order of the list.
    pub(super) selection: Vec<SiteId>,
    /// What is known of all sites.
    pub(super) states: Vec<SiteState>,
    /// The key that the sites should serve, if one is known.
    pub(super) key: Option<PublishableKey>,
    /// The run, if it has begun already.
    pub(super) run: Option<RunInfo>,
    /// Whether one is to begin: before that nothing is over.
    pub(super) begins: bool,
    /// How long to wait for proofs once all is sent and looked at; none waits for the last.
    pub(super) wait: Option<Duration>,
    pub(super) telling: Telling,
    /// Whether it is to be wound down already.
    pub(super) interrupted: bool,
    pub(super) held: Held,
    /// How well it can end at best: something was left out that no site of it tells of.
    pub(super) best: Status,
}

/// What becomes of a run that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// It waits for the screen of another process to say that it goes on: its own was left.
    Waits,
    /// Between waves the operator is asked. A halt leaves it over: nobody is there to say that it goes on.
    Asks,
    /// As before, but between waves it goes on: the operator said so beforehand.
    GoesOn,
}

/// Follows what the engine does to the selected sites until nothing more comes of itself, and tells it.
///
/// A signal winds it down: what is out ends, the rest is cancelled. A second one ends the process at once.
pub(super) async fn follow(
    session: &mut Session,
    followed: Followed,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let printer = Printer::start(followed.telling)?;
    let mut interrupted = followed.interrupted;
    let mut watch = Follower::new(session, followed, printer);
    let mut still_here = tokio::time::interval_at(Instant::now() + STILL_HERE, STILL_HERE);
    let mut progress = watch.printer.progress_every().map(tokio::time::interval);
    while interrupted || !watch.is_over() {
        let deadline = watch.deadline();
        tokio::select! {
            event = session.events.recv() => match event {
                Some(event) => {
                    session.take_note(&event);
                    watch.take(event, session)?;
                    if watch.hold == Hold::Asks {
                        watch.ask_for_next_wave(session, signals, &mut interrupted).await;
                    }
                }
                None => break,
            },
            () = signals.stop() => watch.stop(session, &mut interrupted).await,
            _ = still_here.tick() => watch.tell_what_is_waited_for(session),
            () = next(&mut progress), if !interrupted => watch.tell_progress(session),
            () = sleep_until(deadline), if !interrupted => break,
            () = sleep_until(watch.hold.until()), if !interrupted => watch.leave_held(session),
        }
    }
    if !interrupted {
        watch.await_records(session, signals, &mut interrupted).await?;
    }
    let status = watch.finish(session, interrupted);
    tokio::select! {
        () = watch.printer.finish(interrupted) => {}
        () = signals.stop() => {}
    }
    if watch.printer.has_lost() {
        // What nobody can read must not look like success.
        return Ok(status.worse(Status::Bad));
    }
    Ok(status)
}

struct Follower {
    followed: Followed,
    printer: Printer,
    zone: TimeZone,
    begin: Moment,
    selected: Vec<bool>,
    /// Selected sites of which the engine has told nothing yet.
    untold: Vec<bool>,
    untold_count: usize,
    /// Selected sites that will change by themselves.
    busy: usize,
    /// Selected sites that are not sent, or not looked at since.
    open: usize,
    /// When all was sent and looked at.
    sent_at: Option<Instant>,
    /// Whether that was told.
    sent_told: bool,
    /// When the operator wanted an end.
    stopped_at: Option<Instant>,
    hold: Hold,
    /// Whether the engine was told to end: proofs that are due then are not waited for.
    leaves: bool,
}

/// Whether a site is not sent yet, or not looked at since.
fn is_open(state: &SiteState) -> bool {
    state.push.is_open() || matches!(state.verify, Verify::Queued | Verify::Checking)
}

impl Follower {
    fn new(session: &Session, followed: Followed, printer: Printer) -> Self {
        let mut selected = vec![false; session.sites.len()];
        for id in &followed.selection {
            selected[id.index()] = true;
        }
        let states = || followed.selection.iter().map(|id| &followed.states[id.index()]);
        // A run that has begun already has told of its sites.
        let known = followed.run.is_some();
        let untold: Vec<bool> = selected.iter().map(|selected| *selected && !known).collect();
        Self {
            zone: TimeZone::system(),
            begin: session.clock.now(),
            untold_count: untold.iter().filter(|untold| **untold).count(),
            untold,
            selected,
            busy: states().filter(|state| state.is_busy()).count(),
            open: states().filter(|state| is_open(state)).count(),
            sent_at: None,
            sent_told: false,
            leaves: false,
            hold: Hold::of(
                followed.run.as_ref().map(|run| run.phase),
                followed.held == Held::Waits,
                Instant::now(),
            ),
            // The signal that ended the screen was heard by whoever listens here, too.
            stopped_at: followed.interrupted.then(Instant::now),
            printer,
            followed,
        }
    }

    fn is_over(&self) -> bool {
        let run = self.followed.run.as_ref();
        let run = run.map_or(!self.followed.begins, |run| self.has_ended(run));
        self.untold_count == 0 && self.busy == 0 && run
    }

    /// Whether the run comes to nothing more. Where no screen can say so, nobody decides what becomes of sites that were
    /// not asked, since others refuse their master key: they are left over.
    fn has_ended(&self, run: &RunInfo) -> bool {
        let is_left = run.phase == RunPhase::Halted && matches!(run.halt, Some(Halt::RefusedKey { .. }));
        run.phase == RunPhase::Settled || (is_left && self.followed.held != Held::Waits)
    }

    /// When the wait for proofs ends.
    fn deadline(&self) -> Option<Instant> {
        // A wait beyond what the clock counts is none.
        self.sent_at?.checked_add(self.followed.wait?)
    }

    fn results<'a>(&'a self, session: &'a Session) -> Results<'a> {
        Results {
            sites: &session.sites,
            states: &self.followed.states,
            selection: &self.followed.selection,
            acknowledged: &session.acknowledged,
            key: self.followed.key.as_ref(),
            now: session.clock.now(),
            zone: &self.zone,
            hidden_for: self.hides_a_push().then_some(session.policy.settle),
            missing_sources: &session.failed_sources,
            served: ServedKeys::default(),
        }
    }

    /// Whether a site serves the key that is asked about, and no run on record has put it there.
    fn hides_a_push(&self) -> bool {
        let key = self.followed.key.as_ref().filter(|_| self.followed.run.is_none());
        key.is_some_and(|key| {
            self.followed
                .states
                .iter()
                .any(|state| state.serves_unpushed(key))
        })
    }

    fn take(&mut self, event: Event, session: &Session) -> anyhow::Result<()> {
        match event {
            Event::Site { site, state } => {
                self.take_state(site, *state);
                self.leave_halted(session);
                if self.sent_at.is_some() && self.busy > 0 && !std::mem::replace(&mut self.sent_told, true) {
                    self.tell_what_is_waited_for(session);
                }
            }
            Event::Attempt(attempt) => self.tell_attempt(&attempt, session),
            Event::Run(run) => self.take_run(run, session),
            Event::Refused(why) if self.followed.run.is_none() => anyhow::bail!("nothing sent: {why}"),
            Event::NotBegun(error) if self.followed.run.is_none() => {
                return Err(error).context("nothing sent");
            }
            // The screen of another process ordered it, and is told too.
            Event::Refused(why) => self.printer.happens(format!("nothing sent: {why}")),
            Event::NotBegun(error) => self.printer.happens(format!("nothing sent: {error}")),
            Event::Message(message) => self.printer.happens(message.text),
            Event::Store { reached, note } => self.tell_of_store(reached, note, session),
            Event::Halted(halt, text) => self.take_halt(halt, &text, session),
            Event::Alarm(alarm, text) => self.tell_alarm(alarm, &text, session),
            // The session takes note of what is acknowledged.
            Event::Acknowledged { .. }
            | Event::Backend { .. }
            | Event::Refreshed { .. }
            | Event::ChunkOver(_)
            | Event::KeyRefused(..)
            | Event::Taken => {}
        }
        Ok(())
    }

    /// The store is not reached, or is back.
    fn tell_of_store(&self, reached: bool, note: String, session: &Session) {
        if self.followed.telling == Telling::Json {
            let run = self.followed.run.as_ref().map(|run| run.id.0);
            self.printer
                .out(json::store(reached, &note, run, session.clock.now()));
        } else {
            self.printer.happens(note);
        }
    }

    fn take_state(&mut self, id: SiteId, state: SiteState) {
        let old = std::mem::replace(&mut self.followed.states[id.index()], state);
        if !self.selected[id.index()] {
            return;
        }
        let new = &self.followed.states[id.index()];
        self.busy = self.busy + usize::from(new.is_busy()) - usize::from(old.is_busy());
        self.open = self.open + usize::from(is_open(new)) - usize::from(is_open(&old));
        self.untold_count -= usize::from(std::mem::take(&mut self.untold[id.index()]));
        let begun = self.followed.run.is_some() || !self.followed.begins;
        if begun && self.open + self.untold_count == 0 {
            self.sent_at = self.sent_at.or_else(|| Some(Instant::now()));
        }
    }

    fn take_run(&mut self, run: RunInfo, session: &Session) {
        if self.followed.run.is_none() {
            let results = self.results(session);
            if self.followed.telling == Telling::Json {
                self.printer.out(json::run_started(&run, &results));
            }
            self.printer.happens(format!(
                "run {}: {} ({}) to {}",
                run.id.0,
                results.mask(&run.key),
                run.key.mode().word(),
                Count(run.puts, "site")
            ));
        }
        if !run.phase.is_held() {
            // It may have been held before: then somebody at another screen has said that it goes on.
            self.hold_unless_given_up(Hold::No);
        } else if self.followed.held == Held::Waits || run.halt.is_none() {
            self.await_screen(&run);
        } else if run.halt == Some(Halt::Unrecorded) {
            // Nobody is here to go on: the store takes no records.
            session.local.send(Command::Cancel);
            self.hold = Hold::GivenUp;
        }
        self.followed.key = Some(run.key.clone());
        self.followed.run = Some(run);
    }

    /// Only the screen of another process can say that the run goes on: it holds since none of them is here, or since
    /// one of them has paused it.
    fn await_screen(&mut self, run: &RunInfo) {
        if self.hold == Hold::No {
            self.hold = Hold::awaits(Instant::now());
            self.printer.happens(format!(
                "run {} is {}: opening the screen within an hour attaches to it, after that it is left unfinished",
                run.id.0,
                run.phase.word()
            ));
        }
    }

    /// What was given up stays so.
    fn hold_unless_given_up(&mut self, hold: Hold) {
        if self.hold != Hold::GivenUp {
            self.hold = hold;
        }
    }

    /// The run holds by itself, or a part of it. Where nobody can say that it goes on, it is left over when what is
    /// out has ended.
    fn take_halt(&mut self, halt: Halt, text: &str, session: &Session) {
        let now = session.clock.now();
        if !halt.is_bad() {
            match self.followed.held {
                Held::GoesOn => session.local.send(Command::GoOn),
                Held::Asks => self.hold = Hold::Asks,
                Held::Waits => {}
            }
            return;
        }
        let goes_on = matches!(halt, Halt::Unrecorded | Halt::RefusedKey { .. });
        if !goes_on && self.followed.held != Held::Waits {
            self.hold_unless_given_up(Hold::Leaves);
        }
        if self.followed.telling == Telling::Json {
            let run = self.followed.run.as_ref().map(|run| run.id.0);
            self.printer.out(json::halted(halt, text, run, now));
        }
        self.leave_halted(session);
    }

    /// A message has told it where results are for people.
    fn tell_alarm(&self, alarm: Alarm, text: &str, session: &Session) {
        if self.followed.telling == Telling::Json {
            let run = self.followed.run.as_ref().map(|run| run.id.0);
            self.printer
                .out(json::alarm(alarm, text, run, session.clock.now()));
        }
    }

    /// Asks whether the next wave may begin. The run waits for the answer; what settles does not.
    async fn ask_for_next_wave(&mut self, session: &Session, signals: &mut Signals, interrupted: &mut bool) {
        self.hold = Hold::No;
        // What was told before stands above the question.
        self.printer.finish(true).await;
        let goes_on = asked(
            "does the next wave go? type go, or anything else to leave the rest to `resume`: ",
            "go",
            signals,
        )
        .await;
        match goes_on {
            Ok(true) => session.local.send(Command::GoOn),
            Err(error) if error.is::<Interrupted>() => {
                // Behind the question.
                self.printer.happens("");
                self.stop(session, interrupted).await;
            }
            no => {
                if let Err(error) = no {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "nobody could be asked whether the run goes on"
                    );
                }
                self.hold = Hold::Leaves;
                self.leave_halted(session);
            }
        }
    }

    /// Leaves a halted run as soon as nothing of it is out.
    fn leave_halted(&mut self, session: &Session) {
        let out = || self.followed.states.iter().any(|state| state.is_calling());
        if self.hold == Hold::Leaves && !out() {
            self.hold = Hold::GivenUp;
            self.leaves = true;
            let left = "what was not sent is left over: `stripe-propagate resume` goes on with it";
            self.printer.happens(if self.busy > 0 {
                let sites = Count(self.busy, "site");
                format!("{left}; nobody waits here for the proof of {sites}: `stripe-propagate verify` looks for it")
            } else {
                left.to_owned()
            });
            session.local.send(Command::Leave);
        }
    }

    fn tell_attempt(&self, attempt: &Attempt, session: &Session) {
        let site = &session.sites[attempt.site.index()];
        match self.followed.telling {
            Telling::Json => self.printer.out(json::attempt(attempt, site)),
            Telling::Plain if attempt.cause.is_some() => {
                let at = self.results(session).clock(attempt.at);
                self.printer.happens(format!(
                    "{at} {} {} {}: {}",
                    site.name,
                    attempt.request.word(),
                    attempt.number,
                    attempt.note
                ));
            }
            _ => {}
        }
    }

    /// How far all is, in one line. What has not been told of is of an earlier run.
    fn tell_progress(&self, session: &Session) {
        let results = self.results(session);
        let states = self
            .followed
            .selection
            .iter()
            .map(|id| (id, &self.followed.states[id.index()]));
        let over = states.filter(|(id, state)| !self.untold[id.index()] && !is_open(state));
        let tally = Tally::of(over.map(|(_, state)| state));
        let what = if self.followed.begins { "sent" } else { "looked at" };
        let (done, all) = (tally.sites(), self.followed.selection.len());
        let mut parts = vec![format!("{what} {done}/{all}")];
        let counts = [
            ("serving", tally.verify("serving")),
            ("settling", tally.verify("settling")),
            ("failed", tally.ending(Ending::Bad)),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        parts.extend(counts.map(|(word, count)| format!("{word} {count}")));
        let ends = || results.rows().filter_map(|(_, state)| state.settle_end()).max();
        let until = (done == all && self.busy > 0).then(ends).flatten();
        parts.extend(until.map(|until| format!("until {}", results.clock(until))));
        self.printer.progress(parts.join("  "));
    }

    fn tell_what_is_waited_for(&self, session: &Session) {
        let waits = !self.leaves
            && self.hold != Hold::Leaves
            && self.stopped_at.is_none()
            && self.followed.wait != Some(Duration::ZERO);
        if !waits || self.open + self.untold_count > 0 {
            return;
        }
        let results = self.results(session);
        let tally = results.tally();
        let until = results.rows().filter_map(|(_, state)| state.settle_end()).max();
        let until = until.map_or_else(String::new, |until| format!(", until {}", results.clock(until)));
        self.printer.happens(format!(
            "waits for proofs: {} serving, {} settling{until}",
            tally.verify("serving"),
            tally.verify("settling")
        ));
    }

    /// What the store says to the last records counts: it may know of another process's PUT that this one does not.
    /// So does what Stripe says of the keys that the last looks have shown, however many they are.
    async fn await_records(
        &mut self,
        session: &mut Session,
        signals: &mut Signals,
        interrupted: &mut bool,
    ) -> anyhow::Result<()> {
        session.local.send(Command::Leave);
        let mut deadline = Instant::now() + LAST_RECORDS;
        loop {
            tokio::select! {
                event = session.events.recv() => match event {
                    Some(event) => {
                        session.take_note(&event);
                        self.take(event, session)?;
                    }
                    None => return Ok(()),
                },
                () = signals.stop() => {
                    *interrupted = true;
                    return Ok(());
                }
                () = tokio::time::sleep_until(deadline) => {
                    if !session.standings.is_asking() {
                        // A look is still out: what it would show is not waited for.
                        return Ok(());
                    }
                    // Each question has a limit of its own.
                    deadline = Instant::now() + LAST_RECORDS;
                }
            }
        }
    }

    /// Nobody came: what is not sent is left over, and `resume` takes it up.
    fn leave_held(&mut self, session: &Session) {
        self.hold = Hold::GivenUp;
        self.leaves = true;
        tracing::warn!("nobody has said within an hour that the run goes on: it is left as halted");
        session.local.send(Command::Leave);
    }

    async fn stop(&mut self, session: &Session, interrupted: &mut bool) {
        let now = Instant::now();
        let before = self.stopped_at.replace(now);
        if before.is_some_and(|before| now - before < SAME_SIGNAL) {
            return;
        }
        if std::mem::replace(interrupted, true) {
            // What was answered is handed over meanwhile.
            let store = Arc::clone(&session.store);
            let written = tokio::task::spawn_blocking(move || store.flush(LAST_WORDS)).await;
            if let Ok(Err(error)) = written {
                self.printer
                    .happens(format!("the last records may be lost: {error}"));
            }
            if self.printer.progress_every().is_some() {
                self.printer.clear_now();
            }
            std::process::exit(i32::from(Status::Interrupted.code()));
        }
        self.printer.clear();
        self.printer
            .happens("stopping: what is out ends, the rest is cancelled; once more stops at once");
        session.local.send(Command::Stop);
    }

    /// Whether the run ends as halted: it is held still, or was until what it had not sent was given up, or some of
    /// its sites were left out since others refuse their master key.
    fn has_halted(&self) -> bool {
        let held = |run: &RunInfo| run.phase.is_held() || self.is_refused(run);
        self.hold == Hold::GivenUp || self.followed.run.as_ref().is_some_and(held)
    }

    fn is_refused(&self, run: &RunInfo) -> bool {
        let states = self.followed.states.iter();
        let mut of_run = states.filter(|state| state.run == Some(run.id));
        of_run.any(|state| state.is_not_asked())
    }

    /// Tells the results.
    fn finish(&self, session: &Session, interrupted: bool) -> Status {
        let results = self.results(session);
        let status = if interrupted {
            Status::Interrupted
        } else if self.has_halted() {
            Status::Halted
        } else {
            let looks = self.followed.run.is_none() && !self.followed.begins;
            let status = Status::of(&results.tally(), self.followed.run.is_none()).worse(self.followed.best);
            // Sites that are missing from the list are not known to be good, and what is held back got no key.
            if (looks && !session.failed_sources.is_empty()) || session.held_back > 0 {
                status.worse(Status::Bad)
            } else {
                status
            }
        };
        let begin = self.followed.run.as_ref().map_or(self.begin, |run| run.started);
        let seconds = results.now.since(begin).as_secs();
        let run = self.followed.run.as_ref().map(|run| run.id.0);
        let printer = &self.printer;
        // Also where nobody reads it: the terminal may be gone.
        tracing::info!(run, status = status.code(), summary = %report::summary(&results, seconds).replace('\n', "; "), "ended");
        if self.followed.telling == Telling::Json {
            for (site, state) in results.rows() {
                printer.out(json::result(site, state, run, &results));
            }
            printer.out(json::summary(&results, run, seconds, status.code()));
        } else {
            printer.out(report::table(&results));
            printer.out("");
            printer.out(report::summary(&results, seconds));
        }
        let cancelled = results.tally().push("cancelled");
        if let Some(run) = run.filter(|_| cancelled > 0) {
            let sites = Count(cancelled, "site");
            let take = if cancelled == 1 { "takes it" } else { "takes them" };
            printer.happens(format!(
                "{sites} cancelled: `stripe-propagate retry --run {run}` {take} up again"
            ));
        }
        status
    }
}
