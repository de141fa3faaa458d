use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::{Connection, Error, OptionalExtension, Result, Row};

use super::columns::{number, run_of, state};
use super::known::{Known, OF_ALL, open_rows, unreadable};
use super::lock::Lives;
use crate::rules::moment::Moment;
use crate::site::SiteUrl;
use crate::store::rows::{OpenRow, StateRun, kept};
use crate::store::{Kept, Newest, RunId};

/// From so many sites on all that the store has is read in one go.
const MANY: usize = 500;
/// The store may have so many times as many sites as are asked for: beyond that too much would be read in vain.
const IN_VAIN: usize = 4;
/// So many rows go to a thread at once.
const BATCH: usize = 64;
/// And so many batches wait at most.
const WAITING: usize = 8;
/// One thread that reads keeps no more busy with what it has read.
const THREADS: usize = 4;

/// A site's row, before its state is made of its text: that is most of the work, and is done by other threads.
struct SiteRow {
    /// Where in the list that was asked for.
    index: usize,
    site: i64,
    version: i64,
    state: Option<String>,
    /// Whether that is from before the machine's start.
    is_from_before: bool,
    of_state: StateRun,
}

/// What makes of a row what is known now.
struct Making<'a> {
    lives: &'a Lives,
    since: Moment,
    open: HashMap<i64, Vec<OpenRow>>,
}

/// Whether so many sites are asked for that reading the whole store costs less than looking for each of them.
pub(super) fn is_asked_for(conn: &Connection, sites: &[SiteUrl]) -> Result<bool> {
    if sites.len() < MANY {
        return Ok(false);
    }
    let most: Option<i64> = conn.query_row("SELECT max(id) FROM sites", [], |row| row.get(0))?;
    let most = usize::try_from(most.unwrap_or_default()).unwrap_or(usize::MAX);
    Ok(most <= sites.len().saturating_mul(IN_VAIN))
}

/// What is known of each of `sites`, in their order, as `newest` makes it of what the store has: read in one go.
pub(super) fn newest(
    conn: &Connection,
    lives: &Lives,
    boot: i64,
    since: Moment,
    sites: &[SiteUrl],
    newest: impl Fn(Known) -> Newest + Sync,
) -> Result<Vec<Newest>> {
    let making = Making {
        lives,
        since,
        open: open_rows(conn, boot, since, OF_ALL, [])?,
    };
    let places: HashMap<&str, usize> = (0..)
        .zip(sites)
        .map(|(index, site)| (site.as_str(), index))
        .collect();
    let mut all = vec![Newest::default(); sites.len()];
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS);
    let (hand_over, batches) = sync_channel(WAITING);
    let batches = Arc::new(Mutex::new(batches));
    let made = thread::scope(|scope| {
        let maker = || {
            // Each has its own: when all have panicked nobody has it any more, and nothing waits to be taken.
            let batches = Arc::clone(&batches);
            let (making, newest) = (&making, &newest);
            scope.spawn(move || make_all(&batches, making, newest))
        };
        let makers: Vec<_> = (0..threads).map(|_| maker()).collect();
        drop(batches);
        let read = read(conn, boot, &places, &hand_over);
        drop(hand_over);
        // All are waited for: the panic of one that was not would be one of this thread's, too.
        let ended: Vec<_> = makers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        read.map(|()| ended)
    })?;
    for made in made {
        for (index, made) in made.map_err(|_panicked| lost())? {
            all[index] = made;
        }
    }
    if places.len() < sites.len() {
        // Some are asked for twice.
        for (index, site) in sites.iter().enumerate() {
            all[index] = all[places[site.as_str()]].clone();
        }
    }
    Ok(all)
}

fn lost() -> Error {
    Error::ToSqlConversionFailure("a part of what is known of the sites got lost: please report this".into())
}

