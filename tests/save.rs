//! A document in a file: private, whole, and never in the place of something else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use stripe_propagate::report::save::save;

/// Names the folder in which a child of this test saves, under the umask that it was given.
const CHILD: &str = "SAVES_INTO";

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_there_stays_unless_it_may_be_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.csv");
    save(&path, "first", false).unwrap();
    let refused = save(&path, "second", false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert!(
        refused.to_string().contains("run.csv: it is there already"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    save(&path, "second", true).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(
        names(folder.path()),
        [Path::new("run.csv")],
        "nothing is left beside it"
    );
}

#[test]
fn no_link_is_followed_and_nothing_odd_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let [target, link, dangling, odd] =
        ["target", "link", "dangling", "folder"].map(|name| folder.path().join(name));
    fs::write(&target, "precious").unwrap();
    symlink(&target, &link).unwrap();
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    fs::create_dir(&odd).unwrap();
    for path in [&link, &dangling, &odd] {
        for overwrite in [false, true] {
            let refused = save(path, "x", overwrite).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{path:?}");
        }
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(names(folder.path()).len(), 4);
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = save(&folder.path().join("no/such/run.csv"), "x", false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains("no/such/run.csv: "), "{refused}");
    assert_eq!(
        save(Path::new("/"), "x", true).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn the_umask_neither_opens_nor_closes_the_file() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return save(&Path::new(&folder).join("run.html"), "x", false).unwrap();
    }
    // The umask belongs to the whole process: this one's other tests keep theirs.
    for umask in ["000", "777"] {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "the_umask_neither_opens_nor_closes_the_file"])
            .env(CHILD, folder.path())
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        assert_eq!(mode(&folder.path().join("run.html")), 0o600, "umask {umask}");
    }
}
