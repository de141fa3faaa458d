use std::time::Duration;

use super::data::{Attempt, Data, Me, Site};
use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::state::Served;
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::left::{Basis, OpenPut, decides, is_open, left, no_right};
use crate::store::{Intent, Outcome, Record, Recorded, Request, RunId, Seen, StoreError, StoredAttempt};
use crate::text::CleanText;

impl Data {
    pub(super) fn intend(
        &mut self,
        me: Me,
        basis: &mut Basis,
        intent: &Intent,
        policy: &Policy,
    ) -> Result<Recorded, StoreError> {
        if !self.sends_for(me, intent.run) {
            return Err(no_right(intent.run));
        }
        let version = self.sites.get(&intent.site).map_or(0, |site| site.version);
        let stale = basis.version < version;
        let doubts = self.doubts(me, &intent.site);
        let doubt = doubts.into_iter().any(|put| !basis.covers_before(put, intent));
        if stale || doubt {
            return Ok(self.taken_over(me, &intent.site, policy, intent.at));
        }
        basis.version = version + 1;
        self.changed_by(me);
        self.intends(intent);
        Ok(Recorded::Known)
    }

    /// The PUTs of processes that are gone, or of `me`, of which nothing says what came of them.
    fn doubts(&self, me: Me, url: &SiteUrl) -> Vec<OpenPut> {
        let open_in = self.sites.get(url).map_or(&[][..], |site| &site.open_in);
        let doubt = |id: &RunId| {
            let run = self.runs.get(id)?;
            let row = &run.rows[*run.place.get(url)?];
            let told_by_none = run.works == Some(me) || !self.is_live(run);
            (row.open_put && told_by_none).then_some((*id, row.shown.puts))
        };
        open_in.iter().filter_map(doubt).collect()
    }

    /// What is known of the site in place of what a process thinks. What that works on itself is like what the dead
    /// have left: it begins anew with what they did.
    fn taken_over(&self, me: Me, url: &SiteUrl, policy: &Policy, now: Moment) -> Recorded {
        Recorded::TakenOver(Box::new(self.known(url, me, policy, now)))
    }

    fn intends(&mut self, intent: &Intent) {
        self.intents.push(intent.clone());
        let site = self.sites.entry(intent.site.clone()).or_default();
        site.version += 1;
        site.attempts.push(Attempt {
            stored: StoredAttempt {
                run: Some(intent.run),
                site: intent.site.clone(),
                request: Request::Put,
                number: intent.number,
                at: intent.at.wall,
                ended: false,
                ms: None,
                http: None,
                cause: None,
                note: CleanText::default(),
            },
            key: Some(intent.key.clone()),
        });
        for id in std::mem::take(&mut site.open_in) {
            let run = self.runs.get_mut(&id);
            let Some(row) = run.and_then(|run| run.row(&intent.site)) else {
                continue;
            };
            if id == intent.run || (id > intent.run && row.left.is_some()) {
                site.open_in.push(id);
            } else {
                row.supersede();
            }
        }
        let run = self.runs.get_mut(&intent.run);
        if let Some(row) = run.and_then(|run| run.row(&intent.site)) {
            (row.shown.push, row.shown.verify, row.shown.puts) =
                (Push::Sending, Verify::Unchecked, intent.number);
            (row.shown.at, row.at) = (Some(intent.at.wall), Some(intent.at));
            row.left = Some(Push::Unknown(Problem::ConnectionLost.cause()));
            row.open_put = true;
            mark(&mut row.open, true, &mut site.open_in, intent.run);
        }
    }

