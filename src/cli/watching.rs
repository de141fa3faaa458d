use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dead::judged;
use super::session::{Db, Session};
use crate::config::WatchSettings;
use crate::engine::{Attempts, Clock, Command, Event, Standings};
use crate::key::PublishableKey;
use crate::notify::Notifier;
use crate::rules::acknowledgement::Acknowledged;
use crate::rules::moment::{Moment, clock};
use crate::rules::plan::Plan;
use crate::rules::rollout;
use crate::rules::standing::NotAsked;
use crate::rules::state::SiteState;
use crate::rules::status::Verify;
use crate::rules::tally::Tally;
use crate::rules::watch::{Change, Notice, Rounds, Seen, Todo, retry_of};
use crate::site::{Site, SiteId};
use crate::store::{Store, StoreError};
use crate::text::Count;

/// Looks at sites again and again, and tells what has changed. Orders nothing by itself: who has the engine does.
pub(super) struct Watching {
    sites: Arc<[Site]>,
    /// The sites that are looked at.
    watched: Vec<SiteId>,
    /// What is known of all sites, as far as it was told since the watch began.
    states: Vec<SiteState>,
    rounds: Rounds,
    settings: WatchSettings,
    store: Arc<Db>,
    clock: Clock,
    zone: TimeZone,
    notifier: Notifier,
    failures: UnboundedReceiver<String>,
    /// When a retry halts.
    rollout: rollout::Settings,
    standings: Arc<Standings<Db>>,
    /// A retry of owed sites that are back, while Stripe is asked of its keys.
    asks: JoinSet<(Plan, Option<NotAsked>)>,
    /// Why owed sites that are back did not get their key, as it was told last.
    held_back: Option<String>,
}

/// What follows for who has the engine.
pub(super) enum Wants {
    /// Nothing.
    Nothing,
    /// This order.
    Order(Command),
    /// [`Watching::judge`].
    Judgement(Judgement),
    /// That the operator is told this.
    Remark(String),
    /// That this retry of owed sites that are back is sent, if nobody else sends.
    Retry(Plan),
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// A look at all sites.
    OfLook,
    /// What became known since the last one.
    Between,
}

/// What a look at all sites has found.
pub(super) struct Found {
    /// What is new.
    pub(super) notices: Vec<Notice>,
    /// What else the operator has to know.
    pub(super) remarks: Vec<String>,
    /// How many of the watched sites are in which state, behind a look at all of them.
    pub(super) tally: Option<Tally>,
}

impl Watching {
    /// The first look is due at once.
    ///
    /// # Errors
    /// When there is no HTTP client for the webhook.
    pub(super) fn begin(session: &Session, watched: Vec<SiteId>) -> anyhow::Result<Self> {
        let (failed, failures) = unbounded_channel();
        let notifier = Notifier::start(session.notify_settings(), failed)?;
        let mut settings = session.watch.clone();
        if settings.push_owed && !session.failed_sources.is_empty() {
            // A push would be asked about it, and nobody is here.
            tracing::warn!(
                "watch: a source of sites could not be read: what is owed is not sent before it is"
            );
            settings.push_owed = false;
        }
        Ok(Self {
            sites: Arc::clone(&session.sites),
            watched,
            states: vec![SiteState::default(); session.sites.len()],
            rounds: Rounds::new(settings.interval, session.clock.now()),
            settings,
            store: Arc::clone(&session.store),
            clock: session.clock,
            zone: TimeZone::system(),
            notifier,
            failures,
            rollout: session.rollout().clone(),
            standings: Arc::clone(&session.standings),
            asks: JoinSet::new(),
            held_back: None,
        })
    }

