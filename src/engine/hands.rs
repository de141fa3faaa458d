use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::{Clock, Level, Settings};
use crate::rules::moment::Moment;
use crate::rules::strange::Strange;
use crate::site::{MasterKeyId, Site, SiteId, SiteUrl};
use crate::store::workers::News;
use crate::store::{Newest, RunId, Store, StoreError};
use crate::text::CleanText;

/// Speaks to the workers, so that the engine waits for none of it.
mod carrier;
/// Workers of which nothing is heard. Pure.
mod silence;
pub(super) use carrier::Part;
use carrier::carry;
/// Says whether runs may send.
mod words;
use words::{Held, Words, say};

/// How long is waited behind a failure, and how many are borne of a store that is reached.
const BETWEEN: Duration = Duration::from_secs(1);
const FAILURES: usize = 5;
/// So long a look that is due waits for others of its backend.
pub(super) const GATHER: Duration = Duration::from_secs(1);

/// What the workers have of a site: nothing of it goes on here until they give it back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed {
    /// In which run.
    pub(super) run: RunId,
    /// Whether its PUT is to come.
    pub(super) puts: bool,
    /// Whether that is on its way to them: until then it is gathered.
    pub(super) is_sent: bool,
    /// How many words the workers had by then.
    pub(super) words: u32,
}

/// How many sites workers have, run by run: those with a PUT to come, and all.
#[derive(Debug, Default)]
pub(super) struct Out(HashMap<RunId, (usize, usize)>);

impl Out {
    /// What workers have of a site changes.
    pub(super) fn changes(&mut self, before: Option<Handed>, after: Option<Handed>) {
        if let Some(after) = after {
            let (puts, all) = self.0.entry(after.run).or_default();
            (*puts, *all) = (*puts + usize::from(after.puts), *all + 1);
        }
        if let Some(before) = before
            && let Some((puts, all)) = self.0.get_mut(&before.run)
        {
            (*puts, *all) = (*puts - usize::from(before.puts), *all - 1);
            if *all == 0 {
                self.0.remove(&before.run);
            }
        }
    }

    /// Whether they have any site with a PUT to come.
    pub(super) fn puts(&self) -> bool {
        self.0.values().any(|(puts, _)| *puts > 0)
    }

    /// Whether they have anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they have anything of this run.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.0.contains_key(&run)
    }
}

/// What is heard of the workers.
pub(super) enum Told {
    /// One has done something.
    News(News),
    /// What of a run was given back, and what is on record of it.
    Back(RunId, Vec<(SiteUrl, Newest)>),
    /// Another process works on the run meanwhile: what is on record of the sites that workers had, or were to get.
    TakenUp(RunId, Vec<(SiteUrl, Newest)>),
    /// They could not be given these.
    Refused(Part, StoreError),
    /// They could not be told yet whether the run may send.
    Unheard(StoreError),
    /// Now they could, after all: whether it may.
    HeardAtLast(RunId, bool),
    /// What they did could not be heard of, again and again.
    Deaf(StoreError),
    /// Now it could, after all.
    HearsAgain,
    /// Something waits for a worker, and none is there.
    Idle,
    /// A worker was lost, or is back: the sentence for it.
    Silence(Level, String),
}

/// Sites that workers have given back since their own master key was refused, while that of another was taken, or
/// unsent for reasons of their own.
#[derive(Debug, Default)]
pub(super) struct Unasked {
    pub(super) came_back: Vec<SiteId>,
    /// Of which master keys that was told.
    pub(super) told: BTreeSet<MasterKeyId>,
    /// Those that came back unsent again and again, and whether that was told.
    pub(super) unsent: Vec<SiteId>,
    pub(super) is_unsent_told: bool,
}

impl Unasked {
    /// A worker has not asked it.
    pub(super) fn add(&mut self, site: SiteId) {
        self.came_back.push(site);
    }

    /// Somebody has decided what becomes of sites with this key.
    pub(super) fn forget(&mut self, key: MasterKeyId) {
        self.told.remove(&key);
    }
}

