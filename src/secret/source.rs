use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use super::webhook::{WebhookRefusal, WebhookUrl};
use super::{EmptySecret, MasterKey, MasterKeyRefusal, Secret, without_stripe_secrets};
use crate::key::secret_prefix;
use crate::text::{CleanText, list};

/// How long a secret's command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// Lines of what a command has printed that are looked for in what it says.
const PRINTED_LINES: usize = 20;
/// Shorter lines are not looked for, in bytes: they are words, of which the complaint may be made, and no secret that is
/// worth the name.
const PRINTED_LEAST: usize = 8;
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
    /// A credential that systemd hands to a service, by its name.
    Credential(String),
    /// In the config itself.
    Value(SecretString),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(names) => formatter.debug_tuple("Env").field(&told(names)).finish(),
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Command(argv) => formatter.debug_tuple("Command").field(&argv.first()).finish(),
            Self::Credential(name) => formatter.debug_tuple("Credential").field(name).finish(),
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
    /// systemd hands no credentials to this process.
    #[error(
        "the credential {0}: $CREDENTIALS_DIRECTORY is not set: systemd sets it for a service whose unit has LoadCredential={0}:PATH"
    )]
    NoCredentials(String),
    /// The command failed.
    #[error("the command {program}: {reason}")]
    Command {
        /// Its name.
        program: String,
        /// What is wrong, with what it said on its standard error.
        reason: String,
    },
    /// What was read is not what it should be.
    #[error("{origin}: {refusal}")]
    Refused {
        /// Where it was read.
        origin: String,
        /// Why it is none.
        refusal: SecretRefusal,
    },
}

impl SecretSource {
    /// Reads the secret. `hidden` names the environment variables that a command must not see.
    ///
    /// # Errors
    /// [`SecretError`], with what was tried and what to do, never with the secret.
    pub async fn read(&self, around: Surroundings, hidden: &[String]) -> Result<MasterKey, SecretError> {
        self.read_as(around, hidden, MasterKey::parse).await
    }

    /// Reads the address of a webhook, as [`SecretSource::read`] does a master key.
    ///
    /// # Errors
    /// [`SecretError`], never with the address.
    pub async fn read_webhook(
        &self,
        around: Surroundings,
        hidden: &[String],
    ) -> Result<WebhookUrl, SecretError> {
        self.read_as(around, hidden, WebhookUrl::parse).await
    }

    /// Reads a secret that is neither, as [`SecretSource::read`] does a master key.
    ///
    /// # Errors
    /// [`SecretError`], never with the secret.
    pub async fn read_secret(&self, around: Surroundings, hidden: &[String]) -> Result<Secret, SecretError> {
        self.read_as(around, hidden, Secret::parse).await
    }

    async fn read_as<T, Refusal: Into<SecretRefusal>>(
        &self,
        around: Surroundings,
        hidden: &[String],
        parse: fn(String) -> Result<T, Refusal>,
    ) -> Result<T, SecretError> {
        let (text, origin) = match self {
            Self::Env(names) => from_environment(names, around)?,
            Self::File(path) => from_file(path, around.user)?,
            Self::Command(argv) => from_command(argv, hidden).await?,
            Self::Credential(name) => from_credential(name, around)?,
            Self::Value(value) => (value.expose_secret().to_owned(), "value in the config".to_owned()),
        };
        parse(text).map_err(|refusal| SecretError::Refused {
            origin,
            refusal: refusal.into(),
        })
    }

    /// Where it is, in words, for whoever asks where the program would look. Nothing is read, and of a command only its
    /// name is told: its arguments may be anybody's.
    pub fn place(&self) -> String {
        match self {
            Self::Env(names) => format!("the environment variable {}", told(names)),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Command(argv) => format!("the command {}", argv.first().map_or("(empty)", String::as_str)),
            Self::Credential(name) => format!("the systemd credential {name}"),
            Self::Value(_) => "the config itself".to_owned(),
        }
    }

    /// The environment variables that may hold it.
    pub fn variables(&self) -> &[String] {
        match self {
            Self::Env(names) => names,
            Self::File(_) | Self::Command(_) | Self::Credential(_) | Self::Value(_) => &[],
        }
    }
}

