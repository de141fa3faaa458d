use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::columns::{json, ns, number, wall};
use super::statements::Statements;
use crate::rules::moment::Moment;
use crate::rules::outcome::Problem;
use crate::rules::retry::Policy;
use crate::rules::state::SiteState;
use crate::rules::status::{Push, Verify};
use crate::site::SiteUrl;
use crate::store::left::{Open, is_open, left};
use crate::store::{Intent, Record, RunId};

/// The sites that a transaction has touched: what is read of them is read once, and what several changes make of
/// them is written once, by [`Touched::write`]. Until then the database does not know of it: who asks it about more
/// than is here, or changes there what is here, has it written, and forgotten, first.
pub(super) struct Touched<'a> {
    statements: Statements<'a>,
    boot: i64,
    policy: &'a Policy,
    entries: Vec<Entry<'a>>,
    sites: HashMap<&'a SiteUrl, Site>,
}

/// A site that was touched: where it stands among the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site(usize);

/// A site as it is by now.
struct Entry<'a> {
    id: i64,
    version: i64,
    is_raised: bool,
    /// What is to be written of it.
    state: Option<&'a SiteState>,
    /// Those that are open, and others that were asked for. None where they were not read.
    rows: Option<Vec<RunRow<'a>>>,
}

/// The site's row in a run, as it is by now.
struct RunRow<'a> {
    row: Open,
    /// Whether something of it is still to come.
    is_open: bool,
    /// Whether a later run has put an end to it.
    superseded: bool,
    /// Whether the run has ended.
    ended: bool,
    unwritten: Option<Unwritten<'a>>,
}

/// What is to be written in a row.
struct Unwritten<'a> {
    push: Push,
    verify: Verify,
    at: Moment,
    /// None: as they were.
    puts: Option<Puts>,
    /// The record with what a site was seen to serve, and a note. None: as they were.
    seen: Option<&'a Record>,
}

/// The PUTs that were about to be sent, and what becomes of PUSH if the process dies now.
#[derive(Debug, Clone, Copy)]
struct Puts {
    count: u32,
    left: Option<Push>,
}

impl<'a> Touched<'a> {
    pub(super) fn new(conn: &'a Connection, boot: i64, policy: &'a Policy) -> Self {
        Self {
            statements: Statements::on(conn),
            boot,
            policy,
            entries: Vec::new(),
            sites: HashMap::new(),
        }
    }

    pub(super) fn site(&mut self, url: &'a SiteUrl) -> Result<Site> {
        if let Some(site) = self.sites.get(url) {
            return Ok(*site);
        }
        let site = Site(self.entries.len());
        let entry = self.read(url)?;
        self.entries.push(entry);
        self.sites.insert(url, site);
        Ok(site)
    }

