//! Tells what a watch finds outside of the program: to a command, and to a webhook.

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
#[derive(Debug)]
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
    pub async fn finish(self, limit: Duration) {
        drop(self.queue);
        let ending = self.work.abort_handle();
        if tokio::time::timeout(limit, self.work).await.is_err() {
            ending.abort();
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
