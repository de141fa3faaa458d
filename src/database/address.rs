use std::net::IpAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::parse as pairs;

use crate::secret::Secret;

/// Where a database is.
#[derive(Debug)]
pub(crate) enum Address {
    /// A server of PostgreSQL.
    Postgres(Server),
    /// A server of MySQL or MariaDB.
    MySql(Server),
    /// A file of SQLite.
    Sqlite(PathBuf),
}

/// A database server, and how it is spoken to. All of it is from the URL: the library would take the rest from the
/// environment.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) endpoint: Endpoint,
    /// Who logs in.
    pub(crate) user: String,
    /// With what, if with anything.
    pub(crate) password: Option<SecretString>,
    /// The database.
    pub(crate) database: String,
    /// How far it must prove who it is.
    pub(crate) tls: Tls,
    /// Certificate authorities that are trusted beside the system's, in PEM.
    pub(crate) authorities: Option<PathBuf>,
    /// A certificate of ours, and its key, in PEM.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// Where a server listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// On a port.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// At a Unix socket: of PostgreSQL the folder, and the port that is part of the name there.
    Socket {
        /// Where.
        path: PathBuf,
        /// The port.
        port: u16,
    },
}

/// How far a server must prove who it is; the later, the further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tls {
    /// No TLS.
    Off,
    /// TLS where the server offers it, with any certificate.
    Prefer,
    /// TLS with any certificate.
    Require,
    /// TLS with a certificate of a trusted authority.
    Authority,
    /// And for this host.
    Full,
}

/// Why a text is no address of a database. Quotes no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressRefusal {
    /// No URL at all.
    #[error(
        "its url cannot be read: in user, password and database, characters such as @ : / ? # % must be written as %40 %3A %2F %3F %23 %25"
    )]
    NoUrl,
    /// Of another kind.
    #[error("its url must begin with postgres://, mysql://, mariadb:// or sqlite:")]
    Scheme,
    /// No host.
    #[error("its url names no host (postgres://user@host/database)")]
    NoHost,
    /// Nobody who logs in.
    #[error("its url names no user (postgres://user@host/database): nothing is taken from the environment")]
    NoUser,
    /// No database.
    #[error("its url names no database (postgres://user@host/database)")]
    NoDatabase,
    /// No file.
    #[error("its url names no file (sqlite:/path/to/sites.db)")]
    NoFile,
    /// A file's path that depends on where the program was started.
    #[error("the file in its url must be an absolute path (sqlite:/path/to/sites.db)")]
    RelativeFile,
    /// A part behind `?` that nobody knows.
    #[error(
        "its url has a parameter that is not known here: known are sslmode, sslrootcert, sslcert, sslkey, host (PostgreSQL) and socket (MySQL)"
    )]
    Parameter,
    /// A TLS mode that nobody knows.
    #[error("sslmode in its url must be one of disable, prefer, require, verify-ca and verify-full")]
    Mode,
    /// Too little for a network.
    #[error(
        "sslmode in its url proves too little for a server on another machine: leave it out, or write sslmode=verify-full (the system's certificate authorities are trusted, and those of sslrootcert=FILE)"
    )]
    TooWeak,
    /// A certificate of ours without its key.
    #[error("sslcert and sslkey in its url belong together")]
    HalfCertificate,
    /// A socket's path that is not absolute.
    #[error("the socket in its url must be an absolute path")]
    SocketPath,
}

#[derive(Debug, Default)]
struct Parameters {
    tls: Option<Tls>,
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    socket: Option<PathBuf>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`AddressRefusal`], with words for the operator.
    pub(crate) fn parse(url: &Secret) -> Result<Self, AddressRefusal> {
        let raw = url.expose();
        let (scheme, rest) = raw.split_once(':').ok_or(AddressRefusal::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "postgres" | "postgresql" => Server::parse(raw, 5432).map(Self::Postgres),
            "mysql" | "mariadb" => Server::parse(raw, 3306).map(Self::MySql),
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                // As other programs write it; nothing is ever written here.
                let path = path.strip_suffix("?mode=ro").unwrap_or(path);
                if path.is_empty() {
                    return Err(AddressRefusal::NoFile);
                }
                let path = PathBuf::from(path);
                if path.is_relative() {
                    return Err(AddressRefusal::RelativeFile);
                }
                Ok(Self::Sqlite(path))
            }
            _ => Err(AddressRefusal::Scheme),
        }
    }
}

