use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, named_params, params};

use super::columns::{json, ns, number, wall};
use super::known::{known, open_runs};
use super::lock::{Held, Lives, is_live};
use super::place::Place;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::left::left;
use crate::store::{Intent, Outcome, Record, Recorded, Request, RunId};

/// What a change is made with. What it gets to know of versions counts once it is committed.
pub(super) struct Changes<'a> {
    pub(super) conn: &'a Connection,
    pub(super) place: &'a Place,
    pub(super) boot: i64,
    pub(super) policy: &'a Policy,
    /// The runs that this process works on.
    pub(super) own: &'a HashMap<RunId, Held>,
    /// The version of each site that this process knows.
    pub(super) known: &'a HashMap<i64, i64>,
    pub(super) learnt: HashMap<i64, i64>,
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

    fn knows(&self, site: i64) -> i64 {
        let version = self.learnt.get(&site).or_else(|| self.known.get(&site));
        version.copied().unwrap_or_default()
    }

    /// A PUT is about to be sent: from now on the site is this run's.
    pub(super) fn intend(&mut self, intent: &Intent) -> Result<()> {
        let (site, version) = self.site(&intent.site)?;
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
        self.learnt.insert(site, version + 1);
        Ok(())
    }

    /// Something has happened to a site.
    pub(super) fn record(&mut self, record: &Record) -> Result<Recorded> {
        let (site, version) = self.site(&record.site)?;
        if let Some(outcome) = &record.outcome {
            self.attempt(site, outcome)?;
            self.see(site, outcome)?;
        }
        if self.knows(site) < version || self.is_anothers(site, &record.state)? {
            self.learnt.insert(site, version);
            return self.taken_over(record).map(Recorded::TakenOver);
        }
        let put = record
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.request == Request::Put);
        if put {
            self.raise(site, version)?;
        } else {
            self.learnt.insert(site, version);
        }
        self.keep(site, &record.state)?;
        if let Some(run) = record.state.run {
            self.row(number(run), site, record)?;
        }
        Ok(Recorded::Known)
    }

    /// Whether another process has a PUT to this site out, or to come: what becomes of it only that one can say.
    fn is_anothers(&self, site: i64, state: &SiteState) -> Result<bool> {
        let Some(run) = state.run.filter(|run| !self.own.contains_key(run)) else {
            return Ok(false);
        };
        let mut query = self
            .conn
            .prepare_cached("SELECT open_put FROM run_sites WHERE run = ?1 AND site = ?2 AND open = 1")?;
        let open_put: Option<bool> = query
            .query_row([number(run), site], |row| row.get(0))
            .optional()?;
        Ok(open_put.is_some_and(|put| put || state.push.is_open()) && is_live(self.place, run))
    }

    /// What is known of the site in place of what this process thinks.
    fn taken_over(&self, record: &Record) -> Result<Box<SiteState>> {
        let lives = Lives::of(self.place, open_runs(self.conn)?);
        let found = known(self.conn, &lives, self.boot, std::slice::from_ref(&record.site))?;
        let kept = found
            .into_iter()
            .next()
            .map(|known| known.kept)
            .unwrap_or_default();
        Ok(Box::new(kept.restore(self.policy, record.at)))
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
    fn row(&self, run: i64, site: i64, record: &Record) -> Result<()> {
        let state = &record.state;
        let left = left(state, self.policy, record.at);
        self.conn
            .prepare_cached(
                "UPDATE run_sites SET push = :push, verify = :verify, http = :http, puts = :puts, before = :before, \
                 now = :now, note = :note, at_ns = :ns, at_wall = :wall, at_boot = :boot, open = :open, left = :left, \
                 open_put = 0 WHERE run = :run AND site = :site AND verify <> :superseded \
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
                ":open": state.is_busy() || state.push.is_open(),
                ":left": left.as_ref().map(json).transpose()?,
                ":run": run,
                ":site": site,
                ":superseded": json(&Verify::Superseded)?,
            })?;
        Ok(())
    }
}
