use super::dialogs::{Acknowledge, Choice, Deed, Dialog, PlanDialog, Preflight, again};
use super::model::Model;
use super::screen::Screen;
use super::{Effect, Wanted};
use crate::engine::{Attempts, Command, Level};
use crate::key::PublishableKey;
use crate::rules::state::RetryPlan;
use crate::rules::status::{Push, Verify};
use crate::site::SiteId;
use crate::text::Count;

/// Does it to `sites`.
pub(super) fn go(screen: &mut Screen, deed: Deed, sites: Vec<SiteId>) -> Vec<Effect> {
    let model = &mut screen.model;
    // A preflight is this process's own, also where the run is another one's.
    let only_looks = deed == Deed::Check || deed == Deed::Look && !model.is_attached();
    if model.options.read_only && !only_looks {
        model.say(Level::Info, model.read_only_why());
        return Vec::new();
    }
    match deed {
        Deed::Push => plan_push(screen, &sites),
        Deed::Retry => retry(screen, sites),
        Deed::Look => look(screen, sites),
        Deed::RollBack => roll_back(screen, &sites),
        Deed::Check => check(screen, sites),
        Deed::Acknowledge => acknowledge(screen, sites),
    }
}

/// Tries what a push to `sites` would meet.
fn check(screen: &mut Screen, sites: Vec<SiteId>) -> Vec<Effect> {
    let sites = screen.model.enabled(sites);
    if sites.is_empty() {
        screen.model.say(
            Level::Info,
            "there is no site to check (a disabled one is never asked)",
        );
        return Vec::new();
    }
    let (dialog, effects) = Preflight::of(sites, &mut screen.model);
    screen.dialog = Some(Dialog::Preflight(Box::new(dialog)));
    effects
}

/// Asks why these sites are known to be bad, and until when.
fn acknowledge(screen: &mut Screen, sites: Vec<SiteId>) -> Vec<Effect> {
    if !sites.is_empty() {
        screen.dialog = Some(Dialog::Acknowledge(Acknowledge::of(&screen.model, sites)));
    }
    Vec::new()
}

/// Looks at what `sites` serve.
pub(super) fn look(screen: &mut Screen, sites: Vec<SiteId>) -> Vec<Effect> {
    let sites = screen.model.enabled(sites);
    if sites.is_empty() {
        screen.model.say(
            Level::Info,
            "there is no site to look at (a disabled one is never asked)",
        );
        return Vec::new();
    }
    vec![Effect::Engine(Command::Look {
        sites,
        expected: None,
        attempts: Attempts::Policy,
        background: false,
    })]
}

/// Plans to put back what `sites` had before their last run. Of several runs the newest comes first.
fn roll_back(screen: &mut Screen, sites: &[SiteId]) -> Vec<Effect> {
    let model = &mut screen.model;
    let run_of = |id: &SiteId| model.state(*id).run;
    let Some(run) = sites.iter().filter_map(run_of).max() else {
        if let [site] = sites {
            let name = &model.site(*site).name;
            let text = format!("{name}: no run has pushed to it, so there is nothing to put back");
            model.say(Level::Info, text);
        } else {
            model.say(
                Level::Info,
                "no run has pushed to any of them, so there is nothing to put back",
            );
        }
        return Vec::new();
    };
    let of_run: Vec<SiteId> = sites
        .iter()
        .copied()
        .filter(|id| run_of(id) == Some(run))
        .collect();
    let others = sites.len() - of_run.len();
    if others > 0 {
        let text = format!(
            "run {} was the last of {} of them: this is their plan. {} had another one, or none: they stay marked",
            run.0,
            of_run.len(),
            Count(others, "site")
        );
        model.say(Level::Info, text);
    }
    vec![Effect::Read(Wanted::PutBack(run, Some(of_run)))]
}

/// Opens the plan of a push to `sites`.
pub(super) fn plan_push(screen: &mut Screen, sites: &[SiteId]) -> Vec<Effect> {
    match PlanDialog::of_push(&screen.model, sites) {
        Ok(plan) => screen.dialog = Some(Dialog::Plan(Box::new(plan))),
        Err(why) => screen.model.say(Level::Warning, why),
    }
    Vec::new()
}

/// Shows what a push to all would do.
pub(super) fn dry_run(screen: &mut Screen) -> Vec<Effect> {
    let sites = screen.model.pushed_by_all();
    match PlanDialog::of_dry_run(&screen.model, &sites) {
        Ok(plan) => screen.dialog = Some(Dialog::Plan(Box::new(plan))),
        Err(why) => screen.model.say(Level::Warning, why),
    }
    Vec::new()
}

