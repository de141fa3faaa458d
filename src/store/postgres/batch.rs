//! What several changes make of the sites that they tell of: decided in memory, between one reading and one writing.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::columns::{Result, json, number, wall};
use super::hands::Hands;
use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::left::{Basis, Open, OpenPut, Raised, decides, is_anothers, is_open, left};
use crate::store::{Intent, Outcome, Record, Request, RunId};

/// What was read of a site.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) id: i64,
    pub(super) version: i64,
    /// Its rows that are open, and those of the runs that the changes name.
    pub(super) rows: Vec<RunRow>,
    /// What it was seen to serve last: the number of that, and what.
    pub(super) seen: Option<(i64, String)>,
}

/// The site's row in a run, as it was read.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
pub(super) struct RunRow {
    pub(super) run: RunId,
    pub(super) ended: bool,
    /// Whether it was left out of the plan, and has had no PUT all the same.
    pub(super) is_left_out: bool,
    pub(super) push: String,
    pub(super) verify: String,
    pub(super) puts: u32,
    pub(super) left: Option<String>,
    pub(super) is_open: bool,
    pub(super) doubt: bool,
}

/// A row, and what is to be written in it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) now: RunRow,
    pub(super) is_changed: bool,
    /// When something happened; none: as it was.
    pub(super) at: Option<Moment>,
    /// The record with what the site was seen to serve, and a note. None: as they were.
    pub(super) seen: Option<&'a Record>,
}

/// A site, and what is to be written of it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) id: i64,
    pub(super) version: i64,
    pub(super) is_raised: bool,
    pub(super) state: Option<&'a SiteState>,
    pub(super) rows: Vec<Row<'a>>,
    seen: Option<LastSeen>,
    /// Keys that were about to be sent to it in this batch.
    sent: Vec<(&'a str, RunId)>,
}

#[derive(Debug)]
enum LastSeen {
    OnRecord(i64, String),
    New(usize),
}

/// An attempt that is new.
#[derive(Debug)]
pub(super) struct NewAttempt<'a> {
    pub(super) run: Option<i64>,
    pub(super) site: i64,
    pub(super) request: Request,
    pub(super) number: u32,
    pub(super) key: Option<&'a str>,
    pub(super) at: i64,
    /// What came of it; none where it is about to be sent.
    pub(super) outcome: Option<&'a Outcome>,
    /// Whether its intent may be on record: then that is told what came of it, and this is nothing new.
    pub(super) may_be_known: bool,
}

/// Something that a site was seen to serve, and did not before.
#[derive(Debug)]
pub(super) struct NewSeen<'a> {
    pub(super) site: i64,
    pub(super) served: String,
    pub(super) first: i64,
    pub(super) last: i64,
    /// The run that sent it there in this batch; otherwise what is on record tells.
    pub(super) pushed_by: Option<i64>,
    pub(super) key: Option<&'a str>,
}

/// What was decided of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    /// It counts from now on.
    Known,
    /// Another process has sent the site a PUT that this one did not know of, or may have.
    TakenOver,
    /// The run has no right to send.
    NoRight,
}

/// Who decides: what this process works on, and what others do.
pub(super) struct Who<'a> {
    pub(super) policy: &'a Policy,
    /// The runs that this process works on.
    pub(super) own: &'a [RunId],
    /// Those of them that have the right to send.
    pub(super) sends: &'a HashSet<RunId>,
    /// The chunks of runs that it has taken.
    pub(super) hands: &'a Hands,
    /// The runs that some process works on.
    pub(super) live: &'a HashSet<RunId>,
    /// Sites that a run which sends elsewhere has in its plan.
    pub(super) held: &'a HashSet<i64>,
    /// The versions of sites that this process has made.
    pub(super) raised: &'a HashMap<i64, Raised>,
}

