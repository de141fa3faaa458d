//! Each type of a column, as text.

use stripe_propagate::site::Field;

use super::databases::{Database, Kind, all, each};

/// The text of `expression`, or the words of its refusal.
fn text(database: &Database, expression: &str) -> Option<String> {
    let rows = database.read(&format!(
        "SELECT {expression} AS name, 'https://x.example.com' AS url"
    ));
    assert!(rows.bad.is_empty(), "{expression}: {:?}", rows.bad);
    all(&rows, Field::Name)[0].map(str::to_owned)
}

fn refused(database: &Database, expression: &str) -> String {
    database.refuse(&format!(
        "SELECT {expression} AS name, 'https://x.example.com' AS url"
    ))
}

#[test]
fn texts_numbers_and_booleans_are_read_from_postgresql() {
    let Some(database) = Database::of(Kind::Postgres) else {
        return;
    };
    database.run("CREATE TYPE mode AS ENUM ('live', 'test'); CREATE DOMAIN label AS varchar(20)");
    for (expression, wanted) in [
        ("true", Some("true")),
        ("false", Some("false")),
        ("NULL", None),
        ("NULL::bool", None),
        ("''", None),
        ("'  '", None),
        ("(-7)::int2", Some("-7")),
        ("2147483647", Some("2147483647")),
        ("(-9223372036854775807)::int8", Some("-9223372036854775807")),
        ("'é'::varchar(9)", Some("é")),
        ("'a'::char(3)", Some("a  ")),
        ("'n'::name", Some("n")),
        ("'live'::mode", Some("live")),
        ("'l'::label", Some("l")),
        (
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid",
            Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("1.5::numeric::text", Some("1.5")),
    ] {
        assert_eq!(text(&database, expression).as_deref(), wanted, "{expression}");
    }
    for (expression, kind) in [
        ("1.5", "NUMERIC"),
        ("'x'::bytea", "BYTEA"),
        ("'10.0.0.1'::inet", "INET"),
        ("now()", "TIMESTAMPTZ"),
        ("ARRAY['x']", "TEXT[]"),
    ] {
        let error = refused(&database, expression);
        let wanted = format!("the column name is of the type {kind}, which cannot be read: cast it to text");
        assert_eq!(error, wanted);
    }
    if database.number("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'") == 1 {
        database.run("CREATE EXTENSION citext");
        assert_eq!(text(&database, "'Mixed'::citext").as_deref(), Some("Mixed"));
    }
}

#[test]
fn texts_numbers_and_booleans_are_read_from_mariadb() {
    let Some(database) = Database::of(Kind::MariaDb) else {
        return;
    };
    database.run(
        "CREATE TABLE kinds (flag TINYINT(1), bits BIT(1), big BIGINT UNSIGNED, small TINYINT, kind ENUM('live', 'test'), \
         long_text LONGTEXT, exact DECIMAL(5, 2), fixed CHAR(5), bytes VARBINARY(9), day DATE, latin VARCHAR(9) CHARACTER SET latin1, \
         json JSON, bin TEXT COLLATE utf8mb4_bin); \
         INSERT INTO kinds VALUES (1, b'1', 18446744073709551615, -7, 'live', 'é', 1.50, 'abc', 'x', '2026-01-01', 'é', '\"x\"', 'é')",
    );
    for (column, wanted) in [
        ("flag", Some("1")),
        ("bits", Some("1")),
        ("big", Some("18446744073709551615")),
        ("small", Some("-7")),
        ("kind", Some("live")),
        ("long_text", Some("é")),
        ("exact", Some("1.50")),
        ("fixed", Some("abc")),
        ("latin", Some("é")),
        ("json", Some("\"x\"")),
        ("bin", Some("é")),
    ] {
        let rows = database.read(&format!(
            "SELECT {column} AS name, 'https://x.example.com' AS url FROM kinds"
        ));
        assert_eq!(all(&rows, Field::Name), [wanted], "{column}");
    }
    for (expression, wanted) in [
        ("NULL", None),
        ("TRUE", Some("1")),
        ("1 = 2", Some("0")),
        ("'x' || 'y'", Some("0")),
    ] {
        assert_eq!(text(&database, expression).as_deref(), wanted, "{expression}");
    }
    for (column, kind) in [("bytes", "VARBINARY"), ("day", "DATE")] {
        let error = refused(&database, &format!("(SELECT {column} FROM kinds)"));
        assert!(
            error.contains(&format!("of the type {kind}")) && error.contains("cast it to text"),
            "{error}"
        );
    }
}

#[test]
fn a_value_that_is_no_text_costs_its_row_alone() {
    each("('one', 'https://one.example.com', 'k', 'active')", |database| {
        let long = database
            .kind
            .pick("repeat('x', 5000)", "REPEAT('x', 5000)", "hex(zeroblob(2500))");
        let query = format!(
            "SELECT url, name FROM sites UNION ALL SELECT 'https://two.example.com', {long} UNION ALL SELECT 'https://three.example.com', 'three'"
        );
        let rows = database.read(&query);
        assert_eq!(
            all(&rows, Field::Name),
            [Some("one"), Some("three")],
            "{:?}",
            database.kind
        );
        let bad: Vec<String> = rows
            .bad
            .iter()
            .map(|(place, why)| format!("{place}: {why}"))
            .collect();
        assert_eq!(bad, ["row 2: name is longer than 4096 bytes"]);
        assert_eq!(rows.rows[1].place.to_string(), "row 3");
    });
    let database = Database::of(Kind::Sqlite).unwrap();
    for (expression, wanted) in [("1", "1"), ("1.5", "1.5"), ("'é'", "é"), ("true", "1")] {
        assert_eq!(text(&database, expression).as_deref(), Some(wanted));
    }
    let rows = database.read(
        "SELECT x'ff' AS name, 'https://x.example.com' AS url UNION ALL SELECT CAST(x'ff' AS TEXT), 'x'",
    );
    assert!(rows.rows.is_empty());
    assert!(
        rows.bad[0].1.contains("cast it to text") && rows.bad[1].1.contains("UTF-8"),
        "{:?}",
        rows.bad
    );
}
