use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::Globals;
use super::dead::{ask_of_plan, tell_of_plan};
use super::follow::{Followed, Held, follow};
use super::gate::may_push;
use super::printer::{Printer, Telling};
use super::session::Session;
use super::signals::{Signals, asked};
use super::sources::{self, ListArgs, config_with_sites};
use super::status::Status;
use crate::config::Config;
use crate::engine::{Attempts, Command, Left};
use crate::report::ServedKeys;
use crate::report::plan::Told;
use crate::rules::crew::Crew;
use crate::rules::plan::{Aside, Confirm, Danger, Plan};
use crate::rules::run::RunId;
use crate::rules::state::Allow;
use crate::site::SiteId;
use crate::store::{RunRecord, Store};
use crate::tui::dialogs::OLD_RUN;

/// How much at once.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct PaceArgs {
    /// Requests out at once, in all. Default: `push.concurrency` of the config.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: Option<u16>,
}

impl PaceArgs {
    /// What the command line says goes before what the config says.
    pub(super) fn apply(self, config: &mut Config) {
        if let Some(concurrency) = self.concurrency {
            config.push.concurrency = usize::from(concurrency);
        }
    }
}

/// How a run without a screen goes.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct SendArgs {
    /// Do not ask; for scripts and cron.
    #[arg(long)]
    pub(super) yes: bool,
    /// Only tell what would be sent to whom, and what is dangerous about it. Needs no master key.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait at most so long for proofs, once all is sent and looked at ("90s", "5 min", 0).
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    pub(super) wait: Option<Duration>,
    #[command(flatten)]
    pub(super) pace: PaceArgs,
    /// Also send a key that Stripe does not know or has expired: shops that serve it take no payments.
    #[arg(long)]
    pub(super) allow_unknown_key: bool,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

/// What a script says to the questions that a push can raise.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct AllowArgs {
    /// Also replace a key of the other mode (live over test, or test over live).
    #[arg(long)]
    allow_mode_change: bool,
    /// Also send key and master key to what does not answer like a template site.
    #[arg(long)]
    allow_unrecognised: bool,
    /// Also replace a key that someone else has put on a site since it was last looked at from here, or, with rollback, a
    /// later run.
    #[arg(long)]
    allow_changed: bool,
}

impl From<AllowArgs> for Allow {
    fn from(args: AllowArgs) -> Self {
        Self {
            mode_change: args.allow_mode_change,
            unrecognised: args.allow_unrecognised,
            changed: args.allow_changed,
        }
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = text.parse::<SignedDuration>().ok().map(Duration::try_from);
    duration
        .and_then(Result::ok)
        .ok_or_else(|| "a time is written 90s, \"5 min\" or 0".to_owned())
}

/// What a command would send, before it does.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// None where sites are only looked at again.
    pub(super) plan: Option<Plan>,
    /// Sites that get no PUT, and why; some of them are looked at again.
    pub(super) aside: Vec<(SiteId, Aside)>,
    /// What is said of the key.
    pub(super) hint: Option<&'static str>,
    /// The workers that are there, where they make the calls.
    pub(super) crew: Option<Crew>,
    /// Whether the key came from standard input, so that nobody can be asked there.
    pub(super) stdin_is_taken: bool,
    /// Whether a key of another length may go.
    pub(super) allow_other_length: bool,
}

impl Planned {
    fn told<'a>(&'a self, session: &'a Session, zone: &'a TimeZone) -> Told<'a> {
        Told {
            plan: self.plan.as_ref(),
            aside: &self.aside,
            hint: self.hint,
            crew: self.crew.as_ref(),
            resumes: None,
            sites: &session.sites,
            states: &session.known,
            now: session.clock.now(),
            zone,
            served: ServedKeys::default(),
        }
    }

    /// Looks are made by this process.
    async fn asks_for_crew(&mut self, session: &Session) {
        if !self.puts().is_empty() {
            self.crew = session.crew().await;
        }
    }

    /// What was left out for want of a flag is no success of the others.
    fn best(&self) -> Status {
        let is_held_back = |(_, aside): &(SiteId, Aside)| matches!(aside, Aside::HeldBack(_));
        if self.aside.iter().any(is_held_back) {
            Status::Bad
        } else {
            Status::Good
        }
    }

    fn puts(&self) -> Vec<SiteId> {
        self.plan.iter().flat_map(Plan::put_sites).collect()
    }

    fn looks(&self) -> Vec<SiteId> {
        let looks = self.aside.iter().filter(|(_, aside)| *aside == Aside::Looks);
        looks.map(|(site, _)| *site).collect()
    }
}

