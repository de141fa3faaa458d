use std::time::Duration;

use reqwest::Response;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::LIST_LIMIT;
use crate::secret::Secret;
use crate::site_api::{HttpSettings, plain_client, words_of};

/// What a web server answers. Redirects are not followed: the header would go with them.
///
/// # Errors
/// It does not answer, or something else than a list: in words that name neither address nor header.
pub(super) async fn get(
    url: &Url,
    header: Option<(&HeaderName, Secret)>,
    settings: &HttpSettings,
    timeout: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let settings = HttpSettings {
        connect_timeout: settings.connect_timeout.min(timeout),
        sites: 1,
        ..settings.clone()
    };
    let client = plain_client(&settings).map_err(|error| error.to_string())?;
    let mut request = client
        .get(url.clone())
        .timeout(timeout)
        .header(ACCEPT, "application/json");
    if let Some((name, value)) = header {
        let mut value = HeaderValue::from_str(value.expose()).map_err(
            |_| "its header has a character that no header can carry: it must be one line of visible ASCII",
        )?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|error| words_of(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(format!(
            "it answers {} and points elsewhere, which is not followed: write the address that it leads to",
            status.as_u16()
        ));
    }
    if !status.is_success() {
        let hint = match status.as_u16() {
            401 | 403 => ": is its header right?",
            404 => ": is its url right?",
            _ => "",
        };
        return Err(format!("it answers {}{hint}", status.as_u16()));
    }
    body(answer).await
}

async fn body(mut answer: Response) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(|error| words_of(&error))? {
        if (body.len() + chunk.len()) as u64 > LIST_LIMIT {
            return Err("its answer is longer than 64 MiB: is its url right?".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
