use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::error::ConfigError;
use super::{Config, Place, parse};
use crate::secret::open_plain;

/// The longest config, in bytes.
pub(super) const MAX_LENGTH: u64 = 16 * 1024 * 1024;

/// What finding a config depends on besides the file system.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `--config`.
    pub explicit: Option<PathBuf>,
    /// `$STRIPE_PROPAGATE_CONFIG`.
    pub variable: Option<PathBuf>,
    /// The folder that the program was started in.
    pub current: PathBuf,
    /// The XDG config directory.
    pub xdg: Option<PathBuf>,
}

impl Surroundings {
    /// Where a user's own config stands, if their home is known.
    pub fn own_place(&self) -> Option<PathBuf> {
        let folder = self.xdg.as_ref()?.join("stripe-propagate");
        Some(folder.join("config.toml"))
    }

    /// Those of this process.
    pub fn of_process(explicit: Option<PathBuf>) -> Self {
        Self {
            explicit,
            variable: std::env::var_os("STRIPE_PROPAGATE_CONFIG")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
            current: PathBuf::from("."),
            xdg: etcetera::choose_base_strategy()
                .ok()
                .map(|strategy| strategy.config_dir()),
        }
    }
}

/// Where a config may be, and which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This file. It may still not exist if it was named.
    File(PathBuf),
    /// Nowhere.
    Nowhere(Searched),
}

/// The places that were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched(pub Vec<PathBuf>);

/// Finds the config: `--config`, else `$STRIPE_PROPAGATE_CONFIG`, `./config.toml`, the XDG config directory.
pub fn find(around: &Surroundings) -> Found {
    if let Some(path) = around.explicit.as_ref().or(around.variable.as_ref()) {
        return Found::File(path.clone());
    }
    let mut places = vec![around.current.join("config.toml")];
    places.extend(around.own_place());
    match places.iter().find(|path| path.exists()) {
        Some(path) => Found::File(path.clone()),
        None => Found::Nowhere(Searched(places)),
    }
}

/// Who is who, for judging whether a file can be trusted.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
    mode: u32,
}

/// Reads and parses a config.
///
/// # Errors
/// [`ConfigError`]: it cannot be read, others can change it, or something in it is wrong.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let (text, about) = read(path)?;
    parse_text(&text, path, &about)
}

/// The text of a config that may be trusted, and what is known of its file.
pub(super) fn read(path: &Path) -> Result<(String, Metadata), ConfigError> {
    let refuse = |message: String| ConfigError::of_file(path, message);
    let (file, about) = open_plain(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if let Some(complaint) = distrusted(&about) {
        return Err(refuse(format!("{complaint} {}", path.display())));
    }
    let mut text = String::new();
    file.take(MAX_LENGTH + 1)
        .read_to_string(&mut text)
        .map_err(|error| refuse(format!("cannot be read as text: {error}")))?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(refuse("is longer than 16 MiB: is it the right file?".to_owned()));
    }
    Ok((text, about))
}

/// Why a file that can name hosts cannot be trusted by this process's user, with the command that mends it (its path is
/// to be put behind it).
pub(crate) fn distrusted(about: &Metadata) -> Option<&'static str> {
    let owner = Owner {
        user: about.uid(),
        group: about.gid(),
        mode: about.mode(),
    };
    let me = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    distrust(owner, me)
}

/// Parses what stands, or would stand, in the file.
pub(super) fn parse_text(text: &str, path: &Path, about: &Metadata) -> Result<Config, ConfigError> {
    let home = etcetera::home_dir().ok();
    parse(
        text,
        Place {
            path,
            home: home.as_deref(),
            owner_only: is_private(about.mode()),
        },
    )
}

/// Why a config of this owner and mode cannot be trusted by `me` (user and group), with the command that
/// mends it: whoever can write it can name commands and hosts.
fn distrust(owner: Owner, me: (u32, u32)) -> Option<&'static str> {
    if owner.user != me.0 && owner.user != 0 {
        return Some("belongs to another user, who could name commands and hosts in it: chown $USER");
    }
    if owner.mode & 0o002 != 0 {
        return Some("everyone can change it: chmod o-w");
    }
    // Many systems give each user a group of their own, with the user's number.
    let own_group = owner.group == me.1 && owner.group == me.0;
    if owner.mode & 0o020 != 0 && !own_group {
        return Some("others of its group can change it: chmod g-w");
    }
    None
}

/// Whether nobody but the owner can do anything with a file of this mode.
#[expect(clippy::verbose_bit_mask, reason = "modes are read in octal")]
fn is_private(mode: u32) -> bool {
    mode & 0o077 == 0
}

/// A path that was typed: `~/` is the home, as in a config.
pub fn typed_path(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), etcetera::home_dir()) {
        (Ok(rest), Ok(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// A path of the config: `~/` is the home, a relative one begins at the config's folder.
pub(super) fn resolve(path: &Path, place: Place<'_>) -> PathBuf {
    if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), place.home) {
        return home.join(rest);
    }
    place.path.parent().unwrap_or(Path::new(".")).join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_that_was_typed_is_the_home_and_one_in_a_name_is_none() {
        let home = etcetera::home_dir().unwrap();
        assert_eq!(typed_path(Path::new("~/run-1.html")), home.join("run-1.html"));
        for other in ["run-1.html", "/tmp/run-1.html", "a/~/b.csv", "~run.csv"] {
            assert_eq!(typed_path(Path::new(other)), Path::new(other));
        }
    }

    #[test]
    fn a_config_that_others_can_change_is_refused_with_the_mend() {
        let me = (1000, 1000);
        let judge = |user, group, mode| distrust(Owner { user, group, mode }, me);
        assert_eq!(judge(1000, 1000, 0o644), None);
        assert_eq!(judge(0, 0, 0o644), None);
        assert_eq!(judge(1000, 1000, 0o664), None, "a group of the user's own");
        assert!(judge(1000, 100, 0o664).unwrap().contains("chmod g-w"));
        assert!(judge(0, 0, 0o664).unwrap().contains("chmod g-w"));
        assert!(judge(1000, 1000, 0o646).unwrap().contains("chmod o-w"));
        assert!(judge(1001, 1000, 0o600).unwrap().contains("chown"));
    }

    #[test]
    fn the_order_of_the_places_is_the_documented_one() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("current");
        let xdg = folder.path().join("xdg");
        std::fs::create_dir_all(xdg.join("stripe-propagate")).unwrap();
        std::fs::create_dir_all(&current).unwrap();
        let mut around = Surroundings {
            current: current.clone(),
            xdg: Some(xdg.clone()),
            ..Surroundings::default()
        };
        let in_xdg = xdg.join("stripe-propagate/config.toml");
        assert_eq!(
            find(&around),
            Found::Nowhere(Searched(vec![current.join("config.toml"), in_xdg.clone()]))
        );
        std::fs::write(&in_xdg, "").unwrap();
        assert_eq!(find(&around), Found::File(in_xdg));
        std::fs::write(current.join("config.toml"), "").unwrap();
        assert_eq!(find(&around), Found::File(current.join("config.toml")));
        around.variable = Some("/v".into());
        assert_eq!(find(&around), Found::File("/v".into()));
        around.explicit = Some("/e".into());
        assert_eq!(find(&around), Found::File("/e".into()));
    }
}
