use std::fmt;
use std::sync::Arc;

use sqlx::{Connection, PgConnection, PgPool, Postgres, Row, Transaction};
use tokio::runtime::Handle;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::sync::oneshot;

use super::asking::{Asking, READ_LIMIT, ask};
use super::columns::{Result as Asked, number, numbers};
use super::hands::{ChunkTurn, chunk_id};
use super::schema::TABLES;
use super::session::{Failure, Lives, are_ours, enter, halts};
use super::writer::{Job, Turn, Writer, in_time};
use super::{Shared, crew, gone, known, news, queued};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::site::SiteUrl;
use crate::store::left::no_right;
use crate::store::workers::{ChunkId, Heard, NewChunk, ToCome, Workers};
use crate::store::{Newest, RunId, StoreError};
use crate::text::CleanText;

impl Writer {
    /// All of it in one transaction, with its jobs; what was handed over already is passed over. However many they are, the
    /// server is asked as often: its way may be long, and meanwhile nothing else is written.
    pub(super) async fn hand_over(&mut self, chunks: &[NewChunk]) -> Result<(), StoreError> {
        let mut session = self.ready().await?;
        let epoch = |chunk: &NewChunk| {
            let run = chunk.id.run;
            let work = self.works.get(&run);
            work.map(|work| work.epoch)
                .ok_or_else(|| Failure::Refused(no_right(run)))
        };
        let epochs: Result<Vec<i64>, Failure> = chunks.iter().map(epoch).collect();
        let handing = async {
            let (mut change, _) = enter(&mut session.conn, &self.entry()).await?;
            queued::keep_queues(&mut change).await?;
            let new = insert(&mut change, chunks, epochs?).await?;
            queued::enqueue(&mut change, columns_of(&new)).await?;
            change.commit().await?;
            Ok(())
        };
        let handed = in_time(handing).await;
        self.done(session, handed)
    }

    pub(super) async fn let_send(&mut self, run: RunId, may: bool) -> Result<(), StoreError> {
        let mut session = self.ready().await?;
        let Some(epoch) = self.works.get(&run).map(|work| work.epoch) else {
            self.session = Some(session);
            return Ok(());
        };
        let telling = async {
            let (mut change, _) = enter(&mut session.conn, &self.entry()).await?;
            if !may {
                halts(&mut change, run).await?;
            }
            sqlx::query("UPDATE runs SET held = NOT $2 WHERE id = $1 AND epoch = $3")
                .bind(number(run))
                .bind(may)
                .bind(epoch)
                .execute(&mut *change)
                .await?;
            change.commit().await?;
            Ok(())
        };
        let told = in_time(telling).await;
        self.done(session, told)
    }
}

/// Those of them that are new. `epochs` are those of their runs.
async fn insert(conn: &mut PgConnection, chunks: &[NewChunk], epochs: Vec<i64>) -> Asked<Vec<ChunkId>> {
    let (runs, numbers) = columns_of(chunks.iter().map(|chunk| &chunk.id));
    let waves = chunks
        .iter()
        .map(|chunk| i64::try_from(chunk.wave).unwrap_or_default());
    let sites = (1_i64..).zip(chunks);
    let sites =
        sites.flat_map(|(place, chunk)| chunk.sites.iter().map(move |site| (place, site.to_string())));
    let (places, urls): (Vec<i64>, Vec<String>) = sites.unzip();
    let rows = sqlx::query(
        "WITH of_chunk AS (SELECT o.chunk, array_agg(s.id ORDER BY o.place) AS sites \
         FROM unnest($7::bigint[], $8::text[]) WITH ORDINALITY o (chunk, url, place) JOIN sites s ON s.url = o.url \
         GROUP BY o.chunk) \
         INSERT INTO chunks (run, chunk, wave, puts, run_epoch, backend, sites) \
         SELECT n.run, n.chunk, n.wave, n.puts, n.run_epoch, n.backend, of_chunk.sites \
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bool[], $5::bigint[], $6::text[]) \
         WITH ORDINALITY n (run, chunk, wave, puts, run_epoch, backend, place) \
         LEFT JOIN of_chunk ON of_chunk.chunk = n.place ORDER BY n.place \
         ON CONFLICT DO NOTHING RETURNING run, chunk",
    )
    .bind(runs)
    .bind(numbers)
    .bind(waves.collect::<Vec<_>>())
    .bind(chunks.iter().map(|chunk| chunk.puts).collect::<Vec<_>>())
    .bind(epochs)
    .bind(chunks.iter().map(|chunk| chunk.backend.to_string()).collect::<Vec<_>>())
    .bind(places)
    .bind(urls)
    .fetch_all(conn)
    .await?;
    rows.iter().map(chunk_id).collect()
}

/// The workers of a store in `PostgreSQL`, for who coordinates runs there.
pub(super) struct PgWorkers {
    /// The store ends with its own end of it.
    jobs: WeakUnboundedSender<Job>,
    runtime: Handle,
    pool: PgPool,
    shared: Arc<Shared>,
}

