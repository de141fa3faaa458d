use std::fmt::Write as _;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Gid, Uid, fchown};
use tempfile::NamedTempFile;

use super::error::ConfigError;
use super::{EXAMPLE, file};
use crate::site::SiteUrl;
use crate::text::Count;

/// How often a file is read anew that others change meanwhile.
const ROUNDS: usize = 3;

/// The example without its sites: they are somebody else's, and would be asked at once. Their lines stay, as comments.
fn beginning() -> String {
    let mut is_site = false;
    let mut text = String::with_capacity(EXAMPLE.len() + 16);
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            is_site = line == "[[sites]]";
        }
        let is_live = !line.is_empty() && !line.starts_with('#');
        let mark = if is_site && is_live { "#" } else { "" };
        text.extend([mark, line, "\n"]);
    }
    text
}

/// Writes the commented example, without its sites, as a config that only its owner can read. Never over anything
/// that is there, and whole or not at all: half a config would be a wrong one, and in the way of the next try.
///
/// # Errors
/// [`ConfigError`]: there is something already, or it cannot be written.
pub fn write_example(path: &Path) -> Result<(), ConfigError> {
    let write = || {
        let folder = folder_of(path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let fresh = beside(folder, &beginning())?;
        fresh.as_file().set_permissions(Permissions::from_mode(0o600))?;
        fresh.as_file().sync_all()?;
        fresh.persist_noclobber(path)?;
        sync_folder(folder)
    };
    write().map_err(|error: io::Error| {
        let message = match error.kind() {
            io::ErrorKind::AlreadyExists => "a config is there already, and stays as it is".to_owned(),
            _ => format!("cannot be written: {error}"),
        };
        ConfigError::of_file(path, message)
    })
}

/// Writes those of `urls` that it lacks behind all else in the config at `path`, which is replaced at once and
/// keeps each byte that it has. Returns how many they were. What the program could not read is never written.
///
/// # Errors
/// [`ConfigError`]: it is wrong as it is, or cannot be written, with what to do instead.
pub fn add_sites(path: &Path, urls: &[SiteUrl]) -> Result<usize, ConfigError> {
    for _ in 0..ROUNDS {
        let (text, about) = file::read(path)?;
        let known = file::parse_text(&text, path, &about)?;
        let lacks = |url: &&SiteUrl| !known.sites.iter().any(|site| site.url == **url);
        let new: Vec<&SiteUrl> = urls.iter().filter(lacks).collect();
        if new.is_empty() {
            return Ok(0);
        }
        let longer = with_sites(&text, &new);
        if longer.len() as u64 > file::MAX_LENGTH {
            let message = "would be longer than 16 MiB, which is more than is read: nothing was added to it";
            return Err(ConfigError::of_file(path, message.to_owned()));
        }
        let reads_well = file::parse_text(&longer, path, &about)
            .is_ok_and(|config| config.sites.len() == known.sites.len() + new.len());
        if !reads_well {
            let message = "no [[sites]] can stand behind what is in it (does it list them as sites = [ … ]?): add \
                           the site there yourself";
            return Err(ConfigError::of_file(path, message.to_owned()));
        }
        if about.nlink() > 1 {
            // The other names would keep the old one.
            let message =
                "has other names (hard links), which would go on with what it is now: add the site yourself";
            return Err(ConfigError::of_file(path, message.to_owned()));
        }
        let replaced = replace(path, &longer, &about).map_err(|error| {
            let sites = Count(new.len(), "site");
            ConfigError::of_file(
                path,
                format!("cannot be written, so {sites} not added to it: {error}"),
            )
        })?;
        if replaced {
            return Ok(new.len());
        }
    }
    let message = "is being changed by somebody else: try again".to_owned();
    Err(ConfigError::of_file(path, message))
}

/// `text` with a `[[sites]]` for each of `urls` behind it, in its own line ends.
fn with_sites(text: &str, urls: &[&SiteUrl]) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut longer = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        longer.push_str(end);
    }
    for url in urls {
        if !longer.is_empty() {
            longer.push_str(end);
        }
        // An address has no character that a quoted text would have to escape. Writing into a string cannot fail.
        let _written = write!(longer, "[[sites]]{end}url = \"{url}\"{end}");
    }
    longer
}

/// Puts `text` in the place of the file (of the one that a link leads to), with its mode and owner, unless it is
/// another one by now than `about` tells; whether it did.
fn replace(path: &Path, text: &str, about: &Metadata) -> io::Result<bool> {
    let target = path.canonicalize()?;
    let folder = folder_of(&target);
    let fresh = beside(folder, text)?;
    let file = fresh.as_file();
    let known = file.metadata()?;
    if (known.uid(), known.gid()) != (about.uid(), about.gid()) {
        let (user, group) = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
        fchown(file, Some(user), Some(group))?;
    }
    // Behind the owner, whose change takes bits away.
    file.set_permissions(Permissions::from_mode(about.mode() & 0o7777))?;
    file.sync_all()?;
    if !is_same(&std::fs::metadata(&target)?, about) {
        return Ok(false);
    }
    fresh.persist(&target)?;
    sync_folder(folder)?;
    Ok(true)
}

