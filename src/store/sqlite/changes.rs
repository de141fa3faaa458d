use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::Shared;
use super::columns::{json, number, wall};
use super::known::{known, open_runs};
use super::lock::{Lives, is_live};
use super::place::Place;
use super::runs;
use super::statements::Statements;
use super::touched::{Site, Touched};
use crate::rules::moment::Moment;
use crate::rules::retry::Policy;
use crate::rules::state::Served;
use crate::site::SiteUrl;
use crate::store::left::{Basis, Open, OpenPut, Raised, decides, is_anothers};
use crate::store::{Intent, Outcome, Record, Recorded, Request, RunId};

/// What a change is made with. The versions that it makes count once they are committed.
pub(super) struct Changes<'a> {
    pub(super) conn: &'a Connection,
    pub(super) shared: &'a Shared,
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
    pub(super) touched: Touched<'a>,
    pub(super) statements: Statements<'a>,
}

impl<'a> Changes<'a> {
    /// Whether no version of the site's is newer than what who knew `basis` knows by now: the others are its own.
    fn knows(&self, site: Site, basis: Basis) -> bool {
        let (id, version) = (self.touched.id(site), self.touched.version(site));
        let own = self.raises.get(&id).or_else(|| self.raised.get(&id));
        basis.knows(version, own)
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
    pub(super) fn intend(&mut self, intent: &'a Intent, basis: Basis) -> Result<Option<Recorded>> {
        if self.sends != Some(intent.run) {
            return Ok(None);
        }
        let site = self.touched.site(&intent.site)?;
        let open = self.touched.open(site)?;
        let doubts = self.doubts(&open);
        let doubt = doubts.into_iter().any(|put| !basis.covers_before(put, intent));
        if doubt || !self.knows(site, basis) {
            return self.taken_over(site, &intent.site, intent.at).map(Some);
        }
        self.raise(site);
        self.begin_attempt(self.touched.id(site), intent)?;
        self.touched.intend(site, intent)?;
        Ok(Some(Recorded::Known))
    }

    fn begin_attempt(&mut self, site: i64, intent: &Intent) -> Result<()> {
        self.statements.of(
                "INSERT INTO attempts (run, site, request, number, key, at, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
            )?
            .execute(params![
                number(intent.run),
                site,
                json(&Request::Put)?,
                intent.number,
                intent.key.as_str(),
                wall(intent.at)
            ])?;
        Ok(())
    }

    fn raise(&mut self, site: Site) {
        let (id, version) = (self.touched.id(site), self.touched.version(site));
        let before = self.raises.get(&id).or_else(|| self.raised.get(&id));
        let raised = Raised::above(version, before);
        self.touched.raise(site);
        self.raises.insert(id, raised);
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
        self.touched.write()?;
        let ended = runs::end(self.conn, self.boot, self.own, run, at)?;
        self.sends.take_if(|sends| ended && *sends == run);
        Ok(ended)
    }

    /// Something has happened to a site.
    pub(super) fn record(&mut self, record: &'a Record, basis: Basis) -> Result<Recorded> {
        let site = self.touched.site(&record.site)?;
        if let Some(outcome) = &record.outcome {
            self.attempt(self.touched.id(site), outcome)?;
            self.see(self.touched.id(site), outcome)?;
        }
        let open = self.touched.open(site)?;
        let doubts = self.doubts(&open);
        let doubt = doubts.iter().any(|put| !basis.covers(*put, record));
        if doubt || !self.knows(site, basis) || is_anothers(self.own, &open, &doubts, &record.state) {
            return self.taken_over(site, &record.site, record.at);
        }
        let put = record
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.request == Request::Put);
        let doubt = doubts.into_iter().find(|(run, _)| record.state.run == Some(*run));
        let decided = doubt.is_some_and(|doubt| decides(record, doubt));
        // Who knew of the open PUT only must not take the doubt away again.
        if put || decided {
            self.raise(site);
        }
        self.touched.keep(site, &record.state);
        if let Some(run) = record.state.run {
            self.touched
                .record(site, run, record, doubt.is_some() && !decided)?;
        }
        Ok(Recorded::Known)
    }

    /// What is known of the site in place of what this process thinks. What it works on itself is like what the dead
    /// have left: it begins anew with what they did.
    fn taken_over(&mut self, site: Site, url: &SiteUrl, now: Moment) -> Result<Recorded> {
        self.touched.write_site(site)?;
        let lives = Lives::of(self.place, open_runs(self.conn)?).without(self.own);
        // By the moment by which it is read otherwise: in two ways it would seem to have changed.
        let since = self.shared.since(now);
        let found = known(self.conn, &lives, self.boot, since, std::slice::from_ref(url))?;
        let newest = found.into_iter().next();
        let newest = newest.map(|known| known.kept.newest(known.version, self.policy, now));
        Ok(Recorded::TakenOver(Box::new(newest.unwrap_or_default())))
    }

    fn attempt(&mut self, site: i64, outcome: &Outcome) -> Result<()> {
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
            let told = self.statements.of(
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
        self.statements
            .of(
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
    fn see(&mut self, site: i64, outcome: &Outcome) -> Result<()> {
        if outcome.served == Served::Unknown {
            return Ok(());
        }
        let served = json(&outcome.served)?;
        let at = wall(outcome.at);
        let last = self
            .statements
            .of("SELECT id, served = ?2 FROM seen WHERE site = ?1 ORDER BY id DESC LIMIT 1")?;
        let last: Option<(i64, bool)> = last
            .query_row(params![site, served], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((id, true)) = last {
            self.statements
                .of("UPDATE seen SET last = max(last, ?2) WHERE id = ?1")?
                .execute([id, at])?;
            return Ok(());
        }
        self.statements
            .of(
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
}