/// Reads all rows, in the order in which they stand on the disk.
fn read(
    conn: &Connection,
    boot: i64,
    places: &HashMap<&str, usize>,
    hand_over: &SyncSender<Vec<SiteRow>>,
) -> Result<()> {
    let mut runs = Runs::default();
    let mut query = conn.prepare_cached("SELECT url, id, version, state, boot, run FROM sites")?;
    let mut rows = query.query([])?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(row) = rows.next()? {
        // Where it is no text it is no site's that is asked for.
        let url = row.get_ref(0)?.as_str().unwrap_or_default();
        let Some(index) = places.get(url) else {
            continue;
        };
        let of_site = site_row(conn, boot, *index, row, &mut runs);
        batch.push(of_site.map_err(|error| unreadable(url, &error))?);
        if batch.len() == BATCH {
            // If all others are gone, that is told when they are waited for.
            let _gone = hand_over.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
        }
    }
    let _gone = hand_over.send(batch);
    Ok(())
}

fn site_row(conn: &Connection, boot: i64, index: usize, row: &Row<'_>, runs: &mut Runs) -> Result<SiteRow> {
    let run: Option<i64> = row.get(5)?;
    Ok(SiteRow {
        index,
        site: row.get(1)?,
        version: row.get(2)?,
        state: row.get(3)?,
        is_from_before: row.get::<_, Option<i64>>(4)?.is_some_and(|kept| kept != boot),
        of_state: runs.of(conn, run.map(run_of))?,
    })
}

/// The runs that states belong to: few of them, so each is looked up once.
#[derive(Default)]
struct Runs(HashMap<RunId, (bool, bool)>);

impl Runs {
    fn of(&mut self, conn: &Connection, run: Option<RunId>) -> Result<StateRun> {
        let found = match run {
            Some(run) => match self.0.get(&run) {
                Some(known) => *known,
                None => *self.0.entry(run).or_insert(look_up(conn, run)?),
            },
            None => (false, false),
        };
        let (goes_on, closed) = found;
        Ok(StateRun { run, goes_on, closed })
    }
}

/// Whether the run goes on, and whether it was closed.
fn look_up(conn: &Connection, run: RunId) -> Result<(bool, bool)> {
    let mut query = conn.prepare_cached("SELECT ended_wall IS NULL, closed FROM runs WHERE id = ?1")?;
    let found = query.query_row([number(run)], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?.unwrap_or_default())
}

/// Until no batch comes any more.
fn make_all(
    batches: &Mutex<Receiver<Vec<SiteRow>>>,
    making: &Making<'_>,
    newest: &(impl Fn(Known) -> Newest + Sync),
) -> Vec<(usize, Newest)> {
    let mut made = Vec::new();
    loop {
        let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return made };
        let known = batch.iter().map(|row| making.known(row));
        made.extend(known.map(|known| (known.index, newest(known))));
    }
}

impl Making<'_> {
    fn known(&self, row: &SiteRow) -> Known {
        let open = self.open.get(&row.site).map_or(&[][..], Vec::as_slice);
        let state = row.state.as_deref().and_then(state);
        Known {
            index: row.index,
            version: row.version,
            kept: Kept {
                before_restart: row.is_from_before.then_some(self.since),
                ..kept(state, &row.of_state, open, |run| self.lives.is_live(run))
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::place::Place;
    use super::super::{columns, schema};
    use super::*;

    /// Nobody waits for the end of this test where who reads waits for threads that are gone.
    #[test]
    fn a_panic_of_who_makes_states_is_an_error() {
        const SITES: usize = 4 * THREADS * BATCH * WAITING;

        let folder = tempfile::tempdir().unwrap();
        let place = Place::prepare(&folder.path().join("state/store.db")).unwrap();
        let conn = schema::open(&place).unwrap();
        let boot = columns::this_boot(&conn).unwrap();
        conn.execute_batch("BEGIN").unwrap();
        let urls: Vec<SiteUrl> = (0..SITES)
            .map(|number| SiteUrl::parse(&format!("https://s{number}.example.com")).unwrap())
            .collect();
        for url in &urls {
            conn.execute("INSERT INTO sites (url) VALUES (?1)", [url.as_str()])
                .unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
        let since = Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        };
        let lives = Lives::of(&place, []);
        let error = newest(&conn, &lives, boot, since, &urls, |_| panic!("on purpose")).unwrap_err();
        assert!(error.to_string().contains("please report this"), "{error}");
    }
}
