use std::sync::Arc;

use sqlx::{PgConnection, Row};

use super::batch::Batch;
use super::columns::{Result as Asked, key, moment, number, numbers, text, url, value};
use super::fault::fault;
use super::hands::{ChunkTurn, Hand, Hands};
use super::queued;
use super::session::{Failure, enter};
use super::writer::{Writer, in_time};
use crate::site::SiteUrl;
use crate::store::workers::{ChunkId, Take, TakenChunk};
use crate::store::{RunId, StoreError};

/// Tells the coordinators what a batch says of sites that this process has of them.
pub(super) async fn tell(
    conn: &mut PgConnection,
    process: i64,
    batch: &Batch<'_>,
    hands: &Hands,
) -> Asked<()> {
    let runs: Vec<i64> = numbers(&hands.runs());
    let of_chunks = batch.attempts.iter();
    let told: Vec<_> = of_chunks
        .filter(|attempt| attempt.run.is_some_and(|run| runs.contains(&run)))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let outcomes = told.iter().map(|attempt| attempt.outcome);
    let outcomes: Vec<Option<String>> = outcomes
        .map(|outcome| outcome.map(super::news::written).transpose())
        .collect::<Asked<_>>()?;
    sqlx::query(
        "INSERT INTO chunk_news (run, site, outcome, process) \
         SELECT told.run, told.site, told.outcome, $4 FROM unnest($1::bigint[], $2::bigint[], $3::text[]) \
         WITH ORDINALITY told (run, site, outcome, place) ORDER BY told.place",
    )
    .bind(told.iter().map(|attempt| attempt.run).collect::<Vec<_>>())
    .bind(told.iter().map(|attempt| attempt.site).collect::<Vec<_>>())
    .bind(outcomes)
    .bind(process)
    .execute(conn)
    .await
    .map(drop)
}

impl Writer {
    pub(super) async fn take_chunk_turn(&mut self, turn: ChunkTurn) {
        match turn {
            ChunkTurn::TakesWork(reply) => {
                let told = self.takes_work().await;
                let _nobody_waits = reply.send(told);
            }
            ChunkTurn::Take(id, reply) => {
                let taken = self.take_chunk(id).await;
                let _nobody_waits = reply.send(taken);
            }
            ChunkTurn::GiveBack(id, reply) => {
                let given = self.give_back(id).await;
                let _nobody_waits = reply.send(given);
            }
            ChunkTurn::HandOver(chunks, reply) => {
                let handed = self.hand_over(&chunks).await;
                let _nobody_waits = reply.send(handed);
            }
            ChunkTurn::LetSend(run, may, reply) => {
                let told = self.let_send(run, may).await;
                let _nobody_waits = reply.send(told);
            }
        }
    }

    async fn takes_work(&mut self) -> Result<(), StoreError> {
        self.takes_work = true;
        let mut session = self.ready().await?;
        let process = self.shared.place.process;
        let telling = async {
            let (mut change, _) = enter(&mut session.conn, &self.entry()).await?;
            sqlx::query("UPDATE processes SET takes_work = true WHERE id = $1")
                .bind(process)
                .execute(&mut *change)
                .await?;
            change.commit().await?;
            Ok(())
        };
        let told = in_time(telling).await;
        self.done(session, told)
    }

    async fn take_chunk(&mut self, id: ChunkId) -> Result<Take, StoreError> {
        let mut session = self.ready().await?;
        let taken = in_time(self.try_take(&mut session.conn, id)).await;
        let (take, epoch) = self.done(session, taken)?;
        if let Take::Taken(chunk) = &take {
            let sites = chunk.sites.iter().map(|(site, _)| site.clone()).collect();
            let hand = Hand {
                epoch,
                may_send: true,
                sites,
            };
            self.hands.0.insert(id, hand);
            self.shared.works_on(self.own());
        }
        Ok(take)
    }

    async fn try_take(&self, conn: &mut PgConnection, id: ChunkId) -> Result<(Take, i64), Failure> {
        let shared = Arc::clone(&self.shared);
        let (mut change, _) = enter(conn, &self.entry()).await?;
        alone_at_the_backend(&mut change, id).await?;
        let row = sqlx::query(
            "SELECT c.done OR c.run_epoch <> r.epoch OR r.ended_wall IS NOT NULL AS over, c.wave, c.puts, c.sites, \
             r.kind, r.key, r.began_ns, r.began_wall, r.began_boot \
             FROM chunks c JOIN runs r ON r.id = c.run WHERE c.run = $1 AND c.chunk = $2 FOR NO KEY UPDATE OF c",
        )
        .bind(number(id.run))
        .bind(id.number.cast_signed())
        .fetch_optional(&mut *change)
        .await?;
        let Some(row) = row else {
            return Ok((Take::Over, 0));
        };
        if row.try_get("over")? {
            is_done(&mut change, id).await?;
            change.commit().await?;
            drop_empty(conn, id).await;
            return Ok((Take::Over, 0));
        }
        let held = free_in(&mut change, shared.place.process, id).await?;
        if held > 0 {
            // A PUT of who has it may be out.
            return Ok((Take::Held(held), 0));
        }
        let epoch = take(&mut change, shared.place.process, id).await?;
        let began = moment(&row, "began")?.map(|began| began.here(shared.boot));
        let chunk = TakenChunk {
            puts: row.try_get("puts")?,
            kind: value(&row, "kind")?,
            key: key(&row, "key")?,
            began: began.unwrap_or_else(super::columns::now),
            wave: usize::try_from(row.try_get::<i64, _>("wave")?).unwrap_or_default(),
            sites: sites_of(&mut change, id.run, row.try_get("sites")?).await?,
        };
        change.commit().await?;
        Ok((Take::Taken(Box::new(chunk)), epoch))
    }

