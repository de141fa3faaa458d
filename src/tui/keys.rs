use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key that can be pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    code: KeyCode,
    control: bool,
}

/// Keys with a name: how it is written in a config, in any case. The first name of a key is how it is shown.
const NAMED: &[(&str, KeyCode)] = &[
    ("Space", KeyCode::Char(' ')),
    ("Enter", KeyCode::Enter),
    ("Return", KeyCode::Enter),
    ("Tab", KeyCode::Tab),
    ("Shift-Tab", KeyCode::BackTab),
    ("BackTab", KeyCode::BackTab),
    ("Backspace", KeyCode::Backspace),
    ("Del", KeyCode::Delete),
    ("Delete", KeyCode::Delete),
    ("Ins", KeyCode::Insert),
    ("Insert", KeyCode::Insert),
    ("↑", KeyCode::Up),
    ("Up", KeyCode::Up),
    ("↓", KeyCode::Down),
    ("Down", KeyCode::Down),
    ("←", KeyCode::Left),
    ("Left", KeyCode::Left),
    ("→", KeyCode::Right),
    ("Right", KeyCode::Right),
    ("PgUp", KeyCode::PageUp),
    ("PageUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
    ("PageDown", KeyCode::PageDown),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
];

/// What control and a letter do in a text field or in a page.
const EDITING: &str = "abcdefhknpruwy";

/// Why a text is no key that an action can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// It names none.
    #[error(
        "this is no key: write a character (\"P\"), control and one (\"^d\", \"ctrl-d\"), or a \
         name (\"F5\", \"Space\", \"Enter\", \"Tab\", \"PgUp\", \"Home\", \"Up\", \"Del\")"
    )]
    Unknown,
    /// Esc.
    #[error("Esc is always harmless: no action can have it")]
    Escape,
    /// Alt and a character.
    #[error(
        "a terminal sends the same for alt and a character as for Esc and that character: no action can have it"
    )]
    Alt,
    /// Control and a letter that arrive as another key.
    #[error("a terminal sends the same for this as for {0}: write \"{0}\"")]
    SameAs(&'static str),
}

impl Press {
    /// A character.
    pub const fn key(character: char) -> Self {
        Self::named(KeyCode::Char(character))
    }

    /// Control and a letter.
    pub const fn control(letter: char) -> Self {
        Self {
            control: true,
            ..Self::key(letter)
        }
    }

    /// A key that is no character.
    pub const fn named(code: KeyCode) -> Self {
        Self { code, control: false }
    }

    /// Reads what a config says: `P`, `^d`, `ctrl-d`, `F5`, `PgUp`.
    ///
    /// # Errors
    /// When no action can have it.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let is_named = |name: &&(&str, KeyCode)| name.0.to_lowercase() == text.to_lowercase();
        if let Some((_, code)) = NAMED.iter().find(is_named) {
            return Ok(Self::named(*code));
        }
        if let Some(character) = only(text) {
            return if character == ' ' || is_visible(character) {
                Ok(Self::key(character))
            } else {
                Err(NoKey::Unknown)
            };
        }
        if matches!(text.to_lowercase().as_str(), "esc" | "escape") {
            return Err(NoKey::Escape);
        }
        if let Some(number) = text.strip_prefix(['F', 'f']) {
            let number = number.parse().ok().filter(|number| (1..=12).contains(number));
            return number
                .map(|number| Self::named(KeyCode::F(number)))
                .ok_or(NoKey::Unknown);
        }
        if let Some(letter) = behind(text, &["^", "ctrl-", "control-", "c-"]) {
            return with_control(letter);
        }
        if behind(text, &["alt-", "meta-", "m-"]).is_some() {
            return Err(NoKey::Alt);
        }
        Err(NoKey::Unknown)
    }

    /// Whether `event` is this key.
    pub fn is(self, event: KeyEvent) -> bool {
        self == Self::of(event) && !event.modifiers.contains(KeyModifiers::ALT)
    }

    /// The key that was pressed.
    pub fn of(event: KeyEvent) -> Self {
        // A capital letter says itself that shift was held.
        Self {
            code: event.code,
            control: event.modifiers.contains(KeyModifiers::CONTROL),
        }
    }

    /// Whether no text field, page or question has a use for it, so that it can mean the same in all of them.
    pub fn is_free_everywhere(self) -> bool {
        match self.code {
            KeyCode::F(_) => true,
            KeyCode::Char(letter) => self.control && !EDITING.contains(letter),
            _ => false,
        }
    }
}

/// The only character of a text.
fn only(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn is_visible(character: char) -> bool {
    crate::text::width(character.encode_utf8(&mut [0; 4])) == 1 && !character.is_whitespace()
}

/// What stands behind one of these prefixes, in any case.
fn behind<'a>(text: &'a str, prefixes: &[&str]) -> Option<&'a str> {
    prefixes.iter().find_map(|prefix| {
        let head = text.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
    })
}

