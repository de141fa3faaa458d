use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::error::Places;
use super::{Config, ConfigError};

/// A text of the config, and where it stands, for whoever can tell whether it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The text.
    pub text: String,
    /// Line and column, counted from 1.
    pub place: (usize, usize),
}

/// A line of `[keys]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetting {
    /// The name of an action.
    pub action: Placed,
    /// The keys that it has instead of its own; an empty list takes them all away.
    pub keys: Vec<Placed>,
}

impl Config {
    /// What is wrong with something in this config.
    pub fn error(&self, at: &Placed, message: impl Into<String>) -> ConfigError {
        ConfigError {
            path: self.path.clone(),
            place: Some(at.place),
            message: message.into(),
            around: Vec::new(),
        }
    }
}

impl Places<'_> {
    pub(super) fn placed(&self, text: &Spanned<String>) -> Placed {
        Placed {
            text: text.get_ref().clone(),
            place: self.line_and_column(text.span().start),
        }
    }
}

pub(super) type RawKeys = BTreeMap<Spanned<String>, Spanned<RawPresses>>;

/// A key, or a list of them.
pub(super) enum RawPresses {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for RawPresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = RawPresses;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key such as \"P\", or a list of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<RawPresses, E> {
        Ok(RawPresses::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawPresses, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = items.next_element()? {
            keys.push(key);
        }
        Ok(RawPresses::Many(keys))
    }
}

/// The lines of `[keys]`, in the order of the file.
pub(super) fn resolve(raw: &RawKeys, at: &Places<'_>) -> Vec<KeySetting> {
    let setting = |(action, keys): (&Spanned<String>, &Spanned<RawPresses>)| KeySetting {
        action: at.placed(action),
        keys: match keys.get_ref() {
            RawPresses::One(key) => vec![Placed {
                text: key.clone(),
                place: at.line_and_column(keys.span().start),
            }],
            RawPresses::Many(keys) => keys.iter().map(|key| at.placed(key)).collect(),
        },
    };
    let mut settings: Vec<KeySetting> = raw.iter().map(setting).collect();
    settings.sort_by_key(|setting| setting.action.place);
    settings
}
