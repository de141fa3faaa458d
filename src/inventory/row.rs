use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;

use crate::site::{Field, NAME_LIMIT, SiteMode, SiteUrl, SiteUrlRefusal};
use crate::text::CleanText;

/// Where a row stands in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a text, from 1.
    Line(u64),
    /// A row of an answer, from 1.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(formatter, "line {number}"),
            Self::Row(number) => write!(formatter, "row {number}"),
        }
    }
}

/// A row as it was read. What is NULL, or has no characters but white space, is not in it. Any of its texts may be a
/// secret that stands in the wrong place: none is ever quoted.
pub struct Row {
    /// Where it stands.
    pub place: Place,
    /// What stands in it.
    pub fields: BTreeMap<Field, SecretString>,
}

/// What a database answered.
#[derive(Default)]
pub struct Answer {
    /// Those that could be read, in order.
    pub rows: Vec<Row>,
    /// Those that could not, and why: each is a warning, and does not lose the others. Quotes no value.
    pub bad: Vec<(Place, String)>,
    /// The addresses that stand in those.
    pub bad_addresses: Vec<(Place, SecretString)>,
    /// What it holds beside the fields of a site, by its cleaned names.
    pub unknown: Vec<String>,
}

/// A site as a source describes it. What a field does not say, another source may, and then the defaults.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its address.
    pub url: SiteUrl,
    /// How it is called.
    pub name: Option<CleanText>,
    /// Those that belong together.
    pub group: Option<CleanText>,
    /// Which keys it may be given.
    pub mode: Option<SiteMode>,
    /// Which sites share a server.
    pub backend: Option<CleanText>,
    /// A master key of its own.
    pub master_key: Option<SecretString>,
    /// Whether it is sent keys.
    pub enabled: Option<bool>,
}

/// Why a row is no site. Quotes no part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowRefusal {
    /// Nothing says where the site is.
    #[error("has no url")]
    NoUrl,
    /// Its address is none.
    #[error("url: {0}")]
    Url(#[from] SiteUrlRefusal),
    /// A field says nothing that it can mean.
    #[error("{name}: {1}", name = .0.name())]
    Field(Field, &'static str),
}

impl Row {
    /// The site that it describes.
    ///
    /// # Errors
    /// [`RowRefusal`], with words for the operator.
    pub fn parse(&self) -> Result<Entry, RowRefusal> {
        let text = |field| -> Result<Option<CleanText>, RowRefusal> {
            let Some(raw) = self.raw(field) else {
                return Ok(None);
            };
            let clean = CleanText::new(raw, NAME_LIMIT);
            if clean.is_empty() {
                return Err(RowRefusal::Field(field, "has no visible character"));
            }
            Ok(Some(clean))
        };
        Ok(Entry {
            url: self.url()?,
            name: text(Field::Name)?,
            group: text(Field::Group)?,
            mode: self.raw(Field::Mode).map(mode).transpose()?,
            backend: text(Field::Backend)?,
            master_key: self.fields.get(&Field::MasterKey).cloned(),
            enabled: self.raw(Field::Enabled).map(enabled).transpose()?,
        })
    }

    /// Where its site is, whatever stands in the other fields.
    ///
    /// # Errors
    /// [`RowRefusal`], with words for the operator.
    pub fn url(&self) -> Result<SiteUrl, RowRefusal> {
        let url = self.raw(Field::Url).ok_or(RowRefusal::NoUrl)?;
        Ok(SiteUrl::parse(url)?)
    }

    fn raw(&self, field: Field) -> Option<&str> {
        use secrecy::ExposeSecret;

        let raw = self.fields.get(&field)?.expose_secret().trim();
        (!raw.is_empty()).then_some(raw)
    }
}

fn mode(raw: &str) -> Result<SiteMode, RowRefusal> {
    match raw.to_ascii_lowercase().as_str() {
        "live" => Ok(SiteMode::Live),
        "test" => Ok(SiteMode::Test),
        "any" => Ok(SiteMode::Any),
        _ => Err(RowRefusal::Field(Field::Mode, "must be live, test or any")),
    }
}

/// The words of databases, and those of the dashboard's column `status` (contract.md).
fn enabled(raw: &str) -> Result<bool, RowRefusal> {
    match raw.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "1" | "active" => Ok(true),
        "false" | "f" | "no" | "0" | "inactive" | "suspended" => Ok(false),
        _ => Err(RowRefusal::Field(
            Field::Enabled,
            "must be true or false (or 1, 0, yes, no, active, inactive, suspended)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[(Field, &str)]) -> Row {
        Row {
            place: Place::Row(1),
            fields: fields
                .iter()
                .map(|(field, text)| (*field, SecretString::from(*text)))
                .collect(),
        }
    }

    #[test]
    fn a_row_says_what_its_fields_say_and_nothing_else() {
        let entry = row(&[
            (Field::Url, " https://shop.example.com/ \r"),
            (Field::Group, " "),
            (Field::Mode, "LIVE"),
            (Field::Enabled, "suspended"),
        ])
        .parse()
        .unwrap();
        assert_eq!(entry.url.to_string(), "https://shop.example.com");
        assert_eq!(
            (entry.name, entry.group, entry.mode, entry.enabled),
            (None, None, Some(SiteMode::Live), Some(false))
        );
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting_it() {
        let refuse = |fields: &[(Field, &str)]| row(fields).parse().unwrap_err().to_string();
        assert_eq!(refuse(&[(Field::Name, "topsecret")]), "has no url");
        for (field, text) in [
            (Field::Url, "topsecret"),
            (Field::Mode, "topsecret"),
            (Field::Enabled, "topsecret"),
            (Field::Name, "\u{200b}"),
        ] {
            let url = (Field::Url, "https://shop.example.com");
            let refusal = refuse(&[url, (field, text)]);
            assert!(refusal.starts_with(field.name()), "{refusal}");
            assert!(!refusal.contains("topsecret"), "{refusal}");
        }
    }
}