    async fn give_back(&mut self, id: ChunkId) -> Result<bool, StoreError> {
        // Where the answer to an earlier try was lost, it may be forgotten here and done there.
        let epoch = self.hands.0.get(&id).map(|hand| hand.epoch);
        let mut session = self.ready().await?;
        let process = self.shared.place.process;
        let giving = async {
            let (mut change, _) = enter(&mut session.conn, &self.entry()).await?;
            let row = sqlx::query(
                "SELECT done, coalesce(epoch = $3 AND works_process = $4, false) AS is_ours FROM chunks \
                 WHERE run = $1 AND chunk = $2 FOR NO KEY UPDATE",
            )
            .bind(number(id.run))
            .bind(id.number.cast_signed())
            .bind(epoch)
            .bind(process)
            .fetch_optional(&mut *change)
            .await?;
            let ends = match row {
                Some(row) => row.try_get("done")? || row.try_get("is_ours")?,
                None => true,
            };
            if ends {
                is_done(&mut change, id).await?;
            }
            change.commit().await?;
            drop_empty(&mut session.conn, id).await;
            Ok(ends)
        };
        let given = in_time(giving).await;
        let given = self.done(session, given)?;
        self.hands.0.remove(&id);
        self.shared.works_on(self.own());
        Ok(given)
    }
}

/// Until the end of the transaction nobody else takes a chunk of the same backend.
async fn alone_at_the_backend(conn: &mut PgConnection, id: ChunkId) -> Asked<()> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock(hashtextextended('stripe-propagate ' || backend, 0)) FROM chunks \
         WHERE run = $1 AND chunk = $2",
    )
    .bind(number(id.run))
    .bind(id.number.cast_signed())
    .execute(conn)
    .await
    .map(drop)
}

/// In how many seconds the chunk is free at the soonest: while another process that lives has it, or another chunk of its
/// backend, whatever the queue thinks of that process. 0 where it is free.
async fn free_in(conn: &mut PgConnection, process: i64, id: ChunkId) -> Asked<u64> {
    let seconds: Option<i64> = sqlx::query_scalar(
        "SELECT ceil(extract(epoch FROM max(p.until) - clock_timestamp()))::bigint FROM chunks c \
         JOIN chunks o ON NOT o.done AND (o.backend = c.backend OR (o.run, o.chunk) = (c.run, c.chunk)) \
         JOIN processes p ON p.id = o.works_process AND p.id <> $3 AND p.until > clock_timestamp() \
         WHERE c.run = $1 AND c.chunk = $2",
    )
    .bind(number(id.run))
    .bind(id.number.cast_signed())
    .bind(process)
    .fetch_one(conn)
    .await?;
    Ok(seconds.unwrap_or_default().max(0).cast_unsigned())
}

/// Takes it; what others have of its backend, whose leases are over, they have no more. Returns its new epoch.
async fn take(conn: &mut PgConnection, process: i64, id: ChunkId) -> Asked<i64> {
    sqlx::query(
        "UPDATE chunks o SET epoch = o.epoch + 1, works_process = NULL FROM chunks c WHERE c.run = $1 AND c.chunk = $2 \
         AND o.backend = c.backend AND (o.run, o.chunk) <> (c.run, c.chunk) AND NOT o.done AND o.works_process <> $3",
    )
    .bind(number(id.run))
    .bind(id.number.cast_signed())
    .bind(process)
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar(
        "UPDATE chunks SET epoch = epoch + 1, works_process = $3 WHERE run = $1 AND chunk = $2 RETURNING epoch",
    )
    .bind(number(id.run))
    .bind(id.number.cast_signed())
    .bind(process)
    .fetch_one(conn)
    .await
}

/// No worker has anything of it any more.
async fn is_done(conn: &mut PgConnection, id: ChunkId) -> Asked<()> {
    sqlx::query("UPDATE chunks SET done = true WHERE run = $1 AND chunk = $2")
        .bind(number(id.run))
        .bind(id.number.cast_signed())
        .execute(&mut *conn)
        .await?;
    queued::end(conn, id).await
}

/// Behind the end of a chunk, which does not depend on it.
async fn drop_empty(conn: &mut PgConnection, id: ChunkId) {
    if let Err(error) = queued::drop_empty(conn).await {
        let error = fault(&error);
        tracing::info!(%error, run = id.run.0, chunk = id.number, "queues without a job are dropped later");
    }
}

/// The sites of a chunk, by their numbers, with their names.
async fn sites_of(
    conn: &mut PgConnection,
    run: RunId,
    ids: Vec<i64>,
) -> Asked<Vec<(SiteUrl, crate::text::CleanText)>> {
    let rows = sqlx::query(
        "SELECT s.url, coalesce(rs.name, s.url) AS name FROM unnest($2::bigint[]) WITH ORDINALITY of_chunk (id, place) \
         JOIN sites s ON s.id = of_chunk.id LEFT JOIN run_sites rs ON rs.run = $1 AND rs.site = s.id \
         ORDER BY of_chunk.place",
    )
    .bind(number(run))
    .bind(ids)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((url(row, "url")?, text(row, "name")?)))
        .collect()
}
