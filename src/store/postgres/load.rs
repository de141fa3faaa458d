use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::batch::{Loaded, RunRow};
use super::columns::{Result, number, numbers, run, small};
use super::session::live;
use crate::site::SiteUrl;
use crate::store::RunId;
use crate::store::pending::Change;

/// What a batch of changes needs to be decided.
pub(super) struct Read<'a> {
    pub(super) sites: Vec<(&'a SiteUrl, Loaded)>,
    /// The runs that some process works on, where that is asked.
    pub(super) live: HashSet<RunId>,
    /// Sites that a run which sends elsewhere has in its plan, where that is asked.
    pub(super) held: HashSet<i64>,
}

/// What the changes name.
struct Named<'a> {
    /// By its text.
    sites: BTreeMap<String, &'a SiteUrl>,
    runs: BTreeSet<i64>,
    /// Of which runs PUTs are about to be sent.
    intends: BTreeSet<RunId>,
    looks: bool,
}

impl<'a> Named<'a> {
    fn of(changes: impl Iterator<Item = &'a Change>) -> Self {
        let mut named = Self {
            sites: BTreeMap::new(),
            runs: BTreeSet::new(),
            intends: BTreeSet::new(),
            looks: false,
        };
        for change in changes {
            if let Some(site) = change.site() {
                named.sites.insert(site.to_string(), site);
            }
            match change {
                Change::Intent(intent, _) => {
                    named.runs.insert(number(intent.run));
                    named.intends.insert(intent.run);
                }
                Change::Record(record, _) => {
                    named.runs.extend(record.state.run.map(number));
                    named.looks |= record.outcome.is_some();
                }
                Change::Sent(..) | Change::Ended(..) => {}
            }
        }
        named
    }
}

/// Reads what changes tell of, and holds it: nobody else changes these sites until the end of the transaction. They
/// are taken in the order of their numbers, so that no two wait for each other.
pub(super) async fn read<'a>(
    conn: &mut PgConnection,
    class: i64,
    own: &[RunId],
    changes: impl Iterator<Item = &'a Change>,
) -> Result<Read<'a>> {
    let named = Named::of(changes);
    let urls: Vec<String> = named.sites.keys().cloned().collect();
    let mut found = sites(conn, &urls).await?;
    if found.len() < urls.len() {
        sqlx::query("INSERT INTO sites (url) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING")
            .bind(&urls)
            .execute(&mut *conn)
            .await?;
        found = sites(conn, &urls).await?;
    }
    let ids: Vec<i64> = found.iter().map(|(_, id, _)| *id).collect();
    let mut rows = rows(conn, &ids, &named.runs).await?;
    let mut seen = if named.looks {
        seen(conn, &ids).await?
    } else {
        HashMap::new()
    };
    let mut doubted = rows.values().flatten().filter(|row| row.doubt);
    let asks = doubted.any(|row| !own.contains(&row.run));
    let live = if asks {
        live(conn, class).await?
    } else {
        HashSet::new()
    };
    let unplanned = |id: &i64| {
        let planned = |intends: &RunId| {
            let rows = rows.get(id).into_iter().flatten();
            rows.into_iter()
                .any(|row| row.run == *intends && !row.is_left_out)
        };
        !named.intends.iter().all(planned)
    };
    let mut held = HashSet::new();
    if !named.intends.is_empty() {
        let unplanned: Vec<i64> = ids.iter().copied().filter(unplanned).collect();
        if !unplanned.is_empty() {
            held = self::held(conn, class, own, &unplanned).await?;
        }
    }
    let mut loaded = Vec::with_capacity(found.len());
    for (url, id, version) in found {
        if let Some(site) = named.sites.get(&url) {
            let (rows, seen) = (rows.remove(&id).unwrap_or_default(), seen.remove(&id));
            let read = Loaded {
                id,
                version,
                rows,
                seen,
            };
            loaded.push((*site, read));
        }
    }
    Ok(Read {
        sites: loaded,
        live,
        held,
    })
}

async fn sites(conn: &mut PgConnection, urls: &[String]) -> Result<Vec<(String, i64, i64)>> {
    let rows =
        sqlx::query("SELECT url, id, version FROM sites WHERE url = ANY($1) ORDER BY id FOR NO KEY UPDATE")
            .bind(urls)
            .fetch_all(conn)
            .await?;
    let of_row = |row: &PgRow| Ok((row.try_get("url")?, row.try_get("id")?, row.try_get("version")?));
    rows.iter().map(of_row).collect()
}

async fn rows(
    conn: &mut PgConnection,
    sites: &[i64],
    runs: &BTreeSet<i64>,
) -> Result<HashMap<i64, Vec<RunRow>>> {
    const ROW: &str = "rs.site, rs.run, rs.left_out IS NOT NULL AND rs.puts = 0 AS is_left_out, rs.push, rs.verify, \
                       rs.puts, rs.\"left\", rs.open, rs.open_put, \
                       NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = rs.run AND r.ended_wall IS NULL) AS ended";
    let runs: Vec<i64> = runs.iter().copied().collect();
    let found = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {ROW} FROM run_sites rs WHERE rs.open AND rs.site = ANY($1) UNION ALL \
         SELECT {ROW} FROM run_sites rs WHERE NOT rs.open AND rs.run = ANY($2) AND rs.site = ANY($1)"
    )))
    .bind(sites)
    .bind(runs)
    .fetch_all(conn)
    .await?;
    let mut rows: HashMap<i64, Vec<RunRow>> = HashMap::new();
    for row in &found {
        rows.entry(row.try_get("site")?).or_default().push(RunRow {
            run: run(row, "run")?,
            ended: row.try_get("ended")?,
            is_left_out: row.try_get("is_left_out")?,
            push: row.try_get("push")?,
            verify: row.try_get("verify")?,
            puts: small(row, "puts")?,
            left: row.try_get("left")?,
            is_open: row.try_get("open")?,
            doubt: row.try_get("open_put")?,
        });
    }
    Ok(rows)
}

/// What each site was seen to serve last.
async fn seen(conn: &mut PgConnection, sites: &[i64]) -> Result<HashMap<i64, (i64, String)>> {
    let rows = sqlx::query(
        "SELECT asked.site, newest.id, newest.served FROM unnest($1::bigint[]) asked (site) CROSS JOIN LATERAL \
         (SELECT id, served FROM seen WHERE seen.site = asked.site ORDER BY id DESC LIMIT 1) newest",
    )
    .bind(sites)
    .fetch_all(conn)
    .await?;
    let of_row = |row: &PgRow| Ok((row.try_get("site")?, (row.try_get("id")?, row.try_get("served")?)));
    rows.iter().map(of_row).collect()
}

/// Which of these sites a run that sends elsewhere has in its plan. Until the end of the transaction no run takes any.
async fn held(conn: &mut PgConnection, class: i64, own: &[RunId], sites: &[i64]) -> Result<HashSet<i64>> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(super::schema::HOLDS)
        .execute(&mut *conn)
        .await?;
    let rows = sqlx::query(
        "SELECT rs.site, rs.run FROM runs r JOIN run_sites rs ON rs.run = r.id \
         WHERE r.sends AND r.id <> ALL($2) AND rs.site = ANY($1) AND (rs.left_out IS NULL OR rs.puts > 0)",
    )
    .bind(sites)
    .bind(numbers(own))
    .fetch_all(&mut *conn)
    .await?;
    let live = live(conn, class).await?;
    let mut held = HashSet::new();
    for row in &rows {
        if live.contains(&run(row, "run")?) {
            held.insert(row.try_get("site")?);
        }
    }
    Ok(held)
}
