use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// In words for the operator: what failed on the store at `path`, and the way out.
pub(super) fn fault(path: &Path, error: &Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, &error.to_string()),
        _ => StoreError::Failed(words(path, error)),
    }
}

fn words(path: &Path, error: &Error) -> String {
    let store = format!("the store {}", path.display());
    let folder = path.parent().unwrap_or(path).display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("{store} cannot grow: disk full: free space at {folder}"),
        Some(ErrorCode::SystemIoFailure) => {
            format!("{store} cannot be read or written ({error}): is the disk at {folder} full or broken?")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "{store} is locked by another process that does not let go: `fuser {}` tells which",
            path.display()
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => format!(
            "{store} cannot be written ({error}): check who owns it and the folder {folder}, and their modes"
        ),
        _ => format!("{store}: {error}"),
    }
}

/// The words for a file that is not what was written. It is left as it is.
pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Damaged(format!(
        "the store {} is damaged ({what}) and was left as it is: move it aside together with the files of the same \
         name that end in -wal and -shm, and the next start begins an empty one",
        path.display()
    ))
}

/// Whether the same may succeed later: nothing is wrong with what was to be written.
pub(super) fn passes(error: &Error) -> bool {
    let code = error.sqlite_error_code();
    !matches!(
        code,
        None | Some(
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown | ErrorCode::TooBig
        )
    )
}
