//! A database for a test, of each kind that is here.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, PgConnection};
use stripe_propagate::inventory::row::{Answer, Row};
use stripe_propagate::inventory::sql;
use stripe_propagate::secret::Secret;
use stripe_propagate::site::Field;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::servers::{PASSWORD, PASSWORD_IN_URL, Server, server};

/// Long enough for anything that is to succeed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

/// A database of its own.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) server: Option<&'static Server>,
    _folder: TempDir,
}

impl Kind {
    pub(crate) fn first_database(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mysql",
            Self::Sqlite => "",
        }
    }

    pub(crate) fn url(self, port: u16, database: &str) -> String {
        let scheme = match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
            Self::Sqlite => unreachable!("a file has no port"),
        };
        format!("{scheme}://owner:{PASSWORD_IN_URL}@127.0.0.1:{port}/{database}")
    }

    /// One of these three.
    pub(crate) fn pick<T>(self, postgres: T, mariadb: T, sqlite: T) -> T {
        match self {
            Self::Postgres => postgres,
            Self::MariaDb => mariadb,
            Self::Sqlite => sqlite,
        }
    }
}

impl Database {
    /// `None` where no server of the kind is installed.
    pub(crate) fn of(kind: Kind) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        if kind == Kind::Sqlite {
            let url = format!("sqlite:{}", folder.path().join("sites.db").display());
            let database = Self {
                kind,
                url,
                server: None,
                _folder: folder,
            };
            database.run("CREATE TABLE empty (id INTEGER)");
            return Some(database);
        }
        let server = server(kind)?;
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let first = kind.url(server.port, kind.first_database());
        run(kind, &first, &format!("CREATE DATABASE {name}")).unwrap();
        Some(Self {
            kind,
            url: kind.url(server.port, &name),
            server: Some(server),
            _folder: folder,
        })
    }

    /// With the dashboard's table (contract.md), which has `sites` in it.
    pub(crate) fn with_sites(kind: Kind, sites: &str) -> Option<Self> {
        let database = Self::of(kind)?;
        let number = kind.pick("SERIAL", "INT AUTO_INCREMENT", "INTEGER");
        database.run(&format!(
            "CREATE TABLE sites (id {number} PRIMARY KEY, name VARCHAR(120), url VARCHAR(190) UNIQUE NOT NULL, \
             api_key VARCHAR(120), status VARCHAR(20) DEFAULT 'active', \
             created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, last_sync TIMESTAMP NULL)"
        ));
        if !sites.is_empty() {
            database.run(&format!(
                "INSERT INTO sites (name, url, api_key, status) VALUES {sites}"
            ));
        }
        Some(database)
    }

    /// Runs statements that are no part of what is tested.
    pub(crate) fn run(&self, statements: &str) {
        run(self.kind, &self.url, statements).unwrap();
    }

    /// The number that a query answers.
    pub(crate) fn number(&self, query: &str) -> i64 {
        number(self.kind, &self.url, query)
    }

    pub(crate) fn read(&self, query: &str) -> Answer {
        read(&self.url, query, PATIENCE, 1000).unwrap()
    }

    pub(crate) fn refuse(&self, query: &str) -> String {
        refuse(&self.url, query)
    }
}

/// Plays a test on each kind of database that is here.
pub(crate) fn each(sites: &str, test: impl Fn(&Database)) {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::MariaDb] {
        if let Some(database) = Database::with_sites(kind, sites) {
            test(&database);
        }
    }
}

/// Plays a test on each kind of server that is here.
pub(crate) fn each_server(sites: &str, test: impl Fn(&Database)) {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        if let Some(database) = Database::with_sites(kind, sites) {
            test(&database);
        }
    }
}

/// What is tested.
pub(crate) fn read(url: &str, query: &str, timeout: Duration, max_rows: usize) -> Result<Answer, String> {
    let url = Secret::parse(url.to_owned()).unwrap();
    Runtime::new()
        .unwrap()
        .block_on(sql::read(&url, query, timeout, max_rows))
}

/// Why it is refused; that tells no secret.
pub(crate) fn refuse(url: &str, query: &str) -> String {
    told(url, read(url, query, PATIENCE, 1000))
}

/// An error that tells no secret.
pub(crate) fn told(url: &str, outcome: Result<Answer, String>) -> String {
    let error = outcome.map(|rows| rows.rows.len()).unwrap_err();
    let place = url.split('@').nth(1).unwrap_or(url);
    for secret in [url, place, PASSWORD, PASSWORD_IN_URL, "topsecret", "127.0.0.1"] {
        assert!(!error.contains(secret), "{error}");
    }
    error
}

pub(crate) fn field(row: &Row, field: Field) -> Option<&str> {
    row.fields.get(&field).map(ExposeSecret::expose_secret)
}

/// The text of a field in each row.
pub(crate) fn all(rows: &Answer, wanted: Field) -> Vec<Option<&str>> {
    rows.rows.iter().map(|row| field(row, wanted)).collect()
}

pub(crate) fn run(kind: Kind, url: &str, statements: &str) -> Result<(), String> {
    let words = |error: sqlx::Error| error.to_string();
    let sql = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
    Runtime::new().unwrap().block_on(async {
        match kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(url).await.map_err(words)?;
                sql.execute(&mut connection).await.map_err(words)?;
                connection.close().await.map_err(words)
            }
            Kind::MariaDb => {
                let options: sqlx::mysql::MySqlConnectOptions =
                    url.replace("mariadb:", "mysql:").parse().map_err(words)?;
                let mut connection = options.connect().await.map_err(words)?;
                sql.execute(&mut connection).await.map_err(words)?;
                connection.close().await.map_err(words)
            }
            Kind::Sqlite => rusqlite::Connection::open(url.trim_start_matches("sqlite:"))
                .and_then(|connection| connection.execute_batch(statements))
                .map_err(|error| error.to_string()),
        }
    })
}

fn number(kind: Kind, url: &str, query: &str) -> i64 {
    Runtime::new().unwrap().block_on(async {
        let sql = AssertSqlSafe(query.to_owned());
        match kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
            Kind::MariaDb => {
                let mut connection = MySqlConnection::connect(&url.replace("mariadb:", "mysql:"))
                    .await
                    .unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
            Kind::Sqlite => rusqlite::Connection::open(url.trim_start_matches("sqlite:"))
                .unwrap()
                .query_row(query, [], |row| row.get(0))
                .unwrap(),
        }
    })
}
