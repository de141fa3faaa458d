//! A database for a test, of each kind that is here.

use std::time::Duration;

use secrecy::ExposeSecret;
use stripe_propagate::inventory::row::{Answer, Row};
use stripe_propagate::inventory::sql;
use stripe_propagate::secret::Secret;
use stripe_propagate::site::Field;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) use super::servers::{Kind, PASSWORD, PASSWORD_IN_URL, Server};
use super::servers::{new_database, number, run};

/// Long enough for anything that is to succeed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A database of its own.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) server: Option<&'static Server>,
    _folder: TempDir,
}

impl Database {
    /// `None` where no server of the kind is installed.
    pub(crate) fn of(kind: Kind) -> Option<Self> {
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
        let (server, url) = new_database(kind)?;
        Some(Self {
            kind,
            url,
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

    /// As [`Self::run`], of what may be in vain by now.
    pub(crate) fn tries(&self, statements: &str) {
        let _in_vain = run(self.kind, &self.url, statements);
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
