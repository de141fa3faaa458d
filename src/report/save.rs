//! Writes a document to a file that its reader named.

use std::fs::{File, Permissions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::Builder;

/// Writes `text` to the file `path`, readable by the user alone whatever the umask, all or nothing: under another
/// name in the same folder, then under its own, so that no reader sees a half and no full disk leaves one.
///
/// A file that is there stays, unless `overwrite`; a link or anything else than a plain file stays in any case. A
/// link that comes into the way meanwhile is replaced, never followed: only folders are looked up through links.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when something is there and may not be replaced; else what the system says. Each
/// names the path.
pub fn save(path: &Path, text: &str, overwrite: bool) -> Result<()> {
    save_for(Readers::Owner, path, text, overwrite)
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The user alone.
    Owner,
    /// Everyone: what holds no name and no key, for a program of another user.
    Everyone,
}

/// As [`save`], for these readers.
///
/// # Errors
/// As of [`save`].
pub fn save_for(readers: Readers, path: &Path, text: &str, overwrite: bool) -> Result<()> {
    let saved = stands_in_the_way(path, overwrite).and_then(|()| put(readers, path, text, overwrite));
    saved.map_err(|error| {
        let what = match error.kind() {
            // Another process was quicker.
            ErrorKind::AlreadyExists if error.raw_os_error().is_some() => THERE.to_owned(),
            _ => error.to_string(),
        };
        Error::new(error.kind(), format!("{}: {what}", path.display()))
    })
}

const THERE: &str = "it is there already, and stays as it is: name another file, or have it overwritten";

fn stands_in_the_way(path: &Path, overwrite: bool) -> Result<()> {
    if path.file_name().is_none() {
        return Err(Error::new(ErrorKind::InvalidInput, "this names no file"));
    }
    let there = |what| Err(Error::new(ErrorKind::AlreadyExists, what));
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => there("it is a link, which is not followed"),
        Ok(about) if !about.is_file() => there("it is there, and no plain file"),
        Ok(_) if !overwrite => there(THERE),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn put(readers: Readers, path: &Path, text: &str, overwrite: bool) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    // Gone when it is dropped before it has its name.
    let mut file = Builder::new().prefix(".stripe-propagate-").tempfile_in(folder)?;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everyone => 0o644,
    };
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    if overwrite {
        file.persist(path)?;
    } else {
        file.persist_noclobber(path)?;
    }
    // The name is on disk too. Some file systems cannot say so, and the file is whole all the same.
    let _unknown = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_put_there_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.csv");
        std::fs::write(&path, "theirs").unwrap();
        let refused = put(Readers::Owner, &path, "ours", false).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert!(refused.raw_os_error().is_some());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
