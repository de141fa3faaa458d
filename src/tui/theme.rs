use ratatui::style::{Color, Modifier, Style};

use crate::rules::status::Role;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// In the terminal's 16 colours.
    #[default]
    Colour,
    /// Without colours (`NO_COLOR`): attributes only.
    NoColour,
}

impl Theme {
    /// The style of `part`.
    pub fn style(self, part: Part) -> Style {
        match self {
            Self::Colour => coloured(part),
            Self::NoColour => plain(part),
        }
    }
}

fn coloured(part: Part) -> Style {
    let style = Style::default();
    match part {
        Part::Text => style,
        Part::Label | Part::Rule | Part::Status(Role::Quiet) => style.fg(Color::DarkGray),
        Part::Header => style.add_modifier(Modifier::BOLD),
        Part::Cursor => style.add_modifier(Modifier::REVERSED),
        Part::Key => style.fg(Color::Cyan).add_modifier(Modifier::BOLD),
        Part::Live => style.fg(Color::Magenta).add_modifier(Modifier::BOLD),
        Part::Dialog | Part::Status(Role::Busy) => style.fg(Color::Cyan),
        Part::Status(Role::Good) => style.fg(Color::Green),
        Part::Status(Role::Hopeful) => style.fg(Color::LightGreen),
        Part::Status(Role::Warning) => style.fg(Color::Yellow),
        Part::Status(Role::Bad) => style.fg(Color::Red),
        Part::Status(Role::Alarm) => style
            .fg(Color::Red)
            .add_modifier(Modifier::BOLD | Modifier::REVERSED),
    }
}

fn plain(part: Part) -> Style {
    let style = Style::default();
    match part {
        Part::Header | Part::Key | Part::Live | Part::Status(Role::Bad) => style.add_modifier(Modifier::BOLD),
        Part::Cursor => style.add_modifier(Modifier::REVERSED),
        Part::Status(Role::Alarm) => style.add_modifier(Modifier::BOLD | Modifier::REVERSED),
        _ => style,
    }
}
