use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::columns::{json, ns, number, run, wall};
use super::known::{known, open_runs};
use super::lock::{Lives, is_live};
use super::place::Place;
use super::runs;
use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::left::{Basis, OpenPut, decides, is_open, left};
use crate::store::{Intent, Outcome, Record, Recorded, Request, RunId};

/// What a change is made with. The versions that it makes count once they are committed.
pub(super) struct Changes<'a> {
    pub(super) conn: &'a Connection,
    pub(super) place: &'a Place,
    pub(super) boot: i64,
    pub(super) policy: &'a Policy,
    /// The runs that this process works on.
    pub(super) own: &'a [RunId],
    /// The one that has the right to send.
    pub(super) sends: Option<RunId>,
    /// The versions of sites that this process has made, by site.
    pub(super) raised: &'a HashMap<i64, Raised>,
    pub(super) raises: HashMap<i64, Raised>,
}

/// Versions of a site, each made by this process from the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raised {
    from: i64,
    to: i64,
}

/// A row of a run in which something of the site is still to come.
struct Open {
    run: RunId,
    /// Whether nothing says what came of its last PUT.
    doubt: bool,
    puts: u32,
}

impl Changes<'_> {
    /// The site's number, and its version.
    fn site(&self, url: &SiteUrl) -> Result<(i64, i64)> {
        let url = url.to_string();
        let mut query = self
            .conn
            .prepare_cached("SELECT id, version FROM sites WHERE url = ?1")?;
        let found = query
            .query_row([&url], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        self.conn
            .prepare_cached("INSERT INTO sites (url) VALUES (?1)")?
            .execute([&url])?;
        Ok((self.conn.last_insert_rowid(), 0))
    }

    /// Whether no version of the site's is newer than what who knew `basis` knows by now: the others are its own.
    fn knows(&self, site: i64, version: i64, basis: Basis) -> bool {
        let own = self.raises.get(&site).or_else(|| self.raised.get(&site));
        basis.version >= version || own.is_some_and(|own| own.from <= basis.version && own.to == version)
    }

    fn open(&self, site: i64) -> Result<Vec<Open>> {
        let mut query = self
            .conn
            .prepare_cached("SELECT run, open_put, puts FROM run_sites WHERE site = ?1 AND open = 1")?;
        let of_row = |row: &Row<'_>| {
            Ok(Open {
                run: run(row, "run")?,
                doubt: row.get("open_put")?,
                puts: row.get("puts")?,
            })
        };
        query.query_map([site], of_row)?.collect()
    }

    /// The PUTs of processes that are gone, or of this one, of which nothing says what came of them.
    fn doubts(&self, open: &[Open]) -> Vec<OpenPut> {
        let told_by_none = |run: RunId| self.own.contains(&run) || !is_live(self.place, run);
        open.iter()
            .filter(|row| row.doubt && told_by_none(row.run))
            .map(|row| (row.run, row.puts))
            .collect()
    }

    /// A PUT is about to be sent: from now on the site is this run's. None where the run has no right to send.
    pub(super) fn intend(&mut self, intent: &Intent, basis: Basis) -> Result<Option<Recorded>> {
        if self.sends != Some(intent.run) {
            return Ok(None);
        }
        let (site, version) = self.site(&intent.site)?;
        let doubts = self.doubts(&self.open(site)?);
        let doubt = doubts.into_iter().any(|put| !basis.covers_before(put, intent));
        if doubt || !self.knows(site, version, basis) {
            return self.taken_over(&intent.site, intent.at).map(Some);
        }
        self.intends(site, version, intent)?;
        Ok(Some(Recorded::Known))
    }

    fn intends(&mut self, site: i64, version: i64, intent: &Intent) -> Result<()> {
        self.raise(site, version)?;
        let run = number(intent.run);
        self.conn
            .prepare_cached(
                "INSERT INTO attempts (run, site, request, number, key, at, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
            )?
            .execute(params![
                run,
                site,
                json(&Request::Put)?,
                intent.number,
                intent.key.as_str(),
                wall(intent.at)
            ])?;
        self.conn
            .prepare_cached(
                "UPDATE run_sites SET push = :push, verify = :verify, puts = :puts, open = 1, left = :left, \
                 open_put = 1, at_ns = :ns, at_wall = :wall, at_boot = :boot WHERE run = :run AND site = :site",
            )?
            .execute(named_params! {
                ":push": json(&Push::Sending)?,
                ":verify": json(&Verify::Unchecked)?,
                ":puts": intent.number,
                ":left": json(&Push::Unknown(Problem::ConnectionLost.cause()))?,
                ":ns": ns(intent.at),
                ":wall": wall(intent.at),
                ":boot": self.boot,
                ":run": run,
                ":site": site,
            })?;
        self.supersede(site, run)
    }

    /// What settles for another run is this one's now; so is what an earlier one did not reach.
    fn supersede(&self, site: i64, run: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE run_sites SET push = coalesce(left, push), left = NULL, verify = ?3, open = 0, open_put = 0 \
                 WHERE open = 1 AND site = ?1 AND run <> ?2 AND (left IS NULL OR run < ?2)",
            )?
            .execute(params![site, run, json(&Verify::Superseded)?])?;
        Ok(())
    }

    fn raise(&mut self, site: i64, version: i64) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE sites SET version = ?2 WHERE id = ?1")?
            .execute([site, version + 1])?;
        let before = self.raises.get(&site).or_else(|| self.raised.get(&site));
        let from = before
            .filter(|own| own.to == version)
            .map_or(version, |own| own.from);
        let to = version + 1;
        self.raises.insert(site, Raised { from, to });
        Ok(())
    }

    /// Nothing of the run is left to send.
    pub(super) fn sent(&mut self, run: RunId, at: Moment) -> Result<()> {
        // What comes behind it in the same transaction has the right no longer.
        self.sends.take_if(|sends| *sends == run);
        runs::sent(self.conn, self.boot, run, at)
    }

    /// Whether the run has ended.
    pub(super) fn end(&mut self, run: RunId, at: Moment) -> Result<bool> {
        if !self.own.contains(&run) && is_live(self.place, run) {
            return Ok(false);
        }
        let ended = runs::end(self.conn, self.boot, self.own, run, at)?;
        self.sends.take_if(|sends| ended && *sends == run);
        Ok(ended)
    }

    /// Something has happened to a site.
    pub(super) fn record(&mut self, record: &Record, basis: Basis) -> Result<Recorded> {
        let (site, version) = self.site(&record.site)?;
        if let Some(outcome) = &record.outcome {
            self.attempt(site, outcome)?;
            self.see(site, outcome)?;
        }
        let open = self.open(site)?;
        let doubts = self.doubts(&open);
        let doubt = doubts.iter().any(|put| !basis.covers(*put, record));
        if doubt || !self.knows(site, version, basis) || self.is_anothers(&open, &doubts, &record.state) {
            return self.taken_over(&record.site, record.at);
        }
        let put = record
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.request == Request::Put);
        let doubt = doubts.into_iter().find(|(run, _)| record.state.run == Some(*run));
        let decided = doubt.is_some_and(|doubt| decides(record, doubt));
        // Who knew of the open PUT only must not take the doubt away again.
        if put || decided {
            self.raise(site, version)?;
        }
        self.keep(site, &record.state)?;
        if let Some(run) = record.state.run {
            self.row(number(run), site, record, doubt.is_some() && !decided)?;
        }
        Ok(Recorded::Known)
    }

    /// Whether only another process can say what becomes of the run's PUT to the site: one that has it out, or that
    /// it is to come from. That one may be gone.
    fn is_anothers(&self, open: &[Open], doubts: &[OpenPut], state: &SiteState) -> bool {
        let run = state.run.filter(|run| !self.own.contains(run));
        let row = open.iter().find(|row| Some(row.run) == run);
        let out = |row: &Open| row.doubt && !doubts.contains(&(row.run, row.puts));
        row.is_some_and(|row| state.push.is_open() || out(row))
    }

    /// What is known of the site in place of what this process thinks. What it works on itself is like what the dead
    /// have left: it begins anew with what they did.
    fn taken_over(&self, url: &SiteUrl, now: Moment) -> Result<Recorded> {
        let lives = Lives::of(self.place, open_runs(self.conn)?).without(self.own);
        let found = known(self.conn, &lives, self.boot, now, std::slice::from_ref(url))?;
        let newest = found.into_iter().next();
        let newest = newest.map(|known| known.kept.newest(known.version, self.policy, now));
        Ok(Recorded::TakenOver(Box::new(newest.unwrap_or_default())))
    }

    fn attempt(&self, site: i64, outcome: &Outcome) -> Result<()> {
        let run = outcome.run.map(number);
        let answered = outcome.at - std::time::Duration::from_millis(outcome.ms);
        let at = match outcome.request {
            Request::Put => answered,
            Request::Get => outcome.at,
        };
        let cause = outcome.cause.as_ref().map(json).transpose()?;
        let request = json(&outcome.request)?;
        let ms = i64::try_from(outcome.ms).unwrap_or(i64::MAX);
        if outcome.request == Request::Put {
            let told = self
                .conn
                .prepare_cached(
                    "UPDATE attempts SET ended = 1, ms = ?5, http = ?6, cause = ?7, note = ?8 WHERE run = ?1 AND \
                     site = ?2 AND request = ?3 AND number = ?4 AND ended = 0",
                )?
                .execute(params![
                    run, site, request, outcome.number, ms, outcome.http, cause, outcome.note.as_str()
                ])?;
            if told > 0 {
                return Ok(());
            }
        }
        // A run that was pruned has no attempts any more: this one is of none.
        self.conn
            .prepare_cached(
                "INSERT INTO attempts (run, site, request, number, at, ended, ms, http, cause, note) \
                 VALUES ((SELECT id FROM runs WHERE id = ?1), ?2, ?3, ?4, ?9, 1, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                run,
                site,
                request,
                outcome.number,
                ms,
                outcome.http,
                cause,
                outcome.note.as_str(),
                wall(at)
            ])?;
        Ok(())
    }

    /// What a look showed: the same as the look before goes on, anything else begins anew.
    fn see(&self, site: i64, outcome: &Outcome) -> Result<()> {
        if outcome.served == Served::Unknown {
            return Ok(());
        }
        let served = json(&outcome.served)?;
        let at = wall(outcome.at);
        let mut last = self
            .conn
            .prepare_cached("SELECT id, served = ?2 FROM seen WHERE site = ?1 ORDER BY id DESC LIMIT 1")?;
        let last: Option<(i64, bool)> = last
            .query_row(params![site, served], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((id, true)) = last {
            self.conn
                .prepare_cached("UPDATE seen SET last = max(last, ?2) WHERE id = ?1")?
                .execute([id, at])?;
            return Ok(());
        }
        self.conn
            .prepare_cached(
                "INSERT INTO seen (site, served, first, last, pushed_by) VALUES (?1, ?2, ?3, ?3, \
                 (SELECT run FROM attempts WHERE site = ?1 AND key = ?4 ORDER BY id DESC LIMIT 1))",
            )?
            .execute(params![
                site,
                served,
                at,
                outcome.served.key().map(crate::key::PublishableKey::as_str)
            ])?;
        Ok(())
    }

    /// All that is known of the site.
    pub(super) fn keep(&self, site: i64, state: &SiteState) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE sites SET run = ?2, state = ?3, boot = ?4 WHERE id = ?1")?
            .execute(params![site, state.run.map(number), json(state)?, self.boot])?;
        Ok(())
    }

    /// The site's row in a run that has not ended, and to which no later run has put an end there.
    /// `in_doubt`: of its PUT that is open nothing is said.
    fn row(&self, run: i64, site: i64, record: &Record, in_doubt: bool) -> Result<()> {
        let state = &record.state;
        let left = left(state, self.policy, record.at);
        self.conn
            .prepare_cached(
                "UPDATE run_sites SET push = :push, verify = :verify, http = :http, \
                 puts = iif(:in_doubt, puts, :puts), before = :before, \
                 now = :now, note = :note, at_ns = :ns, at_wall = :wall, at_boot = :boot, open = :open, \
                 left = iif(:in_doubt, left, :left), open_put = :in_doubt WHERE run = :run AND site = :site AND verify <> :superseded \
                 AND (SELECT ended_wall IS NULL FROM runs WHERE id = :run)",
            )?
            .execute(named_params! {
                ":push": json(&state.push)?,
                ":verify": json(&state.verify)?,
                ":http": state.http,
                ":puts": state.puts,
                ":before": json(&state.before)?,
                ":now": json(&state.now)?,
                ":note": record.note.as_str(),
                ":ns": ns(record.at),
                ":wall": wall(record.at),
                ":boot": self.boot,
                ":open": is_open(state) || in_doubt,
                ":in_doubt": in_doubt,
                ":left": left.as_ref().map(json).transpose()?,
                ":run": run,
                ":site": site,
                ":superseded": json(&Verify::Superseded)?,
            })?;
        Ok(())
    }
}
