use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::batch::{Batch, Decided, Who};
use super::connection::still;
use super::session::{Entry, Failure, Fence, Lives, enter, live};
use super::writer::{Doubt, Writer};
use super::{chunks, known, load, runs, write};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::site::SiteUrl;
use crate::store::left::{Raised, no_right};
use crate::store::pending::{Answer, Change, Done, Waiting};
use crate::store::shared::lock;
use crate::store::{Recorded, RunId};

/// The others are told of changes so often at most: to tell them holds up who tells beside it.
const TELL_EVERY: Duration = Duration::from_millis(200);

impl Writer {
    pub(super) async fn commit(
        &mut self,
        conn: &mut PgConnection,
        segment: &[Waiting],
        committing: &mut Option<Doubt>,
    ) -> Result<(), Failure> {
        let (own, heeds) = (self.own(), self.hands.heeds());
        let shared = Arc::clone(&self.shared);
        let entry = Entry {
            process: shared.place.process,
            batch: Some(self.batch),
            tells: self.is_to_tell(),
            lease: self.lease(),
            runs: &own,
            heeds: &heeds,
        };
        let (mut change, fences) = enter(conn, &entry).await?;
        self.keep_what_is_ours(&fences);
        self.hands.look(&mut change, shared.place.process).await?;
        let policy = lock(&shared.policy).clone();
        let (done, raises) = match segment.first() {
            Some((Change::Sent(run, at), _)) => {
                (vec![self.sent(&mut change, *run, *at).await?], HashMap::new())
            }
            Some((Change::Ended(run, at), _)) => {
                (vec![self.ended(&mut change, *run, *at).await?], HashMap::new())
            }
            _ => self.decide(&mut change, segment, &policy).await?,
        };
        *committing = Some(Doubt {
            batch: self.batch,
            done,
            raises,
        });
        change.commit().await?;
        Ok(())
    }

    /// What several changes come to, and the versions of sites that they raise.
    async fn decide(
        &self,
        change: &mut PgConnection,
        segment: &[Waiting],
        policy: &Policy,
    ) -> Result<(Vec<Answer>, HashMap<i64, Raised>), Failure> {
        let (own, class) = (self.own(), self.shared.place.class);
        let read = load::read(change, class, &own, segment.iter().map(|(change, _)| change)).await?;
        let sends: HashSet<RunId> = self
            .works
            .iter()
            .filter(|(_, work)| work.sends)
            .map(|(run, _)| *run)
            .collect();
        let who = Who {
            policy,
            own: &own,
            sends: &sends,
            hands: &self.hands,
            live: &read.live,
            held: &read.held,
            raised: &self.raised,
        };
        let mut batch = Batch::new(who, read.sites);
        let mut done = Vec::with_capacity(segment.len());
        let mut taken_over = Vec::new();
        for (place, (change, _)) in segment.iter().enumerate() {
            let (decided, site, at, run) = match change {
                Change::Intent(intent, basis) => {
                    let decided = batch.intend(intent, *basis)?;
                    (decided, &intent.site, intent.at, intent.run)
                }
                Change::Record(record, basis) => {
                    let decided = batch.record(record, *basis)?;
                    (decided, &record.site, record.at, RunId(0))
                }
                Change::Sent(..) | Change::Ended(..) => continue,
            };
            if decided == Decided::TakenOver {
                taken_over.push((place, site, at));
            }
            done.push(match decided {
                Decided::Known => Ok(Done::Recorded(Recorded::Known)),
                // What is known in its place is told below.
                Decided::TakenOver => Ok(Done::Recorded(Recorded::TakenOver(Box::default()))),
                Decided::NoRight => Err(no_right(run)),
            });
        }
        write::write(change, self.shared.boot, &batch).await?;
        chunks::tell(change, self.shared.place.process, &batch, &self.hands).await?;
        let raises = std::mem::take(&mut batch.raises);
        self.tell_what_is_known(change, policy, &taken_over, &mut done)
            .await?;
        Ok((done, raises))
    }

    /// What is known of sites in place of what this process thinks. What it works on itself is like what the dead have
    /// left: it begins anew with what they did.
    async fn tell_what_is_known(
        &self,
        change: &mut PgConnection,
        policy: &Policy,
        taken_over: &[(usize, &SiteUrl, Moment)],
        done: &mut [Answer],
    ) -> Result<(), Failure> {
        let Some((.., at)) = taken_over.first() else {
            return Ok(());
        };
        let (boot, since) = (self.shared.boot, self.shared.since(*at));
        let lives = Lives::read(change, self.shared.place.class).await?;
        let lives = lives.without(&self.own());
        let sites = taken_over.iter().map(|(_, site, _)| *site);
        for known in known::known(change, &lives, boot, since, sites).await? {
            if let Some((place, _, at)) = taken_over.get(known.index) {
                let newest = known.kept.newest(known.version, policy, *at);
                done[*place] = Ok(Done::Recorded(Recorded::TakenOver(Box::new(newest))));
            }
        }
        Ok(())
    }

    async fn sent(&self, change: &mut PgConnection, run: RunId, at: Moment) -> Result<Answer, Failure> {
        if !self.works.contains_key(&run) {
            return Ok(Err(no_right(run)));
        }
        runs::sent(change, self.shared.boot, run, at).await?;
        Ok(Ok(Done::Sent))
    }

    async fn ended(&self, change: &mut PgConnection, run: RunId, at: Moment) -> Result<Answer, Failure> {
        let own = self.own();
        runs::hold(change, run).await?;
        let is_anothers = !own.contains(&run) && live(change, self.shared.place.class).await?.contains(&run);
        let ended = !is_anothers && runs::end(change, self.shared.boot, &own, run, at).await?;
        Ok(Ok(Done::Ended(ended)))
    }

    /// The runs of which another process has taken nothing.
    fn keep_what_is_ours(&mut self, fences: &BTreeMap<RunId, Fence>) {
        let before = self.works.len();
        self.works = std::mem::take(&mut self.works)
            .into_iter()
            .filter_map(|(run, work)| Some((run, still(work, fences.get(&run))?)))
            .collect();
        if self.works.len() != before {
            self.shared.works_on(self.own());
        }
    }

    /// Whether it is time to tell the others.
    fn is_to_tell(&mut self) -> bool {
        let now = Instant::now();
        let tells = self
            .told
            .is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if tells {
            self.told = Some(now);
        }
        tells
    }
}