impl Server {
    fn parse(raw: &str, default_port: u16) -> Result<Self, AddressRefusal> {
        let url = Url::parse(raw).map_err(|_| AddressRefusal::NoUrl)?;
        if url.fragment().is_some() {
            return Err(AddressRefusal::NoUrl);
        }
        let parameters = Parameters::parse(&url)?;
        let port = url.port().unwrap_or(default_port);
        let host = decoded(url.host_str().unwrap_or_default())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let socket = parameters
            .socket
            .or_else(|| host.starts_with('/').then(|| PathBuf::from(&host)));
        let endpoint = match socket {
            Some(path) if path.is_absolute() => Endpoint::Socket { path, port },
            Some(_) => return Err(AddressRefusal::SocketPath),
            None if host.is_empty() => return Err(AddressRefusal::NoHost),
            None => Endpoint::Tcp { host, port },
        };
        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(AddressRefusal::NoUser);
        }
        let database = decoded(url.path().trim_start_matches('/'))?;
        if database.is_empty() {
            return Err(AddressRefusal::NoDatabase);
        }
        let certificate = match (parameters.certificate, parameters.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err(AddressRefusal::HalfCertificate),
        };
        Ok(Self {
            tls: endpoint.tls(parameters.tls)?,
            endpoint,
            user,
            password: url.password().map(decoded).transpose()?.map(SecretString::from),
            database,
            authorities: parameters.authorities,
            certificate,
        })
    }
}

