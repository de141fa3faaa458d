use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Error, Result};

use super::known::open_runs;
use super::lock::{Held, holder_in, is_live, sends, works_on};
use super::runs::{self, Slice};
use super::writer::Writer;
use crate::rules::moment::Moment;
use crate::store::old::Pruned;
use crate::store::shared::lock;
use crate::store::{Holder, NewRun, RunId, StoreError};

impl Writer {
    fn holder(&self, run: Option<RunId>, at: Moment) -> Holder {
        Holder {
            run,
            by: self.by.clone(),
            since: at.wall,
            is_elsewhere: false,
            free_in: None,
        }
    }

    /// The right to send, or who has it.
    fn take_sends(&self, run: Option<RunId>, at: Moment) -> std::result::Result<Held, StoreError> {
        let path = sends(&self.shared.place);
        if self.sends.is_some() {
            return Err(StoreError::Busy(Box::new(holder_in(&path))));
        }
        Held::take(path, &self.holder(run, at))
    }

    /// The right to work on `run`, if this process has not got it.
    fn take_work(&self, run: RunId, at: Moment) -> std::result::Result<Option<Held>, StoreError> {
        if self.works.contains_key(&run) {
            return Ok(None);
        }
        Held::take(works_on(&self.shared.place, run), &self.holder(Some(run), at)).map(Some)
    }

    /// What could not be written yet happened before: written later it would take a right away that was given since.
    fn must_be_written(&self) -> std::result::Result<(), StoreError> {
        self.unwritten().map_or(Ok(()), Err)
    }

    pub(super) fn begin(&mut self, new: &NewRun) -> std::result::Result<RunId, StoreError> {
        self.must_be_written()?;
        let mut sends = self.take_sends(None, new.at)?;
        let path = self.shared.place.file.clone();
        let sql = |error: Error| super::fault::fault(&path, &error);
        let transaction = self.conn.transaction_with_behavior(Immediate).map_err(sql)?;
        let id = runs::begin(&transaction, &self.by, self.shared.boot, new).map_err(sql)?;
        let holder = Holder {
            run: Some(id),
            by: self.by.clone(),
            since: new.at.wall,
            is_elsewhere: false,
            free_in: None,
        };
        // Before others can see the run: none must think that nobody works on it.
        let works = Held::take(works_on(&self.shared.place, id), &holder)?;
        if let Err(error) = transaction.commit() {
            works.delete();
            return Err(sql(error));
        }
        if let Err(error) = sends.name(&holder) {
            // Others are told of a run without its number.
            tracing::warn!(%error, "who sends could not be written down");
        }
        self.works.insert(id, works);
        self.shared.works_on(self.own());
        self.sends = Some((id, sends));
        Ok(id)
    }

    pub(super) fn resume(&mut self, run: RunId, at: Moment) -> std::result::Result<(), StoreError> {
        if self.sends.as_ref().is_some_and(|(sends, _)| *sends == run) {
            return Ok(());
        }
        self.must_be_written()?;
        self.must_exist(run)?;
        let sends = self.take_sends(Some(run), at)?;
        let works = self.take_work(run, at)?;
        let reopened = self.in_one(|writer| runs::reopen(&writer.conn, run));
        if let Err(error) = reopened {
            if let Some(works) = works {
                works.delete();
            }
            return Err(error);
        }
        self.works.extend(works.map(|works| (run, works)));
        self.shared.works_on(self.own());
        self.sends = Some((run, sends));
        Ok(())
    }

    pub(super) fn close(&mut self, run: RunId, at: Moment) -> std::result::Result<(), StoreError> {
        self.must_be_written()?;
        self.must_exist(run)?;
        let works = self.take_work(run, at)?;
        let policy = lock(&self.shared.policy).clone();
        let boot = self.shared.boot;
        let closed = self.in_one(|writer| runs::close(&writer.conn, boot, &policy, run, at));
        if let Ok(raised) = &closed {
            self.has_raised(raised);
            self.leave(run);
        }
        if let Some(works) = works {
            works.delete();
        }
        closed.map(drop)
    }

    fn must_exist(&self, run: RunId) -> std::result::Result<(), StoreError> {
        let exists = runs::exists(&self.conn, run).map_err(|error| self.fault(&error))?;
        let absent = || StoreError::Failed(format!("there is no run {} on record", run.0));
        exists.then_some(()).ok_or_else(absent)
    }

