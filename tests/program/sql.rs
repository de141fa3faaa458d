//! Databases as sources of sites: against real servers of PostgreSQL and MariaDB, where they are installed, and against
//! SQLite always.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use databases::{Database, Kind, PATIENCE, all, each, read, refuse, told};
use stripe_propagate::site::Field;

#[path = "sql/broken.rs"]
mod broken;
#[path = "sql/databases.rs"]
pub(crate) mod databases;
#[path = "../stage/servers.rs"]
pub(crate) mod servers;
#[path = "sql/surroundings.rs"]
mod surroundings;
#[path = "sql/types.rs"]
mod types;

/// What operators write for the dashboard's table.
const QUERY: &str = "SELECT name, url, api_key AS master_key, status AS enabled FROM sites ORDER BY id";

/// Two sites for where it does not matter which.
const TWO: &str = "('one', 'https://one.example.com', 'key-1', 'active'), \
                   ('two', 'https://two.example.com', NULL, 'suspended')";

/// A text in the SQL of all three; MariaDB alone reads `\` as the beginning of an escape.
fn quoted(kind: Kind, text: &str) -> String {
    let text = text.replace('\'', "''");
    format!(
        "'{}'",
        if kind == Kind::MariaDb {
            text.replace('\\', "\\\\")
        } else {
            text
        }
    )
}

#[test]
fn the_dashboards_table_is_read_with_its_quotes_and_nulls() {
    let names = [
        "O'Brien",
        "say \"hi\"",
        "back\\slash",
        "a; DROP TABLE sites; --",
        "café 日本",
        "two\nlines",
        "$1 ? %s",
    ];
    each("", |database| {
        for (number, name) in names.iter().enumerate() {
            let (name, key) = (
                quoted(database.kind, name),
                quoted(database.kind, &format!("k'{number}\\\"é")),
            );
            let status = ["active", "inactive", "suspended"][number % 3];
            database.run(&format!(
                "INSERT INTO sites (name, url, api_key, status) VALUES \
                 ({name}, 'https://shop-{number}.example.com', {key}, '{status}')"
            ));
        }
        database.run(
            "INSERT INTO sites (name, url, api_key, status) VALUES (NULL, 'https://null.example.com', NULL, NULL)",
        );
        let rows = database.read(QUERY);
        let mut wanted: Vec<Option<&str>> = names.iter().copied().map(Some).collect();
        wanted.push(None);
        assert_eq!(all(&rows, Field::Name), wanted, "{:?}", database.kind);
        assert_eq!(all(&rows, Field::MasterKey)[3], Some("k'3\\\"é"));
        assert_eq!(all(&rows, Field::MasterKey)[7], None);
        let entries: Vec<_> = rows.rows.iter().map(|row| row.parse().unwrap()).collect();
        let enabled: Vec<_> = entries.iter().map(|entry| entry.enabled).collect();
        assert_eq!(enabled[..3], [Some(true), Some(false), Some(false)]);
        assert_eq!(enabled[7], None);
        assert_eq!(entries[6].url.to_string(), "https://shop-6.example.com");
        assert_eq!(rows.rows[7].place.to_string(), "row 8");
        assert!(rows.bad.is_empty() && rows.unknown.is_empty());
    });
}

#[test]
fn columns_that_are_no_fields_are_named_and_not_read() {
    each(TWO, |database| {
        let rows = database.read("SELECT * FROM sites;");
        assert_eq!(
            rows.unknown,
            ["id", "api_key", "status", "created_at", "last_sync"]
        );
        assert_eq!(all(&rows, Field::Name), [Some("one"), Some("two")]);
        let rows = database.read("SELECT url FROM sites WHERE 1 = 0");
        assert!(rows.rows.is_empty());
        let error = database.refuse("SELECT id, name, url AS address FROM sites");
        assert!(
            error.contains("no column named url") && error.contains("id, name and address"),
            "{error}"
        );
        let error = database.refuse("SELECT url, url FROM sites");
        assert!(error.contains("two columns named url"), "{error}");
    });
}

