use ratatui::style::{Color, Modifier, Style};

use crate::config::{Config, ConfigError};
use crate::rules::status::Role;
use crate::text::list;

/// What a part of the screen is for; a theme says how it looks. The terminal's own 16 colours, so that they
/// follow the operator's own theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Plain text.
    Text,
    /// The names of things.
    Label,
    /// The header line.
    Header,
    /// The row under the cursor.
    Cursor,
    /// Lines between regions.
    Rule,
    /// A key that can be pressed.
    Key,
    /// A live key or run.
    Live,
    /// The frame of a dialog.
    Dialog,
    /// A status of this role.
    Status(Role),
}

/// How parts look.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// Its name in the config.
    pub name: &'static str,
    look: fn(Part) -> Style,
}

impl Theme {
    /// In colours.
    pub const DEFAULT: Self = Self {
        name: "default",
        look: default,
    };
    /// Without colours: attributes only.
    pub const MONOCHROME: Self = Self {
        name: "monochrome",
        look: monochrome,
    };

    /// The style of `part`.
    pub fn style(self, part: Part) -> Style {
        (self.look)(part)
    }

    /// The theme that `[ui] theme` names.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let Some(name) = &config.ui.theme else {
            return Ok(Self::DEFAULT);
        };
        let theme = THEMES.iter().copied().find(|theme| theme.name == name.text);
        theme.ok_or_else(|| {
            let names: Vec<String> = THEMES.iter().map(|theme| format!("\"{}\"", theme.name)).collect();
            config.error(name, format!("theme must be {}", list(&names, "or")))
        })
    }
}

/// Every theme.
pub static THEMES: &[Theme] = &[
    Theme::DEFAULT,
    Theme {
        name: "high-contrast",
        look: high_contrast,
    },
    Theme::MONOCHROME,
    Theme {
        name: "colour-blind-safe",
        look: colour_blind_safe,
    },
];

const BOLD: Modifier = Modifier::BOLD;
const REVERSED: Modifier = Modifier::REVERSED;
const UNDERLINED: Modifier = Modifier::UNDERLINED;

fn plain() -> Style {
    Style::default()
}

fn in_colour(colour: Color) -> Style {
    Style::default().fg(colour)
}

fn default(part: Part) -> Style {
    match part {
        Part::Text => plain(),
        Part::Label | Part::Rule | Part::Status(Role::Quiet) => in_colour(Color::DarkGray),
        Part::Header => plain().add_modifier(BOLD),
        Part::Cursor => plain().add_modifier(REVERSED),
        Part::Key => in_colour(Color::Cyan).add_modifier(BOLD),
        Part::Live => in_colour(Color::Magenta).add_modifier(BOLD),
        Part::Dialog | Part::Status(Role::Busy) => in_colour(Color::Cyan),
        Part::Status(Role::Good) => in_colour(Color::Green),
        Part::Status(Role::Hopeful) => in_colour(Color::LightGreen),
        Part::Status(Role::Warning) => in_colour(Color::Yellow),
        Part::Status(Role::Bad) => in_colour(Color::Red),
        Part::Status(Role::Alarm) => in_colour(Color::Red).add_modifier(BOLD | REVERSED),
    }
}

/// Nothing is dim, and what matters most stands in reverse: on light and dark backgrounds alike.
fn high_contrast(part: Part) -> Style {
    match part {
        Part::Text | Part::Label | Part::Rule | Part::Status(Role::Quiet | Role::Hopeful) => plain(),
        Part::Header | Part::Dialog | Part::Status(Role::Busy) => plain().add_modifier(BOLD),
        Part::Cursor => plain().add_modifier(REVERSED),
        Part::Key | Part::Status(Role::Warning) => plain().add_modifier(BOLD | UNDERLINED),
        Part::Live => in_colour(Color::Magenta).add_modifier(BOLD | UNDERLINED),
        Part::Status(Role::Good) => in_colour(Color::Green).add_modifier(BOLD),
        Part::Status(Role::Bad) => in_colour(Color::Red).add_modifier(BOLD | REVERSED),
        Part::Status(Role::Alarm) => in_colour(Color::Red).add_modifier(BOLD | REVERSED | UNDERLINED),
    }
}

