use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::place::{Place, failed, look_at, open_lock};
use crate::store::{Holder, Operator, RunId, StoreError};
use crate::text::CleanText;

/// Who looks whether a process lives holds its lock for a moment: one who takes it waits so long.
const GLANCE: Duration = Duration::from_millis(200);
/// A holder's own words are short.
const HOLDER_LIMIT: u64 = 64 * 1024;

/// A lock that this process holds until it is dropped; the system frees it when the process dies.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// Takes the lock at `path`.
    pub(super) fn take(path: PathBuf, holder: &Holder) -> Result<Self, StoreError> {
        let begin = Instant::now();
        loop {
            let file = open_lock(&path)?;
            match file.try_lock() {
                // A lock on a file that was deleted meanwhile locks nobody out.
                Ok(()) if is_at(&file, &path) => {
                    let mut held = Self { file, path };
                    held.name(holder)?;
                    return Ok(held);
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if begin.elapsed() > GLANCE => {
                    return Err(StoreError::Busy(Box::new(holder_in(&path))));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(GLANCE / 40),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
            }
        }
    }

    /// Writes down who holds it.
    pub(super) fn name(&mut self, holder: &Holder) -> Result<(), StoreError> {
        let text = serde_json::to_vec(holder).unwrap_or_default();
        // In one write, and what was longer is cut after it: who reads meanwhile finds one of the two.
        let write = |file: &mut File| {
            file.rewind()?;
            file.write_all(&text)?;
            file.set_len(text.len() as u64)
        };
        write(&mut self.file).map_err(|error| failed("write", &self.path, &error))
    }

    /// Frees a lock of a run that is over. Its file is deleted before others can take it.
    pub(super) fn delete(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a lock file could not be deleted");
        }
    }
}

/// Deletes the lock of a run that is over, which a process that is gone has left.
pub(super) fn clear_away(path: PathBuf) {
    let left = File::open(&path).ok().filter(|file| file.try_lock().is_ok());
    if let Some(file) = left.filter(|file| is_at(file, &path)) {
        Held { file, path }.delete();
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let [held, there] = [file.metadata(), std::fs::symlink_metadata(path)];
    held.ok()
        .zip(there.ok())
        .is_some_and(|(held, there)| (held.dev(), held.ino()) == (there.dev(), there.ino()))
}

/// Who holds the lock at `path`, by what stands in it.
pub(super) fn holder_in(path: &Path) -> Holder {
    let mut text = Vec::new();
    let read = open_lock(path).map(|file| file.take(HOLDER_LIMIT).read_to_end(&mut text));
    let mut values = serde_json::Deserializer::from_slice(&text).into_iter();
    match (read, values.next()) {
        (Ok(Ok(_)), Some(Ok(holder))) => holder,
        // It was taken a moment ago, and does not say by whom yet.
        _ => Holder {
            run: None,
            by: Operator {
                user: CleanText::note("another process"),
                ..Operator::default()
            },
            since: Timestamp::now(),
            is_elsewhere: false,
            free_in: None,
        },
    }
}

/// Where the lock of the run that sends is.
pub(super) fn sends(place: &Place) -> PathBuf {
    place.beside(".lock")
}

/// Where the lock of a process that works on `run` is.
pub(super) fn works_on(place: &Place, run: RunId) -> PathBuf {
    place.beside(&format!(".run-{}.live", run.0))
}

/// Whether a process works on `run`.
pub(super) fn is_live(place: &Place, run: RunId) -> bool {
    is_held(&works_on(place, run))
}

/// Whether a process holds the lock at `path`. Where that cannot be found out, one may: only a lock that is free, or
/// that is not there, tells that nobody does.
pub(super) fn is_held(path: &Path) -> bool {
    match look_at(path) {
        Ok(None) => return false,
        Ok(Some(_)) => {}
        Err(_) => return true,
    }
    match File::open(path) {
        // Shared, so that two who look do not take each other for the holder.
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// Which of some runs a process works on, as it was before their rows were read: what ended in between is seen
/// to have ended.
#[derive(Debug, Default)]
pub(super) struct Lives(HashMap<RunId, bool>);

impl Lives {
    pub(super) fn of(place: &Place, runs: impl IntoIterator<Item = RunId>) -> Self {
        let lives = |run| (run, is_live(place, run));
        Self(runs.into_iter().map(lives).collect())
    }

    /// As if nobody worked on `runs`.
    pub(super) fn without<'a>(mut self, runs: impl IntoIterator<Item = &'a RunId>) -> Self {
        self.0.extend(runs.into_iter().map(|run| (*run, false)));
        self
    }

    /// One that was not asked for has begun since.
    pub(super) fn is_live(&self, run: RunId) -> bool {
        self.0.get(&run).copied().unwrap_or(true)
    }
}
