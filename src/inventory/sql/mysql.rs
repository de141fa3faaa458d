use std::time::Duration;

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::mysql::{
    MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode, MySqlStatement,
    MySqlTypeInfo,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, Error, Executor, MySql, Row, SqlSafeStr, Statement,
    Type, TypeInfo, ValueRef,
};

use super::collect::{Collector, ValueRefusal};
use super::columns::Columns;
use super::words;
use crate::database::address::{Endpoint, Server, Tls};
use crate::inventory::row::Answer;
use crate::text::CleanText;

/// How long saying goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// `ER_UNKNOWN_SYSTEM_VARIABLE`.
const UNKNOWN_VARIABLE: u16 = 1193;

/// One query, in a transaction that can only read.
pub(super) async fn read(
    server: &Server,
    query: &str,
    timeout: Duration,
    mut collector: Collector,
) -> Result<Answer, String> {
    let failed =
        |error: &Error, seen| refusal(error, query, timeout).unwrap_or_else(|| words::answering(error, seen));
    let connecting =
        |error: &Error| refusal(error, query, timeout).unwrap_or_else(|| words::connecting(error));
    let mut connection = options(server)
        .connect()
        .await
        .map_err(|error| connecting(&error))?;
    let statement = prepare(&mut connection, query, timeout)
        .await
        .map_err(|error| failed(&error, 0))?;
    let columns = Columns::of_statement(&statement)?;
    let mut answer = statement.query().fetch(&mut connection);
    while let Some(row) = answer
        .try_next()
        .await
        .map_err(|error| failed(&error, collector.seen()))?
    {
        collector.add(&columns, |number| value(&row, number))?;
    }
    drop(answer);
    // Courtesy: the rows are here already.
    let _ = tokio::time::timeout(GOODBYE_LIMIT, connection.close()).await;
    Ok(collector.finish(columns))
}

async fn prepare(
    connection: &mut MySqlConnection,
    query: &str,
    timeout: Duration,
) -> Result<MySqlStatement, Error> {
    limit_time(connection, timeout).await?;
    connection.execute("START TRANSACTION READ ONLY").await?;
    connection
        .prepare(AssertSqlSafe(query.to_owned()).into_sql_str())
        .await
}

/// On the server as well. MariaDB and MySQL call it by different names, and in different units; where a server knows
/// neither, ours holds alone.
async fn limit_time(connection: &mut MySqlConnection, timeout: Duration) -> Result<(), Error> {
    let milliseconds = timeout.as_millis().max(1);
    let settings = [
        format!(
            "SET SESSION max_statement_time = {}.{:03}",
            milliseconds / 1000,
            milliseconds % 1000
        ),
        format!("SET SESSION max_execution_time = {milliseconds}"),
    ];
    for setting in settings {
        match connection.execute(AssertSqlSafe(setting)).await {
            Ok(_) => break,
            Err(error) if number_of(&error) == Some(UNKNOWN_VARIABLE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The session is left as the server has it, so that a query means here what it means by hand.
fn options(server: &Server) -> MySqlConnectOptions {
    let mode = match server.tls {
        Tls::Off => MySqlSslMode::Disabled,
        Tls::Prefer => MySqlSslMode::Preferred,
        Tls::Require => MySqlSslMode::Required,
        Tls::Authority => MySqlSslMode::VerifyCa,
        Tls::Full => MySqlSslMode::VerifyIdentity,
    };
    let options = MySqlConnectOptions::new()
        .username(&server.user)
        .database(&server.database)
        .ssl_mode(mode)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging();
    let options = match &server.password {
        Some(password) => options.password(password.expose_secret()),
        None => options,
    };
    let options = match &server.authorities {
        Some(path) => options.ssl_ca(path),
        None => options,
    };
    let options = match &server.certificate {
        Some((certificate, key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
        None => options,
    };
    match &server.endpoint {
        Endpoint::Tcp { host, port } => options.host(host).port(*port),
        Endpoint::Socket { path, .. } => options.socket(path),
    }
}

/// A value as text. A column of bytes is none: its encoding is not known.
fn value(row: &MySqlRow, number: usize) -> Result<Option<String>, ValueRefusal> {
    let missing = |_| ValueRefusal::Value("is missing");
    let raw = row.try_get_raw(number).map_err(missing)?;
    if raw.is_null() {
        return Ok(None);
    }
    let kind = raw.type_info().into_owned();
    let text = match kind.name() {
        "BIT" => <u64 as Decode<MySql>>::decode(raw).map(|number| number.to_string()),
        name if is_integer(name) && name.ends_with("UNSIGNED") => {
            <u64 as Decode<MySql>>::decode(raw).map(|number| number.to_string())
        }
        name if is_integer(name) => <i64 as Decode<MySql>>::decode(raw).map(|number| number.to_string()),
        _ if is_text(&kind) => <&str as Decode<MySql>>::decode(raw).map(str::to_owned),
        name => return Err(ValueRefusal::Type(name.to_owned())),
    };
    text.map(Some).map_err(|_| ValueRefusal::Value("is not in UTF-8"))
}

fn is_integer(kind: &str) -> bool {
    const INTEGERS: [&str; 6] = ["BOOLEAN", "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT"];
    INTEGERS.contains(&kind.trim_end_matches(" UNSIGNED"))
}

/// By its character set, not its name: a column whose texts are compared by their bytes is called BLOB as well.
fn is_text(kind: &MySqlTypeInfo) -> bool {
    <str as Type<MySql>>::compatible(kind) || ["DECIMAL", "JSON", "SET"].contains(&kind.name())
}

fn number_of(error: &Error) -> Option<u16> {
    let error: &MySqlDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    Some(error.number())
}

/// What the server said, in words; `None` if it said nothing. Its numbers: "MariaDB Error Code Reference", and that of
/// MySQL.
fn refusal(error: &Error, query: &str, timeout: Duration) -> Option<String> {
    let error: &MySqlDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    let told = || CleanText::note(error.message());
    Some(match error.number() {
        1045 | 1129 | 1130 | 1251 | 1524 | 1698 | 3118 => words::LOGIN.to_owned(),
        1044 => "the user of the url may not use this database: grant it".to_owned(),
        1049 => words::NO_DATABASE.to_owned(),
        1040 | 1203 | 1226 => words::BUSY.to_owned(),
        1969 | 3024 => words::too_long(timeout),
        1053 | 1317 | 1927 => {
            "the server ended the query or its connection: nothing of the answer counts; try again".to_owned()
        }
        1792 | 1290 => words::WRITES.to_owned(),
        // A second statement is an error of syntax here: one is prepared.
        1064 if query.trim_end().trim_end_matches(';').contains(';') => format!(
            "{}. Is it more than one statement? Leave one, and nothing behind its semicolon",
            told()
        ),
        1142 | 1143 | 1370 => format!("{}: grant it to the user of the url", told()),
        1295 => "the query is no SELECT: a source may only read".to_owned(),
        3159 => "the server takes only TLS: write sslmode=require into the url".to_owned(),
        // Syntax and names: of tables, columns, functions, schemas.
        1052 | 1054 | 1056 | 1064 | 1066 | 1109 | 1146 | 1247 | 1248 | 1305 | 1582 | 1630 => {
            format!("{}: look at the query", told())
        }
        number => words::untold(&number.to_string()),
    })
}
