use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Builder;
use hyper::{Method, Request};
use reqwest::Client;
use reqwest::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    USER_AGENT,
};
use tokio::time::Instant;

use super::answer::{self, BODY_LIMIT, Meaning, Raw};
use super::backends::Backends;
use super::limit::Limit;
use super::lines::{Lines, On};
use super::trust::{ClientError, HttpSettings};
use super::{SiteApi, failure};
use crate::key::PublishableKey;
use crate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use crate::secret::MasterKey;
use crate::site::{MasterKeyId, Site};
use crate::text::CleanText;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const NAME: HeaderValue = HeaderValue::from_static(concat!("stripe-propagate/", env!("CARGO_PKG_VERSION")));
const EVERYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// Talks to sites over HTTP. One for the process: it holds TLS sessions and the system's roots.
#[derive(Debug)]
pub struct HttpSiteApi {
    pub(super) lines: Lines,
    pub(super) timeout: Duration,
    pub(super) backends: Backends,
    seen: Mutex<Seen>,
    master_keys: RwLock<HashMap<MasterKeyId, Arc<MasterKey>>>,
    /// Those that a site has refused since they were given.
    refused: Mutex<HashSet<MasterKeyId>>,
}

impl HttpSiteApi {
    /// A client without master keys.
    ///
    /// # Errors
    /// [`ClientError`], with what to do.
    pub fn new(settings: &HttpSettings) -> Result<Self, ClientError> {
        let lines = Lines::new(settings.clone())?;
        Ok(Self {
            lines,
            timeout: settings.timeout,
            backends: Backends::new(settings.per_backend),
            seen: Mutex::default(),
            master_keys: RwLock::default(),
            refused: Mutex::default(),
        })
    }

    /// A client for another place than a site: of its own, and with the same authorities and the same proxy. A connection
    /// may take `limit`.
    ///
    /// # Errors
    /// [`ClientError`], with what to do.
    pub fn for_another_place(&self, limit: Duration) -> Result<Client, ClientError> {
        self.lines.for_another_place(limit)
    }

    /// Gives the key for the sites that name `id`.
    pub fn set_master_key(&self, id: MasterKeyId, key: MasterKey) {
        self.master_keys
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::new(key));
        self.refused().remove(&id);
    }

    /// Whether a site has refused this key since it was given.
    pub fn is_refused(&self, id: MasterKeyId) -> bool {
        self.refused().contains(&id)
    }

    /// Whether a site has refused its key since that was given.
    pub fn is_any_refused(&self) -> bool {
        !self.refused().is_empty()
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<MasterKeyId>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a key for the sites that name `id`.
    pub fn has_master_key(&self, id: MasterKeyId) -> bool {
        self.master_key(id).is_some()
    }

    pub(super) fn master_key(&self, id: MasterKeyId) -> Option<Arc<MasterKey>> {
        self.master_keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }
}

impl HttpSiteApi {
    /// The look. The connection is closed behind it unless it is kept.
    pub(super) async fn look_on(&self, on: On, site: &Site, limit: Duration) -> Answer<LookVerdict> {
        let mut request = to(site, Method::GET, site.url.look_path());
        if on != On::Kept {
            request = request.header(CONNECTION, "close");
        }
        let request = request.body(Full::default());
        let key = self.master_key(site.master_key);
        let mean = |raw: Raw<'_>| answer::look(raw, key.as_deref());
        // What a 404 means stands in its body.
        let needs_body = |status| (200..300).contains(&status) || status == 404;
        let sent = Sent {
            site,
            request,
            on,
            limit: Limit::of(limit),
        };
        let mut answer = self.ask(sent, mean, LookVerdict::Problem, needs_body).await;
        if let LookVerdict::Serves(key) = &mut answer.verdict {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .share(key);
        }
        answer
    }
}

/// The keys that sites have shown. A fleet has few, and each site's state holds several: all who hold the same one share
/// its letters.
#[derive(Debug, Default)]
struct Seen(HashSet<PublishableKey>);

impl Seen {
    /// Sites that each show another key must not fill the memory.
    const MOST: usize = 256;

    fn share(&mut self, key: &mut PublishableKey) {
        if let Some(known) = self.0.get(key) {
            *key = known.clone();
        } else if self.0.len() < Self::MOST {
            self.0.insert(key.clone());
        }
    }
}

impl SiteApi for HttpSiteApi {
    async fn look(&self, site: &Site, limit: Duration, close: bool) -> Answer<LookVerdict> {
        let _turn = self.backends.turn(site).await;
        let on = if close { On::Last } else { On::Kept };
        self.look_on(on, site, limit).await
    }

