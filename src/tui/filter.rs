use crossterm::event::{Event as TerminalEvent, KeyEvent};
use tui_input::Input as TextInput;
use tui_input::backend::crossterm::EventHandler;

use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::outcome::Problem;
use crate::rules::state::{RetryPlan, Served, SiteState};
use crate::site::Site;

/// The longest filter, in characters.
const LONGEST: usize = 200;

/// What a filter looks at.
pub struct Looked<'a> {
    /// The site.
    pub site: &'a Site,
    /// What is known of it.
    pub state: &'a SiteState,
    /// Writes a time of day, as the NOTE column does.
    pub clock: &'a dyn Fn(Moment) -> String,
}

impl Looked<'_> {
    fn note(&self) -> String {
        note(self.state, self.clock).to_lowercase()
    }
}

/// A field that a filter names: `push:failed`.
pub struct Field {
    /// What stands before the colon.
    pub name: &'static str,
    /// Another name of it: the column's.
    also: Option<&'static str>,
    /// The words that may stand behind it; empty where anything may.
    words: &'static [&'static str],
    /// What may stand behind it, for the help.
    pub help: &'static str,
    /// Whether a site matches what stands behind it, in lower case.
    matches: fn(&Looked<'_>, &str) -> bool,
}

/// Every field, in the order of the help.
pub static FIELDS: [Field; 11] = [
    Field {
        name: "push",
        also: None,
        words: PUSH_WORDS,
        help: "what happened to the PUT: push:failed",
        matches: |looked, value| looked.state.push.look().word.starts_with(value),
    },
    Field {
        name: "verify",
        also: None,
        words: VERIFY_WORDS,
        help: "what the looks say: verify:mismatch",
        matches: |looked, value| looked.state.verify.look().word.starts_with(value),
    },
    Field {
        name: "cause",
        also: None,
        words: &[],
        help: "why it failed: cause:timeout",
        matches: |looked, value| causes(looked.state).any(|cause| cause.starts_with(value)),
    },
    Field {
        name: "group",
        also: None,
        words: &[],
        help: "the site's group: group:prod",
        matches: |looked, value| {
            let group = looked.site.group.as_ref();
            group.is_some_and(|group| starts_with(group.as_str(), value))
        },
    },
    Field {
        name: "key",
        also: Some("now"),
        words: &[],
        help: "the end of the key that it serves: key:AbCd; or none, unknown, secret",
        matches: |looked, value| serves(&looked.state.now, value),
    },
    Field {
        name: "mode",
        also: None,
        words: &["live", "test"],
        help: "the mode of the key that it serves: mode:test",
        matches: |looked, value| {
            let key = looked.state.now.key();
            key.is_some_and(|key| key.mode().word().starts_with(value))
        },
    },
    Field {
        name: "http",
        also: None,
        words: &[],
        help: "the last HTTP status: http:401, http:5xx",
        matches: |looked, value| {
            let http = looked.state.http;
            http.is_some_and(|http| is_status(http, value))
        },
    },
    Field {
        name: "is",
        also: None,
        words: &["owed", "failed", "held", "busy", "disabled"],
        help: "is:owed, is:failed, is:held (back), is:busy, is:disabled",
        matches: is,
    },
    Field {
        name: "name",
        also: Some("site"),
        words: &[],
        help: "the name alone",
        matches: |looked, value| contains(looked.site.name.as_str(), value),
    },
    Field {
        name: "url",
        also: None,
        words: &[],
        help: "the address alone",
        matches: |looked, value| looked.site.url.to_string().contains(value),
    },
    Field {
        name: "note",
        also: None,
        words: &[],
        help: "the note alone",
        matches: |looked, value| looked.note().contains(value),
    },
];

fn contains(text: &str, value: &str) -> bool {
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
    let failed = || matches!(plan(), RetryPlan::Push | RetryPlan::Look | RetryPlan::OtherRun);
    let named = |word: &str| !value.is_empty() && word.starts_with(value);
    (named("owed") && state.is_owed())
        || (named("failed") && failed())
        || (named("held") && matches!(plan(), RetryPlan::Ask(_)))
        || (named("busy") && (state.is_busy() || state.push.is_open()))
        || (named("disabled") && !looked.site.enabled)
        || value.is_empty()
}

/// Every word of PUSH.
const PUSH_WORDS: &[&str] = &[
    "idle",
    "queued",
    "sending",
    "retrying",
    "stored",
    "skipped",
    "failed",
    "unknown",
    "cancelled",
    "not_started",
];

/// Every word of VERIFY.
const VERIFY_WORDS: &[&str] = &[
    "unchecked",
    "queued",
    "checking",
    "seen",
    "serving",
    "settling",
    "verified",
    "mismatch",
    "drifted",
    "no_key",
    "failed",
    "exposed_secret",
    "superseded",
];

