use std::sync::Arc;
use std::time::Duration;

use stripe_propagate::engine::{Attempt, Event, RunInfo};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, Call, SiteState};
use stripe_propagate::site::{MasterKeyId, Site, SiteId, SiteMode, SiteUrl};
use stripe_propagate::store::{Request, RunId};
use stripe_propagate::text::CleanText;
use stripe_propagate::tui::Message;
use stripe_propagate::tui::model::{Options, Start};
use stripe_propagate::tui::screen::Screen;
use stripe_propagate::tui::setup::Setup;
use stripe_propagate::tui::update::update;

use crate::SIZE;

/// A screen amid a run, and what goes on happening to its sites.
pub(crate) struct Shops {
    /// What a site goes through, again and again.
    lives: Vec<SiteState>,
    sites: usize,
    dice: fastrand::Rng,
}

fn key(tail: &str) -> anyhow::Result<PublishableKey> {
    Ok(PublishableKey::parse(&format!(
        "pk_live_51{}{tail}",
        "Example".repeat(13)
    ))?)
}

fn answer<V>(verdict: V, http: u16) -> Answer<V> {
    Answer {
        verdict,
        http: Some(http),
        took: Duration::from_millis(84),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    }
}

/// Looked at, queued, sent, stored or failed, seen, proven.
fn lives(now: Moment) -> anyhow::Result<Vec<SiteState>> {
    let policy = Policy::default();
    let (old, new) = (key("9zQe")?, key("AbCd")?);
    let mut state = SiteState::default();
    let mut lives = Vec::new();
    state.order_look(None, 1, now);
    state.calling(Call::Look, &policy, now);
    state.looked(&answer(LookVerdict::Serves(old), 200), &policy, now, 0.5);
    lives.push(state.clone());
    state.order_push(new.clone(), Allow::default(), false, now);
    state.run = Some(RunId(12));
    state.in_run = true;
    lives.push(state.clone());
    state.calling(Call::Put, &policy, now);
    lives.push(state.clone());
    let mut failed = state.clone();
    let refuses = answer(PutVerdict::Problem(Problem::RefusedKey), 401);
    failed.put_answered(&refuses, &policy, now, 0.5);
    lives.push(failed);
    state.put_answered(&answer(PutVerdict::Stored, 200), &policy, now, 0.5);
    for seconds in [1, 400] {
        let at = now + Duration::from_secs(seconds);
        state.calling(Call::Look, &policy, at);
        let serves = answer(LookVerdict::Serves(new.clone()), 200);
        state.looked(&serves, &policy, at, 0.5);
        lives.push(state.clone());
    }
    Ok(lives)
}

impl Shops {
    /// A screen of so many sites amid a run, and its shops.
    pub(crate) fn open(sites: usize, now: Moment) -> anyhow::Result<(Screen, Self)> {
        let site = |number: usize| -> anyhow::Result<Site> {
            let name = format!("shop-{number:06}");
            let url = SiteUrl::parse(&format!("https://{name}.example.com"))?;
            Ok(Site {
                name: CleanText::note(&name),
                backend: url.backend().into(),
                url,
                group: Some(CleanText::note(if number.is_multiple_of(3) {
                    "prod"
                } else {
                    "test"
                })),
                mode: SiteMode::Any,
                master_key: MasterKeyId(0),
                enabled: true,
            })
        };
        let lives = lives(now)?;
        let mut dice = fastrand::Rng::with_seed(1);
        let states = (0..sites)
            .map(|_| lives[dice.usize(..lives.len())].clone())
            .collect();
        let start = Start {
            sites: (0..sites).map(site).collect::<anyhow::Result<Arc<[Site]>>>()?,
            states,
            operator: "ops@bastion".to_owned(),
            config: "shops.toml".to_owned(),
            searched: Vec::new(),
            setup: Setup::default(),
            run: None,
            away_since: None,
            key: Some(key("AbCd")?),
            options: Options {
                rollout: stripe_propagate::rules::rollout::Settings::default(),
                ascii: false,
                theme: stripe_propagate::tui::theme::Theme::DEFAULT,
                keys: stripe_propagate::tui::actions::unchanged(),
                demo: false,
                read_only: false,
                clipboard: stripe_propagate::tui::model::Clipboard::Takes,
                zone: jiff::tz::TimeZone::UTC,
            },
            size: SIZE,
        };
        let mut screen = Screen::new(start, now);
        let run = RunInfo {
            kind: stripe_propagate::rules::run::Kind::Push,
            halt: None,
            rollout: stripe_propagate::rules::rollout::Rollout::default(),
            id: RunId(12),
            key: key("AbCd")?,
            phase: RunPhase::Sending,
            started: now,
            ended: None,
            puts: sites,
        };
        update(&mut screen, Message::Engine(Event::Run(run)), now);
        Ok((screen, Self { lives, sites, dice }))
    }

    /// The next thing that happens: to any site, an answer and what it makes of the site.
    pub(crate) fn next(&mut self, now: Moment) -> [Message; 2] {
        let site = SiteId::at(self.dice.usize(..self.sites));
        let mut state = self.lives[self.dice.usize(..self.lives.len())].clone();
        state.at = Some(now);
        let attempt = Attempt {
            run: Some(RunId(12)),
            site,
            request: Request::Get,
            number: 1,
            at: now,
            took: Duration::from_millis(self.dice.u64(20..400)),
            http: state.http,
            cause: state.push.cause(),
            note: CleanText::note("stored"),
        };
        let state = Box::new(state);
        [Event::Attempt(attempt), Event::Site { site, state }].map(Message::Engine)
    }
}
