use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::columns::{
    self, Kept, json, key, limit, maybe, maybe_run, moment, now, ns, number, run, state, value, wall,
};
use super::lock::Lives;
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::{Push, Verify};
use crate::rules::tally::word;
use crate::store::old::Pruned;
use crate::store::{NewRun, Operator, PlannedSite, RunId, RunRecord};

/// Puts a run and its sites on record.
pub(super) fn begin(conn: &Connection, by: &Operator, boot: i64, new: &NewRun) -> Result<RunId> {
    conn.execute(
        "INSERT INTO runs (kind, parent, key, allow, began_by, began_ns, began_wall, began_boot) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            json(&new.kind)?,
            new.parent.map(number),
            new.key.as_str(),
            json(&new.allow)?,
            json(by)?,
            ns(new.at),
            wall(new.at),
            boot
        ],
    )?;
    let id = conn.last_insert_rowid();
    let mut add_site = conn.prepare("INSERT INTO sites (url) VALUES (?1) ON CONFLICT DO NOTHING")?;
    let mut add_row = conn.prepare(
        "INSERT INTO run_sites (run, site, position, name, part_of, left_out, key, serves, push, verify, before, now, \
         open, left) VALUES (:run, (SELECT id FROM sites WHERE url = :url), :position, :name, :part_of, :left_out, \
         :key, :serves, :push, :verify, :unseen, :unseen, :open, :left)",
    )?;
    for (position, planned) in (0_i64..).zip(&new.sites) {
        let url = planned.site.to_string();
        add_site.execute([&url])?;
        let first = First::of(planned);
        add_row.execute(named_params! {
            ":run": id,
            ":url": url,
            ":position": position,
            ":name": planned.name.as_str(),
            ":part_of": planned.group.as_ref().map(crate::text::CleanText::as_str),
            ":left_out": planned.left_out.as_ref().map(json).transpose()?,
            ":key": planned.key.as_str(),
            ":serves": json(&planned.serves)?,
            ":push": json(&first.push)?,
            ":verify": json(&Verify::Unchecked)?,
            ":unseen": json(&Served::Unknown)?,
            ":open": first.left.is_some(),
            ":left": first.left.as_ref().map(json).transpose()?,
        })?;
    }
    Ok(RunId(id.cast_unsigned()))
}

/// How a row begins.
struct First {
    push: Push,
    left: Option<Push>,
}

impl First {
    fn of(planned: &PlannedSite) -> Self {
        match planned.left_out {
            Some(reason) => Self {
                push: Push::Skipped(reason),
                left: None,
            },
            None => Self {
                push: Push::Queued,
                left: Some(Push::NotStarted),
            },
        }
    }
}

/// The run sends again; false if there is no such run.
pub(super) fn reopen(conn: &Connection, id: RunId) -> Result<bool> {
    let changed = conn.execute(
        "UPDATE runs SET sent_ns = NULL, sent_wall = NULL, sent_boot = NULL, ended_ns = NULL, ended_wall = NULL, \
         ended_boot = NULL, closed = 0, counts = NULL WHERE id = ?1",
        [number(id)],
    )?;
    Ok(changed > 0)
}

/// Whether there is such a run.
pub(super) fn exists(conn: &Connection, id: RunId) -> Result<bool> {
    conn.query_row("SELECT count(*) FROM runs WHERE id = ?1", [number(id)], |row| {
        row.get(0)
    })
}

/// Nothing is left to send.
pub(super) fn sent(conn: &Connection, boot: i64, id: RunId, at: Moment) -> Result<()> {
    conn.execute(
        "UPDATE runs SET sent_ns = ?2, sent_wall = ?3, sent_boot = ?4 WHERE id = ?1",
        params![number(id), ns(at), wall(at), boot],
    )?;
    Ok(())
}

/// Ends it where nothing is left to do: what is open in its rows was taken over. Returns whether it has ended.
pub(super) fn end(conn: &Connection, boot: i64, own: &[RunId], id: RunId, at: Moment) -> Result<bool> {
    if !is_over(conn, own, id)? {
        return Ok(false);
    }
    conn.execute(
        "UPDATE run_sites SET push = coalesce(left, push), left = NULL, verify = ?2, open = 0, open_put = 0 \
         WHERE run = ?1 AND open = 1",
        params![number(id), json(&Verify::Superseded)?],
    )?;
    over(conn, boot, id, at, false)?;
    Ok(true)
}

/// Whether nothing is left in a run to send, to find out or to wait for. What a later run has taken over is not: what
/// is known of the site is that run's, or one of `own`, which this process works on, has the site in its plan.
pub(super) fn is_over(conn: &Connection, own: &[RunId], id: RunId) -> Result<bool> {
    // What is open is little, as a rule: the index of that is read through, not the rows of the run.
    let mut query = conn.prepare_cached(
        "SELECT NOT EXISTS (SELECT 1 FROM run_sites rs INDEXED BY run_sites_open JOIN sites s ON s.id = rs.site \
         LEFT JOIN runs l ON l.id = s.run WHERE rs.run = ?1 AND rs.open = 1 AND (rs.open_put = 1 OR NOT (\
         (coalesce(s.run, 0) > rs.run AND (rs.left IS NULL OR NOT coalesce(l.closed, 0))) OR \
         (rs.left IS NULL AND EXISTS (SELECT 1 FROM run_sites o WHERE o.site = rs.site AND o.open = 1 \
         AND o.run > rs.run AND o.run IN (SELECT value FROM json_each(?2)))))))",
    )?;
    query.query_row(params![number(id), json(&own)?], |row| row.get(0))
}