/// What a filter says that no site can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nonsense {
    /// There is no such field.
    Field(String),
    /// This field, which may have these words only, never has that one.
    Word(&'static str, &'static [&'static str], String),
}

impl std::fmt::Display for Nonsense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(name) => {
                let known: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
                write!(f, "no field {name}: there are {}", known.join(" "))
            }
            Self::Word(field, words, word) => {
                write!(f, "{field} is never {word}: it is {}", words.join(" "))
            }
        }
    }
}

/// One word of a filter.
struct Term {
    negated: bool,
    field: Option<&'static Field>,
    nonsense: Option<Nonsense>,
    /// In lower case.
    value: String,
}

impl Term {
    fn parse(word: &str) -> Self {
        let (negated, word) = match word.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let word = word.to_lowercase();
        let named = word.split_once(':').and_then(|(name, value)| {
            let is = |field: &&Field| field.name == name || field.also == Some(name);
            Some((FIELDS.iter().find(is)?, value.to_owned()))
        });
        let nonsense = match &named {
            Some((field, value)) => {
                let fits = field.words.is_empty() || field.words.iter().any(|known| known.starts_with(value));
                (!fits).then(|| Nonsense::Word(field.name, field.words, value.clone()))
            }
            None => unknown_field(&word).map(|name| Nonsense::Field(name.to_owned())),
        };
        let (field, value) = match named {
            Some((field, value)) => (Some(field), value),
            None => (None, word),
        };
        Self {
            negated,
            field,
            nonsense,
            value,
        }
    }

    fn matches(&self, looked: &Looked<'_>) -> bool {
        let matches = match self.field {
            // Turned round it would match all.
            _ if self.nonsense.is_some() => return false,
            // The field is named, and what to find in it is still to be typed.
            _ if self.value.is_empty() => return true,
            Some(field) => (field.matches)(looked, &self.value),
            None => has_word(looked, &self.value),
        };
        matches != self.negated
    }
}

/// The name of a field that there is not: `nwo:AbCd`, but no `https://shop` and no `shop:8443`.
fn unknown_field(word: &str) -> Option<&str> {
    let (name, value) = word.split_once(':')?;
    let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphabetic());
    let is_address = value.starts_with('/') || value.starts_with(|first: char| first.is_ascii_digit());
    (is_name && !is_address && !value.is_empty()).then_some(name)
}

/// Name, address, group and note; the note last, since it has to be written first.
fn has_word(looked: &Looked<'_>, word: &str) -> bool {
    let site = looked.site;
    let group = site.group.as_ref();
    contains(site.name.as_str(), word)
        || group.is_some_and(|group| contains(group.as_str(), word))
        || site.url.to_string().contains(word)
        || looked.note().contains(word)
}

/// Which sites the table shows, and the text that says so.
#[derive(Default)]
pub struct Filter {
    text: TextInput,
    terms: Vec<Term>,
    editing: bool,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.text.value()).finish()
    }
}

impl Filter {
    /// Its text.
    pub fn text(&self) -> &str {
        self.text.value()
    }

    /// Whether it takes what is typed.
    pub fn is_editing(&self) -> bool {
        self.editing
    }

    /// Whether it leaves out nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether its line is to be seen.
    pub fn is_shown(&self) -> bool {
        self.editing || !self.is_empty()
    }

    /// What of it no site can match, if anything.
    pub fn nonsense(&self) -> Option<&Nonsense> {
        self.terms.iter().find_map(|term| term.nonsense.as_ref())
    }

    /// Where the cursor stands in its text, in columns from its beginning.
    pub fn cursor_column(&self) -> usize {
        self.text.visual_cursor()
    }

    /// Whether a site is shown.
    pub fn matches(&self, looked: &Looked<'_>) -> bool {
        self.terms.iter().all(|term| term.matches(looked))
    }

    /// Begins editing, or ends it.
    pub fn edit(&mut self, editing: bool) {
        self.editing = editing;
    }

    /// Another text takes the place of what stands there.
    pub fn set(&mut self, text: &str) {
        self.text = TextInput::from(text.chars().take(LONGEST).collect::<String>());
        self.parse();
    }

    /// A key was pressed in it.
    pub fn press(&mut self, press: KeyEvent) {
        self.text.handle_event(&TerminalEvent::Key(press));
        if self.text.value().chars().count() > LONGEST {
            let cut: String = self.text.value().chars().take(LONGEST).collect();
            self.text = TextInput::from(cut);
        }
        self.parse();
    }

    /// Text was pasted into it; a line end is a blank.
    pub fn paste(&mut self, text: &str) {
        let before = self.text.value();
        let all: String = before.chars().chain(text.chars()).collect();
        self.set(&all.replace(char::is_control, " "));
    }

    fn parse(&mut self) {
        self.terms = words(self.text.value())
            .iter()
            .map(|word| Term::parse(word))
            .filter(|term| !term.value.is_empty())
            .collect();
    }
}

