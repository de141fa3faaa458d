use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Denied, POLICY, Policy};
use crate::secret::open_plain;

/// The longest policy, in bytes.
const MAX_LENGTH: u64 = 64 * 1024;

/// Why the file is not taken for root's word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Somebody else owns it or its folder, or a user namespace hides who does.
    #[error("{0} does not belong to root, or a user namespace hides that it does")]
    Owner(String),
    /// Others than root can change it.
    #[error("others than root can change {0}: chmod go-w {0}")]
    Writable(String),
    /// It cannot be read.
    #[error("the policy {0} cannot be read ({1})")]
    Unreadable(String, String),
}

/// What root says now; none where there is no policy, so that everybody may push.
///
/// # Errors
/// There is something in its place that is not root's word, or is wrong: then nobody may push.
pub fn read() -> Result<Option<Policy>, Denied> {
    match text(Path::new(POLICY)) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => Policy::parse(&text).map(Some).map_err(Denied::Wrong),
        Err(untrusted) => Err(Denied::Untrusted(untrusted)),
    }
}

fn text(path: &Path) -> Result<Option<String>, Untrusted> {
    let unreadable =
        |error: &std::io::Error| Untrusted::Unreadable(path.display().to_string(), error.to_string());
    // A symbolic link is none of the file's own: what it points to could be anybody's.
    match std::fs::symlink_metadata(path) {
        Ok(about) if about.is_symlink() => {
            return Err(unreadable(&std::io::Error::other("is a symbolic link")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    }
    let folder = path.parent().unwrap_or(path);
    let about_folder = std::fs::symlink_metadata(folder).map_err(|error| unreadable(&error))?;
    trusted(folder, &about_folder)?;
    let (file, about) = open_plain(path).map_err(|error| unreadable(&error))?;
    trusted(path, &about)?;
    let mut text = String::new();
    file.take(MAX_LENGTH + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(&error))?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(unreadable(&std::io::Error::other("is longer than 64 KiB")));
    }
    Ok(Some(text))
}

/// Root alone must be able to change it.
fn trusted(path: &Path, about: &Metadata) -> Result<(), Untrusted> {
    let path = path.display().to_string();
    if about.uid() != 0 {
        return Err(Untrusted::Owner(path));
    }
    if about.mode() & 0o022 != 0 {
        return Err(Untrusted::Writable(path));
    }
    Ok(())
}