/// Why what was read is not what it should be. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// It is no master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyRefusal),
    /// It is no address of a webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookRefusal),
    /// There is nothing.
    #[error(transparent)]
    Empty(#[from] EmptySecret),
}

/// A text that was read, and where.
type Found = (String, String);

fn from_environment(names: &[String], around: Surroundings) -> Result<Found, SecretError> {
    for name in names {
        if let Some(value) = (around.variable)(name).filter(|value| !value.is_empty()) {
            let text = value.into_string().unwrap_or_else(|_| "\u{fffd}".to_owned());
            return Ok((
                text,
                format!("the environment variable {}", told(std::slice::from_ref(name))),
            ));
        }
    }
    Err(SecretError::NotSet(told(names)))
}

/// The names of variables, for people. One that looks like the secret itself is not told: it may stand in the place of the
/// name by mistake.
fn told(names: &[String]) -> String {
    /// No secret is so short.
    const LEAST: usize = 16;

    let is_like_a_secret = |name: &str| {
        let has = |is: fn(&u8) -> bool| name.as_bytes().iter().any(is);
        secret_prefix(name).is_some()
            || name.len() >= LEAST && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
    };
    let tell = |name: &String| {
        if is_like_a_secret(name) {
            "that the config names".to_owned()
        } else {
            name.clone()
        }
    };
    list(&names.iter().map(tell).collect::<Vec<_>>(), "or")
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

fn from_file(path: &Path, user: u32) -> Result<Found, SecretError> {
    let refuse = |reason: String| SecretError::File {
        path: path.to_owned(),
        reason,
    };
    let (file, about) = open_plain(path).map_err(|error| refuse(error.to_string()))?;
    refuse_strangers(&about, user).map_err(refuse)?;
    if about.mode() & 0o077 != 0 {
        return Err(refuse(format!(
            "others can read it: chmod 600 {}",
            path.display()
        )));
    }
    let bytes = read_file(file).map_err(|error| refuse(error.to_string()))?;
    Ok((text(&bytes), path.display().to_string()))
}

fn refuse_strangers(about: &Metadata, user: u32) -> Result<(), String> {
    if about.uid() == user || about.uid() == 0 {
        Ok(())
    } else {
        Err("belongs to another user: whoever owns it can change the key".to_owned())
    }
}

fn read_file(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = room();
    file.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Only the service sees the folder, and an access list can say so where the file's mode does not: that is not asked.
fn from_credential(name: &str, around: Surroundings) -> Result<Found, SecretError> {
    let folder = (around.variable)("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    let folder = folder.ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
    let path = Path::new(&folder).join(name);
    let refuse = |reason: String| SecretError::File {
        path: path.clone(),
        reason,
    };
    let (file, about) = open_plain(&path).map_err(|error| refuse(error.to_string()))?;
    refuse_strangers(&about, around.user).map_err(refuse)?;
    let bytes = read_file(file).map_err(|error| refuse(error.to_string()))?;
    Ok((text(&bytes), format!("the credential {name}")))
}

async fn from_command(argv: &[String], hidden: &[String]) -> Result<Found, SecretError> {
    let program = argv.first().map_or("(empty)", String::as_str);
    let refuse = |reason: String| SecretError::Command {
        program: program.to_owned(),
        reason,
    };
    let ended = run_bounded(argv, hidden, &[], COMMAND_LIMIT)
        .await
        .map_err(refuse)?;
    if let Some(failure) = ended.failure_without_printed() {
        return Err(refuse(failure));
    }
    Ok((text(&ended.out), format!("what the command {program} printed")))
}

/// What a command came to.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The beginning of its standard output.
    pub(crate) out: Zeroizing<Vec<u8>>,
    /// The beginning of its standard error.
    pub(crate) said: Zeroizing<Vec<u8>>,
}

impl Ended {
    /// That it failed, with what it said; none where it did not.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed_with(&text(&self.said))
    }

    /// As [`Ended::failure`], of one that was to print a secret: what it had printed by then is taken out of what it said.
    /// A shell that was told to trace (`set -x`) says that, too.
    fn failure_without_printed(&self) -> Option<String> {
        let printed = Zeroizing::new(text(&self.out));
        let said = text(&self.said);
        // Cleaned first, so that nothing invisible hides a part of it.
        let mut said = CleanText::new(&said, said.len()).as_str().to_owned();
        let lines = printed.lines().map(str::trim);
        for line in lines
            .filter(|line| line.len() >= PRINTED_LEAST)
            .take(PRINTED_LINES)
        {
            if let Some(without) = super::redact(line, &said, "[secret removed]") {
                said = without;
            }
        }
        self.failed_with(&said)
    }

    fn failed_with(&self, said: &str) -> Option<String> {
        if self.status.success() {
            return None;
        }
        let said = CleanText::new(said, said.len());
        let said = CleanText::note(&without_stripe_secrets(said.as_str()));
        let said = if said.is_empty() {
            "it said nothing".to_owned()
        } else {
            format!("it said: {said}")
        };
        Some(format!("failed ({}); {said}", self.status))
    }
}

/// Runs a command without standard input, with these variables and without the `hidden` ones. What is left of it, and of
/// what it has started, is ended with it, at the latest after `limit`, or when nobody waits for it any longer.
///
/// # Errors
/// When it cannot be started, or does not end in time: in words.
pub(crate) async fn run_bounded(
    argv: &[String],
    hidden: &[String],
    variables: &[(&'static str, String)],
    limit: Duration,
) -> Result<Ended, String> {
    run_bounded_to(argv, hidden, variables, limit, READ_LIMIT).await
}

/// As [`run_bounded`], with at most so many bytes of its standard output.
///
/// # Errors
/// As of [`run_bounded`].
pub(crate) async fn run_bounded_to(
    argv: &[String],
    hidden: &[String],
    variables: &[(&'static str, String)],
    limit: Duration,
    most: u64,
) -> Result<Ended, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("names no program".to_owned());
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
    for (name, value) in variables {
        command.env(name, value);
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    // Declared behind the child: it ends before that is reaped, so that its number is nobody else's.
    let group = Group(child.id());
    let (out, said) = (child.stdout.take(), child.stderr.take());
    let work = async {
        tokio::join!(
            read_bounded(out, most),
            read_bounded(said, READ_LIMIT),
            child.wait()
        )
    };
    let ended = tokio::time::timeout(limit, work).await;
    drop(group);
    let Ok((out, said, status)) = ended else {
        return Err(format!("did not end within {limit:?}"));
    };
    let status = status.map_err(|error| error.to_string())?;
    Ok(Ended { status, out, said })
}

/// A command's process group, by its leader. What is left of it is ended with this, also where nobody waits for the
/// command any longer.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|leader| i32::try_from(leader).ok());
        if let Some(pid) = leader.and_then(rustix::process::Pid::from_raw) {
            // Mostly nothing is left of it, which is no error.
            let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
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

async fn read_bounded(from: Option<impl AsyncRead + Unpin>, most: u64) -> Zeroizing<Vec<u8>> {
    let mut bytes = room();
    if let Some(from) = from {
        // An error ends the text; the command's status tells that it failed.
        let _end = from.take(most).read_to_end(&mut bytes).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_what_a_command_has_printed_no_line_that_may_be_a_secret_is_told() {
        let failing = |script: &str| SecretSource::Command(["sh", "-c", script].map(str::to_owned).into());
        for (script, said) in [
            (
                "echo ok; echo an; echo 'token expired, look at the book: an admin has another' >&2; exit 3",
                "token expired, look at the book: an admin has another",
            ),
            (
                "echo ok; echo Vq7Zt0mK4xBn; echo 'got Vq7Zt0mK4xBn, ok' >&2; exit 3",
                "got [secret removed], ok",
            ),
        ] {
            let error = failing(script)
                .read(Surroundings::of_process(), &[])
                .await
                .unwrap_err();
            assert!(
                error.to_string().ends_with(&format!("it said: {said}")),
                "{error}"
            );
        }
    }
}