impl Server {
    /// Short, and the same for each URL of one database: who logs in, and how, is not in it.
    pub(crate) fn fingerprint(&self) -> String {
        use std::fmt::Write;

        let place = match &self.endpoint {
            Endpoint::Tcp { host, port } => format!("{} {port}", host.to_ascii_lowercase()),
            Endpoint::Socket { path, port } => format!("{} {port}", path.display()),
        };
        let digest = Sha256::digest(format!("{place} {}", self.database));
        digest.iter().take(6).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl Endpoint {
    /// What the URL asks for; a server on another machine must prove all, whatever the URL says.
    fn tls(&self, asked: Option<Tls>) -> Result<Tls, AddressRefusal> {
        let is_here = match self {
            Self::Socket { .. } => true,
            Self::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        };
        match asked {
            None if is_here => Ok(Tls::Prefer),
            None => Ok(Tls::Full),
            Some(asked) if is_here || asked == Tls::Full => Ok(asked),
            Some(_) => Err(AddressRefusal::TooWeak),
        }
    }
}

impl Parameters {
    fn parse(url: &Url) -> Result<Self, AddressRefusal> {
        let mut parameters = Self::default();
        for (name, value) in pairs(url.query().unwrap_or_default().as_bytes()) {
            let path = || Some(PathBuf::from(value.as_ref()));
            match name.as_ref() {
                "sslmode" | "ssl-mode" => parameters.tls = Some(mode(&value)?),
                "sslrootcert" | "ssl-root-cert" | "sslca" | "ssl-ca" => parameters.authorities = path(),
                "sslcert" | "ssl-cert" => parameters.certificate = path(),
                "sslkey" | "ssl-key" => parameters.key = path(),
                "host" | "socket" => parameters.socket = path(),
                _ => return Err(AddressRefusal::Parameter),
            }
        }
        Ok(parameters)
    }
}

/// The words of PostgreSQL (libpq, "SSL Mode Descriptions") and of MySQL (`--ssl-mode`).
fn mode(word: &str) -> Result<Tls, AddressRefusal> {
    match word.to_ascii_lowercase().replace('_', "-").as_str() {
        "disable" | "disabled" => Ok(Tls::Off),
        "allow" | "prefer" | "preferred" => Ok(Tls::Prefer),
        "require" | "required" | "no-verify" => Ok(Tls::Require),
        "verify-ca" => Ok(Tls::Authority),
        "verify-full" | "verify-identity" => Ok(Tls::Full),
        _ => Err(AddressRefusal::Mode),
    }
}

/// A part of a URL without its escapes.
fn decoded(part: &str) -> Result<String, AddressRefusal> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or(AddressRefusal::NoUrl)?;
        let digits = std::str::from_utf8(digits).map_err(|_| AddressRefusal::NoUrl)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| AddressRefusal::NoUrl)?);
        rest = behind;
    }
    match String::from_utf8(bytes) {
        // The protocols end their texts with it.
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(AddressRefusal::NoUrl),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    fn parse(raw: &str) -> Result<Address, AddressRefusal> {
        Address::parse(&Secret::parse(raw.to_owned()).unwrap())
    }

    fn server(raw: &str) -> Server {
        match parse(raw).unwrap() {
            Address::Postgres(server) | Address::MySql(server) => server,
            Address::Sqlite(_) => panic!("a file"),
        }
    }

    #[test]
    fn a_url_says_all() {
        let server =
            server("PostgreSQL://j%40ne:p%2Fw%23@DB.example.com:6432/sh%20ops?sslrootcert=/etc/ca.pem");
        assert_eq!(
            (server.user.as_str(), server.database.as_str()),
            ("j@ne", "sh ops")
        );
        assert_eq!(server.password.unwrap().expose_secret(), "p/w#");
        let Endpoint::Tcp { host, port } = server.endpoint else {
            panic!("a socket");
        };
        assert_eq!(
            (host.to_ascii_lowercase().as_str(), port),
            ("db.example.com", 6432)
        );
        assert_eq!(server.authorities, Some(PathBuf::from("/etc/ca.pem")));
    }

    #[test]
    fn a_server_on_another_machine_must_prove_all() {
        for host in [
            "db.example.com",
            "10.0.0.1",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "[2001:db8::1]",
        ] {
            for scheme in ["postgres", "mysql", "mariadb"] {
                let url = format!("{scheme}://u:topsecret@{host}/d");
                assert_eq!(server(&url).tls, Tls::Full, "{url}");
                assert_eq!(server(&format!("{url}?sslmode=VERIFY_IDENTITY")).tls, Tls::Full);
                let weak = [
                    "disable",
                    "DISABLED",
                    "allow",
                    "prefer",
                    "PREFERRED",
                    "require",
                    "no-verify",
                    "verify-ca",
                ];
                for mode in weak {
                    let refusal = parse(&format!("{url}?sslmode={mode}")).unwrap_err();
                    assert_eq!(refusal, AddressRefusal::TooWeak, "{url} {mode}");
                }
            }
        }
    }

    #[test]
    fn on_this_machine_the_url_decides() {
        for (url, tls) in [
            ("postgres://u@localhost/d", Tls::Prefer),
            ("postgres://u@127.8.0.1/d?sslmode=disable", Tls::Off),
            ("mysql://u@[::1]:3307/d?ssl-mode=REQUIRED", Tls::Require),
            (
                "postgres://u@%2Frun%2Fpostgresql/d?sslmode=verify-ca",
                Tls::Authority,
            ),
            (
                "mariadb://u@localhost/d?socket=/run/mysqld/mysqld.sock&sslmode=verify-full",
                Tls::Full,
            ),
        ] {
            assert_eq!(server(url).tls, tls, "{url}");
        }
        let path = PathBuf::from("/run/postgresql");
        let socket = Endpoint::Socket { path, port: 5433 };
        assert_eq!(
            server("postgres://u@h:5433/d?host=/run/postgresql").endpoint,
            socket
        );
        assert_eq!(server("postgres://u@%2Frun%2Fpostgresql:5433/d").endpoint, socket);
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for (url, refusal) in [
            ("topsecret", AddressRefusal::Scheme),
            ("https://u:topsecret@h/d", AddressRefusal::Scheme),
            ("postgres://u:topsecret@h:port/d", AddressRefusal::NoUrl),
            ("postgres://u:topsecret@h/d#x", AddressRefusal::NoUrl),
            ("postgres://u:topsecret%@h/d", AddressRefusal::NoUrl),
            ("postgres://u:topsecret%00@h/d", AddressRefusal::NoUrl),
            ("postgres:///topsecret", AddressRefusal::NoHost),
            ("postgres://h/topsecret", AddressRefusal::NoUser),
            ("mysql://u:topsecret@h", AddressRefusal::NoDatabase),
            ("mysql://u:topsecret@h/d?password=x", AddressRefusal::Parameter),
            ("mysql://u:topsecret@h/d?sslmode=topsecret", AddressRefusal::Mode),
            (
                "mysql://u:topsecret@h/d?sslcert=topsecret",
                AddressRefusal::HalfCertificate,
            ),
            (
                "mysql://u:topsecret@h/d?socket=topsecret",
                AddressRefusal::SocketPath,
            ),
            ("sqlite:", AddressRefusal::NoFile),
            ("sqlite:topsecret.db", AddressRefusal::RelativeFile),
            ("sqlite://topsecret.db", AddressRefusal::RelativeFile),
        ] {
            let refused = parse(url).unwrap_err();
            assert_eq!(refused, refusal, "{url}");
            assert!(!refused.to_string().contains("topsecret"), "{refused}");
        }
    }

    #[test]
    fn a_file_of_sqlite_is_its_path() {
        for (url, path) in [
            ("sqlite:/srv/sites.db", "/srv/sites.db"),
            ("sqlite:///srv/sites.db?mode=ro", "/srv/sites.db"),
            ("sqlite:/a b?.db", "/a b?.db"),
        ] {
            assert!(
                matches!(parse(url), Ok(Address::Sqlite(found)) if found == Path::new(path)),
                "{url}"
            );
        }
    }
}
