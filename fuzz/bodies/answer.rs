use std::time::{Duration, SystemTime};

use serde_json::Value;
use stripe_propagate::rules::outcome::{AuthVerdict, LookVerdict, PutVerdict};
use stripe_propagate::secret::MasterKey;
use stripe_propagate::site_api::answer::{self, Meaning, Raw};
use stripe_propagate::text::{NOTE_LIMIT, is_hidden};

use super::given::Given;

/// An answer. In its texts the characters of [`MARKS`] stand for secrets, which nobody can guess: they are made of the
/// answer itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) headers: String,
    pub(crate) body: String,
    /// So many bytes of the body are left out at its end.
    pub(crate) cut: usize,
    pub(crate) retry_after: String,
    pub(crate) date: Option<String>,
}

/// The master key; so in the escapes of JSON, of a URL, of HTML; a secret key of Stripe's.
pub(crate) const MARKS: [char; 5] = ['\u{1}', '\u{2}', '\u{3}', '\u{4}', '\u{5}'];
/// The client reads no more of a body.
const BODY_LIMIT: usize = 64 * 1024;
/// So many characters of a secret in a row may not be told either: fewer may be chance.
const TOO_MUCH: usize = 12;

/// The bytes are a status, a cut, and four texts with a byte 0 between them: location, headers, `Retry-After`, `Date`;
/// and the body.
pub(crate) fn check(bytes: &[u8]) {
    let mut given = Given::new(bytes);
    let answered = Answered {
        status: given.number() % 1000,
        cut: usize::from(given.byte()),
        location: Some(given.text()).filter(|text| !text.is_empty()),
        headers: given.text(),
        retry_after: given.text(),
        date: Some(given.text()).filter(|text| !text.is_empty()),
        body: String::from_utf8_lossy(given.rest()).into_owned(),
    };
    judge(&answered);
}

/// The secrets of an answer.
struct Secrets {
    master_key: String,
    stripe: String,
}

