//! What only a process of its own can show: this test program is started anew with one test of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{Intent, RunId, Store, StoreError};

use crate::files::all_private;
use crate::shop::{Home, Shop, Sqlite, at, by, key, known, run, run_of, url};

const FOLDER: &str = "STORE_TEST_FOLDER";

fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs `script`, in which `"$@"` is this program with the test `name`.
fn child(script: &str, name: &str, folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn must_pass(script: &str, name: &str, folder: &Path) {
    let output = child(script, name, folder).wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "the child of killed_in_mid_run"]
async fn child_sends() {
    let Some(folder) = folder() else { return };
    let db = SqliteStore::open(&folder.join("state/store.db"), by()).unwrap();
    let id = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.intend(&db, 1).await;
    println!("\nsends");
    std::io::stdout().flush().unwrap();
    // Until it is killed, or its parent is.
    let _line = std::io::stdin().read_line(&mut String::new());
}

#[tokio::test]
async fn a_killed_process_leaves_no_lock_and_no_doubt() {
    let home = Sqlite::default();
    let mut sender = child("exec \"$@\"", "processes::child_sends", home.0.path());
    let told = BufReader::new(sender.stdout.take().unwrap());
    assert!(told.lines().any(|line| line.unwrap() == "sends"));
    let db = home.open();
    let id = RunId(1);
    let refused = db.begin_run(run_of("Other", &["c"], 2)).await;
    let Err(StoreError::Busy(holder)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((holder.run, holder.by.pid), (Some(id), sender.id()));
    assert!(run(&db, id).await.live);
    sender.kill().unwrap();
    sender.wait().unwrap();
    assert!(!run(&db, id).await.live);
    assert_eq!(known(&db, "a", 2).await.push.look().word, "unknown");
    assert_eq!(known(&db, "b", 2).await.push.look().word, "not_started");
    db.resume_run(id, at(3)).await.unwrap();
    db.close_run(id, at(4)).await.unwrap();
    assert!(
        !home.path().with_file_name("store.db.run-1.live").exists(),
        "its lock is cleared away"
    );
    assert!(db.begin_run(run_of("Other", &["c"], 5)).await.is_ok());
}

#[tokio::test]
#[ignore = "the child of nobody_else_can_read_what_is_made_under_any_umask"]
async fn child_makes_files() {
    let Some(folder) = folder() else { return };
    let path = folder.join("state/store.db");
    let db = SqliteStore::open(&path, by()).unwrap();
    db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    all_private(&folder.join("state"));
}

#[test]
fn nobody_else_can_read_what_is_made_under_any_umask() {
    for umask in ["000", "277"] {
        let home = Sqlite::default();
        let script = format!("umask {umask}; exec \"$@\"");
        must_pass(&script, "processes::child_makes_files", home.0.path());
    }
}

#[tokio::test]
#[ignore = "the child of who_cannot_look_takes_nobody_for_dead"]
async fn child_has_no_files_left() {
    let Some(folder) = folder() else { return };
    let path = folder.join("state/store.db");
    let [db, other] = [(), ()].map(|()| SqliteStore::open(&path, by()).unwrap());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    assert!(run(&other, id).await.live);
    let before = getrlimit(Resource::Nofile);
    let current = Some(0);
    setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
    let seen = run(&other, id).await.live;
    let left = other.unfinished_runs().await.unwrap().len();
    let ended = other.end_run(id, at(1)).await.unwrap();
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!((seen, left, ended), (true, 0, false));
}

#[test]
fn who_cannot_look_takes_nobody_for_dead() {
    let home = Sqlite::default();
    must_pass("exec \"$@\"", "processes::child_has_no_files_left", home.0.path());
}

/// Nothing more can be written, until it is dropped.
enum Full {
    Limit(Rlimit),
    Filled(PathBuf),
}

impl Full {
    fn now(folder: &Path) -> Self {
        if std::env::var_os("STORE_TEST_SMALL_DISK").is_some() {
            let path = folder.join("filler");
            let mut filler = File::create(&path).unwrap();
            while filler.write_all(&[0; 512]).is_ok() {}
            return Self::Filled(path);
        }
        let before = getrlimit(Resource::Fsize);
        let log = fs::metadata(folder.join("state/store.db-wal")).unwrap().len();
        let current = Some(log);
        setrlimit(Resource::Fsize, Rlimit { current, ..before }).unwrap();
        Self::Limit(before)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        match self {
            Self::Limit(before) => setrlimit(Resource::Fsize, *before).unwrap(),
            Self::Filled(path) => fs::remove_file(path).unwrap(),
        }
    }
}

#[tokio::test]
#[ignore = "the child of nothing_is_lost_while_the_disk_is_full"]
async fn child_fills_the_disk() {
    let Some(folder) = folder() else { return };
    let db = SqliteStore::open(&folder.join("state/store.db"), by()).unwrap();
    let id = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    let full = Full::now(&folder);
    for seconds in 2..50 {
        shop.state.at = Some(at(seconds));
        let failed = db
            .record(shop.record(None, seconds))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            failed.contains("full") && failed.contains(folder.to_str().unwrap()),
            "{failed}"
        );
    }
    let intent = Intent {
        run: id,
        site: url("b"),
        number: 1,
        key: key("New"),
        at: at(50),
    };
    let failed = db.record_intent(intent).await.unwrap_err().to_string();
    assert!(failed.contains("full"), "{failed}");
    assert!(db.run_sent(id, at(51)).await.is_err());
    assert!(
        db.flush(Duration::from_mins(1))
            .unwrap_err()
            .to_string()
            .contains("full")
    );
    drop(full);
    let mut other = Shop::of(&db, "c", 52).await;
    other.look(&db, "Old", 52).await;
    db.flush(Duration::from_mins(1)).unwrap();
    assert_eq!(known(&db, "a", 53).await.at, Some(at(49)));
    assert_eq!(run(&db, id).await.sent, Some(at(51)));
    assert!(
        db.attempts(None, Some(&url("b")), 9).await.unwrap().is_empty(),
        "no PUT was sent to it"
    );

    // And once more, with nothing after it but the end of the store.
    let full = Full::now(&folder);
    shop.state.at = Some(at(60));
    assert!(db.record(shop.record(None, 60)).await.is_err());
    drop(full);
    drop(db);
    let db = SqliteStore::open(&folder.join("state/store.db"), by()).unwrap();
    assert_eq!(known(&db, "a", 61).await.at, Some(at(60)));
}

#[test]
fn nothing_is_lost_while_files_cannot_grow() {
    let home = Sqlite::default();
    must_pass(
        "trap '' XFSZ; exec \"$@\"",
        "processes::child_fills_the_disk",
        home.0.path(),
    );
}

#[test]
fn nothing_is_lost_while_the_disk_is_full() {
    let home = Sqlite::default();
    let mount = "mount -t tmpfs -o size=1m,mode=0700 none \"$STORE_TEST_FOLDER\"";
    let try_out = Command::new("unshare")
        .args(["-rm", "sh", "-c", mount])
        .env(FOLDER, home.0.path())
        .output();
    if !try_out.is_ok_and(|output| output.status.success()) {
        println!("no small disk can be mounted here: not tried");
        return;
    }
    let script =
        format!("exec unshare -rm sh -c '{mount} && exec env STORE_TEST_SMALL_DISK=1 \"$@\"' sh \"$@\"");
    must_pass(&script, "processes::child_fills_the_disk", home.0.path());
}
