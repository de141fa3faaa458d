use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::standings::Standings;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::standing::{Asked, Purpose, Standing};
use crate::site::SiteId;
use crate::store::Store;

/// How long an engine takes what it was told for true before it asks again; that may come out of memory.
const HEARD_FOR: Duration = Duration::from_hours(1);
/// How soon it asks again where Stripe could not be asked.
const AGAIN: Duration = Duration::from_mins(1);
/// Keys that are held in mind at most.
const KEYS: usize = 1000;

/// What was asked and is answered: which key, and what Stripe says of it.
pub(super) type Said = (PublishableKey, Option<Asked>);

/// What an engine has heard of keys. Nothing waits for it.
#[derive(Debug)]
pub(super) struct Heard<Db> {
    /// Who is asked; none asks nothing.
    standings: Option<Arc<Standings<Db>>>,
    keys: HashMap<PublishableKey, Word>,
    asks: JoinSet<Said>,
    /// Keys of the run that nobody has confirmed as dead ones.
    of_run: HashSet<PublishableKey>,
    /// Keys of the run that are being asked of.
    run_asks: HashSet<PublishableKey>,
}

#[derive(Debug, Default)]
struct Word {
    standing: Option<Standing>,
    /// When it is asked again; none while it is being asked.
    again: Option<Moment>,
    /// Sites that a look has shown to serve the key since it is being asked.
    waits: BTreeSet<SiteId>,
}

impl<Db> Default for Heard<Db> {
    fn default() -> Self {
        Self {
            standings: None,
            keys: HashMap::new(),
            asks: JoinSet::new(),
            of_run: HashSet::new(),
            run_asks: HashSet::new(),
        }
    }
}

impl<Db: Store> Heard<Db> {
    /// What Stripe says is asked there.
    pub(super) fn asks(&mut self, standings: Arc<Standings<Db>>) {
        self.standings = Some(standings).filter(|standings| standings.is_asked());
    }

    /// Whether a key of the run is being asked of.
    pub(super) fn is_asking_of_run(&self) -> bool {
        self.is_asking() && !self.run_asks.is_empty()
    }

    /// What Stripe says of a key, as far as was heard.
    pub(super) fn standing(&self, key: &PublishableKey) -> Option<Standing> {
        self.keys.get(key)?.standing
    }

    /// A look has shown that the site serves the key: what Stripe says of that, as far as was heard. If that was not
    /// lately, it is asked, and the site waits for it.
    pub(super) fn of_look(&mut self, site: SiteId, key: &PublishableKey, now: Moment) -> Option<Standing> {
        self.standings.as_ref()?;
        if self.keys.len() >= KEYS && !self.keys.contains_key(key) {
            self.keys.retain(|_, word| word.again.is_none());
        }
        let is_new = !self.keys.contains_key(key);
        let word = self.keys.entry(key.clone()).or_default();
        let standing = word.standing;
        let is_due = is_new || word.again.is_some_and(|again| again <= now);
        if is_due {
            word.again = None;
        }
        if word.again.is_none() {
            word.waits.insert(site);
        }
        if is_due {
            self.ask(key.clone(), Purpose::Fleet);
        }
        standing
    }

    /// Takes in what was answered: what Stripe says, if it could be asked, and the sites that wait for that.
    pub(super) fn take(
        &mut self,
        key: &PublishableKey,
        asked: Option<&Asked>,
        now: Moment,
    ) -> Option<(Standing, BTreeSet<SiteId>)> {
        self.run_asks.remove(key);
        let Some(Ok(standing)) = asked else {
            if let Some(word) = self.keys.get_mut(key) {
                word.again = Some(now + AGAIN);
                word.waits.clear();
            }
            return None;
        };
        let word = self.keys.entry(key.clone()).or_default();
        word.standing = Some(*standing);
        word.again = Some(now + HEARD_FOR);
        Some((*standing, std::mem::take(&mut word.waits)))
    }

    /// These keys go out in the run, and nobody has confirmed them as dead ones.
    pub(super) fn is_sent_by_run(&mut self, keys: HashSet<PublishableKey>) {
        if self.standings.is_some() {
            self.run_asks.clone_from(&keys);
        }
        self.of_run = keys;
    }

    /// Whether a key that is dead goes out in the run, and nobody has confirmed that. It is told once.
    pub(super) fn is_unconfirmed(&mut self, key: &PublishableKey) -> bool {
        self.of_run.remove(key) && !self.is_allowed(key)
    }

    pub(super) fn is_asking(&self) -> bool {
        !self.asks.is_empty()
    }

    /// The next answer; none of a question that came to nothing.
    pub(super) async fn next(&mut self) -> Option<Said> {
        self.asks.join_next().await?.ok()
    }

    /// Asks beside all else.
    pub(super) fn ask(&mut self, key: PublishableKey, purpose: Purpose) {
        let Some(standings) = self.standings.clone() else {
            return;
        };
        self.asks.spawn(async move {
            let asked = standings.of(&key, purpose).await;
            (key, asked)
        });
    }

    /// Whether the operator has said that it goes out, whatever Stripe says of it.
    fn is_allowed(&self, key: &PublishableKey) -> bool {
        self.standings
            .as_ref()
            .is_some_and(|standings| standings.is_allowed(key))
    }

    /// The operator has let the run go on, with what is sent.
    pub(super) fn is_confirmed(&mut self) {
        self.of_run.clear();
    }
}
