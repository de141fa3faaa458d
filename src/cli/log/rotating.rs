use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError, rename};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

/// Old files beside the one that is written: `name.1`, the newest, to `name.5`.
const KEEP: u32 = 5;

/// While there is so much room left, in bytes, [`LOOK_EVERY`] holds: what others write in that time has its place in it.
const ROOM: u64 = 1024 * 1024;
/// How often it is looked at most whether another process has rotated the file, and how long it is. In a run of
/// thousands of lines a second two looks a line cost as much as the line.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A file that lines are added to and that is renamed before it is too long.
///
/// Why not a crate: tracing-appender 0.2 rotates by time alone, follows links and lets the umask decide who reads.
/// Those that rotate by size (file-rotate, rolling-file, tracing-rolling-file) take the file for their own: of two
/// processes one goes on writing to what the other has renamed, or both rename.
///
/// Here a line is one write at the end of the file, which the system keeps whole, and before it comes a look at
/// whether the name still means the file that is open, if the last one is some time ago. Who renames holds a lock, and
/// the others meanwhile write on where they are: no line is lost, and none waits.
pub(super) struct Rotating {
    path: PathBuf,
    limit: u64,
    file: File,
    /// Device and number of the open file.
    identity: (u64, u64),
    /// A rotation that failed is not tried again before the file has this length.
    retry_at: u64,
    /// The disk was full in the middle of a line.
    torn: bool,
    /// When it was looked at last, and how long it is since, as far as is known here.
    looked: Option<Instant>,
    length: u64,
}

impl Rotating {
    pub(super) fn open(path: PathBuf, limit: u64) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let (file, identity) = open_private(&path)?;
        Ok(Self {
            path,
            limit,
            file,
            identity,
            retry_at: 0,
            torn: false,
            looked: None,
            length: 0,
        })
    }

    /// Adds a line, with its end. The line is written also where rotating fails, which is told all the same.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<()> {
        let moved = self.look_before(line.len() as u64);
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let written = loop {
            match self.file.write(line) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        self.length += written as u64;
        if written < line.len() {
            self.torn = written > 0;
            return Err(Error::new(ErrorKind::WriteZero, "the disk is full"));
        }
        moved
    }

    /// Follows and rotates the file, where it is time to look.
    fn look_before(&mut self, more: u64) -> Result<()> {
        let is_fresh = self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY);
        if is_fresh && self.length + more + ROOM <= self.limit {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.follow().and_then(|()| self.rotate_before(more))
    }

    /// Opens the file anew if its name means another one by now: another process has rotated it.
    fn follow(&mut self) -> Result<()> {
        match self.path.symlink_metadata() {
            Ok(about) if identity(&about) == self.identity => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.reopen(),
        }
    }

    fn reopen(&mut self) -> Result<()> {
        (self.file, self.identity) = open_private(&self.path)?;
        (self.retry_at, self.torn, self.length) = (0, false, 0);
        Ok(())
    }

    /// Rotates if `more` bytes would make the file too long.
    fn rotate_before(&mut self, more: u64) -> Result<()> {
        let length = self.file.metadata()?.len();
        self.length = length;
        if length == 0 || length + more <= self.limit || length < self.retry_at {
            return Ok(());
        }
        let rotated = self.rotate();
        if rotated.is_err() {
            self.retry_at = length + self.limit;
        }
        rotated
    }

    fn rotate(&mut self) -> Result<()> {
        // A file of its own, never removed: a lock on what is renamed would say nothing to those who come later.
        let (lock, _) = open_private(&self.numbered("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Another process may have been quicker.
        if identity(&self.path.symlink_metadata()?) != self.identity {
            return self.reopen();
        }
        for number in (1..KEEP).rev() {
            move_away(&self.numbered(number), &self.numbered(number + 1))?;
        }
        move_away(&self.path, &self.numbered(1))?;
        self.reopen()
    }

    fn numbered(&self, behind: impl std::fmt::Display) -> PathBuf {
        let mut name: OsString = self.path.clone().into();
        name.push(format!(".{behind}"));
        name.into()
    }
}

/// Renames, which follows no link, neither from nor to; there may be nothing to rename.
fn move_away(from: &Path, to: &Path) -> Result<()> {
    match rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Opens a file to add to it, readable by the user alone whatever the umask, and follows no link to it.
fn open_private(path: &Path) -> Result<(File, (u64, u64))> {
    // A named pipe is not waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => Error::other(format!("{} is a link, which is not followed", path.display())),
        _ => error,
    })?;
    let about = file.metadata()?;
    if let Some(complaint) = distrust(about.is_file(), about.uid(), geteuid().as_raw()) {
        return Err(Error::other(format!("{} {complaint}", path.display())));
    }
    // One that was there already may have been readable by others.
    if about.mode() & 0o7777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let identity = identity(&about);
    Ok((file, identity))
}