/// The workers, as who coordinates their runs knows them.
pub(super) struct Hands {
    pub(super) parts: UnboundedSender<Part>,
    /// Whether a run may send, with the number of the word: it goes beside what is to be handed over.
    lets: UnboundedSender<(RunId, bool, u32)>,
    held: Arc<watch::Sender<Held>>,
    pub(super) told: UnboundedReceiver<Told>,
    pub(super) places: HashMap<SiteUrl, SiteId>,
    /// The runs that this engine has begun or taken up.
    pub(super) runs: HashSet<RunId>,
    /// To be handed over: sites with a PUT to come, and those with a look, with when that was due first.
    pub(super) puts: Vec<SiteId>,
    pub(super) looks: Vec<SiteId>,
    pub(super) looks_since: Option<Moment>,
    /// Sites with a PUT to come that wait until all are back.
    pub(super) aside: Vec<SiteId>,
    /// What workers have: [`Slot::set_handed`](super::slot::Slot::set_handed) counts it.
    pub(super) out: Out,
    /// Whether the workers were told that they may send, and how often they were told something.
    pub(super) may_send: bool,
    pub(super) words: u32,
    /// Since when the engine ends, if it does.
    pub(super) stopping_since: Option<Moment>,
    /// Whether all is to come back before anything else is handed over.
    pub(super) recalled: bool,
    /// On which machines the workers are whose master key a site has refused.
    pub(super) refused_by: BTreeMap<MasterKeyId, BTreeSet<CleanText>>,
    /// Sites that came back since a worker does not know them, with which worker; and all of them.
    pub(super) came_back_strange: Vec<(SiteId, CleanText)>,
    pub(super) strange: BTreeMap<(RunId, CleanText), Strange>,
    pub(super) unasked: Unasked,
}

impl Hands {
    /// Those of this store, if it has any.
    pub(super) fn of(store: &impl Store, sites: &[Site], settings: &Settings, clock: Clock) -> Option<Self> {
        let workers = store.workers()?;
        let (parts, to_hand_over) = unbounded_channel();
        let (lets, to_let) = unbounded_channel();
        let (tell, told) = unbounded_channel();
        let (held, known_held) = watch::channel(Held::default());
        let held = Arc::new(held);
        let carrier = carrier::Carrier::new(
            Arc::clone(&workers),
            (store.others(), store.trouble()),
            known_held,
            (settings.policy.clone(), clock),
            tell.clone(),
        );
        let words = Words {
            workers,
            trouble: store.trouble(),
            tell,
            held: Arc::clone(&held),
        };
        tokio::spawn(carry(carrier, to_hand_over));
        tokio::spawn(say(words, to_let));
        Some(Self {
            parts,
            lets,
            held,
            told,
            places: (0..)
                .map(SiteId)
                .zip(sites)
                .map(|(id, site)| (site.url.clone(), id))
                .collect(),
            runs: HashSet::new(),
            puts: Vec::new(),
            looks: Vec::new(),
            looks_since: None,
            aside: Vec::new(),
            out: Out::default(),
            may_send: true,
            words: 0,
            stopping_since: None,
            recalled: false,
            refused_by: BTreeMap::new(),
            came_back_strange: Vec::new(),
            strange: BTreeMap::new(),
            unasked: Unasked::default(),
        })
    }

    /// The workers are to know whether the run may send; until then nothing more of it is handed over.
    pub(super) fn says(&mut self, run: RunId, may: bool) {
        self.words = self.words.wrapping_add(1);
        let number = self.words;
        self.held.send_modify(|held| held.is_said(run, may, number));
        // Who carries it ends with the engine.
        let _ended = self.lets.send((run, may, number));
    }

    /// What they tell next; never, where there are none.
    pub(super) async fn next(hands: &mut Option<Self>) -> Told {
        match hands {
            Some(hands) => match hands.told.recv().await {
                Some(told) => told,
                None => pending().await,
            },
            None => pending().await,
        }
    }
}
