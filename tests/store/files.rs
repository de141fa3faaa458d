//! The store's files: whose they are, who can read them, and what becomes of one that is older, newer or damaged.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::state::Served;
use stripe_propagate::store::sqlite::{SqliteStore, set_aside};
use stripe_propagate::store::{Outcome, Recorded, Request, Store, StoreError};
use stripe_propagate::text::CleanText;
use tempfile::TempDir;

use crate::shop::{Home, Shop, Sqlite, VERIFIED, at, by, known, row, row_words, run, run_of, url, words};

fn refusal(path: &Path) -> String {
    SqliteStore::open(path, by()).unwrap_err().to_string()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Every file below `folder`.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A store in use, with each of its files there.
async fn in_use(home: &Sqlite) -> SqliteStore {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    db
}

pub(crate) fn all_private(folder: &Path) {
    assert_eq!(mode(folder), 0o700);
    let files = files(folder);
    let names: Vec<_> = files
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    let expected = [
        "store.db",
        "store.db-shm",
        "store.db-wal",
        "store.db.lock",
        "store.db.run-1.live",
    ];
    assert_eq!(names, expected);
    for path in files {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn nobody_else_can_read_what_is_made() {
    let home = Sqlite::default();
    let db = in_use(&home).await;
    all_private(&home.path().with_file_name(""));
    drop(db);
}

#[tokio::test]
async fn modes_that_are_too_wide_are_narrowed() {
    let home = Sqlite::default();
    let db = in_use(&home).await;
    let folder = home.path().with_file_name("");
    for path in files(&folder) {
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    }
    let other = home.open();
    // Taking the lock of the one that died narrows that too.
    drop(db);
    other
        .resume_run(other.runs(1).await.unwrap()[0].id, at(2))
        .await
        .unwrap();
    all_private(&folder);
}

#[tokio::test]
async fn a_planted_link_is_refused_and_its_victim_unchanged() {
    for name in ["store.db", "store.db-wal", "store.db-shm", "store.db-journal"] {
        let home = Sqlite::default();
        let victim = home.0.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
        drop(home.open());
        let link = home.path().with_file_name(name);
        let _absent = fs::remove_file(&link);
        symlink(&victim, &link).unwrap();
        let refusal = refusal(&home.path());
        assert!(
            refusal.contains(&format!("{name} is a symbolic link")),
            "{refusal}"
        );
        assert!(refusal.contains("remove it"), "{refusal}");
        assert_eq!(
            (fs::read_to_string(&victim).unwrap(), mode(&victim)),
            ("precious".to_owned(), 0o644)
        );
    }
}

#[tokio::test]
async fn a_planted_lock_is_refused_and_its_victim_unchanged() {
    for name in ["store.db.lock", "store.db.run-1.live"] {
        let home = Sqlite::default();
        let victim = home.0.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let db = home.open();
        symlink(&victim, home.path().with_file_name(name)).unwrap();
        let refused = db
            .begin_run(run_of("New", &["a"], 0))
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(db.runs(9).await.unwrap().is_empty());
        fs::remove_file(home.path().with_file_name(name)).unwrap();
        assert!(
            db.begin_run(run_of("New", &["a"], 0)).await.is_ok(),
            "nothing is held"
        );
    }
}

#[test]
fn the_way_to_the_folder_may_be_a_link() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("real")).unwrap();
    symlink(home.path().join("real"), home.path().join("link")).unwrap();
    drop(SqliteStore::open(&home.path().join("link/store.db"), by()).unwrap());
    assert!(home.path().join("real/store.db").exists());
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let home = TempDir::new().unwrap();
    for wide in [0o777, 0o770, 0o1777] {
        fs::set_permissions(home.path(), Permissions::from_mode(wide)).unwrap();
        let refusal = refusal(&home.path().join("store.db"));
        assert!(
            refusal.contains("others can write") && refusal.contains("chmod go-w"),
            "{refusal}"
        );
    }
    assert!(files(home.path()).is_empty());
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("store.db");
    fs::write(&file, "").unwrap();
    if chown(&file, Some(4711), None).is_err() {
        // Only root can give files away.
        return;
    }
    let of_file = refusal(&file);
    assert!(of_file.contains("belongs to another user (uid 4711"), "{of_file}");
    fs::remove_file(&file).unwrap();
    chown(home.path(), Some(4711), None).unwrap();
    let of_folder = refusal(&file);
    assert!(
        of_folder.contains("belongs to another user") && of_folder.contains("another place"),
        "{of_folder}"
    );
    assert!(!file.exists());
}

#[test]
fn what_is_no_file_is_refused() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("store.db")).unwrap();
    assert!(refusal(&home.path().join("store.db")).contains("no plain file"));
    assert!(refusal(Path::new("/")).contains("names no file"));
}