    async fn put(&self, site: &Site, key: &PublishableKey) -> Answer<PutVerdict> {
        let Some(master_key) = self.master_key(site.master_key) else {
            return problem(
                PutVerdict::Problem(Problem::NoMasterKey),
                Duration::ZERO,
                CleanText::default(),
                None,
            );
        };
        // Its intent is on record: from here on others count, and do not count the wait for a turn.
        let limit = Limit::of(self.timeout);
        let _turn = self.backends.turn(site).await;
        let body = serde_json::json!({ "value": key.as_str() }).to_string();
        let request = with_key(to(site, Method::PUT, site.url.put_path()), &master_key).body(body.into());
        let mean = |raw: Raw<'_>| answer::put(raw, Some(&master_key));
        let on = On::Kept;
        let sent = Sent {
            site,
            request,
            on,
            limit,
        };
        let needs_body = |status| (200..300).contains(&status);
        let answer = self.ask(sent, mean, PutVerdict::Problem, needs_body).await;
        if answer.verdict == PutVerdict::Problem(Problem::RefusedKey) {
            self.refused().insert(site.master_key);
        }
        answer
    }

    fn hang_up(&self, site: &Site) {
        self.lines.hang_up(&site.url);
    }
}

/// A request to `path` of the site.
pub(super) fn to(site: &Site, method: Method, path: String) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, site.url.authority())
        .header(USER_AGENT, NAME)
        .header(ACCEPT, EVERYTHING)
}

/// What a PUT says beside its value.
pub(super) fn with_key(request: Builder, master_key: &MasterKey) -> Builder {
    request
        .header(API_KEY, master_key.header_value())
        .header(CONTENT_TYPE, "application/json")
}

/// A request, and where it goes.
pub(super) struct Sent<'a> {
    pub(super) site: &'a Site,
    pub(super) request: hyper::http::Result<Request<Full<Bytes>>>,
    pub(super) on: On,
    /// For all of it.
    pub(super) limit: Limit,
}

impl HttpSiteApi {
    /// Sends a request, reads the beginning of its answer, and says what it means. An answer that is cut counts
    /// by its status, unless its body is needed (`needs_body`) to know what it says.
    pub(super) async fn ask<Verdict>(
        &self,
        sent: Sent<'_>,
        mean: impl Fn(Raw<'_>) -> Meaning<Verdict>,
        failed: impl Fn(Problem) -> Verdict,
        needs_body: impl Fn(u16) -> bool,
    ) -> Answer<Verdict> {
        let begin = Instant::now();
        let Ok(request) = sent.request else {
            let words = CleanText::note("no request can be made of its address");
            return problem(failed(Problem::Connect), Duration::ZERO, words, None);
        };
        let asked = self.lines.ask(&sent.site.url, request, sent.on, sent.limit);
        let reply = match asked.await {
            Ok(reply) => reply,
            Err(broken) => {
                let (what, words) = failure::classify(&broken);
                return problem(failed(what), begin.elapsed(), words, None);
            }
        };
        let (status, headers) = (reply.status, &reply.headers);
        let body = match reply.body {
            Ok(body) => body,
            Err(what) if needs_body(status) => {
                return problem(failed(what), begin.elapsed(), CleanText::default(), Some(status));
            }
            Err(_) => Vec::new(),
        };
        let meaning = mean(Raw {
            status,
            asked: sent.site.url.as_str(),
            location: text(headers, &LOCATION),
            headers: &values(headers),
            body: &body,
        });
        let asked = text(headers, &RETRY_AFTER);
        Answer {
            verdict: meaning.verdict,
            http: Some(status),
            took: begin.elapsed(),
            retry_after: asked
                .and_then(|asked| answer::retry_after(asked, text(headers, &DATE), SystemTime::now())),
            detail: meaning.detail,
            alarm: meaning.alarm,
        }
    }
}

pub(super) fn problem<V>(verdict: V, took: Duration, detail: CleanText, http: Option<u16>) -> Answer<V> {
    Answer {
        http,
        took,
        ..Answer::none(verdict, detail)
    }
}

/// The values of all headers, a line each; hyper bounds how long they can be.
/// As much of them as is read of a body.
fn values(headers: &HeaderMap) -> String {
    let mut lines = Vec::new();
    for value in headers.values() {
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
        if lines.len() > BODY_LIMIT {
            lines.truncate(BODY_LIMIT);
            break;
        }
    }
    String::from_utf8_lossy(&lines).into_owned()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
