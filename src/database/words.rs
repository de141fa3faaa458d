use std::io::ErrorKind;

use sqlx::Error;

/// A wrong user name or password.
pub(crate) const LOGIN: &str = "the server refused the login: look at the user name, the password and the server's rules of who may log in";
/// No such database.
pub(crate) const NO_DATABASE: &str = "the database does not exist on this server: look at the end of the url";
/// What the server cannot do now.
pub(crate) const BUSY: &str = "the server takes no more connections now: try again later";

/// Why no connection came about, where the server has sent no error of its own. A library's texts are not passed on:
/// they name hosts and files of the URL.
pub(crate) fn connecting(error: &Error) -> String {
    let text = error.to_string();
    let has = |part: &str| text.contains(part);
    if has("does not support TLS") {
        return "the server offers no TLS, which a server on another machine needs: switch it on there"
            .to_owned();
    }
    if has("CaUsedAsEndEntity") {
        return "the server's certificate has signed itself, as authorities do: give the server one that an authority has signed, and name that one's file with sslrootcert=FILE in the url (docs/postgresql.md has the commands)".to_owned();
    }
    if has("UnknownIssuer") {
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