impl fmt::Debug for PgWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgWorkers").finish_non_exhaustive()
    }
}

impl PgWorkers {
    pub(super) fn new(
        jobs: WeakUnboundedSender<Job>,
        runtime: Handle,
        pool: PgPool,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            jobs,
            runtime,
            pool,
            shared,
        }
    }

    async fn turn<T>(
        &self,
        turn: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> ChunkTurn,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        if let Some(jobs) = self.jobs.upgrade() {
            let _gone = jobs.send(Job::Turn(Turn::Chunk(turn(reply))));
        }
        done.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl for<'a> FnOnce(&'a mut PgConnection, &'a Shared) -> Asking<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask((&self.runtime, &self.pool, &self.shared), READ_LIMIT, question).await
    }
}

impl Workers for PgWorkers {
    fn last_chunk(&self, run: RunId) -> ToCome<'_, u64> {
        Box::pin(self.ask(move |conn, _| {
            Box::pin(async move {
                let last: i64 =
                    sqlx::query_scalar("SELECT coalesce(max(chunk), 0) FROM chunks WHERE run = $1")
                        .bind(number(run))
                        .fetch_one(conn)
                        .await?;
                Ok(last.cast_unsigned())
            })
        }))
    }

    fn hand_over<'a>(&'a self, chunks: &'a [NewChunk]) -> ToCome<'a, ()> {
        Box::pin(self.turn(|reply| ChunkTurn::HandOver(chunks.to_vec(), reply)))
    }

    fn let_send(&self, run: RunId, may: bool) -> ToCome<'_, ()> {
        Box::pin(self.turn(move |reply| ChunkTurn::LetSend(run, may, reply)))
    }

    fn heard<'a>(&'a self, known: &'a [ChunkId], policy: &'a Policy, now: Moment) -> ToCome<'a, Heard> {
        let question = Question {
            own: self.shared.own(),
            known: known.to_vec(),
            policy: policy.clone(),
        };
        let (own, policy) = (question.own.clone(), policy.clone());
        Box::pin(async move {
            let hearing = self.ask(move |conn, shared| Box::pin(heard(conn, shared, question)));
            let (mut heard, back) = hearing.await?;
            if back.is_empty() {
                return Ok(heard);
            }
            let reading = self.ask(move |conn, shared| {
                Box::pin(async move { Ok(with_what_is_known(conn, shared, &own, back, &policy, now).await?) })
            });
            match reading.await {
                Ok(back) => heard.back = back,
                // The news are told once: they must not go with it. What was given back is told of again.
                Err(error) if !heard.news.is_empty() => {
                    tracing::warn!(%error, "what is on record of sites that workers gave back is not read");
                }
                Err(error) => return Err(error),
            }
            Ok(heard)
        })
    }

    fn mend<'a>(&'a self, chunks: &'a [ChunkId]) -> ToCome<'a, Vec<ChunkId>> {
        let (chunks, own) = (chunks.to_vec(), self.shared.own());
        Box::pin(self.ask(move |conn, _| Box::pin(mend(conn, own, chunks))))
    }

    fn living(&self) -> ToCome<'_, Vec<CleanText>> {
        Box::pin(self.ask(|conn, _| Box::pin(async move { Ok(crew::living(conn).await?) })))
    }

    fn known<'a>(&'a self, sites: &'a [SiteUrl], policy: &'a Policy, now: Moment) -> ToCome<'a, Vec<Newest>> {
        let (sites, policy, own) = (sites.to_vec(), policy.clone(), self.shared.own());
        Box::pin(self.ask(move |conn, shared| {
            Box::pin(async move {
                let lives = Lives::read(conn, shared.place.class).await?.without(&own);
                Ok(known_of(conn, shared, &lives, &sites, &policy, now).await?)
            })
        }))
    }
}

/// What is asked of the workers.
struct Question {
    /// The runs of this process.
    own: Vec<RunId>,
    known: Vec<ChunkId>,
    policy: Policy,
}

/// A chunk that was given back, with its sites.
type GivenBack = (ChunkId, Vec<SiteUrl>);

/// What was heard, but for what is on record of the chunks that were given back.
async fn heard(
    conn: &mut PgConnection,
    shared: &Shared,
    question: Question,
) -> Result<(Heard, Vec<GivenBack>), Failure> {
    let Question { own, known, policy } = question;
    if own.is_empty() {
        return Ok((Heard::default(), Vec::new()));
    }
    let mut change = shares_tables(conn).await?;
    is_known(&mut change, &known).await?;
    take_back(&mut change, &own).await?;
    // Before what they have told: what a worker did with a chunk is on record when it gives that back.
    let back = given_back(&mut change, &own).await?;
    let news = news::take(&mut change, shared.boot, &policy, &own).await?;
    let workers = crew::busy(&mut change, &own).await?;
    change.commit().await?;
    let heard = Heard {
        news,
        back: Vec::new(),
        workers,
        own,
    };
    Ok((heard, back))
}