    /// What `change` does is done as a whole or not at all.
    pub(super) fn in_one<T>(
        &mut self,
        change: impl FnOnce(&Self) -> Result<T>,
    ) -> std::result::Result<T, StoreError> {
        let done = self.conn.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let done = change(self)?;
            self.conn.execute_batch("COMMIT")?;
            Ok(done)
        });
        if done.is_err() && !self.conn.is_autocommit() {
            // SQLite may have rolled back by itself; then there is nothing to do.
            let _rolled_back = self.conn.execute_batch("ROLLBACK");
        }
        done.map_err(|error| self.fault(&error))
    }

    /// Ends the runs whose process died with nothing left to do. Where that cannot be written now, a later start
    /// does it.
    pub(super) fn end_idle(&mut self) {
        let open = open_runs(&self.conn).map_err(|error| self.fault(&error));
        let ended = open.and_then(|open| open.into_iter().try_for_each(|run| self.end_if_idle(run)));
        if let Err(error) = ended {
            tracing::warn!(%error, "a run that is over could not be ended");
        }
    }

    fn end_if_idle(&mut self, run: RunId) -> std::result::Result<(), StoreError> {
        if self.works.contains_key(&run) || is_live(&self.shared.place, run) {
            return Ok(());
        }
        let own = self.own();
        let over = runs::is_over(&self.conn, &own, run)
            .and_then(|over| Ok(runs::last(&self.conn, run)?.filter(|_| over)));
        let Some(last) = over.map_err(|error| self.fault(&error))? else {
            return Ok(());
        };
        // Somebody may have taken it up in the meantime, and then it is not over.
        let Ok(Some(works)) = self.take_work(run, last.moment) else {
            return Ok(());
        };
        self.in_one(|writer| match runs::last(&writer.conn, run)? {
            Some(last) => runs::end(&writer.conn, last.boot, &own, run, last.moment),
            None => Ok(false),
        })?;
        works.delete();
        Ok(())
    }

    /// The runs that this process works on.
    pub(super) fn own(&self) -> Vec<RunId> {
        self.works.keys().copied().collect()
    }

    /// Drops some of what is old, if that has not been done lately.
    pub(super) fn prune(&mut self, pruned: Pruned) -> std::result::Result<Slice, StoreError> {
        let last = runs::pruned(&self.conn).map_err(|error| self.fault(&error))?;
        if !pruned.is_due(last) {
            return Ok(Slice { runs: 0, last: true });
        }
        self.in_one(|writer| runs::prune(&writer.conn, pruned))
    }

    /// Whether another connection than the one that writes here has changed the file since this was asked last.
    pub(super) fn has_changed(&mut self) -> std::result::Result<bool, StoreError> {
        let version = self
            .conn
            .pragma_query_value(None, "data_version", |row| row.get(0));
        let version = version.map_err(|error| self.fault(&error))?;
        Ok(self.data_version.replace(version) != Some(version))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;
    use rusqlite::ffi;

    use super::super::Shared;
    use super::super::place::Place;
    use super::super::{columns, schema};
    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::run::Kind;
    use crate::rules::state::{Allow, Served, SiteState};
    use crate::site::SiteUrl;
    use crate::store::left::Basis;
    use crate::store::pending::Change;
    use crate::store::{Intent, Operator, Outcome, PlannedSite, Record, Request};
    use crate::text::CleanText;

    fn writer(folder: &tempfile::TempDir) -> Writer {
        let place = Place::prepare(&folder.path().join("state/store.db")).unwrap();
        let conn = schema::open(&place).unwrap();
        let boot = columns::this_boot(&conn).unwrap();
        Writer::new(conn, Arc::new(Shared::new(place, boot)), Operator::default())
    }

    fn at(seconds: u64) -> Moment {
        Moment {
            since_start: Duration::from_secs(seconds),
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    fn new_run() -> NewRun {
        let key = PublishableKey::parse("pk_test_51ExampleExampleExample").unwrap();
        NewRun {
            kind: Kind::Push,
            parent: None,
            key: key.clone(),
            allow: Allow::default(),
            at: at(1),
            sites: vec![PlannedSite {
                site: SiteUrl::parse("https://a.example.com").unwrap(),
                name: CleanText::note("a"),
                group: None,
                left_out: None,
                key,
                serves: Served::Unknown,
            }],
        }
    }

    /// The store is locked by another process for so long.
    fn locked() -> Error {
        Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
    }

    #[test]
    fn what_is_written_late_takes_no_right_away_that_was_given_since() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        let new = new_run();
        let run = writer.begin(&new).unwrap();
        writer.not_written(vec![(Change::Sent(run, at(2)), None)], &locked());
        for refused in [
            writer.resume(run, at(3)),
            writer.close(run, at(3)),
            writer.begin(&new).map(drop),
        ] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("locked by another process"), "{refused}");
        }
        writer.flush().unwrap();
        writer.resume(run, at(4)).unwrap();
        let intent = Intent {
            run,
            site: new.sites[0].site.clone(),
            number: 1,
            key: new.key.clone(),
            at: at(5),
        };
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        writer.write(vec![(Change::Intent(intent, Basis::default()), Some(reply))]);
        assert!(answer.try_recv().unwrap().is_ok());
    }

    #[test]
    fn what_is_old_is_dropped_a_little_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        let run = writer.begin(&new_run()).unwrap();
        writer.close(run, at(2)).unwrap();
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                    INSERT INTO attempts (run, site, request, number, at, ended) \
                    SELECT 1, 1, '\"get\"', i, 0, 1 FROM n";
        writer.conn.execute_batch(many).unwrap();
        let attempts = |writer: &Writer| -> i64 {
            let count = "SELECT count(*) FROM attempts";
            writer.conn.query_row(count, [], |row| row.get(0)).unwrap()
        };
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1);
        let pruned = Pruned { at: now, before: now };
        for left in [3000, 1000] {
            let slice = writer.prune(pruned).unwrap();
            assert_eq!((slice, attempts(&writer)), (Slice { runs: 0, last: false }, left));
        }
        let slice = writer.prune(pruned).unwrap();
        assert_eq!((slice, attempts(&writer)), (Slice { runs: 1, last: true }, 0));
        let slice = writer.prune(pruned).unwrap();
        assert_eq!(slice, Slice { runs: 0, last: true }, "once a day");
    }

    #[test]
    fn what_can_never_be_written_is_told_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        let run = writer.begin(&new_run()).unwrap();
        let never =
            "CREATE TRIGGER never BEFORE UPDATE OF sent_wall ON runs BEGIN SELECT RAISE(ABORT, 'no'); END";
        writer.conn.execute_batch(never).unwrap();
        writer.write(vec![(Change::Sent(run, at(2)), None)]);
        assert!(writer.flush().unwrap_err().to_string().contains("no"));
        // It holds up nothing.
        writer.resume(run, at(3)).unwrap();
    }

    /// A look, of which the store is made to take some and others not, by their number.
    fn look(number: u32) -> Change {
        let outcome = Outcome {
            run: None,
            request: Request::Get,
            number,
            at: at(2),
            ms: 1,
            http: None,
            cause: None,
            served: Served::Unknown,
            note: CleanText::default(),
        };
        let mut state = SiteState::default();
        state.puts = number;
        let record = Record {
            site: SiteUrl::parse("https://a.example.com").unwrap(),
            at: at(2),
            outcome: Some(outcome),
            state,
            note: CleanText::default(),
        };
        Change::Record(Box::new(record), Basis::default())
    }

    const NEVER: &str = "CREATE TRIGGER never BEFORE INSERT ON attempts WHEN NEW.number = 99 \
                         BEGIN SELECT RAISE(ABORT, 'no'); END";

    #[test]
    fn beside_what_can_never_be_written_nothing_is_overtaken() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        writer.conn.execute_batch(NEVER).unwrap();
        let full = "CREATE TABLE large (bytes BLOB); CREATE TRIGGER large BEFORE INSERT ON attempts \
                    WHEN NEW.number = 1 BEGIN INSERT INTO large VALUES (zeroblob(10000000)); END; \
                    PRAGMA max_page_count = 500";
        writer.conn.execute_batch(full).unwrap();
        let mut answers = Vec::new();
        let mut handed = Vec::new();
        for number in [99, 1, 2] {
            let (reply, answer) = tokio::sync::oneshot::channel();
            handed.push((look(number), Some(reply)));
            answers.push(answer);
        }
        writer.write(handed);
        let told = answers.iter_mut().map(|answer| answer.try_recv().unwrap());
        let told: Vec<String> = told.map(|told| told.unwrap_err().to_string()).collect();
        assert!(told[0].ends_with("no"), "{told:?}");
        assert!(told[1].contains("disk full") && told[2] == told[1], "{told:?}");
        writer
            .conn
            .execute_batch("PRAGMA max_page_count = 1000000")
            .unwrap();
        // What is lost is told, and the rest is written in its order.
        assert!(writer.flush().unwrap_err().to_string().ends_with("no"));
        assert_eq!(writer.unwritten(), None);
        let puts = "SELECT json_extract(state, '$.puts') FROM sites";
        let puts: u32 = writer.conn.query_row(puts, [], |row| row.get(0)).unwrap();
        assert_eq!(puts, 2, "the newest");
    }

    #[test]
    fn what_turns_out_never_to_be_written_holds_up_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        writer.conn.execute_batch(NEVER).unwrap();
        writer.not_written(vec![(look(99), None)], &locked());
        assert!(writer.begin(&new_run()).is_err(), "it may be written yet");
        assert!(writer.flush().is_err());
        writer.begin(&new_run()).unwrap();
    }
}