/// A file that nobody looks for, with `text` in it; it is deleted unless it gets a name that counts.
fn beside(folder: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut fresh = tempfile::Builder::new()
        .prefix(".stripe-propagate-")
        .tempfile_in(folder)?;
    fresh.write_all(text.as_bytes())?;
    Ok(fresh)
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A name is on disk when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let identity = |about: &Metadata| {
        (
            about.dev(),
            about.ino(),
            about.size(),
            about.mtime(),
            about.mtime_nsec(),
            about.mode(),
            about.uid(),
        )
    };
    identity(one) == identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "https://new.example.com/boutique";

    fn new() -> SiteUrl {
        SiteUrl::parse(NEW).unwrap()
    }

    /// The file after the new site was written into one with `text`, and how many sites were.
    fn written(text: &str) -> (Result<usize, ConfigError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let written = add_sites(&path, &[new()]);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing else stays in the folder: {left:?}");
        (written, std::fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn each_byte_that_was_there_stays() {
        for text in [
            "",
            "# only a comment",
            "[push] # gently\r\nconcurrency = 3\r\n\r\n# the end\r\n",
            "\u{feff}[[sites]]\nurl = \"https://a.example\"  # first\n\n[log]\n#level = \"info\"\n",
            EXAMPLE,
        ] {
            let (count, after) = written(text);
            assert_eq!(count, Ok(1), "{text}");
            let added = after.strip_prefix(text).unwrap();
            let lines: Vec<&str> = added.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(lines, ["[[sites]]".to_owned(), format!("url = \"{NEW}\"")]);
            assert_eq!(added.contains("\r\n"), text.contains("\r\n"));
            assert_eq!(
                added.matches('\n').count(),
                added.matches("\r\n").count().max(added.lines().count())
            );
        }
    }

    #[test]
    fn what_is_there_already_is_not_written_twice() {
        let text = format!("[[sites]]\nurl = \"{NEW}/\"\n");
        assert_eq!(written(&text), (Ok(0), text.clone()));
    }

    #[test]
    fn a_file_that_cannot_take_it_stays_as_it_is() {
        for (text, why) in [
            ("sites = []\n", "add the site there yourself"),
            (
                "sites = [{ url = \"https://a.example\" }]\n",
                "add the site there yourself",
            ),
            ("[push]\nconcurrency = 0\n", "concurrency must be a number"),
            ("[push\n", ":1:6"),
        ] {
            let (refused, after) = written(text);
            assert_eq!(after, text);
            let said = refused.unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_link_leads_to_the_file_that_is_written_and_its_mode_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (link, real) = (
            folder.path().join("config.toml"),
            folder.path().join("kept/shops.toml"),
        );
        std::fs::create_dir(folder.path().join("kept")).unwrap();
        std::fs::write(&real, "# shops\n").unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("kept/shops.toml", &link).unwrap();
        assert_eq!(add_sites(&link, &[new()]), Ok(1));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&real).unwrap().contains(NEW));
        assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_file_with_other_names_stays_the_one_that_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["config.toml", "other.toml"].map(|name| folder.path().join(name));
        std::fs::write(&path, "# shops\n").unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        let said = add_sites(&path, &[new()]).unwrap_err().to_string();
        assert!(said.contains("hard links"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# shops\n");
        std::fs::remove_file(&other).unwrap();
        assert_eq!(add_sites(&path, &[new()]), Ok(1));
    }

    #[test]
    fn a_file_gets_no_longer_than_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let longest = usize::try_from(file::MAX_LENGTH).unwrap();
        std::fs::write(&path, "#".repeat(longest)).unwrap();
        let said = add_sites(&path, &[new()]).unwrap_err().to_string();
        assert!(said.contains("would be longer than 16 MiB"), "{said}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), file::MAX_LENGTH);
    }

    #[test]
    fn an_example_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        // What stands there in the last moment stays: the name is not free.
        std::fs::create_dir(&path).unwrap();
        assert!(write_example(&path).is_err());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "").unwrap();
        let before = std::fs::metadata(&path).unwrap();
        std::fs::write(&path, "# mine\n").unwrap();
        assert!(!replace(&path, "# ours\n", &before).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    }

    #[test]
    fn what_is_begun_with_is_the_example_with_its_sites_commented_out() {
        let text = beginning();
        assert_eq!(text.lines().count(), EXAMPLE.lines().count());
        let mut sites = 0;
        for (line, of_example) in text.lines().zip(EXAMPLE.lines()) {
            if line != of_example {
                assert_eq!(line, format!("#{of_example}"));
                sites += usize::from(of_example == "[[sites]]");
            }
        }
        assert_eq!(sites, EXAMPLE.matches("\n[[sites]]\n").count());
        let live = |line: &&str| !line.is_empty() && !line.starts_with('#');
        assert!(!text.lines().filter(live).any(|line| line.contains("https://")));
    }

    #[test]
    fn the_example_is_written_for_its_owner_alone_and_never_over_anything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/stripe-propagate/config.toml");
        assert_eq!(write_example(&path), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), beginning());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(file::load(&path).unwrap().sites.is_empty());
        std::fs::write(&path, "# mine\n").unwrap();
        let said = write_example(&path).unwrap_err().to_string();
        assert!(said.contains("is there already, and stays"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
        let dangling = folder.path().join("link.toml");
        std::os::unix::fs::symlink("nowhere.toml", &dangling).unwrap();
        assert!(write_example(&dangling).is_err());
    }
}
