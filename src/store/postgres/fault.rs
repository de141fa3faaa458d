use sqlx::Error;

use crate::database::words;
use crate::store::StoreError;
use crate::text::CleanText;

/// The store, in words: of its address nothing is told.
pub(super) const STORE: &str = "the store in PostgreSQL";

/// The code of "Appendix A. PostgreSQL Error Codes", if the server has answered with one.
fn code(error: &Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(std::borrow::Cow::into_owned)
}

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// At once the same again: two transactions stood in each other's way.
    Again,
    /// Later the same again, on the same connection: something else took too long.
    Wait,
    /// Later the same again, on another connection: nothing is wrong with what was to be written.
    Later,
    /// The same would fail again.
    Never,
}

/// Which way out there is.
pub(super) fn way(error: &Error) -> Way {
    let Some(code) = code(error) else {
        return match error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed => Way::Later,
            _ => Way::Never,
        };
    };
    match code.as_str() {
        // Serialization, deadlock.
        "40001" | "40P01" => Way::Again,
        // A lock that was not free in time, a statement that took too long. With the connection all rights would go.
        "55P03" | "57014" => Way::Wait,
        // A server that only reads just now. Or the login, its password, a database that is gone: somebody is at work there. Or a session that the server
        // has ended.
        "25006" | "28000" | "28P01" | "3D000" | "25P03" | "25P04" => Way::Later,
        // Connection, resources, an operator's hand, the disk.
        code if ["08", "53", "57", "58"].contains(&code.get(..2).unwrap_or_default()) => Way::Later,
        _ => Way::Never,
    }
}

/// In words for the operator: what failed, and the way out.
pub(super) fn fault(error: &Error) -> StoreError {
    StoreError::Failed(format!("{STORE}: {}", in_words(error)))
}

fn is_broken_off(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

fn in_words(error: &Error) -> String {
    let Some(code) = code(error) else {
        return match error {
            Error::Io(error) if is_broken_off(error) => "the connection broke off".to_owned(),
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::Configuration(_) => {
                words::connecting(error)
            }
            Error::PoolTimedOut => {
                "it does not answer in time: look at the server and the network".to_owned()
            }
            // They name a column, and quote what stands in it.
            Error::ColumnDecode { index, .. } => {
                format!(
                    "what stands in the column {} cannot be read",
                    CleanText::new(index, 40)
                )
            }
            _ => CleanText::note(&error.to_string()).to_string(),
        };
    };
    let told = error.as_database_error().map_or("", |error| error.message());
    match code.as_str() {
        "28P01" | "28000" => words::LOGIN.to_owned(),
        "3D000" => words::NO_DATABASE.to_owned(),
        "53300" => words::BUSY.to_owned(),
        "57P01" | "57P02" | "57P03" => "the server is stopping or starting".to_owned(),
        "53100" => "the server's disk is full: free space there".to_owned(),
        "25006" => "the server only reads just now: is it a standby? Name the primary in the url".to_owned(),
        "42501" => format!(
            "{}: grant it to the user of the url (docs/postgresql.md)",
            CleanText::note(told)
        ),
        code => format!("{} (error {})", CleanText::note(told), CleanText::new(code, 20)),
    }
}
