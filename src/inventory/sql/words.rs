use std::io::ErrorKind;
use std::time::Duration;

use sqlx::Error;

use crate::text::CleanText;

/// A query that writes.
pub(super) const WRITES: &str = "the query writes, and a source may only read: make it a SELECT";
/// More than one statement.
pub(super) const TWO_STATEMENTS: &str =
    "the query is more than one statement: leave one, and nothing behind its semicolon";
/// A query that waits for values.
pub(super) const PARAMETERS: &str =
    "the query has parameters, and nothing fills them: write the values into it";
/// A wrong user name or password.
pub(super) const LOGIN: &str = "the server refused the login: look at the user name, the password and the server's rules of who may log in";
/// No such database.
pub(super) const NO_DATABASE: &str = "the database does not exist on this server: look at the end of the url";
/// What the server cannot do now.
pub(super) const BUSY: &str = "the server takes no more connections now: try again later";

/// The time limit.
pub(super) fn too_long(limit: Duration) -> String {
    format!("no complete answer within {limit:?}: raise timeout, or make the query quicker")
}

/// An error whose text may quote a value.
pub(super) fn untold(code: &str) -> String {
    format!(
        "the database refused the query with the error {}; its text may quote a value and is not shown: try the query by hand",
        CleanText::new(code, 20)
    )
}

/// The server has ended the connection, after `seen` rows.
pub(super) fn cut_off(seen: usize) -> String {
    format!("the connection broke off in mid-answer, after {seen} rows: nothing of it counts; try again")
}

/// Why no connection came about, where the server has sent no error of its own. A library's texts are not passed on:
/// they name hosts and files of the URL.
pub(super) fn connecting(error: &Error) -> String {
    let text = error.to_string();
    let has = |part: &str| text.contains(part);
    if has("does not support TLS") {
        return "the server offers no TLS, which a server on another machine needs: switch it on there"
            .to_owned();
    }
    if has("UnknownIssuer") || has("CaUsedAsEndEntity") {
        return "the server's certificate is of an authority that this system does not trust: add it to the system's, or name its file with sslrootcert=FILE in the url".to_owned();
    }
    if has("not valid for") || has("NotValidForName") {
        return "the server's certificate is for another host: write the host in the url as the certificate names it"
            .to_owned();
    }
    if has("certificate expired") || has("Expired") {
        return "the server's certificate has ended: renew it there".to_owned();
    }
    match error {
        Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => {
                "connection refused: is the server running, and is the port of the url its own?".to_owned()
            }
            ErrorKind::NotFound => {
                "a file that the url names is not there: the socket, or a certificate".to_owned()
            }
            ErrorKind::PermissionDenied => {
                "a file that the url names may not be read: the socket, a certificate or a key".to_owned()
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                "the server closed the connection before the login: is it a server of this kind?".to_owned()
            }
            ErrorKind::InvalidData => {
                "the TLS connection failed: does the server speak TLS 1.2 or newer?".to_owned()
            }
            _ if has("lookup") => {
                "the host of the url is not found: look at its spelling, and at the DNS".to_owned()
            }
            kind => format!(
                "the server is not reached ({kind}): look at host and port of the url, and at the network"
            ),
        },
        Error::Tls(_) => {
            "the TLS connection failed: look at sslrootcert, sslcert and sslkey in the url".to_owned()
        }
        Error::Protocol(_) => {
            "what answers is no server of this kind: look at host and port of the url".to_owned()
        }
        Error::Configuration(_) => {
            "the server asks for a way of logging in that is not known here, or one that needs TLS".to_owned()
        }
        _ => "the connection failed".to_owned(),
    }
}

/// Why an answer did not end, where the server has sent no error of its own.
pub(super) fn answering(error: &Error, seen: usize) -> String {
    match error {
        Error::Io(_) => cut_off(seen),
        Error::Protocol(_) => "the answer could not be understood: try the query by hand".to_owned(),
        _ => "the answer could not be read: try the query by hand".to_owned(),
    }
}
