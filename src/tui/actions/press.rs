use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key that can be pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    code: KeyCode,
    control: bool,
}

pub(super) const fn key(character: char) -> Press {
    Press {
        code: KeyCode::Char(character),
        control: false,
    }
}

pub(super) const fn control(character: char) -> Press {
    Press {
        code: KeyCode::Char(character),
        control: true,
    }
}

pub(super) const fn named(code: KeyCode) -> Press {
    Press { code, control: false }
}

impl Press {
    /// Whether `event` is this key.
    pub fn is(self, event: KeyEvent) -> bool {
        self.code == event.code && self.control == event.modifiers.contains(KeyModifiers::CONTROL)
    }

    pub(super) fn in_words(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(character) => character.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::F(number) => format!("F{number}"),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            other => format!("{other:?}"),
        };
        if self.control {
            format!("^{}", name.to_uppercase())
        } else {
            name
        }
    }
}