/// The config of a command that sends, with its sites.
///
/// # Errors
/// Also when this user may not send, or the command line or a list that is not whole says that nothing is sent. A dry run
/// may be told all the same.
pub(super) async fn config_to_send(
    globals: &Globals,
    command: &str,
    args: &SendArgs,
    signals: &mut Signals,
) -> anyhow::Result<Config> {
    if !args.dry_run {
        if globals.read_only {
            bail!(
                "--read-only promises that nothing is sent, and `{command}` sends: leave out one of the two"
            );
        }
        let asked = async { may_push().await.context("nothing sent") };
        signals.unless_stopped(asked).await?;
    }
    let mut config = config_with_sites(globals, signals).await?;
    match sources::may_send(&config, args.list, command != "rollback") {
        // What the run itself would end with.
        Err(error) if args.dry_run => say(&format!("without --dry-run: {error:#}")),
        may => may?,
    }
    args.pace.apply(&mut config);
    Ok(config)
}

/// A config brought to life for what is to be sent, or only told.
pub(super) async fn session(config: &Config, globals: &Globals, dry_run: bool) -> anyhow::Result<Session> {
    if dry_run {
        Session::to_read(config, globals).await
    } else {
        Session::of_config(config, globals, Left::Alone).await
    }
}

/// Asks what is to be asked, sends what is planned, and follows it to its end; or tells what it would send.
pub(super) async fn send(
    mut session: Session,
    planned: Planned,
    args: &SendArgs,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let ended = if args.dry_run {
        dry_run(&session, planned, telling, signals).await
    } else {
        go(&mut session, planned, args, telling, signals).await
    };
    session.close().await;
    ended
}

async fn dry_run(
    session: &Session,
    mut planned: Planned,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    warn_of_unfinished(session).await?;
    if let Some(plan) = &mut planned.plan {
        tell_of_plan(session, plan, signals).await?;
    }
    planned.asks_for_crew(session).await;
    let zone = TimeZone::system();
    tell_dry(&planned.told(session, &zone), telling, signals).await
}

/// What a dry run says.
pub(super) async fn tell_dry(
    told: &Told<'_>,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let printer = Printer::start(telling)?;
    if telling == Telling::Json {
        told.json().into_iter().for_each(|line| printer.out(line));
    } else {
        printer.out(told.table());
    }
    tokio::select! {
        written = printer.answered() => written.map(|()| Status::Good),
        () = signals.stop() => Ok(Status::Interrupted),
    }
}

/// A line for each run that a process which is gone has left open.
async fn warn_of_unfinished(session: &Session) -> anyhow::Result<()> {
    // One of which only proofs are still to come needs nobody's word.
    let is_owed = |run: &RunRecord| {
        let mut known = session.known.iter();
        known.any(|state| state.run == Some(run.id) && state.is_left_over())
    };
    let unfinished = session.store.unfinished_runs().await?;
    for run in unfinished.iter().filter(|run| is_owed(run)) {
        say(&format!(
            "warning: run {} was not finished by {} (PID {}): what is sent to its sites takes the place of it, and \
             `stripe-propagate resume` finishes the rest",
            run.id.0, run.by.user, run.by.pid
        ));
    }
    Ok(())
}

async fn go(
    session: &mut Session,
    mut planned: Planned,
    args: &SendArgs,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    warn_of_unfinished(session).await?;
    if let Some(plan) = &mut planned.plan {
        session.local.gate.may_send(plan).await.context("nothing sent")?;
        ask_of_plan(session, plan, args.allow_unknown_key, signals).await?;
        if args.yes {
            refuse_dangers(plan, planned.allow_other_length, args.allow_unknown_key)?;
        }
    }
    planned.asks_for_crew(session).await;
    if args.yes {
        // Nobody is asked, so that nobody has read it in the question.
        let zone = TimeZone::system();
        for line in planned.told(session, &zone).taken_over() {
            say(&format!("warning: {line}"));
        }
        tell_of_crew(planned.crew.as_ref());
    }
    if !args.yes && !confirmed(session, &planned, signals).await? {
        say("nothing sent");
        return Ok(Status::NothingSent);
    }
    let needed = planned.puts();
    if needed.is_empty() && planned.plan.is_some() {
        say("no site is to get the key: nothing is sent");
    }
    let load = session.local.master_keys.load(&needed);
    let loaded = signals.unless_stopped(load).await;
    loaded.context("nothing sent")?;
    carry_out(session, planned, args.yes, args.wait, telling, signals).await
}

/// Who makes the calls of what begins now, where nobody has read that in a question.
pub(super) fn tell_of_crew(crew: Option<&Crew>) {
    if let Some(crew) = crew {
        let level = if crew.is_empty() { "warning: " } else { "" };
        say(&format!("{level}{}", crew.sentence()));
    }
}

