use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use toml::Spanned;

use super::outline::{ConfigLine, around};
use crate::key::secret_inside;

/// What is wrong with a config, and where. Quotes no value of the file: one could be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Which file.
    pub path: PathBuf,
    /// Line and column, counted from 1; none for the file as a whole.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to write instead.
    pub message: String,
    /// The lines at the place, without their values.
    pub around: Vec<ConfigLine>,
}

impl ConfigError {
    /// Of the file as a whole.
    pub(super) fn of_file(path: &Path, message: String) -> Self {
        Self {
            path: path.to_owned(),
            place: None,
            message,
            around: Vec::new(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// Makes errors with their place in a text.
pub(crate) struct Places<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl Places<'_> {
    pub(crate) fn error(&self, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        let place = span.map(|span| self.line_and_column(span.start));
        ConfigError {
            path: self.path.to_owned(),
            place,
            message: message.into(),
            around: place.map_or_else(Vec::new, |(line, _)| around(self.text, line)),
        }
    }

    pub(super) fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// toml's own error without the line that it quotes, and without values in its message.
    pub(crate) fn of_toml(&self, error: &toml::de::Error) -> ConfigError {
        self.error(error.span(), without_values(error.message()))
    }

    pub(super) fn number(
        &self,
        name: &str,
        value: &Spanned<i64>,
        range: RangeInclusive<u32>,
    ) -> Result<u32, ConfigError> {
        let number = u32::try_from(*value.get_ref())
            .ok()
            .filter(|number| range.contains(number));
        number.ok_or_else(|| {
            self.error(
                Some(value.span()),
                format!(
                    "{name} must be a number from {} to {}",
                    range.start(),
                    range.end()
                ),
            )
        })
    }

    pub(super) fn duration(
        &self,
        name: &str,
        value: &Spanned<SignedDuration>,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let duration = Duration::try_from(*value.get_ref())
            .ok()
            .filter(|duration| range.contains(duration));
        duration.ok_or_else(|| {
            let least = if range.start().is_zero() {
                "\"0s\""
            } else {
                "\"1ms\""
            };
            self.error(
                Some(value.span()),
                format!("{name} must be a time from {least} to \"1h\""),
            )
        })
    }
}

impl Places<'_> {
    /// A time of a day or more, which may be written in days.
    pub(super) fn days(&self, name: &str, value: &Spanned<String>) -> Result<Duration, ConfigError> {
        let span = value.get_ref().parse::<Span>().ok();
        let relative = SpanRelativeTo::days_are_24_hours();
        let duration = span.and_then(|span| span.to_duration(relative).ok());
        let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
        duration
            .filter(|duration| *duration >= Duration::from_hours(24))
            .ok_or_else(|| {
                self.error(
                    Some(value.span()),
                    format!("{name} must be a time of a day or more, such as \"400 days\""),
                )
            })
    }
}

/// serde and jiff quote what they found (`invalid type: string "sk_…"`): everything between quotes is taken
/// out, unless it stands in backquotes, as the names of fields do.
fn without_values(message: &str) -> String {
    let in_words = |expected: &str| match expected {
        "i64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text between two quotes, \"…\"".to_owned(),
        other => other.to_owned(),
    };
    if let Some(rest) = message.strip_prefix("invalid type: ") {
        let expected = rest
            .rsplit_once(", expected ")
            .map_or("another kind of value", |(_, expected)| expected);
        if expected.contains("duration") {
            return "write a number with its unit, such as \"8s\"".to_owned();
        }
        return format!("this must be {}", in_words(expected));
    }
    if let Some(rest) = message.strip_prefix("invalid value: ") {
        let expected = rest
            .rsplit_once(", expected ")
            .map_or("another value", |(_, expected)| expected);
        return format!("this must be {expected}");
    }
    if message.contains("unknown variant") {
        let expected = message
            .rsplit_once(", expected ")
            .map_or(String::new(), |(_, names)| names.replace('`', "\""));
        return format!("this must be {expected}");
    }
    let first = message.lines().next().unwrap_or_default();
    if first.contains("duration") {
        return "this value cannot be read: a time is written \"5s\", \"5 min\" or \"200ms\"".to_owned();
    }
    if first.contains('"') || first.contains('\'') {
        return "this cannot be read: a text stands between two quotes, \"…\" or '…'".to_owned();
    }
    let quoted = first.split('`').skip(1).step_by(2);
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    // What the parser misses (a bracket, an equals sign) is its own word, and too short to be anything else.
    let is_sign = |sign: &str| sign.len() <= 2 && sign.bytes().all(|byte| byte.is_ascii_punctuation());
    let may_be_shown = |word: &str| is_sign(word) || (is_name(word) && secret_inside(word).is_none());
    if quoted.into_iter().all(may_be_shown) {
        first.to_owned()
    } else if first.starts_with("unknown field") {
        "this name is not known here: config.example.toml has all that can stand in a config".to_owned()
    } else {
        "this cannot be read: config.example.toml shows how each line is written".to_owned()
    }
}