/// Why the log is not written to such a file: who owns it can read it, and let others.
fn distrust(is_plain: bool, owner: u32, me: u32) -> Option<&'static str> {
    if !is_plain {
        return Some("is no plain file");
    }
    (owner != me).then_some("belongs to another user")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::{Arc, Barrier};
    use tempfile::TempDir;

    fn log() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/log");
        (folder, path)
    }

    fn old(path: &Path, number: u32) -> PathBuf {
        let mut name: OsString = path.into();
        name.push(format!(".{number}"));
        name.into()
    }

    fn files(path: &Path) -> Vec<PathBuf> {
        let files = (1..=KEEP + 1).map(|number| old(path, number));
        let files = std::iter::once(path.to_owned()).chain(files);
        files.filter(|file| file.exists()).collect()
    }

    #[test]
    fn five_old_files_are_kept_and_all_are_private() {
        let (folder, path) = log();
        let mut file = Rotating::open(path.clone(), 10).unwrap();
        for number in 0..20 {
            file.write(format!("line {number:02}\n").as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 19\n");
        assert_eq!(fs::read_to_string(old(&path, 1)).unwrap(), "line 18\n");
        assert_eq!(fs::read_to_string(old(&path, 5)).unwrap(), "line 14\n");
        assert_eq!(files(&path).len(), 6);
        let entries = fs::read_dir(folder.path().join("state")).unwrap();
        for entry in entries {
            let about = entry.unwrap().metadata().unwrap();
            assert_eq!(about.mode() & 0o7777, 0o600);
        }
    }

    #[test]
    fn writers_at_once_lose_no_line() {
        const WRITERS: usize = 4;
        const LINES: usize = 300;

        let (_folder, path) = log();
        let start = Arc::new(Barrier::new(WRITERS));
        // Each has the file and the lock open for itself, as a process has.
        let writers = (0..WRITERS).map(|writer| {
            let (path, start) = (path.clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                // Five rotations at most, so that no line ages out of the files that are kept.
                let mut file = Rotating::open(path, (WRITERS * LINES * 18 / 5) as u64).unwrap();
                start.wait();
                for line in 0..LINES {
                    file.write(format!("writer {writer} {line:07}\n").as_bytes())
                        .unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let texts: Vec<String> = files(&path)
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        assert!(texts.len() > 1, "it was rotated");
        let lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        let expected: BTreeSet<String> = (0..WRITERS)
            .flat_map(|writer| (0..LINES).map(move |line| format!("writer {writer} {line:07}")))
            .collect();
        assert_eq!(lines.len(), expected.len());
        assert!(lines.iter().all(|line| expected.contains(*line)));
    }

    #[test]
    fn who_rotates_is_followed_and_who_may_not_writes_on() {
        let (_folder, path) = log();
        let mut one = Rotating::open(path.clone(), 10).unwrap();
        let mut other = Rotating::open(path.clone(), 10).unwrap();
        one.write(b"first\n").unwrap();
        one.write(b"second\n").unwrap();
        other.write(b"3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n3\n");
        let (lock, _) = open_private(&one.numbered("lock")).unwrap();
        lock.lock().unwrap();
        one.write(b"fourth\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n3\nfourth\n");
        drop(lock);
        other.write(b"5\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "5\n");
        assert_eq!(fs::read_to_string(old(&path, 1)).unwrap(), "second\n3\nfourth\n");
    }

    #[test]
    fn no_link_is_followed_at_any_of_the_names() {
        let (folder, path) = log();
        let precious = folder.path().join("precious");
        fs::write(&precious, "").unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        symlink(&precious, &path).unwrap();
        let refused = Rotating::open(path.clone(), 10).err().unwrap();
        assert!(refused.to_string().contains("is a link"), "{refused}");
        fs::remove_file(&path).unwrap();
        symlink(&precious, old(&path, 1)).unwrap();
        let mut file = Rotating::open(path.clone(), 10).unwrap();
        file.write(b"first\n").unwrap();
        file.write(b"second\n").unwrap();
        assert_eq!(fs::read_to_string(old(&path, 1)).unwrap(), "first\n");
        assert!(old(&path, 2).is_symlink());
        fs::remove_file(file.numbered("lock")).unwrap();
        symlink(&precious, file.numbered("lock")).unwrap();
        assert!(file.write(b"third\n").is_err(), "it cannot be rotated");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "second\nthird\n",
            "and is written on"
        );
        assert!(file.write(b"4\n").is_ok(), "and not tried again at each line");
        fs::remove_file(&path).unwrap();
        symlink(&precious, &path).unwrap();
        assert!(file.write(b"fifth\n").is_err());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "");
    }

    #[test]
    fn other_users_files_and_what_is_no_file_are_refused() {
        assert_eq!(distrust(true, 1000, 1000), None);
        assert_eq!(distrust(true, 1000, 0), Some("belongs to another user"));
        assert_eq!(distrust(true, 0, 1000), Some("belongs to another user"));
        assert_eq!(distrust(false, 0, 0), Some("is no plain file"));
        let folder = tempfile::tempdir().unwrap();
        assert!(Rotating::open(folder.path().to_owned(), 10).is_err());
    }
}