#[test]
fn a_newer_store_is_refused_and_left_as_it_is() {
    let home = Sqlite::default();
    drop(home.open());
    let raw = Connection::open(home.path()).unwrap();
    raw.pragma_update(None, "user_version", 9).unwrap();
    drop(raw);
    let before = fs::read(home.path()).unwrap();
    let refusal = refusal(&home.path());
    assert!(
        refusal.contains("newer version") && refusal.contains("format is 9"),
        "{refusal}"
    );
    assert!(fs::read(home.path()).unwrap() == before, "unchanged");
}

#[test]
fn a_store_of_the_first_version_is_copied_and_goes_on() {
    let home = Sqlite::default();
    drop(home.open());
    let raw = Connection::open(home.path()).unwrap();
    let later = "DROP TABLE standings; DROP TABLE acknowledgements; DROP TABLE notices; DROP TABLE lists; PRAGMA user_version = 1";
    raw.execute_batch(later).unwrap();
    drop(raw);
    let db = home.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = runtime.block_on(db.standing(&crate::shop::key("New")));
    assert_eq!(asked, Ok(None), "what it lacked is there now");
    let copy = home.path().with_file_name("store.db.v1.bak");
    let version: u32 = Connection::open(copy)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 1);
}

#[test]
fn the_database_of_another_program_is_refused() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("cookies.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE cookies (name)")
        .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).contains("another program"));
    assert!(fs::read(&path).unwrap() == before, "unchanged");
}

/// Each file of a store, as it is.
fn contents(home: &Sqlite) -> Vec<(PathBuf, Vec<u8>)> {
    let endings = ["store.db", "store.db-wal"];
    let paths = endings.map(|name| home.path().with_file_name(name));
    let there = paths.into_iter().filter(|path| path.exists());
    there
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// A store that is refused as damaged stays as it is until it is moved aside.
async fn stays_as_it_is(home: &Sqlite) {
    let before = contents(home);
    let refusal = refusal(&home.path());
    assert!(
        refusal.contains("damaged") && refusal.contains("move it aside"),
        "{refusal}"
    );
    for (path, bytes) in &before {
        assert!(
            fs::read(path).unwrap() == *bytes,
            "{} is unchanged",
            path.display()
        );
    }
    let aside = set_aside(&home.path()).unwrap();
    assert!(
        aside.to_str().unwrap().contains("store.db.damaged-"),
        "{}",
        aside.display()
    );
    assert!(contents(home).is_empty());
    assert!(home.open().runs(9).await.unwrap().is_empty());
    assert!(
        fs::read(&aside).unwrap() == before[0].1,
        "unchanged where it is now"
    );
}

#[tokio::test]
async fn a_damaged_store_is_left_as_it_is_until_it_is_moved_aside() {
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| *bytes = b"no database, whatever its name says".repeat(100),
        |bytes| bytes[4096..20_000].fill(0xAA),
        |bytes| bytes.truncate(bytes.len() / 2),
    ];
    for how in damages {
        let home = Sqlite::default();
        drop(in_use(&home).await);
        let mut bytes = fs::read(home.path()).unwrap();
        how(&mut bytes);
        fs::write(home.path(), &bytes).unwrap();
        stays_as_it_is(&home).await;
    }
    // With a log beside it, as a process that was killed leaves it.
    let (source, home) = (Sqlite::default(), Sqlite::default());
    let db = in_use(&source).await;
    drop(home.open());
    for (path, bytes) in contents(&source) {
        fs::write(home.path().with_file_name(path.file_name().unwrap()), bytes).unwrap();
    }
    drop(db);
    let raw = fs::OpenOptions::new()
        .write(true)
        .open(home.path().with_file_name("store.db-wal"));
    // Past the header, the frames of which no sum holds are no part of the log.
    raw.unwrap().set_len(32 + 24 + 4096).unwrap();
    fs::write(home.path(), [0xAA; 8192]).unwrap();
    stays_as_it_is(&home).await;
    let home = Sqlite::default();
    let db = in_use(&home).await;
    assert!(
        matches!(set_aside(&home.path()), Err(StoreError::Busy(_))),
        "a run sends on it"
    );
    drop(db);
    let nowhere = set_aside(&Sqlite::default().path()).unwrap_err().to_string();
    assert!(nowhere.contains("there is no store"), "{nowhere}");
}