fn with_control(letter: &str) -> Result<Press, NoKey> {
    if letter.eq_ignore_ascii_case("space") {
        return Ok(Press::control(' '));
    }
    match only(letter).map(|letter| letter.to_ascii_lowercase()) {
        Some('i') => Err(NoKey::SameAs("Tab")),
        Some('m') => Err(NoKey::SameAs("Enter")),
        Some('[') => Err(NoKey::Escape),
        Some(letter) if letter.is_ascii_lowercase() => Ok(Press::control(letter)),
        _ => Err(NoKey::Unknown),
    }
}

impl fmt::Display for Press {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.control {
            formatter.write_str("^")?;
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.code) {
            return formatter.write_str(name);
        }
        match self.code {
            KeyCode::Char(letter) if self.control => write!(formatter, "{}", letter.to_ascii_uppercase()),
            KeyCode::Char(character) => write!(formatter, "{character}"),
            other => write!(formatter, "{other}"),
        }
    }
}

/// Which keys each action has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bindings(Vec<(&'static str, Vec<Press>)>);

impl Bindings {
    /// The actions by name, each with its keys; no key is there twice.
    pub(super) fn new(actions: Vec<(&'static str, Vec<Press>)>) -> Self {
        Self(actions)
    }

    /// The keys of the action of this name.
    pub fn keys(&self, action: &str) -> &[Press] {
        let named = self.0.iter().find(|(name, _)| *name == action);
        named.map_or(&[], |(_, keys)| keys)
    }

    /// All of them in words.
    pub fn words(&self, action: &str) -> String {
        let keys: Vec<String> = self.keys(action).iter().map(Press::to_string).collect();
        keys.join(" ")
    }

    /// How to press it, in a sentence: its first key, or, where it has none, how the palette finds it.
    pub fn word(&self, action: &str) -> String {
        match self.keys(action).first() {
            Some(press) => press.to_string(),
            None => format!("{}{action}", self.palette()),
        }
    }

    fn palette(&self) -> String {
        let palette = self.keys("palette").first();
        palette.map_or_else(String::new, Press::to_string)
    }

    /// Whether `event` is a key of this action.
    pub fn is(&self, action: &str, event: KeyEvent) -> bool {
        self.keys(action).iter().any(|press| press.is(event))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_read_as_people_write_them() {
        let read = |text: &str| Press::parse(text).map(|press| press.to_string());
        for (text, shown) in [
            ("P", "P"),
            ("é", "é"),
            ("^", "^"),
            ("F", "F"),
            ("-", "-"),
            ("^d", "^D"),
            ("Ctrl-D", "^D"),
            ("ctrl-space", "^Space"),
            ("f12", "F12"),
            ("space", "Space"),
            (" ", "Space"),
            ("Return", "Enter"),
            ("pgup", "PgUp"),
            ("↑", "↑"),
            ("Up", "↑"),
            ("shift-tab", "Shift-Tab"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(shown), "{text}");
        }
        for text in [
            "", "PP", "F0", "F13", "ctrl-", "ctrl-dd", "^1", "\u{200b}", "\n", "日",
        ] {
            assert_eq!(Press::parse(text), Err(NoKey::Unknown), "{text:?}");
        }
        for text in ["alt-x", "Alt-X", "meta-x", "M-x"] {
            assert_eq!(Press::parse(text), Err(NoKey::Alt), "{text:?}");
        }
        assert_eq!(Press::parse("Esc"), Err(NoKey::Escape));
        assert_eq!(Press::parse("^["), Err(NoKey::Escape));
        assert_eq!(Press::parse("ctrl-m"), Err(NoKey::SameAs("Enter")));
    }

    #[test]
    fn a_press_is_the_key_and_what_is_held_with_it() {
        let event = |code, modifiers| KeyEvent::new(code, modifiers);
        let capital = event(KeyCode::Char('P'), KeyModifiers::SHIFT);
        assert!(Press::key('P').is(capital) && !Press::key('p').is(capital));
        let with_alt = event(KeyCode::Char('P'), KeyModifiers::ALT | KeyModifiers::SHIFT);
        assert!(!Press::key('P').is(with_alt));
        assert!(!Press::key('d').is(event(KeyCode::Char('d'), KeyModifiers::CONTROL)));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same_key(text in "(\\^|alt-|ctrl-)?([!-~é]|F[0-9]{1,2}|[A-Za-z]{2,9})") {
            if let Ok(press) = Press::parse(&text) {
                prop_assert_eq!(Press::parse(&press.to_string()), Ok(press));
            }
        }
    }
}
