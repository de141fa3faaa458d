//! What stands beside runs and sites: what Stripe said, lists, acknowledgements, what watches have told.

use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::{Result, json, time, url, urls, value};
use crate::key::PublishableKey;
use crate::rules::acknowledgement::Acknowledgement;
use crate::rules::standing::Standing;
use crate::rules::watch::{Change, Told};
use crate::site::SiteUrl;
use crate::store::old::forgotten_before;

/// What Stripe said of a key last, and when.
pub(super) async fn standing(
    conn: &mut PgConnection,
    key: &PublishableKey,
) -> Result<Option<(Standing, Timestamp)>> {
    let row = sqlx::query("SELECT standing, at FROM standings WHERE key = $1")
        .bind(key.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((value(&row, "standing")?, time(&row, "at")?)))
        .transpose()
}

/// Remembers it, and drops what is too old to be asked for.
pub(super) async fn remember(
    conn: &mut PgConnection,
    key: &PublishableKey,
    standing: Standing,
    at: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO standings (key, standing, at) VALUES ($1, $2, $3) \
         ON CONFLICT (key) DO UPDATE SET standing = excluded.standing, at = excluded.at",
    )
    .bind(key.as_str())
    .bind(json(&standing)?)
    .bind(at.as_millisecond())
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM standings WHERE at < $1")
        .bind(forgotten_before(at).as_millisecond())
        .execute(conn)
        .await
        .map(drop)
}

/// The sites of the list of this name, at its last run.
pub(super) async fn list(conn: &mut PgConnection, name: &str) -> Result<Option<Vec<SiteUrl>>> {
    let row = sqlx::query("SELECT sites FROM lists WHERE name = $1")
        .bind(name)
        .fetch_optional(conn)
        .await?;
    row.map(|row| value(&row, "sites")).transpose()
}

/// The list of this name has these sites.
pub(super) async fn keep_list(conn: &mut PgConnection, name: &str, sites: &[SiteUrl]) -> Result<()> {
    sqlx::query(
        "INSERT INTO lists (name, sites) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET sites = excluded.sites",
    )
    .bind(name)
    .bind(json(&sites)?)
    .execute(conn)
    .await
    .map(drop)
}

/// These sites are acknowledged from now on, or (without) not any more.
pub(super) async fn acknowledge(
    conn: &mut PgConnection,
    sites: &[SiteUrl],
    acknowledgement: Option<&Acknowledgement>,
) -> Result<()> {
    let query = match acknowledgement {
        Some(acknowledgement) => sqlx::query(
            "INSERT INTO acknowledgements (url, acknowledgement) SELECT DISTINCT url, $2 \
             FROM unnest($1::text[]) asked (url) \
             ON CONFLICT (url) DO UPDATE SET acknowledgement = excluded.acknowledgement",
        )
        .bind(urls(sites))
        .bind(json(acknowledgement)?),
        None => sqlx::query("DELETE FROM acknowledgements WHERE url = ANY($1)").bind(urls(sites)),
    };
    query.execute(conn).await.map(drop)
}

/// All of them, also those that are over. One that a newer version wrote in other words is left out.
pub(super) async fn acknowledged(conn: &mut PgConnection) -> Result<Vec<(SiteUrl, Acknowledgement)>> {
    let rows = sqlx::query("SELECT url, acknowledgement FROM acknowledgements ORDER BY url")
        .fetch_all(conn)
        .await?;
    let of_row = |row: &PgRow| {
        let known = value(row, "acknowledgement").inspect_err(
            |error| tracing::warn!(%error, "an acknowledgement cannot be read: it does not count"),
        );
        url(row, "url").map(|site| known.ok().map(|known| (site, known)))
    };
    rows.iter().filter_map(|row| of_row(row).transpose()).collect()
}

/// What was told and is not over. What a newer version wrote in other words is not known here.
pub(super) async fn told(conn: &mut PgConnection) -> Result<Told> {
    let rows = sqlx::query("SELECT about, finding FROM notices")
        .fetch_all(conn)
        .await?;
    let told = rows.iter().filter_map(|row| {
        let about = value(row, "about").ok()?;
        Some((about, value(row, "finding").ok()?))
    });
    Ok(Told::new(told.collect::<Vec<_>>()))
}

/// Those of `changes` that nobody has told before.
pub(super) async fn tell(conn: &mut PgConnection, changes: &[Change], at: Timestamp) -> Result<Vec<Change>> {
    let mut new = Vec::new();
    for change in changes {
        let query = if change.over {
            sqlx::query("DELETE FROM notices WHERE about = $1 AND finding = $2")
        } else {
            sqlx::query(
                "INSERT INTO notices (about, finding, told) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
        };
        let query = query.bind(json(&change.about)?).bind(json(&change.finding)?);
        let query = if change.over {
            query
        } else {
            query.bind(at.as_millisecond())
        };
        if query.execute(&mut *conn).await?.rows_affected() > 0 {
            new.push(change.clone());
        }
    }
    Ok(new)
}
