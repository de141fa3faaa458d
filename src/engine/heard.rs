use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::standings::Standings;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::standing::{Asked, Purpose, Standing};
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
}

#[derive(Debug, Clone, Copy)]
struct Word {
    standing: Option<Standing>,
    /// When it is asked again; none while it is being asked.
    again: Option<Moment>,
}

impl<Db> Default for Heard<Db> {
    fn default() -> Self {
        Self {
            standings: None,
            keys: HashMap::new(),
            asks: JoinSet::new(),
            of_run: HashSet::new(),
        }
    }
}

impl<Db: Store> Heard<Db> {
    /// What Stripe says is asked there.
    pub(super) fn asks(&mut self, standings: Arc<Standings<Db>>) {
        self.standings = Some(standings).filter(|standings| standings.is_asked());
    }

    /// What Stripe says of a key, as far as was heard.
    pub(super) fn standing(&self, key: &PublishableKey) -> Option<Standing> {
        self.keys.get(key)?.standing
    }

    /// Asks of a key that a site serves, unless it was heard lately or is being asked.
    pub(super) fn ask_if_due(&mut self, key: &PublishableKey, now: Moment) {
        let word = self.keys.get(key).copied();
        if self.standings.is_none() || word.is_some_and(|word| word.again.is_none_or(|again| now < again)) {
            return;
        }
        if self.keys.len() >= KEYS {
            self.keys.retain(|_, word| word.again.is_none());
        }
        let standing = word.and_then(|word| word.standing);
        self.keys.insert(
            key.clone(),
            Word {
                standing,
                again: None,
            },
        );
        self.ask(key.clone(), Purpose::Fleet);
    }

    /// Takes in what was answered; what Stripe says, if it could be asked.
    pub(super) fn take(
        &mut self,
        key: &PublishableKey,
        asked: Option<&Asked>,
        now: Moment,
    ) -> Option<Standing> {
        let Some(Ok(standing)) = asked else {
            if let Some(word) = self.keys.get_mut(key) {
                word.again = Some(now + AGAIN);
            }
            return None;
        };
        let word = Word {
            standing: Some(*standing),
            again: Some(now + HEARD_FOR),
        };
        self.keys.insert(key.clone(), word);
        Some(*standing)
    }

    /// These keys go out in the run, and nobody has confirmed them as dead ones.
    pub(super) fn is_sent_by_run(&mut self, keys: HashSet<PublishableKey>) {
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