    /// When [`Watching::tick`] is to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        self.rounds.due().map(|due| self.clock.instant(due))
    }

    /// When sites are looked at next.
    pub(super) fn next(&self) -> Moment {
        self.rounds.next()
    }

    /// It is time. Looks that are still out by now are not waited for any longer.
    pub(super) fn tick(&mut self) -> Wants {
        let todo = self.rounds.tick(self.clock.now());
        self.wants(todo)
    }

    /// The engine tells something.
    pub(super) fn take(&mut self, event: &Event) -> Wants {
        let now = self.clock.now();
        let todo = match event {
            Event::Site { site, state } => match self.states.get_mut(site.index()) {
                Some(known) => {
                    if state.verify == Verify::DeadKey && known.verify != Verify::DeadKey {
                        // Stripe answers behind the look that has shown the key.
                        self.rounds.became_known(now);
                    }
                    known.clone_from(state);
                    self.rounds.take(*site, state, now)
                }
                None => Todo::Nothing,
            },
            Event::Refreshed { since } => self.rounds.read(&self.watched, self.sites.len(), *since, now),
            _ => Todo::Nothing,
        };
        self.wants(todo)
    }

    fn wants(&self, todo: Todo) -> Wants {
        match todo {
            Todo::Nothing => Wants::Nothing,
            Todo::Read => Wants::Order(Command::Refresh { tells_all: false }),
            Todo::Look => Wants::Order(Command::Look {
                sites: self.watched.clone(),
                expected: None,
                attempts: Attempts::Policy,
                background: true,
            }),
            Todo::Judge => Wants::Judgement(Judgement::OfLook),
            Todo::JudgeAgain => Wants::Judgement(Judgement::Between),
        }
    }

    /// What comes by itself: what a command or a webhook did not take, and what Stripe says of a retry's keys.
    pub(super) async fn beside(&mut self) -> Wants {
        tokio::select! {
            Some(failure) = self.failures.recv() => Wants::Remark(failure),
            Some(Ok((plan, in_vain))) = self.asks.join_next() => self.retry(plan, in_vain),
            else => pending().await,
        }
    }

    /// What was found. What is new is on record as told, logged, and on its way to command and webhook then. A look
    /// has a retry follow: [`Watching::beside`] tells it.
    pub(super) async fn judge(&mut self, acknowledged: &Acknowledged, of: Judgement) -> Found {
        let now = self.clock.now();
        let mut found = Found {
            notices: Vec::new(),
            remarks: Vec::new(),
            tally: (of == Judgement::OfLook)
                .then(|| Tally::of(self.watched.iter().map(|id| &self.states[id.index()]))),
        };
        let seen = Seen {
            sites: &self.sites,
            states: &self.states,
            watched: &self.watched,
            acknowledged,
            at: now.wall,
        };
        match self.new_changes(&seen).await {
            Ok(changes) => found.notices = self.notices(&changes, &seen, now),
            Err(error) => found.remarks.push(format!(
                "what the watch has found cannot be recorded, and is told later: {error}"
            )),
        }
        for notice in &found.notices {
            tracing::warn!(
                finding = notice.finding.word(),
                over = notice.over,
                "watch: {}",
                notice.sentence()
            );
        }
        self.notifier.tell(found.notices.clone());
        let wanted = self.settings.push_owed && of == Judgement::OfLook && self.asks.is_empty();
        let begun = self.rounds.begun().filter(|_| wanted);
        if let Some(plan) = begun.and_then(|begun| retry_of(&seen, begun)) {
            let state = |id: SiteId| &self.states[id.index()];
            let plan = plan.in_waves(&self.rollout, &self.sites, state, now);
            self.asks.spawn(judged(Arc::clone(&self.standings), plan));
        }
        found
    }

    /// Stripe was asked of a retry's keys.
    fn retry(&mut self, plan: Plan, in_vain: Option<NotAsked>) -> Wants {
        let held_back = held_back(&plan);
        let before = std::mem::replace(&mut self.held_back, held_back.clone());
        match held_back {
            None => {
                if let Some(why) = in_vain {
                    tracing::warn!("watch: {why}; what is owed is sent all the same");
                }
                Wants::Retry(plan)
            }
            told if told == before => Wants::Nothing,
            Some(new) => {
                tracing::warn!("watch: {new}");
                Wants::Remark(new)
            }
        }
    }

    async fn new_changes(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StoreError> {
        let changes = self.store.told().await?.changes(seen);
        if changes.is_empty() {
            return Ok(changes);
        }
        self.store.tell(changes, seen.at).await
    }

    fn notices(&self, changes: &[Change], seen: &Seen<'_>, now: Moment) -> Vec<Notice> {
        let served = self.states.iter().filter_map(|state| state.now.key());
        let served: BTreeSet<&PublishableKey> = served.collect();
        let mask = |key: &PublishableKey| key.mask_among(served.iter().copied());
        let clock = |at| clock(at, now, &self.zone);
        Notice::of_changes(changes, seen, &mask, &clock)
    }

    /// Now, as a time of day.
    pub(super) fn now(&self) -> String {
        self.clock(self.moment())
    }

    /// Now.
    pub(super) fn moment(&self) -> Moment {
        self.clock.now()
    }

    /// `14:02:11`.
    pub(super) fn clock(&self, at: Moment) -> String {
        clock(at, self.clock.now(), &self.zone)
    }

    /// Ends it, when all is told that was found, at the latest after `limit`.
    pub(super) async fn finish(self, limit: std::time::Duration) -> Vec<String> {
        let mut failures = self.failures;
        self.notifier.finish(limit).await;
        let mut told = Vec::new();
        while let Ok(failure) = failures.try_recv() {
            told.push(failure);
        }
        told
    }
}

/// Why a retry is not sent without the operator, if it is not.
fn held_back(plan: &Plan) -> Option<String> {
    let dangers: Vec<String> = plan.dangers.iter().map(|danger| danger.sentence()).collect();
    (!dangers.is_empty()).then(|| {
        format!(
            "{} owed a key answer again, and get it by hand only: {}",
            Count(plan.puts(), "site"),
            dangers.join("; ")
        )
    })
}