fn monochrome(part: Part) -> Style {
    match part {
        Part::Text
        | Part::Label
        | Part::Rule
        | Part::Dialog
        | Part::Status(Role::Quiet | Role::Busy | Role::Good | Role::Hopeful) => plain(),
        Part::Status(Role::Warning) => plain().add_modifier(UNDERLINED),
        Part::Header | Part::Key | Part::Live => plain().add_modifier(BOLD),
        Part::Cursor => plain().add_modifier(REVERSED),
        Part::Status(Role::Bad) => plain().add_modifier(BOLD | UNDERLINED),
        Part::Status(Role::Alarm) => plain().add_modifier(BOLD | REVERSED),
    }
}

/// Good is blue, bad is yellow, and what is neither has the colour of text: no red, and no green.
fn colour_blind_safe(part: Part) -> Style {
    match part {
        Part::Text | Part::Dialog | Part::Status(Role::Busy) => plain(),
        Part::Label | Part::Rule | Part::Status(Role::Quiet) => in_colour(Color::DarkGray),
        Part::Header | Part::Key => plain().add_modifier(BOLD),
        Part::Live => plain().add_modifier(BOLD | UNDERLINED),
        Part::Cursor => plain().add_modifier(REVERSED),
        Part::Status(Role::Good) => in_colour(Color::LightBlue).add_modifier(BOLD),
        Part::Status(Role::Hopeful) => in_colour(Color::LightBlue),
        Part::Status(Role::Warning) => in_colour(Color::Yellow),
        Part::Status(Role::Bad) => in_colour(Color::Yellow).add_modifier(BOLD | UNDERLINED),
        Part::Status(Role::Alarm) => in_colour(Color::Yellow).add_modifier(BOLD | REVERSED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 7] = [
        Role::Quiet,
        Role::Busy,
        Role::Hopeful,
        Role::Good,
        Role::Warning,
        Role::Bad,
        Role::Alarm,
    ];

    fn parts() -> Vec<Part> {
        let mut parts = vec![
            Part::Text,
            Part::Label,
            Part::Header,
            Part::Cursor,
            Part::Rule,
            Part::Key,
            Part::Live,
            Part::Dialog,
        ];
        parts.extend(ROLES.map(Part::Status));
        parts
    }

    #[test]
    fn in_each_theme_what_matters_is_told_apart() {
        let matters = [
            Part::Text,
            Part::Cursor,
            Part::Status(Role::Warning),
            Part::Status(Role::Bad),
            Part::Status(Role::Alarm),
        ];
        for theme in THEMES {
            for (index, part) in matters.iter().enumerate() {
                for other in &matters[..index] {
                    assert_ne!(
                        theme.style(*part),
                        theme.style(*other),
                        "{part:?} {other:?} {theme:?}"
                    );
                }
                // Good may look like text where there are no colours, but never like these.
                let good = theme.style(Part::Status(Role::Good));
                assert!(
                    *part == Part::Text || theme.style(*part) != good,
                    "{part:?} {theme:?}"
                );
            }
            for emphasised in [Part::Header, Part::Key, Part::Live] {
                assert_ne!(theme.style(emphasised), theme.style(Part::Text), "{theme:?}");
            }
        }
    }

    #[test]
    fn themes_have_the_colours_of_the_terminal_alone_and_each_a_name_of_its_own() {
        for (index, theme) in THEMES.iter().enumerate() {
            assert!(THEMES[..index].iter().all(|other| other.name != theme.name));
            for part in parts() {
                let style = theme.style(part);
                assert_eq!(style.bg, None);
                let colour = style.fg.unwrap_or(Color::Reset);
                assert!(!matches!(colour, Color::Rgb(..) | Color::Indexed(_)), "{theme:?}");
                match theme.name {
                    "monochrome" => assert_eq!(style.fg, None, "{part:?}"),
                    "high-contrast" => {
                        let dim = [Color::DarkGray, Color::Gray, Color::Blue];
                        assert!(!dim.contains(&colour) && !style.add_modifier.contains(Modifier::DIM));
                    }
                    "colour-blind-safe" => {
                        use Color::{
                            Cyan, Green, LightCyan, LightGreen, LightMagenta, LightRed, Magenta, Red,
                        };
                        let unsafe_colours = [
                            Cyan,
                            Green,
                            LightCyan,
                            LightGreen,
                            LightMagenta,
                            LightRed,
                            Magenta,
                            Red,
                        ];
                        assert!(!unsafe_colours.contains(&colour), "{part:?}");
                    }
                    _ => {}
                }
            }
        }
    }
}
