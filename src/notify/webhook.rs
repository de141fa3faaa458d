use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;

use super::telling::Telling;
use crate::secret::{SecretSource, Surroundings, WebhookUrl};

/// How long a posting may take, as a whole.
const LIMIT: Duration = Duration::from_secs(10);
/// The waits before it is tried once more.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Where notices are posted. Its address is never shown.
pub(super) struct Webhook {
    source: SecretSource,
    client: Client,
    /// Once it was read.
    url: Option<WebhookUrl>,
}

impl Webhook {
    pub(super) fn new(source: SecretSource, client: Client) -> Self {
        Self {
            source,
            client,
            url: None,
        }
    }

    /// Posts it; tried three times in all where that can help.
    ///
    /// # Errors
    /// What went wrong the last time, without the address.
    pub(super) async fn post(
        &mut self,
        telling: &Telling<'_>,
        around: Surroundings,
        hidden: &[String],
    ) -> Result<(), String> {
        if self.url.is_none() {
            let read = self.source.read_webhook(around, hidden).await;
            self.url = Some(read.map_err(|error| error.to_string())?);
        }
        let Some(url) = &self.url else { return Ok(()) };
        let body = telling.json();
        let mut waits = WAITS.into_iter();
        loop {
            let Some(fault) = once(&self.client, url, body.clone()).await.err() else {
                return Ok(());
            };
            match waits.next().filter(|_| fault.may_pass) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(fault.words),
            }
        }
    }
}

struct Fault {
    words: String,
    may_pass: bool,
}

async fn once(client: &Client, url: &WebhookUrl, body: String) -> Result<(), Fault> {
    let request = client
        .post(url.url())
        .timeout(LIMIT)
        .header(CONTENT_TYPE, "application/json")
        .body(body);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            Err(Fault {
                words: format!("answered {}: is its address right?", status.as_u16()),
                may_pass: status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429),
            })
        }
        Err(error) => Err(Fault {
            words: unreached(&error).to_owned(),
            may_pass: true,
        }),
    }
}

/// In words of our own: an error's may name the address.
fn unreached(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "did not answer within 10 s"
    } else if error.is_connect() {
        "cannot be reached (its name, its port or its certificate)"
    } else {
        "the connection to it broke"
    }
}
