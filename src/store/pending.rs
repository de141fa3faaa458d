use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::rules::moment::Moment;
use crate::site::SiteUrl;
use crate::store::left::Basis;
use crate::store::{Intent, Record, Recorded, RunId, StoreError};

/// So many changes go into one transaction at most.
const BATCH: usize = 4096;
/// How long a record waits for others while a run sends: those of one site then share a transaction, in which the
/// site's rows are read and written once. Nobody waits for it, and what a sudden death takes of it is looked at again.
const HOLD: Duration = Duration::from_millis(40);

/// Something to be written, together with what waits beside it. What tells of a site is worth what the process knew
/// when it handed that over, however late it is written.
#[derive(Debug)]
pub(super) enum Change {
    Intent(Intent, Basis),
    Record(Box<Record>, Basis),
    Sent(RunId, Moment),
    Ended(RunId, Moment),
}

impl Change {
    /// Which site it tells of.
    pub(super) fn site(&self) -> Option<&SiteUrl> {
        match self {
            Self::Intent(intent, _) => Some(&intent.site),
            Self::Record(record, _) => Some(&record.site),
            Self::Sent(..) | Self::Ended(..) => None,
        }
    }
}

/// What came of a change.
#[derive(Debug)]
pub(super) enum Done {
    Recorded(Recorded),
    Sent,
    /// Whether the run has ended.
    Ended(bool),
}

/// What came of a change, once it is durable; or why it was refused.
pub(super) type Answer = Result<Done, StoreError>;

/// Who waits for it.
pub(super) type Reply = oneshot::Sender<Answer>;

/// A change, and who waits for it.
pub(super) type Waiting = (Change, Option<Reply>);

/// What waits to be written, in the order in which it was handed over.
#[derive(Default)]
pub(super) struct Pending {
    waiting: Vec<(Instant, Waiting)>,
    /// When an intent was last among it.
    intended: Option<Instant>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH
    }

    pub(super) fn push(&mut self, change: Change, reply: Reply, now: Instant) {
        if matches!(change, Change::Intent(..)) {
            self.intended = Some(now);
        }
        self.waiting.push((now, (change, Some(reply))));
    }

    /// All of it.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.waiting.drain(..).map(|(_, waiting)| waiting).collect()
    }

    /// What must be written now. What is handed over of one site keeps its order.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waiting> {
        let is_late = |since: &Instant| now.duration_since(*since) >= HOLD;
        let sends = self.intended.is_some_and(|at| !is_late(&at));
        let of_run = |change: &Change| matches!(change, Change::Sent(..) | Change::Ended(..));
        let all = !sends
            || self.is_full()
            || self.waiting.first().is_some_and(|(since, _)| is_late(since))
            || self.waiting.iter().any(|(_, (change, _))| of_run(change));
        if all { self.take() } else { self.take_intents() }
    }

    /// The intents, with what else waits of their sites.
    fn take_intents(&mut self) -> Vec<Waiting> {
        let intents = self.waiting.iter().filter_map(|(_, (change, _))| match change {
            Change::Intent(intent, _) => Some(intent.site.clone()),
            Change::Record(..) | Change::Sent(..) | Change::Ended(..) => None,
        });
        let sites: HashSet<SiteUrl> = intents.collect();
        if sites.is_empty() {
            return Vec::new();
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, (change, _))| change.site().is_some_and(|site| sites.contains(site)));
        self.waiting = later;
        due.into_iter().map(|(_, waiting)| waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::moment::{Moment, ORIGIN};
    use crate::rules::state::SiteState;
    use crate::text::CleanText;

    const RUN: RunId = RunId(1);

    fn at() -> Moment {
        Moment {
            since_start: ORIGIN,
            wall: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn url(name: &str) -> SiteUrl {
        SiteUrl::parse(&format!("https://{name}.example.com")).expect("an address")
    }

    fn record(name: &str) -> Change {
        let record = Record {
            site: url(name),
            at: at(),
            outcome: None,
            state: SiteState::default(),
            note: CleanText::default(),
        };
        Change::Record(Box::new(record), Basis::default())
    }

    fn intent(name: &str) -> Change {
        let key = crate::key::PublishableKey::parse("pk_test_51ExampleExampleExampleKey").expect("a key");
        let intent = Intent {
            run: RUN,
            site: url(name),
            number: 1,
            key,
            at: at(),
        };
        Change::Intent(intent, Basis::default())
    }

    fn hand_over(pending: &mut Pending, changes: impl IntoIterator<Item = Change>, now: Instant) {
        for change in changes {
            pending.push(change, oneshot::channel().0, now);
        }
    }

    /// What is due, in short.
    fn due(pending: &mut Pending, now: Instant) -> Vec<String> {
        let word = |(change, _): &Waiting| match change {
            Change::Intent(intent, _) => format!("intent {}", intent.site.host().replace(".example.com", "")),
            Change::Record(record, _) => record.site.host().replace(".example.com", ""),
            Change::Sent(..) => "sent".to_owned(),
            Change::Ended(..) => "ended".to_owned(),
        };
        pending.take_due(now).iter().map(word).collect()
    }

    #[test]
    fn while_nothing_is_sent_no_record_waits() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        hand_over(&mut pending, [record("a"), record("b")], now);
        assert_eq!(due(&mut pending, now), ["a", "b"]);
        assert!(pending.is_empty());
    }

    #[test]
    fn an_intent_takes_along_what_waits_of_its_site() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let handed = [record("a"), record("b"), intent("a"), record("c"), record("a")];
        hand_over(&mut pending, handed, now);
        assert_eq!(due(&mut pending, now), ["a", "intent a", "a"]);
        assert!(due(&mut pending, now).is_empty());
        assert_eq!(due(&mut pending, now + HOLD), ["b", "c"]);
        // Nothing is sent any more.
        hand_over(&mut pending, [record("a")], now + HOLD);
        assert_eq!(due(&mut pending, now + HOLD), ["a"]);
    }

    #[test]
    fn a_record_waits_so_long_and_no_longer_while_intents_come() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        hand_over(&mut pending, [record("a")], now);
        let soon = now + HOLD / 2;
        hand_over(&mut pending, [intent("b"), record("c")], soon);
        assert_eq!(due(&mut pending, soon), ["intent b"]);
        assert_eq!(due(&mut pending, now + HOLD), ["a", "c"]);
    }

    #[test]
    fn what_tells_of_a_run_comes_behind_all_before_it() {
        for of_run in [Change::Sent(RUN, at()), Change::Ended(RUN, at())] {
            let (mut pending, now) = (Pending::default(), Instant::now());
            hand_over(&mut pending, [record("a"), intent("b"), of_run], now);
            assert_eq!(due(&mut pending, now)[..2], ["a", "intent b"]);
            assert!(pending.is_empty());
        }
    }

    #[test]
    fn what_is_too_much_does_not_wait() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        hand_over(&mut pending, [intent("a")], now);
        hand_over(&mut pending, (1..BATCH).map(|_| record("b")), now);
        assert!(pending.is_full());
        assert_eq!(due(&mut pending, now).len(), BATCH);
    }
}
