//! Tells what a watch finds outside of the program: to a command, and to a webhook.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel};
use tokio::task::JoinHandle;

use crate::rules::watch::Notice;
use crate::secret::{SecretSource, Surroundings};
use crate::site_api::{ClientError, HttpSettings, plain_client};

/// A command that is told a notice in its environment.
mod command;
/// What is told: one notice, or many in one.
mod telling;
/// A notice as JSON, posted.
mod webhook;

use telling::Telling;
use webhook::Webhook;

/// So many notices of one look are told one after another; more of them in one.
const ONE_BY_ONE: usize = 20;
/// Looks whose notices wait to be told.
const QUEUE: usize = 32;

/// Who is told, and how.
pub struct Settings {
    /// The program, and its arguments.
    pub command: Option<Vec<String>>,
    /// The address that notices are posted to.
    pub webhook: Option<SecretSource>,
    /// The environment variables that a command must not see: they hold secrets.
    pub hidden: Vec<String>,
    /// How the webhook is reached: as sites are.
    pub http: HttpSettings,
}

impl fmt::Debug for Settings {
    /// Without the command's arguments: a token may stand there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.command.as_ref().and_then(|argv| argv.first());
        let mut debug = formatter.debug_struct("Settings");
        debug
            .field("program", &program)
            .field("webhook", &self.webhook)
            .finish_non_exhaustive()
    }
}

/// Tells notices, one look's after another's, beside all else.
#[derive(Debug)]
pub struct Notifier {
    queue: Sender<Vec<Notice>>,
    work: JoinHandle<()>,
    failed: UnboundedSender<String>,
}

impl Notifier {
    /// Begins; what fails is told to `failed`. Nothing of it waits for a command or a webhook.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError`], if there is a webhook and no HTTP client for it.
    pub fn start(settings: Settings, failed: UnboundedSender<String>) -> Result<Self, ClientError> {
        let client = settings
            .webhook
            .as_ref()
            .map(|_| plain_client(&settings.http))
            .transpose()?;
        let teller = Teller {
            webhook: settings
                .webhook
                .zip(client)
                .map(|(source, client)| Webhook::new(source, client)),
            command: settings.command,
            hidden: settings.hidden,
            failed: failed.clone(),
        };
        let (queue, waiting) = channel(QUEUE);
        Ok(Self {
            queue,
            work: tokio::spawn(teller.run(waiting)),
            failed,
        })
    }

    /// Tells what one look has found.
    pub fn tell(&self, notices: Vec<Notice>) {
        if notices.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(notices)) = self.queue.try_send(notices) {
            let text = format!(
                "{} were not told to [notify]: too many wait there already",
                crate::text::Count(notices.len(), "notice")
            );
            // Nobody may be left who reads it.
            let _gone = self.failed.send(text);
        }
    }

    /// Ends when all is told, at the latest after `limit`.
    pub async fn finish(mut self, limit: Duration) {
        drop(self.queue);
        if tokio::time::timeout(limit, &mut self.work).await.is_err() {
            self.work.abort();
            // Once it has let go of it, a command that hangs is ended, and all that this has started.
            let _aborted = self.work.await;
        }
    }
}

struct Teller {
    command: Option<Vec<String>>,
    webhook: Option<Webhook>,
    hidden: Vec<String>,
    failed: UnboundedSender<String>,
}

impl Teller {
    async fn run(mut self, mut waiting: Receiver<Vec<Notice>>) {
        while let Some(notices) = waiting.recv().await {
            if notices.len() > ONE_BY_ONE {
                self.tell(&Telling::Many(&notices)).await;
                continue;
            }
            for notice in &notices {
                self.tell(&Telling::One(notice)).await;
            }
        }
    }

    async fn tell(&mut self, telling: &Telling<'_>) {
        if let Some(argv) = &self.command
            && let Err(why) = command::run(argv, telling, &self.hidden).await
        {
            self.fails(format!("[notify] command: {why}"));
        }
        if let Some(webhook) = &mut self.webhook
            && let Err(why) = webhook
                .post(telling, Surroundings::of_process(), &self.hidden)
                .await
        {
            self.fails(format!("[notify] webhook: {why}"));
        }
    }

    fn fails(&self, text: String) {
        tracing::error!("{text}");
        // Nobody may be left who reads it.
        let _gone = self.failed.send(text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use jiff::Timestamp;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::rules::watch::Finding;

    fn notice() -> Notice {
        Notice {
            finding: Finding::Drifted,
            over: false,
            at: Timestamp::UNIX_EPOCH,
            site: None,
            url: None,
            group: None,
            now: None,
            expected: None,
            note: String::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_command_that_hangs_ends_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        // What it has started holds the pipe open.
        let script = "sleep 60 > \"$0\" & wait";
        let argv = ["sh", "-c", script, pipe.to_str().unwrap()].map(str::to_owned);
        let (failed, _failures) = unbounded_channel();
        let settings = Settings {
            command: Some(argv.into()),
            webhook: None,
            hidden: Vec::new(),
            http: HttpSettings {
                connect_timeout: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                proxy: None,
                ca_pem: None,
                per_backend: 1,
                sites: 1,
            },
        };
        let notifier = Notifier::start(settings, failed).unwrap();
        notifier.tell(vec![notice()]);
        let mut held = std::fs::File::open(&pipe).unwrap();
        notifier.finish(Duration::ZERO).await;
        let (tell, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(held.read(&mut [0]).unwrap()));
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(0), "it lives on");
    }
}