    pub(super) fn record(&mut self, me: Me, basis: &mut Basis, record: Record, policy: &Policy) -> Recorded {
        let anothers = self.is_anothers(me, &record);
        let doubts = self.doubts(me, &record.site);
        let doubt = doubts.iter().any(|put| !basis.covers(*put, &record));
        let site = self.sites.entry(record.site.clone()).or_default();
        if let Some(outcome) = &record.outcome {
            site.attempt(&record.site, outcome);
            site.see(outcome);
        }
        if basis.version < site.version || anothers || doubt {
            return self.taken_over(me, &record.site, policy, record.at);
        }
        let put = record
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.request == Request::Put);
        let of_row = doubts.iter().filter(|(run, _)| record.state.run == Some(*run));
        // Who knew of the open PUT only must not take the doubt away again.
        if put || of_row.into_iter().any(|open| decides(&record, *open)) {
            site.version += 1;
            basis.version = site.version;
        }
        self.row_of(&record, policy);
        if let Some(site) = self.sites.get_mut(&record.site) {
            site.state = Some(record.state);
        }
        Recorded::Known
    }

    /// Whether only another process can say what becomes of the run's PUT to the site: one that has it out, or that
    /// it is to come from. That one may be gone.
    fn is_anothers(&self, me: Me, record: &Record) -> bool {
        let run = record.state.run.and_then(|run| self.runs.get(&run));
        let Some(run) = run.filter(|run| run.works != Some(me)) else {
            return false;
        };
        let row = run.place.get(&record.site).map(|&place| &run.rows[place]);
        let open = row.filter(|row| row.open);
        open.is_some_and(|row| record.state.push.is_open() || (row.open_put && self.is_live(run)))
    }

    /// Its row in a run that has not ended, and to which no later run has put an end there.
    fn row_of(&mut self, record: &Record, policy: &Policy) {
        let state = &record.state;
        let run = state.run.and_then(|id| self.runs.get_mut(&id));
        let row = run
            .filter(|run| run.ended.is_none())
            .and_then(|run| run.row(&record.site));
        let Some(row) = row.filter(|row| row.shown.verify != Verify::Superseded) else {
            return;
        };
        let open_put = state.run.map(|run| (run, row.shown.puts));
        let in_doubt = row.open_put && open_put.is_some_and(|put| !decides(record, put));
        if !in_doubt {
            row.shown.puts = state.puts;
            (row.left, row.open_put) = (left(state, policy, record.at), false);
        }
        let shown = &mut row.shown;
        (shown.push, shown.verify, shown.http) = (state.push, state.verify, state.http);
        (shown.before, shown.now) = (state.before.clone(), state.now.clone());
        (shown.note, shown.at, row.at) = (record.note.clone(), Some(record.at.wall), Some(record.at));
        let open = is_open(state) || in_doubt;
        if let (Some(site), Some(run)) = (self.sites.get_mut(&record.site), state.run) {
            mark(&mut row.open, open, &mut site.open_in, run);
        }
    }
}

/// Keeps the site's list of runs in step with its row.
fn mark(open: &mut bool, now: bool, open_in: &mut Vec<RunId>, run: RunId) {
    *open = now;
    open_in.retain(|id| *id != run);
    if now {
        open_in.push(run);
    }
}

impl Site {
    fn attempt(&mut self, url: &SiteUrl, outcome: &Outcome) {
        let put = outcome.request == Request::Put;
        let same = |attempt: &&mut Attempt| {
            let stored = &attempt.stored;
            put && !stored.ended && stored.run == outcome.run && stored.number == outcome.number
        };
        let sent = outcome.at - Duration::from_millis(outcome.ms);
        let mut stored = StoredAttempt {
            run: outcome.run,
            site: url.clone(),
            request: outcome.request,
            number: outcome.number,
            at: if put { sent.wall } else { outcome.at.wall },
            ended: true,
            ms: Some(outcome.ms),
            http: outcome.http,
            cause: outcome.cause,
            note: outcome.note.clone(),
        };
        if let Some(intent) = self.attempts.iter_mut().rev().find(same) {
            stored.at = intent.stored.at;
            intent.stored = stored;
        } else {
            self.attempts.push(Attempt { stored, key: None });
        }
    }

    /// What a look showed: the same as the look before goes on, anything else begins anew.
    fn see(&mut self, outcome: &Outcome) {
        if outcome.served == Served::Unknown {
            return;
        }
        let at = outcome.at.wall;
        if let Some(last) = self.seen.last_mut().filter(|last| last.served == outcome.served) {
            last.last = last.last.max(at);
            return;
        }
        let key = outcome.served.key();
        let puts = self.attempts.iter().rev();
        let mut puts = puts.filter(|attempt| key.is_some() && attempt.key.as_ref() == key);
        self.seen.push(Seen {
            served: outcome.served.clone(),
            first: at,
            last: at,
            pushed_by: puts.next().and_then(|attempt| attempt.stored.run),
        });
    }
}
