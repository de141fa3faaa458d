//! Disks that take nothing more: below standard output, and below the store.

use super::*;

#[test]
fn results_that_cannot_be_written_are_told_once_and_are_no_success() {
    let stage = Stage::of(3);
    stage.settles_soon();
    let site = stage.name(Fault::Healthy);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for json in [&["--json"][..], &[]] {
        let flags = [&["--yes", "--site", site], json].concat();
        let pushed = ended(stage.program_pushes(&[], &flags).stdout(full()).spawn().unwrap());
        // The site is verified: it would be 0.
        pushed
            .ends(1)
            .says("results cannot be written to standard output");
        assert_eq!(
            pushed.err.matches("cannot be written").count(),
            1,
            "{}",
            pushed.err
        );
    }
    assert_eq!(stage.put_to(), [site], "the run went on");
    assert!(
        stage.log().contains("results could not be written"),
        "{}",
        stage.log()
    );
    let key = stage.path("key.txt").display().to_string();
    for reads in [
        &["status"][..],
        &["check"],
        &["push", "--dry-run", "--key-file", &key],
        &["acknowledge", "--list"],
    ] {
        let ended = ended(stage.program(&[], reads).stdout(full()).spawn().unwrap());
        assert!(matches!(ended.code, Some(1 | 2)), "{reads:?}: {:?}", ended.code);
        ended.says("No space left");
    }
}

/// A disk of its own in a mount namespace of its own, as long as this lives.
struct SmallDisk {
    holder: Child,
    inside: String,
}

impl SmallDisk {
    /// None where this user may mount nothing.
    fn at(folder: &std::path::Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let inside = folder.display().to_string();
        let mount = "mount -t tmpfs -o size=2m,mode=700 tmpfs \"$1\" && echo mounted && exec sleep 600";
        let spawned = Command::new("unshare")
            .args(["--mount", "sh", "-c", mount, "sh", &inside])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut holder = spawned.ok()?;
        let mut line = String::new();
        let mut told = BufReader::new(holder.stdout.take()?);
        told.read_line(&mut line).unwrap();
        if line.trim() != "mounted" {
            let _gone = holder.wait();
            return None;
        }
        Some(Self { holder, inside })
    }

    /// What puts a command into its namespace.
    fn enter(&self) -> [String; 4] {
        let pid = self.holder.id().to_string();
        [
            "nsenter".to_owned(),
            "--mount".to_owned(),
            "--target".to_owned(),
            pid,
        ]
    }

    fn filler(&self) -> String {
        format!("/proc/{}/root{}/filler", self.holder.id(), self.inside)
    }

    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let mut size = 65536;
        // To the last byte.
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = self.holder.kill();
        let _gone = self.holder.wait();
    }
}

#[test]
fn what_cannot_be_recorded_is_not_sent_and_nothing_is_lost() {
    let stage = Stage::of(12);
    stage.heal();
    let Some(disk) = SmallDisk::at(&stage.path("small")) else {
        let why = "left out: a full disk below the store needs root and `unshare --mount`";
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    };
    let enter = disk.enter();
    let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
    let store = format!("{}/store.db", disk.inside);
    stage.fleet.hold_next_put(0);
    let one_by_one = [&JSON[..], &["--concurrency", "1", "--store", &store]].concat();
    let child = stage.program_pushes(&enter, &one_by_one).spawn().unwrap();
    let held = stage
        .fleet
        .wait_until(Duration::from_secs(30), |record| !record.held.is_empty());
    assert!(held);
    disk.fill();
    let before = stage.put_to();
    stage.fleet.let_go(0);
    let pushed = ended(child);
    pushed.ends(4);
    assert_eq!(pushed.events("halted")[0]["why"], "unrecorded", "{}", pushed.out);
    // The one that was held arrives, and no other is sent.
    let first = stage.fleet.sites()[0].name.clone();
    let mut sent = before;
    if !sent.contains(&first) {
        sent.insert(0, first);
    }
    assert_eq!(stage.put_to(), sent);
    disk.free();
    let resume = ["resume", "--yes", "--json", "--wait", "0", "--store", &store];
    let resumed = ended(stage.program(&enter, &resume).spawn().unwrap());
    resumed.ends(3);
    assert_eq!(stage.put_to().len(), 12, "{}", resumed.err);
    for (index, site) in stage.fleet.sites().iter().enumerate() {
        if site.fault == Fault::Healthy {
            assert_eq!(
                stage.fleet.record().puts(index).len(),
                1,
                "{} was sent twice",
                site.name
            );
        }
    }
}