#[test]
fn a_query_that_writes_is_refused_and_has_written_nothing() {
    each(TWO, |database| {
        let insert = "INSERT INTO sites (name, url) VALUES ('x', 'https://x.example.com')";
        for query in [
            insert.to_owned(),
            format!("{insert} RETURNING url"),
            "DELETE FROM sites".to_owned(),
            "DELETE FROM sites RETURNING url".to_owned(),
            "DROP TABLE sites".to_owned(),
            "CREATE TABLE more (url TEXT)".to_owned(),
        ] {
            let error = database.refuse(&query);
            let is_told = ["writes", "no columns", "no SELECT"]
                .iter()
                .any(|words| error.contains(words));
            assert!(is_told, "{:?}: {query}: {error}", database.kind);
        }
        let error = database.refuse(&format!("{insert} RETURNING url"));
        assert!(error.contains("may only read"), "{error}");
        assert_eq!(database.number("SELECT count(*) FROM sites"), 2);
        assert_eq!(
            all(&database.read(QUERY), Field::Name),
            [Some("one"), Some("two")]
        );
    });
    if let Some(database) = Database::with_sites(Kind::MariaDb, TWO) {
        let file = database.server.unwrap().folder.join("written");
        let error = database.refuse(&format!(
            "SELECT url FROM sites INTO OUTFILE '{}'",
            file.display()
        ));
        assert!(error.contains("no columns"), "{error}");
        assert!(!file.exists());
    }
    // What a function does behind a SELECT.
    if let Some(database) = Database::with_sites(Kind::Postgres, TWO) {
        database.run(
            "CREATE FUNCTION sneak() RETURNS text LANGUAGE sql AS \
             'DELETE FROM sites RETURNING url'",
        );
        assert!(database.refuse("SELECT sneak() AS url").contains("may only read"));
        assert_eq!(database.number("SELECT count(*) FROM sites"), 2);
    }
}

#[test]
fn two_statements_are_refused_and_neither_has_run() {
    each(TWO, |database| {
        for query in [
            format!("{QUERY}; DELETE FROM sites"),
            "DELETE FROM sites; SELECT url FROM sites".to_owned(),
            "COMMIT; DELETE FROM sites".to_owned(),
        ] {
            let error = database.refuse(&query);
            assert!(
                error.contains("more than one statement"),
                "{:?}: {error}",
                database.kind
            );
        }
        assert_eq!(database.number("SELECT count(*) FROM sites"), 2);
        let error = database.refuse(database.kind.pick(
            "SELECT url FROM sites WHERE name = $1",
            "SELECT url FROM sites WHERE name = ?",
            "SELECT url FROM sites WHERE name = ?",
        ));
        assert!(error.contains("parameters"), "{error}");
    });
}

#[test]
fn what_is_wrong_with_a_query_is_told() {
    each(TWO, |database| {
        let error = database.refuse("SELECT url FROM sitez");
        assert!(
            error.contains("sitez") && error.contains("look at the query"),
            "{error}"
        );
        let error = database.refuse("SELECT address AS url FROM sites");
        assert!(error.contains("address"), "{error}");
        let error = database.refuse("SELEC url FROM sites");
        assert!(
            error.contains("syntax") && error.contains("look at the query"),
            "{error}"
        );
    });
    if let Some(database) = Database::with_sites(
        Kind::Postgres,
        "('n', 'https://n.example.com', 'topsecret', 'active')",
    ) {
        let error = database.refuse("SELECT url FROM sitez");
        assert!(error.contains("at character 17 of the query"), "{error}");
        // The server's own words quote the value.
        let error = database.refuse("SELECT url, api_key::int AS enabled FROM sites");
        assert!(error.contains("22P02") && error.contains("not shown"), "{error}");
    }
}

/// A query that answers a million sites.
fn a_million(kind: Kind) -> String {
    let numbers = kind.pick(
        "generate_series(1, 1000000) AS numbers(seq)",
        "seq_1_to_1000000",
        "(WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < 1000000) SELECT seq FROM n)",
    );
    let address = kind.pick(
        "'https://' || seq || '.example.com'",
        "CONCAT('https://', seq, '.example.com')",
        "'https://' || seq || '.example.com'",
    );
    format!("SELECT {address} AS url FROM {numbers}")
}

#[test]
fn more_rows_than_are_allowed_are_not_read_to_the_end() {
    each("", |database| {
        let query = a_million(database.kind);
        let error = told(&database.url, read(&database.url, &query, PATIENCE, 20_000));
        assert!(
            error.starts_with("more than 20000 rows: raise max_rows"),
            "{error}"
        );
        let rows = read(&database.url, &format!("{query} LIMIT 20000"), PATIENCE, 20_000).unwrap();
        assert_eq!(rows.rows.len(), 20_000);
        assert_eq!(all(&rows, Field::Url)[19_999], Some("https://20000.example.com"));
    });
}