#[tokio::test]
async fn an_older_store_is_copied_then_upgraded() {
    let home = Sqlite::default();
    drop(home.open());
    // As a version before the first would have left it.
    fs::remove_file(home.path()).unwrap();
    let raw = Connection::open(home.path()).unwrap();
    let older =
        "PRAGMA application_id = 0x73747072; CREATE TABLE notes (text); INSERT INTO notes VALUES ('kept');";
    raw.execute_batch(older).unwrap();
    drop(raw);
    let kept = |path: &Path| -> String {
        let conn = Connection::open(path).unwrap();
        conn.query_row("SELECT text FROM notes", [], |row| row.get(0))
            .unwrap()
    };
    // A copy from before is not overwritten.
    let taken = home.path().with_file_name("store.db.v0.bak");
    fs::write(&taken, "an earlier copy").unwrap();
    let db = home.open();
    assert!(db.runs(9).await.unwrap().is_empty());
    drop(db);
    let copy = home.path().with_file_name("store.db.v0.bak.2");
    assert_eq!(mode(&copy), 0o600);
    assert_eq!([kept(&copy), kept(&home.path())], ["kept", "kept"]);
    assert_eq!(fs::read_to_string(&taken).unwrap(), "an earlier copy");
    drop(home.open());
    assert!(!home.path().with_file_name("store.db.v0.bak.3").exists(), "once");
}

#[tokio::test]
async fn a_start_of_the_machine_in_between_is_noticed() {
    let home = Sqlite::default();
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 1000)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 1000).await;
    shop.order(id, "New", 1000);
    shop.put(&db, 1001).await;
    shop.look(&db, "New", 1010).await;
    drop(db);
    let raw = Connection::open(home.path()).unwrap();
    raw.execute("UPDATE boots SET boot = 'an earlier start'", [])
        .unwrap();
    drop(raw);
    let db = home.open();
    // The machine counts anew; the wall clock says that 100 s have passed.
    let mut now = at(5);
    now.wall = at(1110).wall;
    let found = db.last_known(&[url("a")], &Policy::default(), now).await;
    let known = found.unwrap().pop().unwrap().state;
    let wait = known.settle_end().unwrap().since(now);
    assert_eq!(wait.as_secs(), 330 - 109, "the settle time goes on where it was");
    db.resume_run(id, now).await.unwrap();
    db.close_run(id, now).await.unwrap();
    assert_eq!(run(&db, id).await.took, None);
}

