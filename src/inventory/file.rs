use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::formats::{self, Rows};
use super::{LIST_LIMIT, on_a_thread};
use crate::config::{ListFormat, distrusted};
use crate::secret::open_plain;

/// The rows of a file.
///
/// # Errors
/// It cannot be read, others can change it, or it is no list: in words, with what to do.
pub(super) async fn read(path: PathBuf, format: Option<ListFormat>, most: usize) -> Result<Rows, String> {
    on_a_thread(move || {
        let format = format.unwrap_or_else(|| by_its_name(&path));
        formats::read(&bytes(&path)?, format, most).map_err(|reason| format!("{}: {reason}", path.display()))
    })
    .await
}

pub(super) fn by_its_name(path: &Path) -> ListFormat {
    let end = path.extension().map(OsStr::to_ascii_lowercase);
    match end.as_ref().and_then(|end| end.to_str()) {
        Some("csv") => ListFormat::Csv,
        Some("json") => ListFormat::Json,
        Some("toml") => ListFormat::Toml,
        _ => ListFormat::Lines,
    }
}

/// Whoever can write a list says where the master key goes: it must not be anybody.
fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let refuse = |reason: &str| format!("{}: {reason}", path.display());
    let (file, about) = open_plain(path).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if let Some(complaint) = distrusted(&about) {
        return Err(refuse(&format!("{complaint} {}", path.display())));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LIST_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LIST_LIMIT {
        return Err(refuse("is longer than 64 MiB: is it the right file?"));
    }
    Ok(bytes)
}
