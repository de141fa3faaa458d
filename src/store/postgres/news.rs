use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::columns::{Result, at, json, maybe, now, numbers, run, state, text, url};
use super::fault::fault;
use crate::rules::moment::Moment;
use crate::rules::outcome::Cause;
use crate::rules::retry::Policy;
use crate::rules::state::{Served, SiteState};
use crate::store::workers::{Did, News};
use crate::store::{Outcome, Request, RunId};
use crate::text::CleanText;

/// What came of a request, as a worker tells its coordinator.
#[derive(Serialize, Deserialize)]
struct Told {
    request: Request,
    number: u32,
    /// Milliseconds of the wall clock.
    at: i64,
    ms: u64,
    http: Option<u16>,
    cause: Option<Cause>,
    served: Served,
    note: CleanText,
}

/// As it is written down.
pub(super) fn written(outcome: &Outcome) -> Result<String> {
    json(&Told {
        request: outcome.request,
        number: outcome.number,
        at: super::columns::wall(outcome.at),
        ms: outcome.ms,
        http: outcome.http,
        cause: outcome.cause,
        served: outcome.served.clone(),
        note: outcome.note.clone(),
    })
}

/// What the workers of these runs have told since that was asked last, in the order in which each told it: it is told
/// once. With it what is known of each site now. One that a worker of another build has put in other words is passed over:
/// it would keep all others from being heard.
pub(super) async fn take(
    conn: &mut PgConnection,
    boot: i64,
    policy: &Policy,
    runs: &[RunId],
) -> Result<Vec<News>> {
    let rows = sqlx::query(
        "WITH told AS (DELETE FROM chunk_news WHERE run = ANY($1) RETURNING id, run, site, outcome, process) \
         SELECT told.run, told.outcome, coalesce(p.host, '') AS host, s.url, s.boot, CASE WHEN s.run = told.run THEN s.state END AS state \
         FROM told JOIN sites s ON s.id = told.site LEFT JOIN processes p ON p.id = told.process ORDER BY told.id",
    )
    .bind(numbers(runs))
    .fetch_all(conn)
    .await?;
    let now = now();
    let read = |row: &PgRow| {
        of_row(row, boot, policy, now)
            .inspect_err(|error| {
                let error = fault(error);
                tracing::warn!(%error, "what a worker did cannot be read: it is seen when its chunk is given back");
            })
            .ok()
    };
    Ok(rows.iter().filter_map(read).collect())
}

fn of_row(row: &PgRow, boot: i64, policy: &Policy, now: Moment) -> Result<News> {
    let of_run = run(row, "run")?;
    let did = match maybe::<Told>(row, "outcome")? {
        None => Did::Intends,
        Some(told) => {
            let wall = at(told.at);
            let ago = now.wall.duration_since(wall).unsigned_abs();
            let at = Moment {
                since_start: now.since_start.saturating_sub(ago),
                wall,
            };
            Did::Asked(Box::new(Outcome {
                run: Some(of_run),
                request: told.request,
                number: told.number,
                at,
                ms: told.ms,
                http: told.http,
                cause: told.cause,
                served: told.served,
                note: told.note,
            }))
        }
    };
    let is_elsewhere = row.try_get::<Option<i64>, _>("boot")? != Some(boot);
    let here = |mut state: SiteState| {
        if is_elsewhere {
            state.after_restart(policy, now);
        }
        state
    };
    Ok(News {
        run: of_run,
        site: url(row, "url")?,
        did,
        by: text(row, "host")?,
        state: state(row, "state").map(here),
    })
}