/// Ends it with something left to send. Sites that it had begun with, and sent nothing, expect what they did before.
/// Returns those whose version was raised by that, with what it was.
pub(super) fn close(
    conn: &Connection,
    boot: i64,
    policy: &Policy,
    id: RunId,
    at: Moment,
) -> Result<Vec<(i64, i64)>> {
    let raised = raise_left(conn, id)?;
    give_back(conn, boot, policy, id, at)?;
    conn.execute(
        "UPDATE run_sites SET push = coalesce(left, push), left = NULL, open = 0, open_put = 0 \
         WHERE run = ?1 AND open = 1",
        [number(id)],
    )?;
    over(conn, boot, id, at, true)?;
    Ok(raised)
}

/// Who read before that a site was left over, and hands something over of it later, must learn of the end: what that
/// expects is not expected any more.
fn raise_left(conn: &Connection, id: RunId) -> Result<Vec<(i64, i64)>> {
    let mut raise = conn.prepare(
        "UPDATE sites SET version = version + 1 WHERE coalesce(run, 0) <= ?1 AND id IN (SELECT site FROM run_sites \
         WHERE run = ?1 AND open = 1 AND puts = 0 AND left IS NOT NULL) RETURNING id, version - 1",
    )?;
    let raised = raise.query_map([number(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    raised.collect()
}

/// Sites that were looked at before their PUT, which never was, expect what they did before.
fn give_back(conn: &Connection, boot: i64, policy: &Policy, id: RunId, at: Moment) -> Result<()> {
    let mut query = conn.prepare(
        "SELECT s.id, s.state, s.boot FROM run_sites rs JOIN sites s ON s.id = rs.site AND s.run = rs.run \
         WHERE rs.run = ?1 AND rs.open = 1 AND rs.puts = 0",
    )?;
    let mut put = conn.prepare("UPDATE sites SET state = ?2, boot = ?3 WHERE id = ?1")?;
    let mut rows = query.query([number(id)])?;
    while let Some(row) = rows.next()? {
        let Some(state) = row.get_ref("state")?.as_str_or_null()?.and_then(state) else {
            continue;
        };
        let kept = crate::store::Kept {
            before_restart: (row.get::<_, i64>("boot")? != boot).then_some(at),
            state: Some(state),
            ..crate::store::Kept::default()
        };
        let mut state = kept.restore(policy, at);
        state.run_closed(at);
        put.execute(params![row.get::<_, i64>("id")?, json(&state)?, boot])?;
    }
    Ok(())
}

/// From now on nothing changes in it, and so its sites are counted for good.
fn over(conn: &Connection, boot: i64, id: RunId, at: Moment, closed: bool) -> Result<()> {
    conn.execute(
        "UPDATE runs SET ended_ns = ?2, ended_wall = ?3, ended_boot = ?4, closed = ?5, counts = ?6, \
         sent_ns = iif(?5, sent_ns, coalesce(sent_ns, ?2)), sent_wall = iif(?5, sent_wall, coalesce(sent_wall, ?3)), \
         sent_boot = iif(?5, sent_boot, coalesce(sent_boot, ?4)) WHERE id = ?1 AND ended_wall IS NULL",
        params![number(id), ns(at), wall(at), boot, closed, json(&count(conn, id, true)?)?],
    )?;
    Ok(())
}

/// How many of its sites have each word. What nobody works on any more is counted as what it has become.
fn count(conn: &Connection, id: RunId, live: bool) -> Result<BTreeMap<String, usize>> {
    let mut query = conn.prepare_cached(
        "SELECT iif(?2, push, coalesce(left, push)) AS push, verify, count(*) AS sites FROM run_sites WHERE run = ?1 \
         GROUP BY 1, 2",
    )?;
    let mut counts = BTreeMap::new();
    let mut rows = query.query(params![number(id), live])?;
    while let Some(row) = rows.next()? {
        let mut state = SiteState::default();
        (state.push, state.verify) = (value(row, "push")?, value(row, "verify")?);
        let sites: i64 = row.get("sites")?;
        *counts.entry(word(&state).to_owned()).or_default() += usize::try_from(sites).unwrap_or_default();
    }
    Ok(counts)
}

/// The newest runs, newest first.
pub(super) fn newest(conn: &Connection, lives: &Lives, boot: i64, count: usize) -> Result<Vec<RunRecord>> {
    let mut query = conn.prepare_cached("SELECT * FROM runs ORDER BY id DESC LIMIT ?1")?;
    let rows = query.query_map([limit(count)], |row| run_record(conn, lives, boot, row))?;
    rows.collect()
}

/// Runs that have not ended, and that nobody works on, newest first.
pub(super) fn unfinished(conn: &Connection, lives: &Lives, boot: i64) -> Result<Vec<RunRecord>> {
    not_ended(conn, lives, boot, false)
}

/// Runs that somebody works on, newest first.
pub(super) fn live(conn: &Connection, lives: &Lives, boot: i64) -> Result<Vec<RunRecord>> {
    not_ended(conn, lives, boot, true)
}

fn not_ended(conn: &Connection, lives: &Lives, boot: i64, live: bool) -> Result<Vec<RunRecord>> {
    let mut query = conn.prepare_cached("SELECT * FROM runs WHERE ended_wall IS NULL ORDER BY id DESC")?;
    let mut found = Vec::new();
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if lives.is_live(run(row, "id")?) == live {
            found.push(run_record(conn, lives, boot, row)?);
        }
    }
    Ok(found)
}

fn run_record(conn: &Connection, lives: &Lives, boot: i64, row: &Row<'_>) -> Result<RunRecord> {
    let id = run(row, "id")?;
    let began = moment(row, "began")?.unwrap_or(Kept { moment: now(), boot });
    let [sent, ended] = [moment(row, "sent")?, moment(row, "ended")?];
    let live = ended.is_none() && lives.is_live(id);
    let times = ended.and_then(|ended| began.until(ended));
    let counts = match maybe(row, "counts")? {
        Some(counts) => counts,
        None => count(conn, id, live)?,
    };
    Ok(RunRecord {
        id,
        kind: value(row, "kind")?,
        parent: maybe_run(row, "parent")?,
        key: key(row, "key")?,
        by: value(row, "began_by")?,
        began: began.here(boot),
        sent: sent.map(|sent| sent.here(boot)),
        ended: ended.map(|ended| ended.here(boot)),
        closed: row.get("closed")?,
        live,
        took: times.map(|(took, _)| took),
        clock_set: times.and_then(|(_, set)| set),
        counts,
    })
}

/// When something last happened in a run: then it ended if its process died with nothing left to do.
pub(super) fn last(conn: &Connection, id: RunId) -> Result<Option<Kept>> {
    let last = conn
        .query_row(
            "SELECT at_ns, at_wall, at_boot FROM run_sites WHERE run = ?1 AND at_wall IS NOT NULL \
             ORDER BY at_wall DESC LIMIT 1",
            [number(id)],
            |row| moment(row, "at"),
        )
        .optional()?
        .flatten();
    if last.is_some() {
        return Ok(last);
    }
    conn.query_row(
        "SELECT began_ns, began_wall, began_boot FROM runs WHERE id = ?1",
        [number(id)],
        |row| moment(row, "began"),
    )
}

/// When something old was last dropped.
pub(super) fn pruned(conn: &Connection) -> Result<Option<Pruned>> {
    let value = |name: &str| {
        conn.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0).map(columns::at)
        })
        .optional()
    };
    let [at, before] = [value("pruned_at")?, value("pruned_before")?];
    Ok(at.zip(before).map(|(at, before)| Pruned { at, before }))
}

