use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::lock::{holder_in, is_held, sends};
use super::place::{COMPANIONS, Place, failed, look_at};
use crate::store::StoreError;

/// Moves a damaged store out of the way, when the operator says so; returns where to. The next
/// [`super::SqliteStore::open`] begins an empty one.
///
/// # Errors
/// When there is none, a run sends on it, or it cannot be moved.
pub fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let place = Place::find(path)?;
    if look_at(&place.file)?.is_none() {
        return Err(StoreError::Failed(format!(
            "there is no store at {}: nothing to move aside",
            path.display()
        )));
    }
    if is_held(&sends(&place)) {
        return Err(StoreError::Busy(Box::new(holder_in(&sends(&place)))));
    }
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
    let target = Place {
        file: place.beside(&format!(".damaged-{stamp}")),
    };
    // The companions first: a database without its log must not be taken for a whole one.
    for companion in COMPANIONS {
        if look_at(&place.beside(companion))?.is_some() {
            rename(&place.beside(companion), &target.beside(companion))?;
        }
    }
    rename(&place.file, &target.file)?;
    Ok(target.file)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to).map_err(|error| failed("move aside", from, &error))
}
