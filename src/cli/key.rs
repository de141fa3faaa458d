use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use zeroize::Zeroizing;

use super::hidden::Hidden;
use super::signals::{Signals, on_a_thread};
use crate::key::{PREFIXES, PublishableKey, SECRET_PREFIXES, secret_inside, secret_prefix};

/// The longest key that is read, in bytes; a longer text is refused by the key's own rules.
const READ_LIMIT: u64 = 4096;

const NEVER_AN_ARGUMENT: &str = "a key is never given as an argument: it would stay in the shell's history and in the list \
     of processes. Use --key-file FILE, --key-env NAME, --key-stdin, or none of them to be asked";

/// Where the key comes from.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(super) struct KeyArgs {
    /// Read the key from standard input.
    #[arg(long = "key-stdin")]
    pub(super) stdin: bool,
    /// Read the key from a file.
    #[arg(long = "key-file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read the key from an environment variable.
    #[arg(long = "key-env", value_name = "NAME")]
    env: Option<String>,
}

/// Refuses a command line that holds a key anywhere, without repeating it.
pub(super) fn refuse_in_arguments(arguments: &[OsString]) -> anyhow::Result<()> {
    let holds_key = arguments.iter().skip(1).any(|argument| {
        let argument = argument.to_string_lossy();
        let (flag, value) = argument.split_once('=').unwrap_or((&argument, ""));
        [argument.as_ref(), value].into_iter().any(is_like_a_key)
            || is_glued_to_key(flag)
            || secret_inside(&argument).is_some()
    });
    if holds_key {
        bail!(NEVER_AN_ARGUMENT);
    }
    Ok(())
}

/// Whether a key is glued to a flag: `--keysk_live_…`. No flag has an underscore.
fn is_glued_to_key(flag: &str) -> bool {
    let flag = flag.to_ascii_lowercase();
    flag.starts_with('-')
        && (SECRET_PREFIXES.iter().any(|prefix| flag.contains(prefix)) || flag.contains("pk_"))
}

fn is_like_a_key(text: &str) -> bool {
    secret_prefix(text).is_some()
        || PREFIXES
            .iter()
            .any(|prefix| text.trim_start().starts_with(prefix))
}

/// Refuses what stands behind the flags, without repeating it: it may be a key without its prefix.
pub(super) fn refuse_strays(strays: &[OsString]) -> anyhow::Result<()> {
    if strays.is_empty() {
        return Ok(());
    }
    bail!("something stands behind the flags that is none of them. {NEVER_AN_ARGUMENT}");
}

impl KeyArgs {
    /// Whether any of the sources is named.
    pub(super) fn is_given(&self) -> bool {
        self.stdin || self.file.is_some() || self.env.is_some()
    }

    /// Reads the key; without a named source it is asked for on the terminal, hidden.
    pub(super) async fn read(&self, signals: &mut Signals) -> anyhow::Result<PublishableKey> {
        let (source, hidden) = (self.clone(), Hidden::default());
        let question = hidden.clone();
        let read = signals
            .unless_stopped(on_a_thread(move || source.read_here(&question)))
            .await;
        // The thread that asks may still wait, with the terminal as it took it, or be about to take it.
        hidden.give_up();
        read
    }

    fn read_here(&self, hidden: &Hidden) -> anyhow::Result<PublishableKey> {
        let (text, source) = if self.stdin {
            (read_bounded(std::io::stdin().lock()), "standard input".to_owned())
        } else if let Some(path) = &self.file {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).with_context(|| format!("--key-file {name}"))?;
            (read_bounded(file), name)
        } else if let Some(name) = &self.env {
            // The error itself is dropped: it quotes a value that is no text.
            let Ok(value) = std::env::var(name) else {
                bail!("--key-env: the variable {name} is not set, or is no text");
            };
            (Ok(Zeroizing::new(value)), format!("the variable {name}"))
        } else if std::io::stdin().is_terminal() {
            let typed = hidden.ask("publishable key (hidden): ", 4096)?;
            (Ok(typed), "what was typed".to_owned())
        } else {
            bail!("which key? Use --key-file FILE, --key-env NAME or --key-stdin");
        };
        let text = text.with_context(|| format!("reading the key from {source}"))?;
        PublishableKey::parse(&text).with_context(|| format!("the key from {source}"))
    }
}

fn read_bounded(from: impl Read) -> std::io::Result<Zeroizing<String>> {
    // As much room as can be needed, so that no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
    from.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_on_the_command_line_is_refused_and_not_repeated() {
        for argument in [
            "pk_live_abc",
            "sk_live_abc",
            "--key=rk_live_abc",
            "--key=pk_test_abc",
            " whsec_abc",
            "--keysk_live_abc",
            "-kpk_live_abc",
        ] {
            let arguments = ["stripe-propagate", "push", argument].map(OsString::from);
            let refusal = refuse_in_arguments(&arguments).unwrap_err().to_string();
            assert!(!refusal.contains("abc"), "{refusal}");
        }
        let fine = [
            "stripe-propagate",
            "push",
            "--site",
            "ski-shop",
            "--key-file",
            "pk.txt",
        ];
        assert!(refuse_in_arguments(&fine.map(OsString::from)).is_ok());
    }
}