async fn mend(
    conn: &mut PgConnection,
    own: Vec<RunId>,
    chunks: Vec<ChunkId>,
) -> Result<Vec<ChunkId>, Failure> {
    let mut change = shares_tables(conn).await?;
    queued::mend(&mut change, &own).await?;
    let (runs, numbers) = columns_of(&chunks);
    let lost = sqlx::query(
        "SELECT asked.run, asked.chunk FROM unnest($1::bigint[], $2::bigint[]) asked (run, chunk) \
         WHERE NOT EXISTS (SELECT 1 FROM chunks c WHERE c.run = asked.run AND c.chunk = asked.chunk)",
    )
    .bind(runs)
    .bind(numbers)
    .fetch_all(&mut *change)
    .await?;
    change.commit().await?;
    lost.iter().map(|row| Ok(chunk_id(row)?)).collect()
}

/// Begins a transaction in which the tables are of this program's version.
async fn shares_tables(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, Failure> {
    let mut change = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
        .bind(TABLES)
        .execute(&mut *change)
        .await?;
    are_ours(&mut change).await?;
    Ok(change)
}

/// As arrays, for `unnest`.
fn columns_of<'a>(chunks: impl IntoIterator<Item = &'a ChunkId>) -> (Vec<i64>, Vec<i64>) {
    let column = |id: &ChunkId| (number(id.run), id.number.cast_signed());
    chunks.into_iter().map(column).unzip()
}

async fn is_known(conn: &mut PgConnection, known: &[ChunkId]) -> Asked<()> {
    if known.is_empty() {
        return Ok(());
    }
    let (runs, numbers) = columns_of(known);
    sqlx::query(
        "UPDATE chunks c SET told = true FROM unnest($1::bigint[], $2::bigint[]) known (run, chunk) \
         WHERE c.run = known.run AND c.chunk = known.chunk",
    )
    .bind(runs)
    .bind(numbers)
    .execute(conn)
    .await
    .map(drop)
}

/// While a run is held, what of it waits for a PUT and nobody has begun with is nobody's to begin with; so is what a
/// worker has left that is gone, once no PUT of it can be out.
async fn take_back(conn: &mut PgConnection, own: &[RunId]) -> Asked<()> {
    sqlx::query(
        "UPDATE chunks c SET done = true, epoch = c.epoch + 1 FROM runs r WHERE r.id = c.run AND r.held \
         AND c.run = ANY($1) AND c.puts AND NOT c.done AND NOT EXISTS (SELECT 1 FROM processes p \
         WHERE p.id = c.works_process AND p.until > clock_timestamp())",
    )
    .bind(numbers(own))
    .execute(&mut *conn)
    .await?;
    queued::end_all(conn, own).await
}

/// The chunks that were given back and nobody knows of.
async fn given_back(conn: &mut PgConnection, own: &[RunId]) -> Asked<Vec<GivenBack>> {
    let rows = sqlx::query(
        "SELECT c.run, c.chunk, array_agg(s.url ORDER BY s.id) AS urls FROM chunks c JOIN sites s ON s.id = ANY(c.sites) \
         WHERE c.run = ANY($1) AND c.done AND NOT c.told GROUP BY c.run, c.chunk ORDER BY c.run, c.chunk",
    )
    .bind(numbers(own))
    .fetch_all(conn)
    .await?;
    let mut back = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = chunk_id(row)?;
        let urls: Vec<String> = row.try_get("urls")?;
        back.push((
            id,
            urls.iter().filter_map(|url| SiteUrl::parse(url).ok()).collect(),
        ));
    }
    Ok(back)
}

/// What is on record of these sites.
async fn known_of(
    conn: &mut PgConnection,
    shared: &Shared,
    lives: &Lives,
    sites: &[SiteUrl],
    policy: &Policy,
    now: Moment,
) -> Asked<Vec<Newest>> {
    let mut moment = conn
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let mut newest = vec![Newest::default(); sites.len()];
    for known in known::known(&mut moment, lives, shared.boot, shared.since(now), sites).await? {
        if let Some(place) = newest.get_mut(known.index) {
            *place = known.kept.newest(known.version, policy, now);
        }
    }
    moment.commit().await?;
    Ok(newest)
}

/// What is on record of the sites of chunks: what this process works on is like what the dead have left.
async fn with_what_is_known(
    conn: &mut PgConnection,
    shared: &Shared,
    own: &[RunId],
    back: Vec<GivenBack>,
    policy: &Policy,
    now: Moment,
) -> Asked<Vec<(ChunkId, Vec<(SiteUrl, Newest)>)>> {
    let lives = Lives::read(conn, shared.place.class).await?.without(own);
    let all: Vec<SiteUrl> = back.iter().flat_map(|(_, sites)| sites).cloned().collect();
    let newest = known_of(conn, shared, &lives, &all, policy, now).await?;
    let mut newest = newest.into_iter();
    let with = |(id, sites): GivenBack| {
        let known = sites.into_iter().zip(newest.by_ref()).collect();
        (id, known)
    };
    Ok(back.into_iter().map(with).collect())
}