/// Repeats what failed on `sites`; asks where a word is needed, and says why where nothing is to be done.
pub(super) fn retry(screen: &mut Screen, sites: Vec<SiteId>) -> Vec<Effect> {
    let alone = sites.len() == 1;
    let mut earlier = Vec::new();
    let mut again = Vec::new();
    let mut held_back = Vec::new();
    let mut pushes = false;
    for id in sites {
        match screen.model.state(id).retry_plan() {
            RetryPlan::Push => {
                pushes = true;
                again.push(id);
            }
            RetryPlan::Look => again.push(id),
            RetryPlan::Ask(_) => held_back.push(id),
            RetryPlan::OtherRun => earlier.push(id),
            RetryPlan::Settles | RetryPlan::Busy | RetryPlan::Nothing if alone => {
                say_why_not(&mut screen.model, id);
            }
            RetryPlan::Settles | RetryPlan::Busy | RetryPlan::Nothing => {}
        }
    }
    if again.is_empty() && !earlier.is_empty() {
        return plan_retry(screen, &earlier);
    }
    if again.is_empty() && !held_back.is_empty() {
        ask_for_held_back(screen, &held_back);
        return Vec::new();
    }
    if again.is_empty() {
        if !alone {
            let model = &mut screen.model;
            model.say(Level::Info, "nothing failed: there is nothing to retry");
        }
        return Vec::new();
    }
    let was_cancelled = |id: &SiteId| screen.model.state(*id).push == Push::Cancelled;
    if again.iter().any(was_cancelled) {
        // What the operator cancelled is not sent again at the press of a key. What is only looked at is no part of
        // what is sent.
        let is_looked_at = |id: &SiteId| screen.model.state(*id).retry_plan() == RetryPlan::Look;
        let (looks, puts): (Vec<SiteId>, Vec<SiteId>) = again.into_iter().partition(is_looked_at);
        screen.dialog =
            PlanDialog::of_cancelled(&screen.model, &puts).map(|plan| Dialog::Plan(Box::new(plan)));
        say_what_comes_after(&mut screen.model, &earlier, &held_back);
        return if looks.is_empty() {
            Vec::new()
        } else {
            super::dialogs::again(&screen.model, &looks)
        };
    }
    let effects = order_retry(screen, again, pushes);
    if screen.dialog.is_some() {
        say_what_comes_after(&mut screen.model, &earlier, &held_back);
    } else {
        say_what_comes_after(&mut screen.model, &earlier, &[]);
        if !held_back.is_empty() {
            ask_for_held_back(screen, &held_back);
        }
    }
    effects
}

/// What else can be retried, but not with what is being asked or sent now.
fn say_what_comes_after(model: &mut Model, earlier: &[SiteId], held_back: &[SiteId]) {
    if !earlier.is_empty() {
        let text = format!(
            "{} of earlier runs can be retried when this has ended",
            Count(earlier.len(), "site")
        );
        model.say(Level::Info, text);
    }
    if !held_back.is_empty() {
        let text = format!(
            "{} held back come after that: a retry of them asks",
            Count(held_back.len(), "site")
        );
        model.say(Level::Info, text);
    }
}

fn order_retry(screen: &mut Screen, sites: Vec<SiteId>, pushes: bool) -> Vec<Effect> {
    if !pushes {
        return again(&screen.model, &sites);
    }
    let model = &mut screen.model;
    let run_key = model.run.as_ref().map(|run| run.key.clone());
    if let (Some(run), Some(field)) = (run_key, model.field.key())
        && run != field
    {
        let choice = Choice::which_key(sites, &model.mask(&run), &model.mask(&field));
        screen.dialog = Some(Dialog::Choice(choice));
        return Vec::new();
    }
    model.say_retry(sites.len());
    again(model, &sites)
}

/// What failed in an earlier run gets a run of its own, with that run's key: through a plan, since it is not what
/// was confirmed today. Of several runs the newest comes first.
fn plan_retry(screen: &mut Screen, sites: &[SiteId]) -> Vec<Effect> {
    let newest = sites.iter().filter_map(|id| screen.model.state(*id).run).max();
    let of_newest = |id: &SiteId| screen.model.state(*id).run == newest;
    let chosen: Vec<SiteId> = sites.iter().copied().filter(of_newest).collect();
    let key = |id: &SiteId| Some((*id, screen.model.state(*id).planned_key()?.clone()));
    let targets: Vec<(SiteId, PublishableKey)> = chosen.iter().filter_map(key).collect();
    match PlanDialog::of_retry(&screen.model, newest, &targets) {
        Ok(plan) => screen.dialog = Some(Dialog::Plan(Box::new(plan))),
        Err(why) => screen.model.say(Level::Warning, why),
    }
    let others = sites.len() - chosen.len();
    if others > 0 {
        let text = format!(
            "{} of earlier runs come after that: {} once more",
            Count(others, "site"),
            screen.model.key_of("retry all failed")
        );
        screen.model.say(Level::Info, text);
    }
    Vec::new()
}

