use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::wash::{Washed, wash};
use crate::key::{PublishableKey, secret_prefix};
use crate::rules::outcome::{AuthVerdict, LookVerdict, Problem, PutVerdict};
use crate::secret::MasterKey;
use crate::text::CleanText;

/// An answer as it came, its body cut.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Location`, if there is one.
    pub location: Option<&'a str>,
    /// The values of all headers, a line each: a secret may be echoed there, too.
    pub headers: &'a str,
    /// The body's beginning.
    pub body: &'a [u8],
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning<Verdict> {
    /// The verdict.
    pub verdict: Verdict,
    /// The site's own words, or the target of a redirect. Clean and without secrets.
    pub detail: CleanText,
    /// Whether a secret stood in it.
    pub alarm: bool,
}

/// What an answer to the PUT means (contract.md, first table).
pub fn put(raw: Raw<'_>, master_key: Option<&MasterKey>) -> Meaning<PutVerdict> {
    let body = Body::read(raw.body, master_key);
    let verdict = match Problem::from_status(raw.status, true) {
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
    let detail = if verdict == PutVerdict::Stored {
        Washed::default()
    } else {
        detail(raw, &body, master_key)
    };
    let headers = wash(raw.headers, master_key);
    let alarm = body.alarm() || headers.stripe_secret || headers.master_key;
    Meaning {
        verdict,
        detail: detail.text,
        alarm,
    }
}

/// What a site says of a body without a value, once it has accepted the master key (contract.md, first table).
const MISSING_VALUE: [&str; 2] = ["Missing value", "Valeur manquante"];

/// What an answer to the PUT without a value means.
pub fn auth(raw: Raw<'_>, master_key: Option<&MasterKey>) -> Meaning<AuthVerdict> {
    let body = Body::read(raw.body, master_key);
    let misses_value = || MISSING_VALUE.iter().any(|words| body.says(words));
    let verdict = match Problem::from_status(raw.status, true) {
        Some(Problem::RefusedRequest) if raw.status == 400 && misses_value() => AuthVerdict::Accepted,
        Some(problem) => AuthVerdict::Problem(problem),
        // No version takes a PUT without a value.
        None if body.success().is_some() => AuthVerdict::Problem(Problem::StrangeJson),
        None => AuthVerdict::Problem(body.no_answer()),
    };
    let detail = if verdict == AuthVerdict::Accepted {
        Washed::default()
    } else {
        detail(raw, &body, master_key)
    };
    let headers = wash(raw.headers, master_key);
    Meaning {
        verdict,
        detail: detail.text,
        alarm: body.alarm() || headers.stripe_secret || headers.master_key,
    }
}

/// What an answer to the GET means (contract.md, second table).
pub fn look(raw: Raw<'_>, master_key: Option<&MasterKey>) -> Meaning<LookVerdict> {
    let body = Body::read(raw.body, master_key);
    let served = body.field("publishable_key").and_then(Value::as_str);
    let detail = detail(raw, &body, master_key);
    let headers = wash(raw.headers, master_key);
    if body.stripe_secret
        || headers.stripe_secret
        || served.is_some_and(|served| secret_prefix(served).is_some())
    {
        return Meaning {
            verdict: LookVerdict::ExposedSecret,
            detail: CleanText::default(),
            alarm: true,
        };
    }
    let verdict = match Problem::from_status(raw.status, false) {
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
    let alarm = body.alarm() || headers.master_key;
    let detail = if matches!(verdict, LookVerdict::Problem(_)) {
        detail.text
    } else {
        CleanText::default()
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
}

impl Body {
    fn read(bytes: &[u8], master_key: Option<&MasterKey>) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        // serde_json bounds the depth itself.
        let json: Option<Value> = serde_json::from_str(&text).ok().filter(Value::is_object);
        let washed = wash(&text, master_key);
        let mut body = Self {
            stripe_secret: washed.stripe_secret,
            master_key: washed.master_key,
            hides_secret: false,
            json,
            text,
            washed,
        };
        // `\u0073k_live_…` is a secret only when JSON's escapes are read.
        let mut strings = Vec::new();
        body.json
            .iter()
            .for_each(|json| collect_strings(json, &mut strings));
        let inner: Vec<Washed> = strings
            .into_iter()
            .map(|string| wash(string, master_key))
            .collect();
        body.hides_secret = inner
            .iter()
            .any(|washed| washed.stripe_secret || washed.master_key);
        body.stripe_secret |= inner.iter().any(|washed| washed.stripe_secret);
        body.master_key |= inner.iter().any(|washed| washed.master_key);
        body
    }

    fn alarm(&self) -> bool {
        self.stripe_secret || self.master_key
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

    fn no_answer(&self) -> Problem {
        if self.json.is_some() {
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

/// The words of an answer: where it redirects to, what the site calls its error, a page's title, the text.
fn detail(raw: Raw<'_>, body: &Body, master_key: Option<&MasterKey>) -> Washed {
    if (300..400).contains(&raw.status) {
        let target = raw
            .location
            .map(|target| target.split(['?', '#']).next().unwrap_or_default());
        return wash(
            &target.map_or("without a target".to_owned(), |target| format!("to {target}")),
            master_key,
        );
    }
    let said = [body.field("error"), body.field("message")]
        .into_iter()
        .flatten()
        .find_map(Value::as_str);
    if let Some(said) = said {
        return wash(said, master_key);
    }
    if body.hides_secret {
        // Written with escapes, so that washing the text as it came does not find it.
        return Washed::default();
    }
    if body.json.is_some() || !looks_like_html(&body.text) {
        return body.washed.clone();
    }
    title(&body.text).map_or_else(Washed::default, |title| {
        wash(&format!("page “{}”", title.trim()), master_key)
    })
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(status: u16, body: &str) -> Raw<'_> {
        Raw {
            status,
            location: None,
            headers: "",
            body: body.as_bytes(),
        }
    }

    #[test]
    fn each_row_of_the_contract_for_the_put() {
        use Problem::{
            NoEndpoint, NotThisApi, OtherStatus, RateLimited, Redirect, RefusedFormat, RefusedKey,
        };
        use Problem::{RefusedRequest, SaysNotStored, ServerError, StrangeJson, Unavailable};
        for (status, body, problem) in [
            (200, r#"{"success": true, "message": "ok"}"#, None),
            (200, r#"{"ok": true, "key": "stripe_publishable_key"}"#, None),
            (200, r#"{"success": false}"#, Some(SaysNotStored)),
            (200, r#"{"ok": false}"#, Some(SaysNotStored)),
            (200, r#"{"success": true, "ok": false}"#, Some(SaysNotStored)),
            (200, "<html>parked</html>", Some(NotThisApi)),
            (200, "", Some(NotThisApi)),
            (204, "", Some(NotThisApi)),
            (200, "[true]", Some(NotThisApi)),
            (200, r#"{"success": "yes"}"#, Some(StrangeJson)),
            (
                400,
                r#"{"success": false, "error": "invalid_publishable_format"}"#,
                Some(RefusedFormat),
            ),
            (400, r#"{"error": "Missing value"}"#, Some(RefusedRequest)),
            (401, r#"{"error": "invalid_api_key"}"#, Some(RefusedKey)),
            (403, r#"{"error": "Clé API invalide"}"#, Some(RefusedKey)),
            (404, "", Some(NoEndpoint)),
            (405, "", Some(NoEndpoint)),
            (301, r#"{"success": true}"#, Some(Redirect)),
            (429, "", Some(RateLimited)),
            (503, "", Some(Unavailable)),
            (500, r#"{"success": true}"#, Some(ServerError)),
            (599, "", Some(OtherStatus)),
        ] {
            let expected = problem.map_or(PutVerdict::Stored, PutVerdict::Problem);
            assert_eq!(put(raw(status, body), None).verdict, expected, "{status} {body}");
        }
    }

    #[test]
    fn each_row_of_the_contract_for_the_get() {
        let serves = |key| LookVerdict::Serves(PublishableKey::parse(key).unwrap());
        let problem = LookVerdict::Problem;
        for (status, body, expected) in [
            (
                200,
                r#"{"success": true, "publishable_key": "pk_test_abc"}"#,
                serves("pk_test_abc"),
            ),
            (
                404,
                r#"{"success": false, "message": "no_publishable_key"}"#,
                LookVerdict::NoKey,
            ),
            (404, r#"{"error": "not found"}"#, problem(Problem::NoEndpoint)),
            (404, "<html>", problem(Problem::NoEndpoint)),
            (
                200,
                r#"{"success": true, "publishable_key": "sk_live_abc"}"#,
                LookVerdict::ExposedSecret,
            ),
            (
                200,
                r#"{"success": true, "publishable_key": "rk_x"}"#,
                LookVerdict::ExposedSecret,
            ),
            (
                200,
                r#"{"success": true, "publishable_key": "pk_test_abc", "k": "\u0073k_live_abc"}"#,
                LookVerdict::ExposedSecret,
            ),
            (500, "trace: sk_test_abcdefgh", LookVerdict::ExposedSecret),
            (
                200,
                r#"{"success": true, "publishable_key": 5}"#,
                problem(Problem::StrangeJson),
            ),
            (
                200,
                r#"{"success": false, "publishable_key": "pk_test_abc"}"#,
                problem(Problem::StrangeJson),
            ),
            (200, "<title>Parked</title>", problem(Problem::NotThisApi)),
            (302, "", problem(Problem::Redirect)),
            (401, "", problem(Problem::LoginAsked)),
            (503, "", problem(Problem::Unavailable)),
        ] {
            assert_eq!(look(raw(status, body), None).verdict, expected, "{status} {body}");
        }
    }

    #[test]
    fn the_words_of_an_answer_are_short_and_clean() {
        let said = |status, body: &str| put(raw(status, body), None).detail.to_string();
        assert_eq!(
            said(500, "{\"error\": \"Erreur\\n  SQL\\u001b[31m: INSERT\"}"),
            "Erreur SQL[31m: INSERT"
        );
        assert_eq!(
            said(200, "<html><TITLE>Parked domain</TITLE>"),
            "page “Parked domain”"
        );
        assert_eq!(said(502, "bad gateway\r\nnginx"), "bad gateway nginx");
        let redirect = Raw {
            status: 301,
            location: Some("https://www.shop.example.com/x?token=1"),
            headers: "",
            body: b"",
        };
        assert_eq!(
            put(redirect, None).detail.as_str(),
            "to https://www.shop.example.com/x"
        );
    }

    #[test]
    fn an_echo_of_the_master_key_is_masked_and_an_alarm() {
        let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
        let meaning = put(
            raw(500, r#"{"error": "bad header X-API-Key: m4ster-key"}"#),
            Some(&key),
        );
        assert_eq!(meaning.detail.as_str(), "bad header X-API-Key: [master key]");
        assert!(meaning.alarm);
        let stored = put(raw(200, r#"{"success": true, "echo": "m4ster-key"}"#), Some(&key));
        assert_eq!((stored.verdict, stored.alarm), (PutVerdict::Stored, true));
    }

    #[test]
    fn a_secret_that_is_written_with_escapes_or_stands_in_a_header_is_kept_out() {
        let key = MasterKey::parse("master-key-1".to_owned()).unwrap();
        for body in [
            r#"{"detail": "a\nsk_live_0123"}"#,
            r#"{"detail": "\u0073k_live_0123"}"#,
            r#"{"detail": "\u006daster-key-1"}"#,
            "trace='a\\nsk_live_0123'",
        ] {
            let meaning = put(raw(500, body), Some(&key));
            assert!(meaning.alarm, "{body}");
            assert!(
                !meaning.detail.as_str().contains("0123"),
                "{body}: {}",
                meaning.detail
            );
            assert!(
                !meaning.detail.as_str().contains("aster-key-1"),
                "{body}: {}",
                meaning.detail
            );
        }
        let echoed = Raw {
            headers: "text/html\nmaster-key-1",
            ..raw(200, r#"{"success": true}"#)
        };
        assert!(put(echoed, Some(&key)).alarm);
        let exposed = Raw {
            headers: "k=sk_live_0123",
            ..raw(302, "")
        };
        assert_eq!(look(exposed, None).verdict, LookVerdict::ExposedSecret);
    }

    #[test]
    fn a_key_that_is_made_of_the_master_key_is_none() {
        let key = MasterKey::parse("Zq7rT0vXw93LmNb2".to_owned()).unwrap();
        let body = |served: &str| format!("{{\"success\": true, \"publishable_key\": \"{served}\"}}");
        let made = look(raw(200, &body("pk_live_Zq7rT0vXw93LmNb2")), Some(&key));
        assert_eq!(made.verdict, LookVerdict::Problem(Problem::StrangeJson));
        assert!(
            made.alarm && !made.detail.as_str().contains("Zq7"),
            "{}",
            made.detail
        );
        let beside = body("pk_live_abc").replace('}', ", \"k\": \"Zq7rT0vXw93LmNb2\"}");
        let beside = look(raw(200, &beside), Some(&key));
        assert!(beside.alarm && matches!(beside.verdict, LookVerdict::Serves(_)));
    }

    #[test]
    fn a_site_that_misses_the_value_has_accepted_the_master_key() {
        let problem = AuthVerdict::Problem;
        for (status, body, verdict) in [
            (400, r#"{"error": "Missing value"}"#, AuthVerdict::Accepted),
            (
                400,
                r#"{"success": false, "error": "Valeur manquante"}"#,
                AuthVerdict::Accepted,
            ),
            (
                400,
                r#"{"error": "bad request"}"#,
                problem(Problem::RefusedRequest),
            ),
            (
                422,
                r#"{"error": "Missing value"}"#,
                problem(Problem::RefusedRequest),
            ),
            (
                401,
                r#"{"error": "API key manquante"}"#,
                problem(Problem::RefusedKey),
            ),
            (403, r#"{"error": "Missing value"}"#, problem(Problem::RefusedKey)),
            (404, "Not Found", problem(Problem::NoEndpoint)),
            (200, r#"{"success": true}"#, problem(Problem::StrangeJson)),
            (
                200,
                r#"{"error": "Missing value"}"#,
                problem(Problem::StrangeJson),
            ),
            (200, "<html>", problem(Problem::NotThisApi)),
            (302, "", problem(Problem::Redirect)),
        ] {
            assert_eq!(auth(raw(status, body), None).verdict, verdict, "{status} {body}");
        }
        let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
        let echoed = auth(
            raw(400, r#"{"error": "Missing value", "key": "m4ster-key"}"#),
            Some(&key),
        );
        assert!(echoed.alarm);
    }

    #[test]
    fn retry_after_as_seconds_date_and_nonsense() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = "Sun, 06 Nov 1994 08:49:57 GMT";
        let now = SystemTime::now();
        assert_eq!(retry_after("7", None, now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(later, Some(date), now), Some(Duration::from_secs(20)));
        assert_eq!(retry_after(date, None, now), Some(Duration::ZERO));
        assert_eq!(
            retry_after("99999999999999999999999", None, now),
            Some(LONGEST_WAIT)
        );
        for nonsense in ["", "-5", "soon", "1.5"] {
            assert_eq!(retry_after(nonsense, None, now), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_meaning(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let raw = Raw { status, location: None, headers: "", body: &body };
            prop_assert!(put(raw, None).detail.as_str().chars().count() <= 300);
            prop_assert!(look(raw, None).detail.as_str().chars().count() <= 300);
        }
    }
}
