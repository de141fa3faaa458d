//! A database as a source of sites: one query, whose columns are called like the fields of a site.

use std::time::Duration;

use super::row::Answer;
use crate::database::address::Address;
use crate::secret::Secret;
use collect::Collector;

/// Answer of an answer, within their limits.
mod collect;
/// What the columns of an answer are.
mod columns;
/// MySQL and MariaDB.
mod mysql;
/// PostgreSQL.
mod postgres;
/// A file of SQLite.
mod sqlite;
/// What went wrong, in words.
mod words;

/// Asks a database for its sites: `query` is one statement, prepared, in a transaction that can only read.
///
/// `url` is `postgres://`, `mysql://`, `mariadb://` or `sqlite:` (docs/sources.md). The columns are read as texts: a boolean is
/// `true` or `false`, a number its digits, NULL is nothing. A row with a value that is too long or no text is among
/// [`Answer::bad`].
///
/// `timeout` is for all of it, and the server is told it as well, so that the query does not run on there. At most
/// `max_rows` rows are held, and one more is read to know that there are more.
///
/// # Errors
/// What failed and what to do, in words; a part of an answer is no answer. Neither the address nor any value is quoted.
pub async fn read(url: &Secret, query: &str, timeout: Duration, max_rows: usize) -> Result<Answer, String> {
    let address = Address::parse(url).map_err(|refusal| refusal.to_string())?;
    let collector = Collector::new(max_rows);
    let reading = async {
        match &address {
            Address::Postgres(server) => postgres::read(server, query, timeout, collector).await,
            Address::MySql(server) => mysql::read(server, query, timeout, collector).await,
            Address::Sqlite(path) => sqlite::read(path, query, timeout, collector).await,
        }
    };
    tokio::time::timeout(timeout, reading)
        .await
        .unwrap_or_else(|_| Err(words::too_long(timeout)))
}