fn ask_for_held_back(screen: &mut Screen, sites: &[SiteId]) {
    let dialog = PlanDialog::of_held_back(&screen.model, sites);
    screen.dialog = dialog.map(|plan| Dialog::Plan(Box::new(plan)));
}

fn say_why_not(model: &mut Model, id: SiteId) {
    let state = model.state(id);
    let name = &model.site(id).name;
    let when = state
        .next_at
        .map(|at| format!(": looks again {}", model.clock(at)))
        .unwrap_or_default();
    let text = match state.retry_plan() {
        RetryPlan::Settles => format!("{name} settles{when}"),
        RetryPlan::Busy => format!("{name} is being worked on"),
        _ if state.verify == Verify::ExposedSecret => {
            let look = model.key_of("verify");
            format!("{name}: its PUT was stored; roll the SECRET key that it shows, then {look} looks again")
        }
        _ => format!("{name}: nothing failed there, so there is nothing to retry"),
    };
    model.say(Level::Info, text);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::engine::RunInfo;
    use crate::rules::moment::Moment;
    use crate::rules::outcome::Problem;
    use crate::rules::run::{RunId, RunPhase};
    use crate::rules::state::SiteState;
    use crate::rules::status::SkipReason;
    use crate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
    use crate::text::CleanText;
    use crate::tui::keys::Bindings;
    use crate::tui::model::{Options, Start};
    use crate::tui::theme::Theme;

    fn key() -> PublishableKey {
        PublishableKey::parse("pk_test_51ExampleExampleExampleExampleAbCd").unwrap()
    }

    fn site(index: usize) -> Site {
        let url = SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap();
        Site {
            name: CleanText::note(&format!("shop{index}")),
            backend: url.backend().into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    }

    /// Of a run that went last.
    fn state(push: Push, verify: Verify, in_run: bool) -> SiteState {
        let mut state = SiteState::default();
        (state.push, state.verify, state.in_run) = (push, verify, in_run);
        (state.run, state.expected) = (Some(RunId(7)), Some(key()));
        state
    }

    fn screen(states: Vec<SiteState>) -> Screen {
        let now = Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        };
        let start = Start {
            sites: (0..states.len()).map(site).collect::<Arc<[Site]>>(),
            states,
            operator: "ops@bastion".to_owned(),
            config: "shops.toml".to_owned(),
            searched: Vec::new(),
            run: Some(RunInfo {
                kind: crate::rules::run::Kind::Push,
                halt: None,
                rollout: crate::rules::rollout::Rollout::default(),
                id: RunId(7),
                key: key(),
                phase: RunPhase::Settled,
                started: now,
                ended: Some(now),
                puts: 4,
            }),
            away_since: None,
            setup: crate::tui::setup::Setup::default(),
            key: None,
            options: Options {
                rollout: crate::rules::rollout::Settings::default(),
                ascii: false,
                theme: Theme::DEFAULT,
                keys: Bindings::new(Vec::new()),
                clipboard: crate::tui::model::Clipboard::Takes,
                demo: false,
                read_only: false,
                zone: TimeZone::UTC,
            },
            size: (120, 40),
        };
        Screen::new(start, now)
    }

    #[test]
    fn what_is_only_looked_at_is_no_part_of_what_was_cancelled() {
        let failed = Problem::Timeout.cause();
        let mut screen = screen(vec![
            state(Push::Cancelled, Verify::Unchecked, true),
            state(Push::Stored, Verify::Failed(failed), true),
            state(Push::Failed(failed), Verify::Unchecked, false),
            state(Push::Skipped(SkipReason::OtherMode), Verify::Mismatch, true),
        ]);
        let effects = retry(&mut screen, (0..4).map(SiteId::at).collect());
        let [Effect::Engine(Command::Look { sites, .. })] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(sites, &[SiteId(1)], "it is looked at at once");
        assert!(
            matches!(screen.dialog, Some(Dialog::Plan(_))),
            "it is asked about"
        );
        let told: Vec<&str> = screen
            .model
            .messages
            .iter()
            .map(|message| message.text.as_str())
            .collect();
        for words in ["1 site of earlier runs", "1 site held back"] {
            assert!(told.iter().any(|text| text.contains(words)), "{told:?}");
        }
    }
}
