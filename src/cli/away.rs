use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::rules::moment::Moment;

/// Beside the store: since when no screen has shown the run that goes on.
const NAME: &str = "screen-left.json";
/// What is written there is far shorter.
const LONGEST: u64 = 1000;

/// A screen is lost or left while a run goes on. Of several the last one counts: until then somebody could look.
pub(super) fn leave(folder: &Path, now: Moment) {
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".screen-left-")
            .tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(&now)?)?;
        file.persist(folder.join(NAME))?;
        Ok::<(), std::io::Error>(())
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "the next screen cannot tell what happened meanwhile");
    }
}

/// Since when no screen was open, if the last one left a run. A screen that only watches (`keep`) leaves the word for the
/// operator's.
pub(super) fn take(folder: &Path, now: Moment, keep: bool) -> Option<Moment> {
    let path = folder.join(NAME);
    let read = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(&path)
        .and_then(|file| {
            let mut text = Vec::new();
            file.take(LONGEST).read_to_end(&mut text)?;
            Ok(text)
        });
    if !keep {
        // Without one there is nothing to delete.
        let _none = std::fs::remove_file(&path);
    }
    let left: Moment = serde_json::from_slice(&read.ok()?).ok()?;
    let restarted = left.since_start > now.since_start;
    Some(if restarted { left.after_restart(now) } else { left })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from((seconds * 1_000_000_000, 1_772_373_600_000))
    }

    #[test]
    fn the_last_screen_that_was_lost_counts_until_one_opens() {
        let folder = tempfile::tempdir().unwrap();
        let take = |keep| take(folder.path(), at(100), keep).map(|left| left.since_start.as_secs());
        assert_eq!(take(false), None);
        leave(folder.path(), at(10));
        leave(folder.path(), at(20));
        assert_eq!((take(true), take(false), take(false)), (Some(20), Some(20), None));
        leave(folder.path(), at(500));
        assert_eq!(take(false), Some(100), "the machine has started anew since");
    }

    #[test]
    fn what_makes_no_sense_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "\"x\"", "[1]"] {
            std::fs::write(folder.path().join(NAME), text).unwrap();
            assert!(take(folder.path(), at(100), false).is_none());
        }
        std::os::unix::fs::symlink("/dev/zero", folder.path().join(NAME)).unwrap();
        assert!(take(folder.path(), at(100), false).is_none());
    }
}
