//! Real database servers: each is started once a test binary, on a free port of loopback, in a folder of its own, and
//! ends with the process, however that ends.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test binary needs all of it"
)]

use std::env;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, PgConnection};
use tokio::runtime::Runtime;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
/// What all passwords here are.
pub(crate) const PASSWORD: &str = "p@ss/w0rd#topsecret";
/// The same in a URL.
pub(crate) const PASSWORD_IN_URL: &str = "p%40ss%2Fw0rd%23topsecret";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
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

/// A server that runs.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Where its Unix socket is, and the authority of its certificate.
    pub(crate) folder: PathBuf,
    /// It ends when the pipe of this process breaks.
    _watched: Child,
}

struct Installed {
    postgres: Option<PathBuf>,
    mariadb: Option<(PathBuf, PathBuf)>,
}

/// A database of its own on the server of a kind, by its URL; `None` where none is installed.
pub(crate) fn new_database(kind: Kind) -> Option<(&'static Server, String)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server(kind)?;
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let first = kind.url(server.port, kind.first_database());
    run(kind, &first, &format!("CREATE DATABASE {name}")).unwrap();
    Some((server, kind.url(server.port, &name)))
}

/// The server of a kind; `None` where it is not installed.
pub(crate) fn server(kind: Kind) -> Option<&'static Server> {
    static POSTGRES: OnceLock<Option<Server>> = OnceLock::new();
    static MARIADB: OnceLock<Option<Server>> = OnceLock::new();
    match kind {
        Kind::Postgres => POSTGRES.get_or_init(|| {
            let programs = installed().postgres.as_deref()?;
            (0..5).find_map(|_| start_postgres(programs))
        }),
        Kind::MariaDb => MARIADB.get_or_init(|| {
            let (server, install) = installed().mariadb.as_ref()?;
            (0..5).find_map(|_| start_mariadb(server, install))
        }),
        Kind::Sqlite => return None,
    }
    .as_ref()
}

/// A server of PostgreSQL of one's own, to crash; `None` where none is installed.
pub(crate) fn own_postgres() -> Option<Server> {
    let programs = installed().postgres.as_deref()?;
    (0..5).find_map(|_| start_postgres(programs))
}

/// Crashes a server of PostgreSQL under the connections of the program: it ends all, and starts anew.
pub(crate) fn crash(server: &Server) {
    let url = Kind::Postgres.url(server.port, "postgres");
    let ours = "SELECT max(pid)::bigint FROM pg_stat_activity WHERE application_name = 'stripe-propagate'";
    let pid = i32::try_from(number(Kind::Postgres, &url, ours)).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn installed() -> &'static Installed {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let found = Installed {
            postgres: program("initdb").and_then(|path| Some(path.parent()?.to_owned())),
            mariadb: program("mariadbd").zip(program("mariadb-install-db")),
        };
        let missing: Vec<&str> = [
            ("PostgreSQL", found.postgres.is_none()),
            ("MariaDB", found.mariadb.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect();
        if !missing.is_empty() {
            let needed = env::var_os("TESTS_NEED_DATABASES").is_some();
            assert!(!needed, "the gate installs them: {missing:?}");
            // Past what the test harness keeps of tests that pass.
            let names = missing.join(" and ");
            let _ = writeln!(
                std::io::stderr(),
                "left out: {names} not installed (.ci/run does that)"
            );
        }
        found
    })
}

/// Debian keeps PostgreSQL's programs beside the path, and those of administrators off a user's.
fn program(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// As a user who is not root: both servers refuse it.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = nobody() {
        command.uid(user).gid(group);
    }
    // Nothing of the environment may change what they do.
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C");
    command
}

fn nobody() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let nobody = uzers::get_user_by_name("nobody").unwrap();
    Some((nobody.uid(), nobody.primary_group_id()))
}

/// A folder of the user that the servers run as, and in it a certificate for `localhost`.
fn folder() -> PathBuf {
    let folder = tempfile::tempdir().unwrap().keep();
    let authority = {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    };
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    fs::write(folder.join("authority.pem"), authority.pem()).unwrap();
    fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("password"), PASSWORD).unwrap();
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((user, group)) = nobody() {
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain([folder.clone()]) {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }
    folder
}

