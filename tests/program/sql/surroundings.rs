//! What comes from the URL alone, and how a server proves who it is.

use std::env;
use std::net::TcpListener;
use std::process::Command;

use super::databases::{Database, Kind, PATIENCE, each_server, read, refuse};
use super::{QUERY, TWO};

/// Names the test that a process of its own plays, with what it needs.
const CHILD: &str = "SQL_TEST_CHILD";

/// Plays one of the tests here in a process of its own, with these variables.
fn play(test: &str, child: &str, variables: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("sql::surroundings::{test}"), "--nocapture"])
        .env(CHILD, child)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{variables:?}: {told}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "no such test"
    );
}

#[test]
fn nothing_is_taken_from_the_environment() {
    if let Ok(child) = env::var(CHILD) {
        let (wanted, url) = child.split_once(' ').unwrap();
        if wanted == "read" {
            assert_eq!(read(url, QUERY, PATIENCE, 10).unwrap().rows.len(), 2);
        } else {
            let error = refuse(url, QUERY);
            assert!(error.contains(wanted), "{error}");
        }
        return;
    }
    let Some(database) = Database::with_sites(Kind::Postgres, TWO) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let passwords = home.path().join("passwords");
    std::fs::write(&passwords, "*:*:*:*:p@ss/w0rd#topsecret\n").unwrap();
    std::fs::set_permissions(&passwords, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let passwords = passwords.display().to_string();
    let variables = [
        ("PGHOST", "nowhere.invalid"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGPORT", "1"),
        ("PGUSER", "stranger"),
        ("PGPASSWORD", "p@ss/w0rd#topsecret"),
        ("PGDATABASE", "missing"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/nowhere/ca.pem"),
        ("PGAPPNAME", "other"),
        ("PGPASSFILE", &passwords),
    ];
    let test = "nothing_is_taken_from_the_environment";
    let url = database.url.as_str();
    play(test, &format!("read {url}"), &variables);
    // Neither the password of the environment nor that of the file.
    let without = format!("login {}", url.replace(":p%40ss%2Fw0rd%23topsecret", ""));
    play(test, &without, &variables);
    // The library takes these whatever it is told.
    play(
        test,
        &format!("PGOPTIONS {url}"),
        &[("PGOPTIONS", "-c search_path=nowhere")],
    );
    play(
        test,
        &format!("PGSSLCERT {url}"),
        &[("PGSSLCERT", "/nowhere/cert.pem")],
    );
    play(
        test,
        &format!("read {url}?sslmode=disable"),
        &[("PGSSLCERT", "/nowhere/cert.pem")],
    );
}

#[test]
fn a_server_proves_who_it_is_by_the_systems_authorities_or_those_of_the_url() {
    if let Ok(url) = env::var(CHILD) {
        assert_eq!(read(&url, QUERY, PATIENCE, 10).unwrap().rows.len(), 2);
        return;
    }
    each_server(TWO, |database| {
        let authority = database
            .server
            .unwrap()
            .folder
            .join("authority.pem")
            .display()
            .to_string();
        let named = database.url.replace("@127.0.0.1:", "@localhost:");
        let full = format!("{named}?sslmode=verify-full");
        let error = refuse(&full, QUERY);
        assert!(
            error.contains("an authority that this system does not trust"),
            "{:?}: {error}",
            database.kind
        );
        let trusted = format!("{full}&sslrootcert={authority}");
        assert_eq!(read(&trusted, QUERY, PATIENCE, 10).unwrap().rows.len(), 2);
        let other = format!("{}?sslmode=verify-full&sslrootcert={authority}", database.url);
        let error = refuse(&other, QUERY);
        assert!(error.contains("for another host"), "{error}");
        let error = refuse(&format!("{full}&sslrootcert=/nowhere/ca.pem"), QUERY);
        assert!(error.contains("not there"), "{error}");
        // The system's store, as it is when an administrator has added the authority to it.
        play(
            "a_server_proves_who_it_is_by_the_systems_authorities_or_those_of_the_url",
            &full,
            &[("SSL_CERT_FILE", &authority)],
        );
    });
}

#[test]
fn a_weak_connection_to_another_machine_is_refused_before_it_is_made() {
    // It would be reached: the address leads to this machine.
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["postgres", "mysql"] {
        for mode in ["disable", "prefer", "require", "verify-ca"] {
            let url = format!("{scheme}://u:topsecret@0.0.0.0:{port}/d?sslmode={mode}");
            let error = refuse(&url, QUERY);
            assert!(
                error.contains("proves too little") && error.contains("verify-full"),
                "{error}"
            );
        }
    }
    assert!(listener.accept().is_err(), "a connection was made");
}