#[tokio::test]
async fn what_is_from_before_a_restart_is_the_same_at_each_reading() {
    let home = Sqlite::default();
    let db = home.open();
    let mut shop = Shop::of(&db, "a", 1000).await;
    let id = db.begin_run(run_of("New", &["a", "b"], 1000)).await.unwrap();
    shop.order(id, "New", 1000);
    shop.put(&db, 1001).await;
    shop.look(&db, "New", 1010).await;
    drop(db);
    let raw = Connection::open(home.path()).unwrap();
    raw.execute("UPDATE boots SET boot = 'an earlier start'", [])
        .unwrap();
    drop(raw);
    let db = home.open();
    for name in ["a", "b"] {
        // Long after what is waited for there.
        let read = async |seconds: u64, wall: u64| {
            let mut now = at(seconds);
            now.wall = at(wall).wall;
            let found = db.last_known(&[url(name)], &Policy::default(), now).await;
            found.unwrap().pop().unwrap()
        };
        let first = read(5, 9000).await;
        assert_eq!(read(15, 9010).await, first, "{name}");
        assert_eq!(read(25, 9020).await, first, "{name}");
        if name == "a" {
            // It is also what a process is told that does not know of it.
            let mut stale = shop.record(None, 35);
            stale.at.wall = at(9030).wall;
            let told = Recorded::TakenOver(Box::new(first));
            assert_eq!(db.record(stale).await.unwrap(), told);
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_the_files() {
    let home = Sqlite::default();
    let db = in_use(&home).await;
    let shop = Shop::of(&db, "a", 2).await;
    let shown = Outcome {
        run: None,
        request: Request::Get,
        number: 1,
        at: at(3),
        ms: 1,
        http: Some(200),
        cause: None,
        served: Served::Secret,
        note: CleanText::note("shows a SECRET key to the public (not kept)"),
    };
    db.record(shop.record(Some(shown), 3)).await.unwrap();
    assert_eq!(db.timeline(&url("a"), 1).await.unwrap()[0].served, Served::Secret);
    let folder = home.path().with_file_name("");
    let mut sizes = 0;
    for path in files(&folder) {
        let bytes = fs::read(&path).unwrap();
        sizes += bytes.len();
        for secret in [
            "sk_live",
            "sk_test",
            "rk_",
            "whsec_",
            "ek_",
            "Bearer",
            "master_key",
        ] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
    assert!(sizes > 10_000, "the log is there too");
}

#[tokio::test]
async fn two_stores_on_one_file_write_at_once() {
    const LOOKS: u64 = 200;
    let home = Sqlite::default();
    let stores = [home.open(), home.open()];
    let names = ["a", "b"];
    let write = async |index: usize| {
        let mut shop = Shop::of(&stores[index], names[index], 0).await;
        for seconds in 1..=LOOKS {
            shop.look(&stores[index], "New", seconds).await;
        }
    };
    tokio::join!(write(0), write(1));
    for (name, reader) in [("a", &stores[1]), ("b", &stores[0])] {
        let attempts = reader.attempts(None, Some(&url(name)), 999).await.unwrap();
        assert_eq!(attempts.len() as u64, LOOKS);
        assert_eq!(known(reader, name, LOOKS).await.verify.look().word, "seen");
    }
}

#[test]
fn many_may_open_a_new_store_at_once() {
    for _round in 0..5 {
        let home = Sqlite::default();
        let path = home.path();
        let open = || drop(SqliteStore::open(&path, by()).unwrap());
        std::thread::scope(|scope| {
            for _process in 0..8 {
                scope.spawn(open);
            }
        });
    }
}

#[tokio::test]
async fn what_is_queued_is_written_when_the_store_is_dropped_or_flushed() {
    let home = Sqlite::default();
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "New", 2).await;
    shop.look(&db, "New", 400).await;
    for seconds in 401..600 {
        shop.state.at = Some(at(seconds));
        drop(db.record(shop.record(None, seconds)));
    }
    db.flush(std::time::Duration::from_mins(1)).unwrap();
    let raw = Connection::open(home.path()).unwrap();
    let state: String = raw
        .query_row("SELECT state FROM sites", [], |row| row.get(0))
        .unwrap();
    assert!(
        state.contains(&serde_json::to_string(&at(599)).unwrap()),
        "{state}"
    );
    shop.state.at = Some(at(700));
    drop(db.record(shop.record(None, 700)));
    drop(db);
    let db = home.open();
    let last = known(&db, "a", 700).await;
    assert_eq!((last.at, words(&last)), (Some(at(700)), VERIFIED));
    assert_eq!(row_words(&row(&db, id, "a").await), VERIFIED);
}

#[tokio::test]
async fn what_is_written_late_is_worth_what_was_known_when_it_was_handed_over() {
    let home = Sqlite::default();
    let (db, other) = (home.open(), home.open());
    let stale = Shop::of(&db, "a", 0).await;
    let id = other.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut theirs = Shop::of(&other, "a", 0).await;
    theirs.order(id, "New", 0);
    theirs.put(&other, 1).await;
    // Nothing can be written for a while, in which the process gets to know of that PUT.
    let raw = Connection::open(home.path()).unwrap();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let late = db.record(stale.record(None, 2));
    let told = Shop::of(&db, "a", 3).await;
    let next = db.record(told.record(None, 3));
    raw.execute_batch("COMMIT").unwrap();
    assert!(matches!(late.await.unwrap(), Recorded::TakenOver(_)));
    assert_eq!(next.await.unwrap(), Recorded::Known);
}

#[tokio::test]
async fn the_lock_of_a_dead_run_is_cleared_away_by_who_ends_it() {
    let home = Sqlite::default();
    let db = in_use(&home).await;
    let id = db.runs(1).await.unwrap()[0].id;
    let lock = home.path().with_file_name("store.db.run-1.live");
    let mut shop = Shop::of(&db, "a", 2).await;
    drop(db);
    let db = home.open();
    shop.catch_up(&db, 2).await;
    shop.look(&db, "New", 3).await;
    shop.look(&db, "New", 400).await;
    assert!(lock.exists());
    assert!(db.end_run(id, at(401)).await.unwrap());
    assert!(!lock.exists());
}

#[test]
fn what_is_old_is_found_without_reading_all() {
    let home = Sqlite::default();
    drop(home.open());
    let raw = Connection::open(home.path()).unwrap();
    let drops = [
        "DELETE FROM attempts WHERE run IS NULL AND at < 1",
        "DELETE FROM seen WHERE last < 1",
    ];
    for drop in drops {
        let plan: String = raw
            .query_row(&format!("EXPLAIN QUERY PLAN {drop}"), [], |row| row.get("detail"))
            .unwrap();
        assert!(plan.starts_with("SEARCH"), "{plan}");
    }
}

#[tokio::test]
async fn nothing_is_lost_where_more_waits_than_goes_into_one_transaction() {
    let home = Sqlite::default();
    let db = home.open();
    let shop = Shop::of(&db, "a", 0).await;
    // Nothing can be written for a while, in which much is handed over.
    let raw = Connection::open(home.path()).unwrap();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Three times as much as goes into one.
    let handed: Vec<_> = (0..3 * 4096)
        .map(|seconds| db.record(shop.record(None, seconds)))
        .collect();
    raw.execute_batch("COMMIT").unwrap();
    for recorded in handed {
        assert_eq!(recorded.await.unwrap(), Recorded::Known);
    }
}