/// Each danger has a flag that stands for the word that a terminal would be asked for. What makes the other dangers is
/// left out of a plan without its flag.
fn refuse_dangers(plan: &Plan, allow_other_length: bool, allow_unknown_key: bool) -> anyhow::Result<()> {
    let is_allowed = |danger: &&Danger| match danger {
        Danger::OverOtherMode { .. } => plan.allow.mode_change,
        Danger::Changed { .. } | Danger::LaterRun { .. } => plan.allow.changed,
        Danger::Unrecognised { .. } => plan.allow.unrecognised,
        Danger::OtherLength { .. } => allow_other_length,
        Danger::DeadKey { .. } => allow_unknown_key,
        // What is allowed of these is in no plan of a command.
        Danger::ListChanged { .. } | Danger::FailedSource { .. } => false,
    };
    if let Some(danger) = plan.dangers.iter().find(|danger| !is_allowed(danger)) {
        bail!(
            "nothing sent: {} ({} sends it all the same)",
            danger.sentence(),
            danger.flag()
        );
    }
    Ok(())
}

/// Shows the plan and asks for its phrase. Looks need none.
async fn confirmed(session: &Session, planned: &Planned, signals: &mut Signals) -> anyhow::Result<bool> {
    let confirm = planned.plan.as_ref().map_or(Confirm::Nothing, Plan::confirm);
    let ask = match confirm {
        Confirm::Nothing => return Ok(true),
        Confirm::Yes => "y".to_owned(),
        Confirm::Phrase(phrase) => phrase,
    };
    if planned.stdin_is_taken || !std::io::stdin().is_terminal() {
        bail!("nobody is here to confirm the push: give --yes");
    }
    let mut err = std::io::stderr();
    for line in planned.told(session, &TimeZone::system()).lines() {
        writeln!(err, "{line}")?;
    }
    asked(&format!("type {ask} to push: "), &ask, signals).await
}

/// Gives what is planned to the engine and follows it to its end.
pub(super) async fn carry_out(
    session: &mut Session,
    planned: Planned,
    yes: bool,
    wait: Option<Duration>,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let looks = planned.looks();
    let rows = planned.plan.iter().flat_map(|plan| &plan.rows);
    let selection: BTreeSet<SiteId> = rows.map(|row| row.site).chain(looks.iter().copied()).collect();
    let followed = Followed {
        selection: selection.into_iter().collect(),
        states: session.known.clone(),
        key: planned.plan.as_ref().map(|plan| plan.key.clone()),
        run: None,
        begins: planned.plan.is_some(),
        interrupted: false,
        wait,
        telling,
        held: if yes { Held::GoesOn } else { Held::Asks },
        best: planned.best(),
    };
    if let Some(plan) = planned.plan {
        session
            .local
            .begin(Command::Push(plan))
            .await
            .context("nothing sent")?;
    }
    if !looks.is_empty() {
        session.local.send(Command::Look {
            sites: looks,
            expected: None,
            attempts: Attempts::Policy,
            background: false,
        });
    }
    follow(session, followed, signals).await
}

/// The run of this number, or the newest; none where there is none yet.
///
/// # Errors
/// When there is no run of this number.
pub(super) async fn run_on_record(
    session: &Session,
    number: Option<u64>,
) -> anyhow::Result<Option<RunRecord>> {
    let Some(number) = number else {
        return Ok(session.store.runs(1).await?.into_iter().next());
    };
    let runs = session.store.runs(usize::MAX).await?;
    let newest = runs.first().map(|run| run.id.0);
    let Some(run) = runs.into_iter().find(|run| run.id == RunId(number)) else {
        match newest {
            Some(newest) => bail!("there is no run {number} on record: the newest is run {newest}"),
            None => bail!("there is no run {number} on record: no run was made yet"),
        }
    };
    Ok(Some(run))
}

/// Whether the key of this run is still the right one: a run that is older than an hour has a question of its own.
/// None where nobody is there to answer it; what to do was said then.
pub(super) async fn is_still_right(
    session: &Session,
    run: &RunRecord,
    allowed: bool,
    yes: bool,
    signals: &mut Signals,
) -> anyhow::Result<bool> {
    let old = session.clock.now().since(run.began) >= OLD_RUN;
    if !old || allowed {
        return Ok(true);
    }
    if yes || !std::io::stdin().is_terminal() {
        say(&format!(
            "run {} is older than an hour, and its key may have been replaced since: give --allow-old-run if it is \
             still the right one",
            run.id.0
        ));
        return Ok(false);
    }
    let question = format!(
        "run {} is older than an hour, and its key may have been replaced since. Is it still the right one? type yes: ",
        run.id.0
    );
    asked(&question, "yes", signals).await
}

/// Says something beside the results.
pub(super) fn say(text: &str) {
    // Nobody reads it: the work goes on all the same.
    let _closed = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_or_a_plain_zero() {
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        assert_eq!(wait("5 min"), Ok(Duration::from_mins(5)));
        assert!(wait("-5s").is_err());
        assert!(wait("soon").is_err());
    }
}