/// Runs what makes a folder ready for a server.
fn prepare(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn start_postgres(programs: &Path) -> Option<Server> {
    let folder = folder();
    let data = folder.join("data");
    let mut initdb = command(&programs.join("initdb"));
    initdb
        .args([
            "--username=owner",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .arg(format!("--pwfile={}", folder.join("password").display()))
        .arg(&data);
    prepare(initdb);
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", folder.display()),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", folder.join("certificate.pem").display()),
        format!("ssl_key_file={}", folder.join("key.pem").display()),
    ];
    let quick = [
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
        "autovacuum=off",
        "shared_buffers=16MB",
        "wal_level=minimal",
        "max_wal_senders=0",
    ];
    start(Kind::Postgres, folder, |port| {
        let mut arguments = vec![programs.join("postgres").display().to_string()];
        arguments.extend([
            "-D".to_owned(),
            data.display().to_string(),
            "-p".to_owned(),
            port.to_string(),
        ]);
        let all = settings.iter().map(String::as_str).chain(quick);
        arguments.extend(all.flat_map(|setting| ["-c".to_owned(), setting.to_owned()]));
        arguments
    })
}

fn start_mariadb(server: &Path, install: &Path) -> Option<Server> {
    let folder = folder();
    let data = format!("--datadir={}", folder.join("data").display());
    let mut installing = command(install);
    installing
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])
        .arg(&data);
    prepare(installing);
    let password = PASSWORD;
    let users =
        format!("CREATE USER owner@'%' IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO owner@'%';\n");
    fs::write(folder.join("users.sql"), users).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = [
        data.clone(),
        format!("--socket={}", at("mysqld.sock")),
        format!("--pid-file={}", at("mysqld.pid")),
        format!("--init-file={}", at("users.sql")),
        format!("--ssl-cert={}", at("certificate.pem")),
        format!("--ssl-key={}", at("key.pem")),
    ];
    let quick = [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=16M",
        "--innodb-log-file-size=8M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--character-set-server=utf8mb4",
    ];
    start(Kind::MariaDb, folder.clone(), |port| {
        let mut arguments = vec![server.display().to_string(), "--no-defaults".to_owned()];
        arguments.push(format!("--port={port}"));
        arguments.extend(settings.iter().cloned());
        arguments.extend(quick.map(str::to_owned));
        arguments
    })
}

/// Starts a server on a free port; `None` where another process took that before it.
fn start(kind: Kind, folder: PathBuf, arguments: impl Fn(u16) -> Vec<String>) -> Option<Server> {
    // Ends the server and removes its folder when the other end of standard input is gone, also when this process is
    // killed. Ends by itself when the server does.
    const WATCHED: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(cat <&3 >/dev/null
kill -QUIT $server
tries=40
while kill -0 $server && [ $tries -gt 0 ]; do sleep 0.05; tries=$((tries - 1)); done
kill -KILL $server
rm -rf "$0") 2>/dev/null &
wait $server"#;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let path = folder.join("log");
    let log = fs::File::create(&path).unwrap();
    let mut watched = command(Path::new("/bin/sh"))
        .args(["-c", WATCHED])
        .arg(&folder)
        .args(arguments(port))
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .current_dir(&folder)
        .process_group(0)
        .spawn()
        .unwrap();
    if answers(kind, port, &mut watched) {
        return Some(Server {
            port,
            folder,
            _watched: watched,
        });
    }
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("in use"), "{kind:?} does not start: {log}");
    None
}

fn answers(kind: Kind, port: u16, watched: &mut Child) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < START_LIMIT {
        if watched.try_wait().unwrap().is_some() {
            return false;
        }
        if run(kind, &kind.url(port, kind.first_database()), "SELECT 1").is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Runs statements that are no part of what is tested.
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

/// The number that a query answers.
pub(crate) fn number(kind: Kind, url: &str, query: &str) -> i64 {
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
