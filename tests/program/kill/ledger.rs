use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stripe_propagate::demo::record::Record;
use stripe_propagate::engine::Clock;
use stripe_propagate::rules::state::SiteState;
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::rules::tally::{Ending, Tally};
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{Operator, Request, RunId, RunRecord, RunSite, Store, StoredAttempt};

use super::floor::{Floor, PATIENCE};

/// Runs, attempts: more than any test makes.
const ALL: usize = 10_000;

/// All that is on record of the newest run, and what the fleet saw.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) runs: Vec<RunRecord>,
    pub(crate) rows: Vec<RunSite>,
    pub(crate) attempts: Vec<StoredAttempt>,
    pub(crate) known: Vec<SiteState>,
    pub(crate) seen: Record,
    sites: Vec<SiteUrl>,
}

impl Ledger {
    /// As it stands; nothing is on its way to a site.
    pub(crate) fn of(floor: &Floor) -> Self {
        floor.comes_to_rest();
        Self::of_store(floor)
    }

    /// As it stands, while something goes on.
    pub(crate) fn of_store(floor: &Floor) -> Self {
        let mut ledger = Self {
            runs: Vec::new(),
            rows: Vec::new(),
            attempts: Vec::new(),
            known: Vec::new(),
            seen: floor.stage.fleet.record(),
            sites: floor.config.sites.iter().map(|site| site.url.clone()).collect(),
        };
        if floor.store_file().exists() {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(ledger.read(floor));
        }
        ledger
    }

    /// Waits until what is on record is so.
    pub(crate) fn until(floor: &Floor, is_so: impl Fn(&Self) -> bool) -> Self {
        let begin = Instant::now();
        loop {
            let ledger = Self::of_store(floor);
            if is_so(&ledger) {
                return ledger;
            }
            assert!(begin.elapsed() < PATIENCE, "{ledger:#?}");
            // Nobody tells when another process has written.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn read(&mut self, floor: &Floor) {
        let db = SqliteStore::open(&floor.store_file(), Operator::default()).unwrap();
        self.runs = db.runs(ALL).await.unwrap();
        let policy = floor.config.policy();
        let now = Clock::start().now();
        let known = db.last_known(&self.sites, &policy, now).await.unwrap();
        self.known = known.into_iter().map(|newest| newest.state).collect();
        if let Some(run) = self.runs.first() {
            self.rows = db.run_sites(run.id).await.unwrap();
            self.attempts = db.attempts(Some(run.id), None, ALL).await.unwrap();
        }
    }

    pub(crate) fn row(&self, site: usize) -> &RunSite {
        let url = &self.sites[site];
        self.rows.iter().find(|row| row.planned.site == *url).unwrap()
    }

    /// The PUTs to a site that are on record.
    pub(crate) fn puts(&self, site: usize) -> Vec<&StoredAttempt> {
        let url = &self.sites[site];
        let is_put = |attempt: &&StoredAttempt| attempt.site == *url && attempt.request == Request::Put;
        self.attempts.iter().filter(is_put).collect()
    }

    /// No site got a PUT that is not on record, with its key, and none is called verified that does not serve it.
    pub(crate) fn tells_the_truth(&self, floor: &Floor) {
        for site in 0..self.sites.len() {
            let name = floor.name(site);
            let took = self.seen.puts(site);
            if took.is_empty() {
                continue;
            }
            let intents = self.puts(site).len();
            assert!(took.len() <= intents, "{name} took {took:?}, intents: {intents}");
            let key = self.row(site).planned.key.as_str();
            for put in took {
                assert_eq!(put.value.as_deref(), Some(key), "{name}");
            }
            let words = [self.row(site).verify, self.known[site].verify];
            if words.contains(&Verify::Verified) {
                assert!(
                    floor.serves_the_key(site),
                    "{name} is called verified and serves {:?}",
                    floor.stage.fleet.serves_now(site)
                );
            }
        }
    }

    /// The sites that need no more PUTs, with how many they had: success is on record, or what was sent and not
    /// answered has arrived.
    pub(crate) fn need_no_put(&self, floor: &Floor) -> BTreeMap<usize, usize> {
        if self.runs.is_empty() {
            return BTreeMap::new();
        }
        let is_done = |site: &usize| {
            let stored = |put: &&StoredAttempt| put.ended && put.cause.is_none();
            let unknown = matches!(self.known[*site].push, Push::Unknown(_));
            self.puts(*site).iter().any(stored) || (unknown && floor.serves_the_key(*site))
        };
        let sites = (0..self.sites.len()).filter(is_done);
        sites.map(|site| (site, self.seen.puts(site).len())).collect()
    }

    /// The run has ended; each site of the plan has its last word, and each PUT its own number.
    pub(crate) fn is_complete(&self, floor: &Floor) {
        let [run] = &self.runs[..] else {
            panic!("{:?}", self.runs)
        };
        assert_eq!(run.id, RunId(1));
        assert!(run.sent.is_some() && run.ended.is_some(), "{run:?}");
        assert!(!run.closed && !run.live, "{run:?}");
        assert_eq!(
            (run.sites(), self.rows.len()),
            (self.sites.len(), self.sites.len())
        );
        for site in 0..self.sites.len() {
            let (name, row, known) = (floor.name(site), self.row(site), &self.known[site]);
            assert!(!row.push.is_open() && row.push != Push::Idle, "{name}: {row:?}");
            let waits = [
                Verify::Queued,
                Verify::Checking,
                Verify::Serving,
                Verify::Settling,
            ];
            assert!(
                !waits.contains(&row.verify) && row.at.is_some(),
                "{name}: {row:?}"
            );
            assert!(!known.is_busy(), "{name}: {known:?}");
            assert_eq!((row.push, row.verify), (known.push, known.verify), "{name}");
            let puts = self.puts(site);
            let numbers: Vec<u32> = puts.iter().map(|put| put.number).collect();
            let in_order: Vec<u32> = (1..).take(puts.len()).collect();
            assert_eq!(numbers, in_order, "{name}: {puts:#?}");
            assert_eq!(row.puts as usize, puts.len(), "{name}");
        }
    }

    /// How each site ended.
    pub(crate) fn words(&self) -> Vec<(&'static str, &'static str)> {
        let words = |site| {
            let row = self.row(site);
            (row.push.look().word, row.verify.look().word)
        };
        (0..self.sites.len()).map(words).collect()
    }

    /// The exit status that goes with it.
    pub(crate) fn status(&self) -> i32 {
        let tally = Tally::of(&self.known);
        assert_eq!(tally.ending(Ending::Open) + tally.ending(Ending::Waits), 0);
        i32::from(tally.ending(Ending::Bad) > 0)
    }
}
