use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input as TextInput;
use tui_input::backend::crossterm::EventHandler;

use crate::text::is_hidden;

/// FIELDS: name, words and meaning of each.
mod fields;

use fields::contains;
pub use fields::{FIELDS, Field, Looked};

/// The longest filter, in characters.
const LONGEST: usize = 200;

/// What a filter says that no site can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nonsense {
    /// There is no such field.
    Field(String),
    /// This field, which may have these words only, never has that one.
    Word(&'static str, Vec<&'static str>, String),
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
    /// A word; one that was quoted names no field.
    fn parse(word: &str, quoted: bool) -> Self {
        let (negated, word) = match word.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let word = word.to_lowercase();
        if quoted {
            return Self {
                negated,
                field: None,
                nonsense: None,
                value: word,
            };
        }
        let named = word.split_once(':').and_then(|(name, value)| {
            let is = |field: &&Field| field.name == name || field.also == Some(name);
            Some((FIELDS.iter().find(is)?, value.to_owned()))
        });
        let nonsense = match &named {
            Some((field, value)) => {
                let words = (field.words)();
                let fits = words.is_empty() || words.iter().any(|known| known.starts_with(value));
                (!fits).then(|| Nonsense::Word(field.name, words, value.clone()))
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
        match press.code {
            KeyCode::Char(character) if press.modifiers.difference(KeyModifiers::SHIFT).is_empty() => {
                if !is_hidden(character) {
                    self.insert(character);
                }
            }
            _ => {
                self.text.handle_event(&TerminalEvent::Key(press));
            }
        }
        self.parse();
    }

    /// Text was pasted into it, where the cursor stands; a line end is a blank, and what would not be seen is left out.
    pub fn paste(&mut self, text: &str) {
        let spaced = text.replace(char::is_control, " ");
        for character in spaced.chars().filter(|character| !is_hidden(*character)) {
            self.insert(character);
        }
        self.parse();
    }

    fn insert(&mut self, character: char) {
        if self.text.value().chars().count() < LONGEST {
            self.text.handle(tui_input::InputRequest::InsertChar(character));
        }
    }

    fn parse(&mut self) {
        self.terms = words(self.text.value())
            .iter()
            .map(|(word, quoted)| Term::parse(word, *quoted))
            .filter(|term| !term.value.is_empty())
            .collect();
    }
}

/// Words, divided by blanks, and whether they were quoted: quotes hold blanks together.
fn words(text: &str) -> Vec<(String, bool)> {
    let mut words = vec![(String::new(), false)];
    let mut quoted = false;
    for character in text.chars() {
        match (character, words.last_mut()) {
            ('"', Some(word)) => {
                quoted = !quoted;
                // `name:"two words"` is still a field.
                word.1 |= word.0.trim_start_matches('!').is_empty();
            }
            (' ', _) if !quoted => words.push((String::new(), false)),
            (character, Some(word)) => word.0.push(character),
            (_, None) => {}
        }
    }
    words.retain(|(word, _)| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::outcome::Cause;
    use crate::rules::state::{Served, SiteState};
    use crate::rules::status::{Push, Verify};
    use crate::site::Site;
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
            acknowledgement: None,
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
        assert!(matches("!\"verfy:x\"", as_it_is) && !matches("\"group:prod\"", as_it_is));
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
        let words = |name| (FIELDS.iter().find(|field| field.name == name).unwrap().words)();
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
        assert_eq!(words("push"), push.map(|push| push.look().word));
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
            Verify::DeadKey,
            Verify::Superseded,
        ];
        assert_eq!(words("verify"), verify.map(|verify| verify.look().word));
    }
}
