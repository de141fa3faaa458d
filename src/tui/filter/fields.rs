use crate::rules::acknowledgement::Acknowledgement;
use crate::rules::moment::Moment;
use crate::rules::note::acknowledged_note;
use crate::rules::outcome::Problem;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::{Look, push_looks, verify_looks};
use crate::site::Site;

/// What a filter looks at.
pub struct Looked<'a> {
    /// The site.
    pub site: &'a Site,
    /// What is known of it.
    pub state: &'a SiteState,
    /// What the operator says of it, if it is known to be bad.
    pub acknowledgement: Option<&'a Acknowledgement>,
    /// Writes a time of day, as the NOTE column does.
    pub clock: &'a dyn Fn(Moment) -> String,
}

impl Looked<'_> {
    pub(super) fn note(&self) -> String {
        acknowledged_note(self.acknowledgement, self.state, self.clock).to_lowercase()
    }
}

/// A field that a filter names: `push:failed`.
pub struct Field {
    /// What stands before the colon.
    pub name: &'static str,
    /// Another name of it: the column's.
    pub(super) also: Option<&'static str>,
    /// The words that may stand behind it; empty where anything may.
    pub(super) words: fn() -> Vec<&'static str>,
    /// What may stand behind it, for the help.
    pub help: &'static str,
    /// Whether a site matches what stands behind it, in lower case.
    pub(super) matches: fn(&Looked<'_>, &str) -> bool,
}

/// Every field, in the order of the help.
pub static FIELDS: [Field; 11] = [
    Field {
        name: "push",
        also: None,
        words: || words_of(push_looks()),
        help: "what happened to the PUT: push:failed",
        matches: |looked, value| looked.state.push.look().word.starts_with(value),
    },
    Field {
        name: "verify",
        also: None,
        words: || words_of(verify_looks()),
        help: "what the looks say: verify:mismatch",
        matches: |looked, value| looked.state.verify.look().word.starts_with(value),
    },
    Field {
        name: "cause",
        also: None,
        words: Vec::new,
        help: "why it failed: cause:timeout",
        matches: |looked, value| causes(looked.state).any(|cause| cause.starts_with(value)),
    },
    Field {
        name: "group",
        also: None,
        words: Vec::new,
        help: "the site's group: group:prod",
        matches: |looked, value| {
            let group = looked.site.group.as_ref();
            group.is_some_and(|group| starts_with(group.as_str(), value))
        },
    },
    Field {
        name: "key",
        also: Some("now"),
        words: Vec::new,
        help: "the end of the key that it serves: key:AbCd; or none, unknown, secret",
        matches: |looked, value| serves(&looked.state.now, value),
    },
    Field {
        name: "mode",
        also: None,
        words: || vec!["live", "test"],
        help: "the mode of the key that it serves: mode:test",
        matches: |looked, value| {
            let key = looked.state.now.key();
            key.is_some_and(|key| key.mode().word().starts_with(value))
        },
    },
    Field {
        name: "http",
        also: None,
        words: Vec::new,
        help: "the last HTTP status: http:401, http:5xx",
        matches: |looked, value| {
            let http = looked.state.http;
            http.is_some_and(|http| is_status(http, value))
        },
    },
    Field {
        name: "is",
        also: None,
        words: || vec!["owed", "failed", "held", "busy", "disabled", "acknowledged"],
        help: "is:owed, is:failed, is:held (back), is:busy, is:disabled, is:acknowledged",
        matches: is,
    },
    Field {
        name: "name",
        also: Some("site"),
        words: Vec::new,
        help: "the name alone",
        matches: |looked, value| contains(looked.site.name.as_str(), value),
    },
    Field {
        name: "url",
        also: None,
        words: Vec::new,
        help: "the address alone",
        matches: |looked, value| looked.site.url.to_string().contains(value),
    },
    Field {
        name: "note",
        also: None,
        words: Vec::new,
        help: "the note alone",
        matches: |looked, value| looked.note().contains(value),
    },
];

pub(super) fn contains(text: &str, value: &str) -> bool {
    text.to_lowercase().contains(value)
}

fn starts_with(text: &str, value: &str) -> bool {
    text.to_lowercase().starts_with(value)
}

fn causes(state: &SiteState) -> impl Iterator<Item = &'static str> {
    let causes = [
        state.push.cause(),
        state.verify.cause(),
        state.problem.map(Problem::cause),
    ];
    causes
        .into_iter()
        .flatten()
        .map(crate::rules::outcome::Cause::word)
}

fn serves(now: &Served, value: &str) -> bool {
    match now {
        Served::Unknown => "unknown".starts_with(value),
        Served::NoKey => "none".starts_with(value),
        Served::Secret => "secret".starts_with(value),
        Served::Key(key) => {
            let whole = key.as_str().to_lowercase();
            whole.ends_with(value) || whole.starts_with(value) || key.fingerprint().starts_with(value)
        }
    }
}

fn is_status(status: u16, pattern: &str) -> bool {
    let digits = status.to_string();
    let fits = |(digit, wanted): (char, char)| wanted == 'x' || digit == wanted;
    pattern.chars().count() <= digits.len() && digits.chars().zip(pattern.chars()).all(fits)
}

fn is(looked: &Looked<'_>, value: &str) -> bool {
    let state = looked.state;
    let plan = || state.retry_plan();
    let named = |word: &str| word.starts_with(value);
    (named("owed") && state.is_owed())
        || (named("failed") && plan().is_failed())
        || (named("held") && plan().asks())
        || (named("busy") && (state.is_busy() || state.push.is_open()))
        || (named("disabled") && !looked.site.enabled)
        || (named("acknowledged") && looked.acknowledgement.is_some())
}

fn words_of(looks: impl Iterator<Item = Look>) -> Vec<&'static str> {
    looks.map(|look| look.word).collect()
}