impl Secrets {
    /// Made of what the answer is: who makes answers up cannot put them there but by their marks.
    fn of(answered: &Answered) -> Self {
        const SIGNS: &[u8] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789?#/+=\"'&<>%\\-_:, ";

        let texts = [
            &answered.body,
            &answered.headers,
            answered.location.as_ref().unwrap_or(&answered.body),
        ];
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in texts.into_iter().flat_map(|text| text.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut drawn = |signs: &[u8]| {
            // Marsaglia's xorshift.
            hash ^= hash << 13;
            hash ^= hash >> 7;
            hash ^= hash << 17;
            char::from(signs[usize::try_from((hash >> 32) % signs.len() as u64).unwrap_or(0)])
        };
        let inner: String = (0..30).map(|_| drawn(SIGNS)).collect();
        let tail: String = (0..24).map(|_| drawn(&SIGNS[..62])).collect();
        Self {
            master_key: format!("k{inner}z"),
            stripe: format!("sk_live_{tail}"),
        }
    }

    fn put_into(&self, text: &str) -> String {
        let mut whole = String::with_capacity(text.len());
        for character in text.chars() {
            match MARKS.iter().position(|mark| *mark == character) {
                None => whole.push(character),
                Some(4) => whole.push_str(&self.stripe),
                Some(spelling) => whole.push_str(&spelled(&self.master_key, spelling)),
            }
        }
        whole
    }
}

/// A text as it stands, or with each character escaped as JSON, a URL or HTML have it.
fn spelled(text: &str, spelling: usize) -> String {
    let escaped = |byte: u8| match spelling {
        0 => char::from(byte).to_string(),
        1 => format!("\\u{byte:04x}"),
        2 => format!("%{byte:02X}"),
        _ => format!("&#x{byte:x};"),
    };
    text.bytes().map(escaped).collect()
}

/// What the answer means to each call, held to its laws.
pub(crate) fn judge(answered: &Answered) {
    let secrets = Secrets::of(answered);
    let location = answered.location.as_ref().map(|text| secrets.put_into(text));
    let headers = secrets.put_into(&format!(
        "{}\n{}",
        answered.headers,
        answered.location.as_deref().unwrap_or_default()
    ));
    let body = secrets.put_into(&answered.body);
    let length = body.len().saturating_sub(answered.cut).min(BODY_LIMIT);
    let body = &body.as_bytes()[..length];
    let raw = Raw {
        status: answered.status,
        asked: "https://shop.example.com",
        location: location.as_deref(),
        headers: &headers,
        body,
    };
    let key = match MasterKey::parse(secrets.master_key.clone()) {
        Ok(key) => key,
        Err(refusal) => panic!("{refusal}"),
    };
    let read = Read::of(raw);
    for key in [Some(&key), None] {
        let put = answer::put(raw, key);
        if put.verdict == PutVerdict::Stored {
            assert!(read.is_success && (200..300).contains(&raw.status), "{put:?}");
        }
        is_sound(&put, raw, &secrets, key.is_some());
        let auth = answer::auth(raw, key);
        if auth.verdict == AuthVerdict::Accepted {
            assert_eq!(raw.status, 400, "{auth:?}");
        }
        is_sound(&auth, raw, &secrets, key.is_some());
        let look = answer::look(raw, key);
        match &look.verdict {
            LookVerdict::Serves(served) => {
                assert_eq!(read.served.as_deref(), Some(served.as_str()));
                assert!(read.is_success && (200..300).contains(&raw.status), "{look:?}");
            }
            LookVerdict::NoKey => assert_eq!(raw.status, 404),
            LookVerdict::ExposedSecret => assert!(look.alarm.is_some() && look.detail.is_empty(), "{look:?}"),
            LookVerdict::Problem(_) => {}
        }
        is_sound(&look, raw, &secrets, key.is_some());
    }
    waits(&answered.retry_after, answered.date.as_deref());
}

/// What stands in a body, read without the parser that is tried.
struct Read {
    is_success: bool,
    served: Option<String>,
}

impl Read {
    fn of(raw: Raw<'_>) -> Self {
        let json: Option<Value> = serde_json::from_slice(raw.body).ok();
        let field = |name| json.as_ref()?.as_object()?.get(name);
        let told = [field("success"), field("ok")].map(|value| value.and_then(Value::as_bool));
        Self {
            is_success: told.contains(&Some(true)) && !told.contains(&Some(false)),
            served: field("publishable_key")
                .and_then(Value::as_str)
                .map(str::to_owned),
        }
    }
}

fn is_sound<Verdict: std::fmt::Debug>(
    meaning: &Meaning<Verdict>,
    raw: Raw<'_>,
    secrets: &Secrets,
    has_key: bool,
) {
    let detail = meaning.detail.as_str();
    assert!(detail.chars().count() <= NOTE_LIMIT, "{meaning:?}");
    assert!(!detail.chars().any(is_hidden), "{meaning:?}");
    for part in parts(&secrets.stripe["sk_live_".len()..]) {
        assert!(!detail.contains(part), "a secret key of Stripe's: {meaning:?}");
    }
    let body = String::from_utf8_lossy(raw.body);
    let stands = |secret: &str| body.contains(secret) || raw.headers.contains(secret);
    assert!(
        meaning.alarm.is_some() || !stands(&secrets.stripe),
        "no alarm: {meaning:?}"
    );
    if !has_key && (300..400).contains(&raw.status) {
        // Of the target the host alone, which may be called by any name.
        assert!(detail.matches('/').count() <= 2, "{meaning:?}");
        return;
    }
    for spelling in 0..4 {
        for part in parts(&secrets.master_key) {
            assert!(
                !detail.contains(&spelled(part, spelling)),
                "the master key: {meaning:?} {:?}",
                secrets.master_key
            );
        }
        let whole = spelled(&secrets.master_key, spelling);
        assert!(
            meaning.alarm.is_some() || !has_key || !stands(&whole),
            "no alarm: {meaning:?}"
        );
    }
}

/// Each [`TOO_MUCH`] characters in a row.
fn parts(secret: &str) -> impl Iterator<Item = &str> {
    (0..=secret.len() - TOO_MUCH).map(|start| &secret[start..start + TOO_MUCH])
}

fn waits(retry_after: &str, date: Option<&str>) {
    const YEAR: Duration = Duration::from_hours(24 * 366);

    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(492_326);
    let wait = answer::retry_after(retry_after, date, now);
    assert!(wait.is_none_or(|wait| wait <= YEAR), "{wait:?}");
    let seconds = retry_after.trim();
    if let Ok(seconds) = seconds.parse::<u32>()
        && !retry_after.contains('+')
    {
        assert_eq!(wait, Some(Duration::from_secs(seconds.into()).min(YEAR)));
    }
}
