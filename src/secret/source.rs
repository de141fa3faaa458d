use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use super::{MasterKey, MasterKeyRefusal};
use crate::text::{CleanText, list};

/// How long a secret's command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// How much a file or a command may hold, in bytes.
const READ_LIMIT: u64 = 64 * 1024;

/// Where a secret comes from. It is read at the first need.
#[derive(Clone)]
pub enum SecretSource {
    /// The first of these environment variables that is set and not empty.
    Env(Vec<String>),
    /// A file that only its owner can read.
    File(PathBuf),
    /// What a command prints: the program and its arguments.
    Command(Vec<String>),
    /// In the config itself.
    Value(SecretString),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(names) => formatter.debug_tuple("Env").field(names).finish(),
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Command(argv) => formatter.debug_tuple("Command").field(&argv.first()).finish(),
            Self::Value(_) => formatter.write_str("Value(…)"),
        }
    }
}

/// What reading a secret depends on besides the file system.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// Gives an environment variable.
    pub variable: fn(&str) -> Option<OsString>,
    /// The user's number.
    pub user: u32,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            variable: |name| std::env::var_os(name),
            user: rustix::process::getuid().as_raw(),
        }
    }
}

/// Why a secret could not be read; says what was tried and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No variable is set.
    #[error(
        "the environment variable {0} is not set (sudo drops variables: use sudo --preserve-env, or master_key.file)"
    )]
    NotSet(String),
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The command failed.
    #[error("the command {program}: {reason}")]
    Command {
        /// Its name.
        program: String,
        /// What is wrong, with what it said on its standard error.
        reason: String,
    },
    /// What was read is no master key.
    #[error("{origin}: {refusal}")]
    Refused {
        /// Where it was read.
        origin: String,
        /// Why it is none.
        refusal: MasterKeyRefusal,
    },
}

impl SecretSource {
    /// Reads the secret. `hidden` names the environment variables that a command must not see.
    ///
    /// # Errors
    /// [`SecretError`], with what was tried and what to do, never with the secret.
    pub async fn read(&self, around: Surroundings, hidden: &[String]) -> Result<MasterKey, SecretError> {
        match self {
            Self::Env(names) => from_environment(names, around),
            Self::File(path) => from_file(path, around.user),
            Self::Command(argv) => from_command(argv, hidden).await,
            Self::Value(value) => parse(value.expose_secret().to_owned(), || "master_key.value".to_owned()),
        }
    }
}

fn parse(raw: String, origin: impl FnOnce() -> String) -> Result<MasterKey, SecretError> {
    MasterKey::parse(raw).map_err(|refusal| SecretError::Refused {
        origin: origin(),
        refusal,
    })
}

fn from_environment(names: &[String], around: Surroundings) -> Result<MasterKey, SecretError> {
    for name in names {
        if let Some(value) = (around.variable)(name).filter(|value| !value.is_empty()) {
            let text = value.into_string().unwrap_or_else(|_| "\u{fffd}".to_owned());
            return parse(text, || format!("the environment variable {name}"));
        }
    }
    Err(SecretError::NotSet(list(names, "or")))
}

/// Opens a plain file for reading. What is told of it is of the open file, so that nothing can be put in its
/// place in between.
///
/// # Errors
/// It cannot be opened, or is no plain file; a named pipe is not waited for.
pub(crate) fn open_plain(path: &Path) -> io::Result<(File, Metadata)> {
    let at_once = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(at_once).open(path)?;
    let about = file.metadata()?;
    if about.is_file() {
        Ok((file, about))
    } else {
        Err(io::Error::other("is no plain file"))
    }
}

fn from_file(path: &Path, user: u32) -> Result<MasterKey, SecretError> {
    let refuse = |reason: String| SecretError::File {
        path: path.to_owned(),
        reason,
    };
    let (file, about) = open_plain(path).map_err(|error| refuse(error.to_string()))?;
    if about.uid() != user && about.uid() != 0 {
        return Err(refuse(
            "belongs to another user: whoever owns it can change the key".to_owned(),
        ));
    }
    if about.mode() & 0o077 != 0 {
        return Err(refuse(format!(
            "others can read it: chmod 600 {}",
            path.display()
        )));
    }
    let mut bytes = room();
    file.take(READ_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(error.to_string()))?;
    parse(text(&bytes), || path.display().to_string())
}

async fn from_command(argv: &[String], hidden: &[String]) -> Result<MasterKey, SecretError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(SecretError::Command {
            program: "(empty)".to_owned(),
            reason: "names no program".to_owned(),
        });
    };
    let refuse = |reason: String| SecretError::Command {
        program: program.clone(),
        reason,
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A group of its own, so that what it starts ends with it.
    command.kill_on_drop(true).process_group(0);
    for name in hidden {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .map_err(|error| refuse(format!("cannot be started: {error}")))?;
    let group = child.id();
    let (out, said) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(read_bounded(out), read_bounded(said), child.wait()) };
    let ended = tokio::time::timeout(COMMAND_LIMIT, work).await;
    end_group(group);
    let Ok((out, said, status)) = ended else {
        return Err(refuse(format!(
            "did not end within {} s",
            COMMAND_LIMIT.as_secs()
        )));
    };
    let said = CleanText::note(&text(&said));
    let status = status.map_err(|error| refuse(error.to_string()))?;
    if !status.success() {
        let said = if said.is_empty() {
            "it said nothing".to_owned()
        } else {
            format!("it said: {said}")
        };
        return Err(refuse(format!("failed ({status}); {said}")));
    }
    parse(text(&out), || format!("what the command {program} printed"))
}

/// Ends what is left of the command's process group.
fn end_group(leader: Option<u32>) {
    let pid = leader
        .and_then(|leader| i32::try_from(leader).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // Mostly nothing is left of it, which is no error.
        let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// As much room as can be needed, so that no copy of a secret is left behind by growing; wiped in the end.
fn room() -> Zeroizing<Vec<u8>> {
    let limit = usize::try_from(READ_LIMIT).unwrap_or_default();
    Zeroizing::new(Vec::with_capacity(limit + 64))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn read_bounded(from: Option<impl AsyncRead + Unpin>) -> Zeroizing<Vec<u8>> {
    let mut bytes = room();
    if let Some(from) = from {
        // An error ends the text; the command's status tells that it failed.
        let _end = from.take(READ_LIMIT).read_to_end(&mut bytes).await;
    }
    bytes
}
