use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{
    PgConnection, PgDatabaseError, PgErrorPosition, PgRow, PgStatement, PgTypeInfo, PgTypeKind,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Error, Executor, Row, SqlSafeStr, Statement, TypeInfo,
    ValueRef,
};

use super::collect::{Collector, ValueRefusal};
use super::columns::Columns;
use super::words;
use crate::database::address::Server;
use crate::database::postgres::options;
use crate::inventory::row::Answer;
use crate::text::CleanText;

/// How long saying goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// One query, in a transaction that can only read.
pub(super) async fn read(
    server: &Server,
    query: &str,
    timeout: Duration,
    mut collector: Collector,
) -> Result<Answer, String> {
    let failed =
        |error: &Error, seen| refusal(error, timeout).unwrap_or_else(|| words::answering(error, seen));
    let connecting = |error: &Error| refusal(error, timeout).unwrap_or_else(|| words::connecting(error));
    let options = options(server)?;
    let mut connection = options.connect().await.map_err(|error| connecting(&error))?;
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
    connection: &mut PgConnection,
    query: &str,
    timeout: Duration,
) -> Result<PgStatement, Error> {
    connection.execute("BEGIN READ ONLY").await?;
    let limit = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
    // In the transaction, not at the login: a pooler in between refuses options there.
    let limit = format!("SET LOCAL statement_timeout = {limit}");
    connection.execute(AssertSqlSafe(limit)).await?;
    connection
        .prepare(AssertSqlSafe(query.to_owned()).into_sql_str())
        .await
}

/// A value as text. A prepared statement answers in binary: what each type is there, is in its `send` function.
fn value(row: &PgRow, number: usize) -> Result<Option<String>, ValueRefusal> {
    let raw = row
        .try_get_raw(number)
        .map_err(|_| ValueRefusal::Value("is missing"))?;
    if raw.is_null() {
        return Ok(None);
    }
    let bytes = raw.as_bytes().map_err(|_| ValueRefusal::Value("is missing"))?;
    let kind = raw.type_info();
    match kind.name() {
        "BOOL" => Ok(Some((bytes != [0]).to_string())),
        "INT2" | "INT4" | "INT8" => Ok(Some(integer(bytes).to_string())),
        "UUID" => Ok(Some(uuid(bytes))),
        _ if is_text(&kind) => std::str::from_utf8(bytes)
            .map(|text| Some(text.to_owned()))
            .map_err(|_| ValueRefusal::Value("is not in UTF-8")),
        other => Err(ValueRefusal::Type(CleanText::new(other, 64).as_str().to_owned())),
    }
}

fn is_text(kind: &PgTypeInfo) -> bool {
    const TEXTS: [&str; 7] = ["TEXT", "VARCHAR", "CHAR", "NAME", "\"CHAR\"", "UNKNOWN", "CITEXT"];
    matches!(kind.kind(), PgTypeKind::Enum(_))
        || TEXTS.iter().any(|known| kind.name().eq_ignore_ascii_case(known))
}

/// In network order, of any length.
fn integer(bytes: &[u8]) -> i64 {
    let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let start = if is_negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |sum, byte| (sum << 8) | i64::from(*byte))
}

fn uuid(bytes: &[u8]) -> String {
    use std::fmt::Write;

    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What the server said, in words; `None` if it said nothing. Its codes: "Appendix A. PostgreSQL Error Codes".
fn refusal(error: &Error, timeout: Duration) -> Option<String> {
    let error: &PgDatabaseError = error.as_database_error()?.try_downcast_ref()?;
    let position = match error.position() {
        Some(PgErrorPosition::Original(position)) => format!(" (at character {position} of the query)"),
        _ => String::new(),
    };
    let told = || {
        format!(
            "{}{position}: look at the query",
            CleanText::note(error.message())
        )
    };
    Some(match error.code() {
        "28P01" | "28000" => words::LOGIN.to_owned(),
        "3D000" => words::NO_DATABASE.to_owned(),
        "53300" | "57P03" => words::BUSY.to_owned(),
        "57014" => words::too_long(timeout),
        "57P01" | "57P02" | "57P05" | "25P03" | "25P04" => {
            "the server ended the connection in mid-answer: nothing of it counts; try again".to_owned()
        }
        "25006" => words::WRITES.to_owned(),
        "42601" if error.message().contains("multiple commands") => words::TWO_STATEMENTS.to_owned(),
        "42501" => format!(
            "{}: grant it to the user of the url",
            CleanText::note(error.message())
        ),
        // Syntax, names and rights, features that are not there, what resources lack.
        code if ["42", "0A", "3F", "53"].contains(&code.get(..2).unwrap_or_default()) => told(),
        code => words::untold(code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_uuids_are_read_from_their_bytes() {
        assert_eq!(integer(&[0xff, 0xfe]), -2);
        assert_eq!(integer(&[0x00, 0x00, 0x01, 0x00]), 256);
        assert_eq!(integer(&i64::MIN.to_be_bytes()), i64::MIN);
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(uuid(&bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