    fn read(&mut self, url: &SiteUrl) -> Result<Entry<'a>> {
        let url = url.to_string();
        let query = self
            .statements
            .of("SELECT id, version FROM sites WHERE url = ?1")?;
        let found = query.query_row([&url], |row| Ok((row.get(0)?, row.get(1)?)));
        let (id, version) = if let Some(found) = found.optional()? {
            found
        } else {
            let add = self.statements.of("INSERT INTO sites (url) VALUES (?1)")?;
            (add.insert([&url])?, 0)
        };
        Ok(Entry {
            id,
            version,
            is_raised: false,
            state: None,
            rows: None,
        })
    }

    /// The site's number.
    pub(super) fn id(&self, site: Site) -> i64 {
        self.entries[site.0].id
    }

    pub(super) fn version(&self, site: Site) -> i64 {
        self.entries[site.0].version
    }

    /// Raises the version.
    pub(super) fn raise(&mut self, site: Site) {
        let entry = &mut self.entries[site.0];
        entry.version += 1;
        entry.is_raised = true;
    }

    /// All that is known of the site.
    pub(super) fn keep(&mut self, site: Site, state: &'a SiteState) {
        self.entries[site.0].state = Some(state);
    }

    /// The site's rows in which something is still to come.
    pub(super) fn open(&mut self, site: Site) -> Result<Vec<Open>> {
        let open = self.rows(site)?.iter().filter(|row| row.is_open);
        Ok(open.map(|row| row.row).collect())
    }

    fn rows(&mut self, site: Site) -> Result<&mut Vec<RunRow<'a>>> {
        let entry = &mut self.entries[site.0];
        if entry.rows.is_none() {
            let query =
                self.statements
                    .of("SELECT run, open, open_put, puts, verify = '\"superseded\"', \
                 NOT EXISTS (SELECT 1 FROM runs WHERE id = run AND ended_wall IS NULL) \
                 FROM run_sites WHERE site = ?1 AND open = 1")?;
            entry.rows = Some(query.query_map([entry.id], run_row)?.collect::<Result<_>>()?);
        }
        Ok(entry.rows.get_or_insert_default())
    }

    /// The site's row in `id`, if it has one there.
    fn row(&mut self, site: Site, id: RunId) -> Result<Option<&mut RunRow<'a>>> {
        if !self.rows(site)?.iter().any(|row| row.row.run == id) {
            let query =
                self.statements
                    .of("SELECT run, open, open_put, puts, verify = '\"superseded\"', \
                 NOT EXISTS (SELECT 1 FROM runs WHERE id = run AND ended_wall IS NULL) \
                 FROM run_sites WHERE run = ?1 AND site = ?2")?;
            let found = query.query_row([number(id), self.entries[site.0].id], run_row);
            let found = found.optional()?;
            self.rows(site)?.extend(found);
        }
        Ok(self.rows(site)?.iter_mut().find(|row| row.row.run == id))
    }

    /// A PUT is about to be sent: from now on the site is this run's.
    pub(super) fn intend(&mut self, site: Site, intent: &Intent) -> Result<()> {
        if let Some(row) = self.row(site, intent.run)? {
            let seen = row.unwritten.take().and_then(|before| before.seen);
            row.write(Unwritten {
                push: Push::Sending,
                verify: Verify::Unchecked,
                at: intent.at,
                puts: Some(Puts {
                    count: intent.number,
                    left: Some(Push::Unknown(Problem::ConnectionLost.cause())),
                }),
                seen,
            });
            (row.is_open, row.row.doubt) = (true, true);
        }
        self.supersede(site, intent.run)
    }

    /// What settles for another run is this one's now; so is what an earlier one did not reach.
    fn supersede(&mut self, site: Site, id: RunId) -> Result<()> {
        if !self
            .rows(site)?
            .iter()
            .any(|row| row.is_open && row.row.run != id)
        {
            return Ok(());
        }
        self.write_site(site)?;
        let entry = &mut self.entries[site.0];
        entry.rows = None;
        self.statements.of(
                "UPDATE run_sites SET push = coalesce(left, push), left = NULL, verify = ?3, open = 0, open_put = 0 \
                 WHERE open = 1 AND site = ?1 AND run <> ?2 AND (left IS NULL OR run < ?2)",
            )?
            .execute(params![entry.id, number(id), json(&Verify::Superseded)?])?;
        Ok(())
    }

    /// What a record says in the site's row in its run, unless that has ended, or a later run has put an end to it
    /// there. `in_doubt`: of its PUT that is open nothing is said.
    pub(super) fn record(&mut self, site: Site, id: RunId, record: &'a Record, in_doubt: bool) -> Result<()> {
        let policy = self.policy;
        let Some(row) = self.row(site, id)?.filter(|row| !row.superseded && !row.ended) else {
            return Ok(());
        };
        let state = &record.state;
        let puts = if in_doubt {
            row.unwritten.take().and_then(|before| before.puts)
        } else {
            Some(Puts {
                count: state.puts,
                left: left(state, policy, record.at),
            })
        };
        row.write(Unwritten {
            push: state.push,
            verify: state.verify,
            at: record.at,
            puts,
            seen: Some(record),
        });
        row.is_open = is_open(state) || in_doubt;
        row.row.doubt = in_doubt;
        Ok(())
    }

    /// Writes all of it, and forgets it.
    pub(super) fn write(&mut self) -> Result<()> {
        (0..self.entries.len()).try_for_each(|index| self.write_site(Site(index)))?;
        self.entries.clear();
        self.sites.clear();
        Ok(())
    }

    /// Writes what several changes have made of the site.
    pub(super) fn write_site(&mut self, site: Site) -> Result<()> {
        let entry = &mut self.entries[site.0];
        let (raised, state) = (std::mem::take(&mut entry.is_raised), entry.state.take());
        if let Some(state) = state {
            self.statements
                .of("UPDATE sites SET version = ?2, run = ?3, state = ?4, boot = ?5 WHERE id = ?1")?
                .execute(params![
                    entry.id,
                    entry.version,
                    state.run.map(number),
                    json(state)?,
                    self.boot
                ])?;
        } else if raised {
            self.statements
                .of("UPDATE sites SET version = ?2 WHERE id = ?1")?
                .execute([entry.id, entry.version])?;
        }
        for row in entry.rows.iter_mut().flatten() {
            if let Some(unwritten) = row.unwritten.take() {
                write_row(&mut self.statements, self.boot, entry.id, row, &unwritten)?;
            }
        }
        Ok(())
    }
}

impl<'a> RunRow<'a> {
    fn write(&mut self, unwritten: Unwritten<'a>) {
        self.row.puts = unwritten.puts.map_or(self.row.puts, |puts| puts.count);
        self.superseded = unwritten.verify == Verify::Superseded;
        self.unwritten = Some(unwritten);
    }
}

fn run_row<'a>(row: &Row<'_>) -> Result<RunRow<'a>> {
    Ok(RunRow {
        row: Open {
            run: RunId(row.get::<_, i64>(0)?.cast_unsigned()),
            doubt: row.get(2)?,
            puts: row.get(3)?,
        },
        is_open: row.get(1)?,
        superseded: row.get(4)?,
        ended: row.get(5)?,
        unwritten: None,
    })
}

fn write_row(
    statements: &mut Statements<'_>,
    boot: i64,
    site: i64,
    row: &RunRow<'_>,
    unwritten: &Unwritten<'_>,
) -> Result<()> {
    let seen = unwritten.seen;
    let (puts, left) = (unwritten.puts, unwritten.puts.and_then(|puts| puts.left));
    let update = statements.of(
        "UPDATE run_sites SET push = ?3, verify = ?4, puts = coalesce(?5, puts), open = ?6, \
         left = iif(?7, ?8, left), open_put = ?9, at_ns = ?10, at_wall = ?11, at_boot = ?12, \
         http = iif(?13, ?14, http), before = coalesce(?15, before), now = coalesce(?16, now), \
         note = coalesce(?17, note) WHERE run = ?1 AND site = ?2",
    )?;
    update.execute(params![
        number(row.row.run),
        site,
        json(&unwritten.push)?,
        json(&unwritten.verify)?,
        puts.map(|puts| puts.count),
        row.is_open,
        puts.is_some(),
        left.as_ref().map(json).transpose()?,
        row.row.doubt,
        ns(unwritten.at),
        wall(unwritten.at),
        boot,
        seen.is_some(),
        seen.and_then(|record| record.state.http),
        seen.map(|record| json(&record.state.before)).transpose()?,
        seen.map(|record| json(&record.state.now)).transpose()?,
        seen.map(|record| record.note.as_str()),
    ])?;
    Ok(())
}