/// A batch of changes.
pub(super) struct Batch<'a> {
    who: Who<'a>,
    places: HashMap<&'a SiteUrl, usize>,
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) raises: HashMap<i64, Raised>,
    pub(super) attempts: Vec<NewAttempt<'a>>,
    pub(super) seen: Vec<NewSeen<'a>>,
    /// What was on record as seen last, and was seen again.
    pub(super) prolonged: BTreeMap<i64, i64>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(who: Who<'a>, sites: impl IntoIterator<Item = (&'a SiteUrl, Loaded)>) -> Self {
        let mut places = HashMap::new();
        let mut entries = Vec::new();
        for (url, loaded) in sites {
            places.insert(url, entries.len());
            entries.push(Entry::of(loaded));
        }
        Self {
            who,
            places,
            entries,
            raises: HashMap::new(),
            attempts: Vec::new(),
            seen: Vec::new(),
            prolonged: BTreeMap::new(),
        }
    }

    fn place(&self, url: &SiteUrl) -> Result<usize> {
        // Each site that a change names was read.
        self.places.get(url).copied().ok_or(sqlx::Error::RowNotFound)
    }

    /// Whether no version of the site's is newer than what who knew `basis` knows by now: the others are its own.
    fn knows(&self, entry: &Entry<'_>, basis: Basis) -> bool {
        let own = self.raises.get(&entry.id);
        basis.knows(entry.version, own.or_else(|| self.who.raised.get(&entry.id)))
    }

    /// The PUTs of processes that are gone, or of this one, of which nothing says what came of them.
    fn doubts(&self, open: &[Open]) -> Vec<OpenPut> {
        let told_by_none = |run: &RunId| self.who.own.contains(run) || !self.who.live.contains(run);
        open.iter()
            .filter(|row| row.doubt && told_by_none(&row.run))
            .map(|row| (row.run, row.puts))
            .collect()
    }

    /// A PUT is about to be sent: from now on the site is this run's.
    pub(super) fn intend(&mut self, intent: &'a Intent, basis: Basis) -> Result<Decided> {
        let place = self.place(&intent.site)?;
        let entry = &self.entries[place];
        let may_send =
            self.who.sends.contains(&intent.run) || self.who.hands.may_send(intent.run, &intent.site);
        if !may_send || self.is_held(entry, intent.run) {
            return Ok(Decided::NoRight);
        }
        let mut doubts = self.doubts(&entry.open()).into_iter();
        if doubts.any(|put| !basis.covers_before(put, intent)) || !self.knows(entry, basis) {
            return Ok(Decided::TakenOver);
        }
        self.raise(place);
        let entry = &mut self.entries[place];
        self.attempts.push(NewAttempt {
            run: Some(number(intent.run)),
            site: entry.id,
            request: Request::Put,
            number: intent.number,
            key: Some(intent.key.as_str()),
            at: wall(intent.at),
            outcome: None,
            may_be_known: false,
        });
        entry.sent.push((intent.key.as_str(), intent.run));
        entry.intend(intent)?;
        Ok(Decided::Known)
    }

    /// Whether another run holds the site, which this one has not got in its plan.
    fn is_held(&self, entry: &Entry<'_>, run: RunId) -> bool {
        self.who.held.contains(&entry.id) && !entry.is_planned_in(run)
    }

    fn raise(&mut self, place: usize) {
        let entry = &mut self.entries[place];
        let before = self.raises.get(&entry.id);
        let before = before.or_else(|| self.who.raised.get(&entry.id));
        let raised = Raised::above(entry.version, before);
        entry.version += 1;
        entry.is_raised = true;
        self.raises.insert(entry.id, raised);
    }

    /// Something has happened to a site.
    pub(super) fn record(&mut self, record: &'a Record, basis: Basis) -> Result<Decided> {
        let place = self.place(&record.site)?;
        if let Some(outcome) = &record.outcome {
            self.attempt(place, outcome);
            self.see(place, outcome)?;
        }
        let entry = &self.entries[place];
        let open = entry.open();
        let doubts = self.doubts(&open);
        let doubt = doubts.iter().any(|put| !basis.covers(*put, record));
        if doubt || !self.knows(entry, basis) || is_anothers(self.who.own, &open, &doubts, &record.state) {
            return Ok(Decided::TakenOver);
        }
        let put = record
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.request == Request::Put);
        let doubt = doubts.into_iter().find(|(run, _)| record.state.run == Some(*run));
        let decided = doubt.is_some_and(|doubt| decides(record, doubt));
        // Who knew of the open PUT only must not take the doubt away again.
        if put || decided {
            self.raise(place);
        }
        let policy = self.who.policy;
        let entry = &mut self.entries[place];
        entry.state = Some(&record.state);
        if let Some(run) = record.state.run {
            entry.record(run, record, policy, doubt.is_some() && !decided)?;
        }
        Ok(Decided::Known)
    }

    fn attempt(&mut self, place: usize, outcome: &'a Outcome) {
        let site = self.entries[place].id;
        let run = outcome.run.map(number);
        let is_put = outcome.request == Request::Put;
        let intended = self.attempts.iter_mut().rev().find(|attempt| {
            is_put
                && attempt.outcome.is_none()
                && (attempt.site, attempt.run, attempt.number) == (site, run, outcome.number)
        });
        if let Some(intended) = intended {
            intended.outcome = Some(outcome);
            return;
        }
        let sent = outcome.at - std::time::Duration::from_millis(outcome.ms);
        self.attempts.push(NewAttempt {
            run,
            site,
            request: outcome.request,
            number: outcome.number,
            key: None,
            at: wall(if is_put { sent } else { outcome.at }),
            outcome: Some(outcome),
            may_be_known: is_put,
        });
    }

    /// What a look showed: the same as the look before goes on, anything else begins anew.
    fn see(&mut self, place: usize, outcome: &'a Outcome) -> Result<()> {
        if outcome.served == Served::Unknown {
            return Ok(());
        }
        let (served, at) = (json(&outcome.served)?, wall(outcome.at));
        let entry = &mut self.entries[place];
        match &entry.seen {
            Some(LastSeen::OnRecord(id, last)) if *last == served => {
                let until = self.prolonged.entry(*id).or_insert(at);
                *until = at.max(*until);
                return Ok(());
            }
            Some(LastSeen::New(index)) if self.seen[*index].served == served => {
                let last = &mut self.seen[*index].last;
                *last = at.max(*last);
                return Ok(());
            }
            _ => {}
        }
        let key = outcome.served.key().map(crate::key::PublishableKey::as_str);
        let sent = entry.sent.iter().rev().find(|(sent, _)| Some(*sent) == key);
        entry.seen = Some(LastSeen::New(self.seen.len()));
        self.seen.push(NewSeen {
            site: entry.id,
            served,
            first: at,
            last: at,
            pushed_by: sent.map(|(_, run)| number(*run)),
            key,
        });
        Ok(())
    }
}

