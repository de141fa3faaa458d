//! Connections that do not come about, or break.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::databases::{Database, Kind, PATIENCE, each_server, read, refuse, told};
use super::servers::PASSWORD_IN_URL;
use super::{QUERY, TWO};

/// Stands before a server, and cuts the connection when so many bytes came back from it.
fn cutting_proxy(server: u16, bytes: u64) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        let (mut asks, mut hears) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut asks, &mut hears));
        let _ = std::io::copy(&mut server.take(bytes), &mut &client);
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
    port
}

#[test]
fn a_connection_that_breaks_in_mid_answer_loses_all_of_it() {
    each_server("", |database| {
        let numbers = database
            .kind
            .pick("generate_series(1, 100000) AS n(seq)", "seq_1_to_100000", "");
        let query = format!("SELECT 'https://x.example.com' AS url, seq AS name FROM {numbers}");
        let port = database.server.unwrap().port;
        for bytes in [300_000, 60_000] {
            let url = database
                .url
                .replace(&format!(":{port}/"), &format!(":{}/", cutting_proxy(port, bytes)));
            let error = told(&url, read(&url, &query, PATIENCE, 1_000_000));
            assert!(
                error.starts_with("the connection broke off in mid-answer, after "),
                "{error}"
            );
            assert!(!error.contains("after 0 rows"), "{error}");
        }
        let url = database
            .url
            .replace(&format!(":{port}/"), &format!(":{}/", cutting_proxy(port, 10)));
        let error = told(&url, read(&url, &query, PATIENCE, 1_000_000));
        assert!(error.contains("before the login"), "{:?}: {error}", database.kind);
    });
}

#[test]
fn a_connection_that_the_server_ends_is_told() {
    each_server(TWO, |database| {
        let (sleeps, end) = match database.kind {
            Kind::Postgres => (
                "SELECT 'https://x.example.com' AS url FROM pg_sleep(50)",
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE state = 'active' AND query LIKE '%FROM pg_sleep(50)'",
            ),
            _ => ("SELECT SLEEP(50) AS url", ""),
        };
        let begin = Instant::now();
        let error = thread::scope(|scope| {
            let reads = scope.spawn(|| refuse(&database.url, sleeps));
            while !reads.is_finished() {
                assert!(begin.elapsed() < Duration::from_secs(30), "it sleeps on");
                if database.kind == Kind::Postgres {
                    database.number(end);
                } else {
                    let sleeping = "SELECT COALESCE(MAX(id), 0) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(50)%'";
                    let id = database.number(sleeping);
                    if id > 0 {
                        // It may have ended since.
                        database.tries(&format!("KILL {id}"));
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
            reads.join().unwrap()
        });
        assert!(error.contains("nothing of"), "{:?}: {error}", database.kind);
    });
}

#[test]
fn what_the_server_refuses_is_told() {
    each_server(TWO, |database| {
        let error = refuse(&database.url.replace(PASSWORD_IN_URL, "wrong"), QUERY);
        assert!(error.starts_with("the server refused the login"), "{error}");
        let error = refuse(&database.url.replace(&format!(":{PASSWORD_IN_URL}"), ""), QUERY);
        assert!(error.starts_with("the server refused the login"), "{error}");
        let error = refuse(&database.url.replace("owner:", "stranger:"), QUERY);
        assert!(error.starts_with("the server refused the login"), "{error}");
        let error = refuse(&database.url.replace("/test_", "/missing_"), QUERY);
        assert!(error.contains("the database does not exist"), "{error}");
        let port = database.server.unwrap().port;
        // The folder is the server's alone, and this user root or the same.
        let socket = match database.kind {
            Kind::Postgres => format!("?host={}", database.server.unwrap().folder.display()),
            _ => format!(
                "?socket={}/mysqld.sock",
                database.server.unwrap().folder.display()
            ),
        };
        let url = format!(
            "{}{socket}",
            database
                .url
                .replace(&format!("127.0.0.1:{port}"), &format!("nowhere.invalid:{port}"))
        );
        assert_eq!(read(&url, QUERY, PATIENCE, 10).unwrap().rows.len(), 2);
    });
    if let Some(database) = Database::with_sites(Kind::Postgres, TWO) {
        database.run("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'topsecret'");
        let url = database
            .url
            .replace(&format!("owner:{PASSWORD_IN_URL}"), "reader:topsecret");
        let error = refuse(&url, QUERY);
        assert_eq!(
            error,
            "permission denied for table sites: grant it to the user of the url"
        );
        database.run("GRANT SELECT ON sites TO reader");
        assert_eq!(read(&url, QUERY, PATIENCE, 10).unwrap().rows.len(), 2);
        database.run("DROP OWNED BY reader; DROP ROLE reader");
    }
}

#[test]
fn what_is_no_database_server_is_told() {
    let closed = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for scheme in ["postgres", "mysql"] {
        let url = |port: u16| format!("{scheme}://u:topsecret@127.0.0.1:{port}/d");
        let error = refuse(&url(closed), QUERY);
        assert!(error.starts_with("connection refused"), "{error}");
        let talks = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = talks.local_addr().unwrap().port();
        let answers = thread::spawn(move || {
            let (mut client, _) = talks.accept().unwrap();
            client
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\ntopsecret")
                .unwrap();
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = client.read(&mut [0; 64]);
        });
        let error = refuse(&url(port), QUERY);
        assert!(error.contains("server of this kind"), "{scheme}: {error}");
        answers.join().unwrap();
        // It takes the connection, and says nothing.
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = url(silent.local_addr().unwrap().port());
        let error = told(&url, read(&url, QUERY, Duration::from_millis(200), 10));
        assert!(error.starts_with("no complete answer within 200ms"), "{error}");
        let error = refuse(&format!("{scheme}://u:topsecret@no-such-host.invalid/d"), QUERY);
        assert!(
            error.contains("host of the url") || error.contains("not reached"),
            "{error}"
        );
    }
}
