use std::time::{Duration, SystemTime};

use reqwest::Url;
use serde_json::Value;

use super::wash::{Washed, wash};
use crate::key::{PublishableKey, secret_prefix};
use crate::rules::outcome::{AuthVerdict, Leak, LookVerdict, Problem, PutVerdict};
use crate::secret::MasterKey;
use crate::site::is_loopback;
use crate::text::CleanText;

/// How much of a body is read, in bytes.
pub(super) const BODY_LIMIT: usize = 64 * 1024;

/// An answer as it came, its body cut.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The address of the site that was asked: what a redirect is compared with.
    pub asked: &'a str,
    /// `Location`, if there is one.
    pub location: Option<&'a str>,
    /// The values of all headers, a line each: a secret may be echoed there, too.
    pub headers: &'a str,
    /// The body's beginning.
    pub body: &'a [u8],
}

impl Raw<'_> {
    /// The problem that its status tells, and, of a redirect, where it leads; `put` as for [`Problem::from_status`].
    fn problem(&self, put: bool) -> Option<Problem> {
        match Problem::from_status(self.status, put) {
            Some(Problem::Redirect) => Some(self.redirect()),
            other => other,
        }
    }

    fn redirect(&self) -> Problem {
        let Ok(asked) = Url::parse(self.asked) else {
            return Problem::Redirect;
        };
        let Some(target) = self.location.map(|target| asked.join(target)) else {
            return Problem::RedirectInPlace;
        };
        match target {
            Ok(target) if target.origin() == asked.origin() => Problem::RedirectInPlace,
            Ok(target) if is_loopback(&target) && !is_loopback(&asked) => Problem::RedirectToLoopback,
            Ok(target) if target.scheme() == "http" => Problem::RedirectToHttp,
            Ok(_) | Err(_) => Problem::Redirect,
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning<Verdict> {
    /// The verdict.
    pub verdict: Verdict,
    /// What it was, the site's own words, or the target of a redirect. Clean and without secrets: of a site whose master
    /// key is not known there are no words, since it may have said the key.
    pub detail: CleanText,
    /// Which secret stood in it, if one did.
    pub alarm: Option<Leak>,
}

/// What an answer to the PUT means (contract.md, first table).
pub fn put(raw: Raw<'_>, master_key: Option<&MasterKey>) -> Meaning<PutVerdict> {
    let body = Body::read(raw.body, master_key);
    let verdict = match raw.problem(true) {
        Some(Problem::RefusedRequest) if body.says("invalid_publishable_format") => {
            PutVerdict::Problem(Problem::RefusedFormat)
        }
        Some(problem) => PutVerdict::Problem(problem),
        None => match body.success() {
            Some(true) => PutVerdict::Stored,
            Some(false) => PutVerdict::Problem(Problem::SaysNotStored),
            None => PutVerdict::Problem(body.no_answer()),
        },
    };
    let detail = match verdict {
        PutVerdict::Stored => CleanText::default(),
        PutVerdict::Problem(problem) => told(&raw, &body, master_key, problem),
    };
    let headers = wash(raw.headers, master_key);
    let alarm = body.alarm(&headers);
    Meaning {
        verdict,
        detail,
        alarm,
    }
}

/// What a site says of a body without a value, once it has accepted the master key (contract.md, first table).
const MISSING_VALUE: [&str; 2] = ["Missing value", "Valeur manquante"];

/// What an answer to the PUT without a value means.
pub fn auth(raw: Raw<'_>, master_key: Option<&MasterKey>) -> Meaning<AuthVerdict> {
    let body = Body::read(raw.body, master_key);
    let misses_value = || MISSING_VALUE.iter().any(|words| body.says(words));
    let verdict = match raw.problem(true) {
        Some(Problem::RefusedRequest) if raw.status == 400 && misses_value() => AuthVerdict::Accepted,
        Some(problem) => AuthVerdict::Problem(problem),
        // No version takes a PUT without a value.
        None if body.success().is_some() => AuthVerdict::Problem(Problem::StrangeJson),
        None => AuthVerdict::Problem(body.no_answer()),
    };
    let detail = match verdict {
        AuthVerdict::Accepted => CleanText::default(),
        AuthVerdict::Problem(problem) => told(&raw, &body, master_key, problem),
    };
    let headers = wash(raw.headers, master_key);
    Meaning {
        verdict,
        detail,
        alarm: body.alarm(&headers),
    }
}

/// What an answer to the GET means (contract.md, second table).
pub fn look(raw: Raw<'_>, master_key: Option<&MasterKey>) -> Meaning<LookVerdict> {
    let body = Body::read(raw.body, master_key);
    let served = body.field("publishable_key").and_then(Value::as_str);
    let headers = wash(raw.headers, master_key);
    if body.stripe_secret
        || headers.stripe_secret
        || served.is_some_and(|served| secret_prefix(served).is_some())
    {
        return Meaning {
            verdict: LookVerdict::ExposedSecret,
            detail: CleanText::default(),
            alarm: Leak::of(true, body.master_key || headers.master_key),
        };
    }
    let verdict = match raw.problem(false) {
        Some(Problem::NoEndpoint) if raw.status == 404 && body.says("no_publishable_key") => {
            LookVerdict::NoKey
        }
        Some(problem) => LookVerdict::Problem(problem),
        None => match (body.success(), served.map(PublishableKey::parse)) {
            // To the letter: the shop's pages get the value with whatever stands around it. A key is kept and shown, so
            // that none may be made of a secret.
            (Some(true), Some(Ok(key)))
                if served == Some(key.as_str()) && !body.holds_master_key_in(key.as_str(), master_key) =>
            {
                LookVerdict::Serves(key)
            }
            _ => LookVerdict::Problem(body.no_answer()),
        },
    };
    let alarm = body.alarm(&headers);
    let detail = match verdict {
        LookVerdict::Problem(problem) => told(&raw, &body, master_key, problem),
        _ => CleanText::default(),
    };
    Meaning {
        verdict,
        detail,
        alarm,
    }
}

/// A body, and what was found in it.
struct Body {
    json: Option<Value>,
    text: String,
    washed: Washed,
    stripe_secret: bool,
    master_key: bool,
    /// A string in its JSON holds one of them, however it is written.
    hides_secret: bool,
    /// How much of it was read, in bytes.
    length: usize,
}

impl Body {
    fn read(bytes: &[u8], master_key: Option<&MasterKey>) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        // serde_json bounds the depth itself.
        let json: Option<Value> = serde_json::from_str(&text).ok();
        let washed = wash(&text, master_key);
        let mut body = Self {
            stripe_secret: washed.stripe_secret,
            master_key: washed.master_key,
            hides_secret: false,
            length: bytes.len(),
            json,
            text,
            washed,
        };
        // `\u0073k_live_…` is a secret only when JSON's escapes are read; without any, each string stands in the text.
        if !body.washed.masked && !body.text.contains('\\') {
            return body;
        }
        let mut strings = Vec::new();
        body.json
            .iter()
            .for_each(|json| collect_strings(json, &mut strings));
        let inner: Vec<Washed> = strings
            .into_iter()
            .map(|string| wash(string, master_key))
            .collect();
        body.hides_secret = inner.iter().any(|washed| washed.masked);
        body.stripe_secret |= inner.iter().any(|washed| washed.stripe_secret);
        body.master_key |= inner.iter().any(|washed| washed.master_key);
        body
    }

    /// Which secret stands in it, or in the headers with it.
    fn alarm(&self, headers: &Washed) -> Option<Leak> {
        Leak::of(
            self.stripe_secret || headers.stripe_secret,
            self.master_key || headers.master_key,
        )
    }

    fn holds_master_key_in(&self, text: &str, master_key: Option<&MasterKey>) -> bool {
        self.master_key && wash(text, master_key).master_key
    }

    fn field(&self, name: &str) -> Option<&Value> {
        self.json.as_ref()?.get(name)
    }

    /// `success`, or `ok` of the older version; a failure in either is one.
    fn success(&self) -> Option<bool> {
        let told = [self.field("success"), self.field("ok")].map(|value| value.and_then(Value::as_bool));
        match told {
            [Some(false), _] | [_, Some(false)] => Some(false),
            [Some(true), _] | [_, Some(true)] => Some(true),
            [None, None] => None,
        }
    }

    /// Whether `error` or `message` is `word`.
    fn says(&self, word: &str) -> bool {
        [self.field("error"), self.field("message")]
            .into_iter()
            .flatten()
            .any(|value| value.as_str() == Some(word))
    }

    /// What it is, where it is no answer of this API, and its words.
    fn shape(&self, words: &str) -> String {
        let text = self.text.trim_start();
        let shape = if text.is_empty() {
            return "an empty answer".to_owned();
        } else if looks_like_html(text) {
            let page = if words.is_empty() { "page" } else { words };
            return format!("a {page}: parked, resold or a login page?");
        } else if self.length >= BODY_LIMIT {
            return format!("more than {} KiB", BODY_LIMIT / 1024);
        } else if self.json.is_some() {
            "JSON that is no object"
        } else if text.starts_with(['{', '[']) {
            "broken JSON"
        } else {
            "a text that is no JSON"
        };
        let behind = if words.is_empty() { "" } else { ": " };
        format!("{shape}{behind}{words}")
    }

    fn no_answer(&self) -> Problem {
        if self.json.as_ref().is_some_and(Value::is_object) {
            Problem::StrangeJson
        } else {
            Problem::NotThisApi
        }
    }
}

fn collect_strings<'a>(json: &'a Value, strings: &mut Vec<&'a str>) {
    match json {
        Value::String(string) => strings.push(string),
        Value::Array(items) => items.iter().for_each(|item| collect_strings(item, strings)),
        Value::Object(fields) => {
            for (name, value) in fields {
                strings.push(name);
                collect_strings(value, strings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What is told of an answer beside the problem itself: what it was, if it is no answer of this API, and its words.
fn told(raw: &Raw<'_>, body: &Body, master_key: Option<&MasterKey>, problem: Problem) -> CleanText {
    let words = match master_key {
        Some(key) => words(raw, body, key),
        // Nobody can say whether the key stands in them.
        None => place(raw),
    };
    if problem == Problem::NotThisApi {
        CleanText::note(&body.shape(words.as_str()))
    } else {
        words
    }
}

/// The words of an answer: where it redirects to, what the site calls its error, a page's title, the text.
fn words(raw: &Raw<'_>, body: &Body, master_key: &MasterKey) -> CleanText {
    let wash = |text: &str| wash(text, Some(master_key)).text;
    if (300..400).contains(&raw.status) {
        let target = raw
            .location
            .map(|target| target.split(['?', '#']).next().unwrap_or_default());
        return wash(&target.map_or(NO_TARGET.to_owned(), |target| format!("to {target}")));
    }
    let said = [body.field("error"), body.field("message")]
        .into_iter()
        .flatten()
        .find_map(Value::as_str);
    if let Some(said) = said {
        return wash(said);
    }
    if body.hides_secret {
        // Written with escapes, so that washing the text as it came does not find it.
        return CleanText::default();
    }
    if body.json.is_some() || !looks_like_html(&body.text) {
        return body.washed.text.clone();
    }
    title(&body.text).map_or_else(CleanText::default, |title| {
        wash(&format!("page “{}”", title.trim()))
    })
}

/// What is said of a redirect that names no target.
const NO_TARGET: &str = "without a target";

/// Where it redirects to, as far as that is no text that a site makes up: scheme and host.
fn place(raw: &Raw<'_>) -> CleanText {
    if !(300..400).contains(&raw.status) {
        return CleanText::default();
    }
    let Some(target) = raw.location else {
        return CleanText::note(NO_TARGET);
    };
    match Url::parse(target).map(|url| url.origin()) {
        Ok(origin) if origin.is_tuple() => wash(&format!("to {}", origin.ascii_serialization()), None).text,
        Ok(_) => CleanText::note("to no web address"),
        Err(_) => CleanText::note("to another path"),
    }
}

fn looks_like_html(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

fn title(html: &str) -> Option<&str> {
    // Tags are ASCII, so lower case keeps the positions.
    let lower = html.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    html.get(start..end)
}

/// The longest `Retry-After` that is told apart: beyond it, it is this.
const LONGEST_WAIT: Duration = Duration::from_hours(24 * 366);

/// `Retry-After` (RFC 9110, 10.2.3) as a wait: seconds, or a date, which is compared with the answer's own
/// `Date` if it has one, since a site's clock may be off. Anything else is none.
pub fn retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        let seconds = value.parse().map_or(LONGEST_WAIT, Duration::from_secs);
        return Some(seconds.min(LONGEST_WAIT));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let now = date
        .and_then(|date| httpdate::parse_http_date(date.trim()).ok())
        .unwrap_or(now);
    Some(then.duration_since(now).unwrap_or_default().min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