impl<'a> Entry<'a> {
    fn of(loaded: Loaded) -> Self {
        let row = |now| Row {
            now,
            is_changed: false,
            at: None,
            seen: None,
        };
        Self {
            id: loaded.id,
            version: loaded.version,
            is_raised: false,
            state: None,
            rows: loaded.rows.into_iter().map(row).collect(),
            seen: loaded.seen.map(|(id, served)| LastSeen::OnRecord(id, served)),
            sent: Vec::new(),
        }
    }

    /// The rows in which something is still to come.
    fn open(&self) -> Vec<Open> {
        let open = self.rows.iter().filter(|row| row.now.is_open);
        open.map(|row| Open {
            run: row.now.run,
            doubt: row.now.doubt,
            puts: row.now.puts,
        })
        .collect()
    }

    fn is_planned_in(&self, run: RunId) -> bool {
        let row = self.rows.iter().find(|row| row.now.run == run);
        row.is_some_and(|row| !row.now.is_left_out)
    }

    /// A PUT is about to be sent: what settles for another run is this one's now; so is what an earlier one did not
    /// reach.
    fn intend(&mut self, intent: &Intent) -> Result<()> {
        for row in &mut self.rows {
            let now = &mut row.now;
            if now.run == intent.run {
                now.push = json(&Push::Sending)?;
                now.verify = json(&Verify::Unchecked)?;
                now.puts = intent.number;
                now.left = Some(json(&Push::Unknown(Problem::ConnectionLost.cause()))?);
                (now.is_open, now.doubt, row.is_changed) = (true, true, true);
                row.at = Some(intent.at);
            } else if now.is_open && (now.left.is_none() || now.run < intent.run) {
                if let Some(left) = now.left.take() {
                    now.push = left;
                }
                now.verify = json(&Verify::Superseded)?;
                (now.is_open, now.doubt, row.is_changed) = (false, false, true);
            }
        }
        Ok(())
    }

    /// What a record says in the site's row in its run, unless that has ended, or a later run has put an end to it
    /// there. `in_doubt`: of its PUT that is open nothing is said.
    fn record(&mut self, run: RunId, record: &'a Record, policy: &Policy, in_doubt: bool) -> Result<()> {
        let superseded = json(&Verify::Superseded)?;
        let mut rows = self.rows.iter_mut();
        let row = rows.find(|row| row.now.run == run && !row.now.ended && row.now.verify != superseded);
        let Some(row) = row else {
            return Ok(());
        };
        let (now, state) = (&mut row.now, &record.state);
        if !in_doubt {
            now.puts = state.puts;
            let left = left(state, policy, record.at);
            now.left = left.as_ref().map(json).transpose()?;
        }
        now.push = json(&state.push)?;
        now.verify = json(&state.verify)?;
        now.is_open = is_open(state) || in_doubt;
        now.doubt = in_doubt;
        row.at = Some(record.at);
        row.seen = Some(record);
        row.is_changed = true;
        Ok(())
    }
}