/// Words, divided by blanks; quotes hold blanks together.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            character => words
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|word| word.push(character)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::outcome::Cause;
    use crate::rules::status::{Push, Verify};
    use crate::site::{MasterKeyId, SiteMode, SiteUrl};
    use crate::text::CleanText;

    fn matches(text: &str, change: impl FnOnce(&mut Site, &mut SiteState)) -> bool {
        let url = SiteUrl::parse("https://quai-neuf.example.com").unwrap();
        let mut site = Site {
            name: CleanText::note("Quai neuf"),
            backend: url.backend().into(),
            url,
            group: Some(CleanText::note("Prod")),
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        };
        let mut state = SiteState::default();
        change(&mut site, &mut state);
        let mut filter = Filter::default();
        filter.set(text);
        filter.matches(&Looked {
            site: &site,
            state: &state,
            clock: &|_| "14:02:12".to_owned(),
        })
    }

    fn as_it_is(_: &mut Site, _: &mut SiteState) {}

    #[test]
    fn words_match_name_address_group_and_note() {
        for text in [
            "",
            "  ",
            "QUAI",
            "neuf",
            "example.com",
            "prod",
            "quai prod",
            "\"quai neuf\"",
            "!port",
        ] {
            assert!(matches(text, as_it_is), "{text}");
        }
        for text in ["port", "quai port", "!quai", "\"neuf quai\"", "asked"] {
            assert!(!matches(text, as_it_is), "{text}");
        }
        assert!(matches("asked", |_, state| state.push = Push::Sending));
    }

    #[test]
    fn fields_match_their_own() {
        let failed = |_: &mut Site, state: &mut SiteState| {
            state.push = Push::Failed(Cause::ServerError);
            state.verify = Verify::Mismatch;
            state.http = Some(503);
            let key = format!("pk_test_51{}AbCd", "Example".repeat(12));
            state.now = Served::Key(PublishableKey::parse(&key).unwrap());
        };
        for text in [
            "push:failed",
            "push:fa",
            "push:",
            "verify:mismatch",
            "cause:server",
            "group:prod",
            "key:AbCd",
            "key:pk_test_",
            "mode:test",
            "http:5xx",
            "http:503",
            "http:5",
            "!http:4xx",
            "name:quai",
            "url:example",
            "!is:disabled",
        ] {
            assert!(matches(text, failed), "{text}");
        }
        for text in [
            "push:stored",
            "!push:failed",
            "cause:timeout",
            "group:rod",
            "key:abce",
            "mode:live",
            "http:4xx",
            "http:5033",
            "name:prod",
            "is:disabled",
        ] {
            assert!(!matches(text, failed), "{text}");
        }
    }

    #[test]
    fn what_is_served_besides_keys_has_words() {
        for (now, word) in [
            (Served::Unknown, "key:unknown"),
            (Served::NoKey, "key:none"),
            (Served::Secret, "key:secret"),
        ] {
            assert!(matches(word, |_, state| state.now = now.clone()), "{word}");
        }
        assert!(!matches("key:none", as_it_is));
    }

    #[test]
    fn an_unknown_field_is_a_word() {
        assert!(matches("https://quai", as_it_is));
        assert!(matches("quai-neuf.example.com", as_it_is));
    }

    #[test]
    fn what_no_site_can_match_is_told_and_matches_none_even_turned_round() {
        let told = |text: &str| {
            let mut filter = Filter::default();
            filter.set(text);
            filter.nonsense().map(ToString::to_string)
        };
        let said = told("verfy:verified").unwrap();
        assert!(
            said.starts_with("no field verfy: there are push verify"),
            "{said}"
        );
        let said = told("quai !push:faild").unwrap();
        assert!(
            said.starts_with("push is never faild: it is idle queued"),
            "{said}"
        );
        for text in ["!verfy:verified", "!push:faild", "is:foo"] {
            assert!(!matches(text, as_it_is), "{text}");
        }
        for text in [
            "push:",
            "push:fa",
            "now:none",
            "site:quai",
            "https://shop",
            "shop:8443",
            "localhost:80",
            "a:",
        ] {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn fields_of_words_know_all_of_them() {
        let cause = Cause::Timeout;
        let push = [
            Push::Idle,
            Push::Queued,
            Push::Sending,
            Push::Retrying,
            Push::Stored,
            Push::Skipped(crate::rules::status::SkipReason::Disabled),
            Push::Failed(cause),
            Push::Unknown(cause),
            Push::Cancelled,
            Push::NotStarted,
        ];
        assert_eq!(push.map(|push| push.look().word), PUSH_WORDS);
        let verify = [
            Verify::Unchecked,
            Verify::Queued,
            Verify::Checking,
            Verify::Seen,
            Verify::Serving,
            Verify::Settling,
            Verify::Verified,
            Verify::Mismatch,
            Verify::Drifted,
            Verify::NoKey,
            Verify::Failed(cause),
            Verify::ExposedSecret,
            Verify::Superseded,
        ];
        assert_eq!(verify.map(|verify| verify.look().word), VERIFY_WORDS);
    }
}