/// As many as `max_rows` can be. From SQLite alone, since the others take seconds more, and hold rows in the same way.
#[test]
fn a_million_rows_are_read() {
    let database = Database::of(Kind::Sqlite).unwrap();
    let rows = read(&database.url, &a_million(Kind::Sqlite), PATIENCE, 1_000_000).unwrap();
    assert_eq!(rows.rows.len(), 1_000_000);
    assert_eq!(
        all(&rows, Field::Url)[999_999],
        Some("https://1000000.example.com")
    );
    assert!(rows.bad.is_empty());
}

#[test]
fn an_answer_without_end_ends_at_its_limits() {
    each("", |database| {
        let many = database.kind.pick(
            "generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c",
            "seq_1_to_1000000 a, seq_1_to_1000000 b",
            "(WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n) SELECT seq FROM n)",
        );
        let query = format!("SELECT 'https://x.example.com' AS url FROM {many}");
        let error = told(&database.url, read(&database.url, &query, PATIENCE, 100));
        assert!(error.starts_with("more than 100 rows"), "{error}");
    });
}

#[test]
fn a_query_that_takes_too_long_is_ended_also_on_the_server() {
    each("", |database| {
        let query = database.kind.pick(
            "SELECT 'https://x.example.com' AS url FROM pg_sleep(60)",
            "SELECT SLEEP(60) AS url",
            "WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n) SELECT count(*) AS url FROM n",
        );
        let begin = Instant::now();
        let error = told(
            &database.url,
            read(&database.url, query, Duration::from_millis(300), 10),
        );
        assert!(
            error.starts_with("no complete answer within 300ms"),
            "{:?}: {error}",
            database.kind
        );
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        let running = match database.kind {
            Kind::Postgres => {
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%FROM pg_sleep(60)'"
            }
            Kind::MariaDb => {
                "SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60) AS url'"
            }
            // The thread that reads must end, or the runtime would have waited for it.
            Kind::Sqlite => return,
        };
        while database.number(running) > 0 {
            assert!(begin.elapsed() < Duration::from_secs(30), "it runs on");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn a_file_that_is_no_database_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sites.db");
    let url = format!("sqlite://{}", path.display());
    assert!(refuse(&url, QUERY).contains("does not exist"));
    assert!(!path.exists(), "nothing is made by looking");
    std::fs::write(&path, "one.example.com\n".repeat(100)).unwrap();
    assert!(refuse(&url, QUERY).contains("no database of SQLite"));
    assert!(refuse(&format!("sqlite:{}", folder.path().display()), QUERY).contains("is no file"));
    assert!(refuse("sqlite:sites.db", QUERY).contains("must be an absolute path"));
    let database = Database::with_sites(Kind::Sqlite, TWO).unwrap();
    let path = database.url.trim_start_matches("sqlite:");
    let locks = rusqlite::Connection::open(path).unwrap();
    locks.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = told(
        &database.url,
        read(&database.url, QUERY, Duration::from_millis(200), 10),
    );
    assert!(
        error.contains("locked") || error.contains("no complete answer"),
        "{error}"
    );
    locks.execute_batch("COMMIT").unwrap();
    // Beside a program that writes in WAL mode, and keeps the file open.
    locks
        .execute_batch("PRAGMA journal_mode = WAL; INSERT INTO sites (url) VALUES ('https://w.example.com')")
        .unwrap();
    assert_eq!(database.read(QUERY).rows.len(), 3);
    let copy = folder.path().join("copy.db");
    let error = database.refuse(&format!("VACUUM INTO '{}'", copy.display()));
    assert!(
        error.contains("writes") || error.contains("no columns"),
        "{error}"
    );
    assert!(!copy.exists());
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let may = |path: &str, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let database = Database::with_sites(Kind::Sqlite, TWO).unwrap();
    let path = database.url.trim_start_matches("sqlite:");
    may(path, 0o646);
    let error = database.refuse(QUERY);
    assert_eq!(
        error,
        "the file that the url names: everyone can change it: chmod o-w FILE"
    );
    may(path, 0o644);
    assert_eq!(database.read(QUERY).rows.len(), 2);
    // What is written there counts as a part of the file.
    let beside = format!("{path}-wal");
    std::fs::write(&beside, "").unwrap();
    may(&beside, 0o646);
    let error = database.refuse(QUERY);
    assert!(
        error.starts_with("the file with -wal beside") && error.contains("chmod o-w"),
        "{error}"
    );
    may(&beside, 0o600);
    assert_eq!(database.read(QUERY).rows.len(), 2);
}
