use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input as TextInput;
use tui_input::backend::crossterm::EventHandler;

use super::offers::Offers;
use crate::key::{self, KeyRefusal, MAX_LENGTH, PublishableKey};
use crate::rules::moment::Moment;
use crate::store::RunRecord;
use crate::text::{fit, is_hidden};

/// How long a key is shown.
const SHOWN: Duration = Duration::from_secs(10);
/// Dots that are shown at most.
const DOTS: usize = 40;
/// After a secret the field swallows input until so much silence.
const SILENCE: Duration = Duration::from_secs(1);

/// The field that takes the key. Masked; a secret is wiped as soon as its prefix is there.
#[derive(Debug, Default)]
pub struct KeyField {
    text: TextInput,
    editing: bool,
    /// What stood there when editing began: `Esc` puts it back.
    before: TextInput,
    /// What stands there is replaced by the first thing that is typed.
    replaces: bool,
    /// What stands there came as a whole: it was pasted, or chosen.
    whole: bool,
    shown_until: Option<Moment>,
    /// A secret was refused: input is dropped until then.
    swallows_until: Option<Moment>,
    refused: Option<KeyRefusal>,
    /// The known keys, while one of them is being chosen.
    offers: Option<Offers>,
}

/// What a key press in the field came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The field goes on.
    Editing,
    /// Editing ended.
    Left,
    /// A secret was refused and wiped.
    SecretRefused,
    /// More stood behind the first line of what was pasted, and was dropped.
    Cut,
    /// The known keys are wanted: [`KeyField::offer`].
    WantsOffers,
}

impl KeyField {
    /// A field with `key` in it.
    pub fn new(key: Option<PublishableKey>) -> Self {
        let text = key.map(|key| TextInput::from(key.as_str())).unwrap_or_default();
        Self {
            text,
            ..Self::default()
        }
    }

    /// The key, if what stands there is one.
    pub fn key(&self) -> Option<PublishableKey> {
        self.verdict().and_then(Result::ok)
    }

    /// What is said about what stands there; none of an empty field that refused nothing.
    pub fn verdict(&self) -> Option<Result<PublishableKey, KeyRefusal>> {
        if let Some(refusal) = self.refused {
            return Some(Err(refusal));
        }
        (!self.text.value().is_empty()).then(|| PublishableKey::parse(self.text.value()))
    }

    /// The key, once it is entered: a key that is still being typed looks like many others on its way.
    pub fn entered(&self) -> Option<PublishableKey> {
        self.key().filter(|_| self.whole || !self.editing)
    }

    /// Whether it takes what is typed.
    pub fn is_editing(&self) -> bool {
        self.editing
    }

    /// Begins editing. What stands there is kept until something is typed or pasted, which replaces it.
    pub fn edit(&mut self) {
        self.editing = true;
        self.replaces = true;
        self.before = self.text.clone();
    }

    /// Offers these keys. What stands in the field stays until one of them is taken.
    pub fn offer(&mut self, offers: Offers) {
        self.offers = Some(offers).filter(|_| self.editing);
    }

    /// The keys that are offered.
    pub fn offers(&self) -> Option<&Offers> {
        self.offers.as_ref()
    }

    /// The runs on record have come, for the keys that are offered; whether they were waited for.
    pub fn take_runs(&mut self, runs: &[RunRecord]) -> bool {
        let waiting = self.offers.as_mut().filter(|offers| offers.waits());
        waiting.map(|offers| offers.take_runs(runs)).is_some()
    }

    /// Ends offering keys.
    pub fn stop_offering(&mut self) {
        self.offers = None;
    }

    /// A key press while keys are offered; none where it goes on editing what stands in the field.
    fn press_in_offers(&mut self, press: KeyEvent) -> Option<Edited> {
        let offers = self.offers.as_mut()?;
        match press.code {
            KeyCode::Up => offers.step(-1),
            KeyCode::Down => offers.step(1),
            KeyCode::Esc => self.offers = None,
            KeyCode::Enter => {
                let chosen = self.offers.take().and_then(|offers| offers.chosen().cloned());
                if let Some(key) = chosen {
                    self.take(&key);
                }
            }
            _ => {
                self.offers = None;
                return None;
            }
        }
        Some(Edited::Editing)
    }

    /// `key` stands there now, as if it had been typed; it is as hidden.
    fn take(&mut self, key: &PublishableKey) {
        self.forgive();
        self.text = TextInput::from(key.as_str());
        self.whole = true;
        // What is typed behind it is another key, not the rest of this one.
        self.replaces = true;
        self.shown_until = None;
    }

    /// Shows the key, or hides it again.
    pub fn show(&mut self, now: Moment) {
        self.shown_until = if self.is_shown() { None } else { Some(now + SHOWN) };
    }

    /// Whether the key is to be read.
    pub fn is_shown(&self) -> bool {
        self.shown_until.is_some()
    }

    /// What is shown, in at most `room` columns: the text where it is to be read, else a `dot` a character,
    /// with the last four of a good key.
    pub fn shown(&self, dot: &str, room: usize) -> String {
        let value = self.text.value();
        let is_like_a_key = value.starts_with("pk_") || "pk_".starts_with(value);
        if self.is_shown() && is_like_a_key {
            return fit(value, room);
        }
        let dots = |length: usize| dot.repeat(length.min(DOTS).min(room));
        let length = value.chars().count();
        match self.key() {
            Some(key) => {
                let mask = key.mask();
                let tail = mask.rsplit('…').next().unwrap_or_default();
                dots(length.saturating_sub(tail.len())) + tail
            }
            None => dots(length),
        }
    }

    /// Where the cursor stands in the text, in columns from its beginning.
    pub fn cursor_column(&self) -> usize {
        self.text.visual_cursor()
    }

