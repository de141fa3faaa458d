use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::columns::{Result, key, maybe, maybe_run, moment, run, small, state, urls, value};
use super::session::Lives;
use crate::rules::moment::Moment;
use crate::rules::state::{Allow, LeftRow};
use crate::site::SiteUrl;
use crate::store::Kept;
use crate::store::rows::{OpenRow, StateRun, kept};

/// What the store has of a site.
pub(super) struct Known {
    /// Where in the list that was asked for.
    pub(super) index: usize,
    /// Rises with each PUT: who knows a lower one does not know of the last.
    pub(super) version: i64,
    pub(super) kept: Kept,
}

/// What is kept of each of `sites` that the store knows, in two queries.
///
/// By `since`, a moment of this start of the machine, the age of what is from before it, or from another machine, is
/// told.
pub(super) async fn known<'a>(
    conn: &mut PgConnection,
    lives: &Lives,
    boot: i64,
    since: Moment,
    sites: impl IntoIterator<Item = &'a SiteUrl>,
) -> Result<Vec<Known>> {
    let urls = urls(sites);
    let open = open_rows(conn, boot, since, &urls).await?;
    let rows = sqlx::query(
        "SELECT asked.place, s.id, s.version, s.state, s.boot, s.run, r.ended_wall IS NULL AS goes_on, r.closed \
         FROM unnest($1::text[]) WITH ORDINALITY asked (url, place) JOIN sites s ON s.url = asked.url \
         LEFT JOIN runs r ON r.id = s.run",
    )
    .bind(urls)
    .fetch_all(conn)
    .await?;
    let of_row = |row: &PgRow| {
        let site: i64 = row.try_get("id")?;
        let rows = open.get(&site).map_or(&[][..], Vec::as_slice);
        let of_state = StateRun {
            run: maybe_run(row, "run")?,
            goes_on: row.try_get::<Option<bool>, _>("goes_on")?.unwrap_or_default(),
            closed: row.try_get::<Option<bool>, _>("closed")?.unwrap_or_default(),
        };
        let kept_on = row.try_get::<Option<i64>, _>("boot")?;
        let before_restart = kept_on.is_some_and(|kept| kept != boot);
        Ok(Known {
            index: usize::try_from(row.try_get::<i64, _>("place")? - 1).unwrap_or(usize::MAX),
            version: row.try_get("version")?,
            kept: Kept {
                before_restart: before_restart.then_some(since),
                ..kept(state(row, "state"), &of_state, rows, |run| lives.is_live(run))
            },
        })
    };
    rows.iter().map(of_row).collect()
}

/// By site, the oldest run first.
async fn open_rows(
    conn: &mut PgConnection,
    boot: i64,
    since: Moment,
    urls: &[String],
) -> Result<HashMap<i64, Vec<OpenRow>>> {
    let rows = sqlx::query(
        "SELECT rs.site, rs.run, rs.key, rs.serves, r.allow, rs.open_put, rs.puts, \
         NOT rs.open_put AND rs.\"left\" IS NOT NULL AS unreached, r.began_ns, r.began_wall, r.began_boot \
         FROM (SELECT DISTINCT url FROM unnest($1::text[]) asked (url)) asked JOIN sites s ON s.url = asked.url \
         JOIN run_sites rs ON rs.site = s.id AND rs.open \
         JOIN runs r ON r.id = rs.run AND r.ended_wall IS NULL ORDER BY rs.run",
    )
    .bind(urls)
    .fetch_all(conn)
    .await?;
    let mut open: HashMap<i64, Vec<OpenRow>> = HashMap::new();
    for row in &rows {
        let allow: Option<Allow> = maybe(row, "allow")?;
        let began = moment(row, "began")?.map(|began| began.by(boot, since));
        open.entry(row.try_get("site")?).or_default().push(OpenRow {
            row: LeftRow {
                run: run(row, "run")?,
                key: key(row, "key")?,
                allow: allow.unwrap_or_default(),
                serves: value(row, "serves")?,
                began: began.unwrap_or(since),
            },
            doubt: row.try_get("open_put")?,
            puts: small(row, "puts")?,
            unreached: row.try_get("unreached")?,
        });
    }
    Ok(open)
}