/// So many rows are dropped in one transaction: who is about to send must not wait for long.
const SLICE: usize = 2000;

/// What was dropped in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// How many runs.
    pub(super) runs: usize,
    /// Whether nothing old is left.
    pub(super) last: bool,
}

/// Drops some of what is old; with the last of it, remembers that.
pub(super) fn prune(conn: &Connection, pruned: Pruned) -> Result<Slice> {
    let before = pruned.before.as_millisecond();
    let old = "(SELECT id FROM runs WHERE ended_wall < ?1)";
    let slices = [
        (
            format!("attempts WHERE id IN (SELECT id FROM attempts WHERE run IN {old} LIMIT {SLICE})"),
            before,
        ),
        (
            format!(
                "attempts WHERE id IN (SELECT id FROM attempts WHERE run IS NULL AND at < ?1 LIMIT {SLICE})"
            ),
            pruned.looks_before().as_millisecond(),
        ),
        (
            format!("seen WHERE id IN (SELECT id FROM seen WHERE last < ?1 LIMIT {SLICE})"),
            before,
        ),
        (
            format!(
                "run_sites WHERE (run, site) IN (SELECT run, site FROM run_sites WHERE run IN {old} LIMIT {SLICE})"
            ),
            before,
        ),
    ];
    for (what, before) in slices {
        if conn
            .prepare_cached(&format!("DELETE FROM {what}"))?
            .execute([before])?
            == SLICE
        {
            return Ok(Slice { runs: 0, last: false });
        }
    }
    // One that something was recorded of in between goes another time.
    let runs = conn.execute(
        "DELETE FROM runs WHERE ended_wall < ?1 AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.run = runs.id) \
         AND NOT EXISTS (SELECT 1 FROM run_sites s WHERE s.run = runs.id)",
        [before],
    )?;
    let remember = "INSERT INTO meta (name, value) VALUES ('pruned_at', ?1), ('pruned_before', ?2) \
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    conn.execute(remember, [pruned.at.as_millisecond(), before])?;
    Ok(Slice { runs, last: true })
}