    /// When [`KeyField::wake`] has something to do.
    pub fn wake_at(&self) -> Option<Moment> {
        [self.shown_until, self.swallows_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time went by.
    pub fn wake(&mut self, now: Moment) {
        self.shown_until = self.shown_until.filter(|until| now < *until);
        self.swallows_until = self.swallows_until.filter(|until| now < *until);
    }

    /// A key was pressed in the field.
    pub fn press(&mut self, press: KeyEvent, now: Moment) -> Edited {
        if let Some(edited) = self.press_in_offers(press) {
            return edited;
        }
        let control = press.modifiers.contains(KeyModifiers::CONTROL);
        match press.code {
            KeyCode::Esc => {
                self.forgive();
                self.text = std::mem::take(&mut self.before);
                self.editing = false;
                return Edited::Left;
            }
            KeyCode::Char('u') if control => {
                self.forgive();
                self.text.reset();
                return Edited::Editing;
            }
            _ => {}
        }
        if self.swallows(now) {
            return Edited::Editing;
        }
        match press.code {
            KeyCode::Enter => {
                self.editing = false;
                Edited::Left
            }
            KeyCode::Up => Edited::WantsOffers,
            KeyCode::Char('r') if control => {
                self.show(now);
                Edited::Editing
            }
            KeyCode::Char(character) if !control => self.insert(&character.to_string(), now),
            _ => {
                self.refused = None;
                (self.replaces, self.whole) = (false, false);
                self.text.handle_event(&TerminalEvent::Key(press));
                self.check(now)
            }
        }
    }

    /// Text was pasted into the field. Only its first line counts.
    pub fn paste(&mut self, text: &str, now: Moment) -> Edited {
        self.offers = None;
        if self.swallows(now) {
            return Edited::Editing;
        }
        // Terminals send a line end as either of them.
        let line = text.trim_start().split(['\r', '\n']).next().unwrap_or_default();
        // A secret is refused wherever it stands in the paste, also in a line that would be dropped.
        if let Some(refusal) = secret(text) {
            return self.refuse(refusal, now);
        }
        let after_line = text.trim().len() > line.trim().len();
        // A whole key replaces what stands there; the rest of one goes behind what was typed.
        self.replaces |= line.trim_start().starts_with("pk_");
        let edited = self.insert(line.trim(), now);
        self.whole = true;
        match edited {
            Edited::Editing if after_line => Edited::Cut,
            edited => edited,
        }
    }

    fn insert(&mut self, text: &str, now: Moment) -> Edited {
        (self.refused, self.whole) = (None, false);
        if std::mem::take(&mut self.replaces) {
            self.text.reset();
        }
        for character in text.chars() {
            // Two more than a key may have, so that its verdict says that it is too long.
            if self.text.value().chars().count() > MAX_LENGTH + 1 {
                break;
            }
            // Drawn as a dot and refused by position; a control character would not even be a dot.
            let shown = if is_hidden(character) {
                '\u{200b}'
            } else {
                character
            };
            self.text.handle(tui_input::InputRequest::InsertChar(shown));
        }
        self.check(now)
    }

    fn check(&mut self, now: Moment) -> Edited {
        match secret(self.text.value()) {
            Some(refusal) => self.refuse(refusal, now),
            None => Edited::Editing,
        }
    }

    fn refuse(&mut self, refusal: KeyRefusal, now: Moment) -> Edited {
        self.text.reset();
        self.shown_until = None;
        self.refused = Some(refusal);
        self.swallows_until = Some(now + SILENCE);
        Edited::SecretRefused
    }

    /// Whether input is dropped now, as the rest of a secret; each drop prolongs the silence that is asked.
    fn swallows(&mut self, now: Moment) -> bool {
        let swallows = self.swallows_until.is_some_and(|until| now < until);
        if swallows {
            self.swallows_until = Some(now + SILENCE);
        }
        swallows
    }

    /// Ends dropping what is typed.
    pub fn stop_swallowing(&mut self) {
        self.swallows_until = None;
    }

    /// Whether what is typed would be dropped, as the rest of a secret.
    pub fn is_swallowing(&self, now: Moment) -> bool {
        self.swallows_until.is_some_and(|until| now < until)
    }

    /// Drops input, as the rest of a secret that was typed elsewhere; what stands in the field stays.
    pub fn swallow(&mut self, now: Moment) {
        self.swallows_until = Some(now + SILENCE);
    }

    fn forgive(&mut self) {
        self.refused = None;
        self.swallows_until = None;
    }
}

/// The refusal of a text in which a secret's prefix stands at its beginning or behind a mark, or, with its
/// environment (`sk_live_`), anywhere.
pub fn secret(text: &str) -> Option<KeyRefusal> {
    let text = &*key::without_hidden(text);
    let lower = text.to_ascii_lowercase();
    if !key::SECRET_PREFIXES.iter().any(|prefix| lower.contains(prefix)) {
        // Most texts: a field may hold a long one, and is looked at with each letter.
        return None;
    }
    if let Some(prefix) = key::secret_inside(text) {
        return Some(KeyRefusal::Secret { prefix });
    }
    let begins_word = |index: usize| {
        text[..index]
            .chars()
            .next_back()
            .is_none_or(|before| !before.is_alphanumeric())
    };
    let starts = text
        .char_indices()
        .map(|(index, _)| index)
        .filter(|&index| begins_word(index));
    starts.into_iter().find_map(|index| {
        let rest = &text[index..];
        // Behind `pk_live_` letters may spell anything.
        let word = text[..index].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let in_key = word
            .into_iter()
            .next()
            .is_some_and(|word| word.starts_with("pk_"));
        let prefix = key::secret_prefix(rest).filter(|_| !in_key)?;
        Some(KeyRefusal::Secret { prefix })
    })
}
