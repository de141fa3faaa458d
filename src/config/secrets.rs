use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::{Place, file};
use crate::secret::SecretSource;

/// The variable that holds the global master key, unless the config says otherwise.
pub const DEFAULT_VARIABLE: &str = "TEMPLATE_MASTER_API_KEY";

const FORMS: &str = "{ env = \"NAME\" }, { file = \"PATH\" }, { command = [\"PROGRAM\", \"ARGUMENT\"] }, { credential = \"NAME\" } or { value = \"…\" }";

/// A secret as it stands in the file. Exactly one of its fields is set.
#[derive(Default)]
pub(super) struct RawSecret(Fields);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    env: Option<Names>,
    file: Option<PathBuf>,
    command: Option<Vec<String>>,
    credential: Option<String>,
    value: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Names(#[serde(deserialize_with = "one_or_many")] Vec<String>);

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("the name of a variable, or a list of names")
        }

        fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
            Ok(vec![name.to_owned()])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(name) = names.next_element()? {
                all.push(name);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(Either)
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = RawSecret;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                // In place of toml's own words, which quote the string.
                write!(formatter, "a table that says where the secret is: {FORMS}")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(RawSecret)
            }
        }

        deserializer.deserialize_any(Table)
    }
}

pub(super) fn resolve(
    raw: &Spanned<RawSecret>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<SecretSource, ConfigError> {
    resolve_at(raw.get_ref(), raw.span(), place, at)
}

/// As [`resolve`], of a secret that stands at `span`.
pub(super) fn resolve_at(
    raw: &RawSecret,
    span: Range<usize>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<SecretSource, ConfigError> {
    let refuse = |message: String| at.error(Some(span.clone()), message);
    let Fields {
        env,
        file,
        command,
        credential,
        value,
    } = &raw.0;
    match (env, file, command, value) {
        _ if let Some(name) = credential => {
            let others = [env.is_some(), file.is_some(), command.is_some(), value.is_some()];
            if others.contains(&true) {
                return Err(refuse(twice()));
            }
            if !is_credential(name) {
                return Err(refuse(
                    "credential must be the name that LoadCredential= gives it, without a slash".to_owned(),
                ));
            }
            Ok(SecretSource::Credential(name.clone()))
        }
        (Some(names), None, None, None)
            if names.0.iter().all(|name| is_variable(name)) && !names.0.is_empty() =>
        {
            Ok(SecretSource::Env(names.0.clone()))
        }
        (Some(_), None, None, None) => Err(refuse(
            "env must name a variable: letters, digits and _ (the variable, not its value)".to_owned(),
        )),
        (None, Some(path), None, None) => Ok(SecretSource::File(file::resolve(path, place))),
        (None, None, Some(argv), None) if argv.first().is_some_and(|program| !program.is_empty()) => {
            Ok(SecretSource::Command(argv.clone()))
        }
        (None, None, Some(_), None) => Err(refuse(
            "command must be a list: the program and its arguments, [\"pass\", \"show\", \"NAME\"]"
                .to_owned(),
        )),
        (None, None, None, Some(value)) if place.owner_only => Ok(SecretSource::Value(value.clone())),
        (None, None, None, Some(_)) => Err(refuse(format!(
            "a secret stands in this file and others can read it: chmod 600 {}, or use file or command",
            place.path.display()
        ))),
        (None, None, None, None) => Err(refuse(format!(
            "says not where the secret is: write one of {FORMS}"
        ))),
        _ => Err(refuse(twice())),
    }
}

fn twice() -> String {
    format!("says twice where the secret is: write only one of {FORMS}")
}

/// Whether it can be the name of a file in systemd's folder, and of nothing elsewhere.
fn is_credential(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    !matches!(name, "" | "." | "..") && name.len() <= 255 && name.bytes().all(legal)
}

fn is_variable(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= 128 && name.bytes().all(legal) && !name.as_bytes()[0].is_ascii_digit()
}
