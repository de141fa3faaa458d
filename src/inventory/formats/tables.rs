use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Rows, put};
use crate::inventory::row::Place;
use crate::site::Field;

/// The longest text, in bytes: all of it is made into values at once, which take many times its memory.
const TEXT_LIMIT: usize = 8 * 1024 * 1024;

/// `[[sites]]` as in the config; a master key is a plain text here.
pub(super) fn read(bytes: &[u8], most: usize) -> Result<Rows, String> {
    if bytes.len() > TEXT_LIMIT {
        return Err("is longer than 8 MiB, the most for TOML: write the list as CSV or JSON".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text in UTF-8")?;
    let whole: Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| {
            let before = text.get(..span.start).unwrap_or(text);
            before.matches('\n').count() + 1
        });
        line.map_or_else(
            || "is no TOML".to_owned(),
            |line| format!("is no TOML (line {line})"),
        )
    })?;
    let mut rows = Rows::default();
    for name in whole.keys().filter(|name| *name != "sites") {
        rows.note_unknown(name);
    }
    let sites = match whole.get("sites") {
        None => return Ok(rows),
        Some(Value::Array(sites)) => sites,
        Some(_) => return Err("sites must be written [[sites]]".to_owned()),
    };
    if sites.len() > most {
        return Err(super::too_many(most));
    }
    for (number, site) in (1..).zip(sites) {
        let place = Place::Row(number);
        let Value::Table(site) = site else {
            rows.bad.add(place, "is no table");
            continue;
        };
        let mut fields = BTreeMap::new();
        let mut wrong = None;
        for (name, value) in site {
            let Some(field) = Field::of_name(name) else {
                rows.note_unknown(name);
                continue;
            };
            match value {
                Value::String(text) => put(&mut fields, field, text),
                Value::Boolean(_) | Value::Integer(_) => put(&mut fields, field, &value.to_string()),
                _ => wrong = Some(format!("{}: must be a text", field.name())),
            }
        }
        rows.push(place, fields, wrong, most)?;
    }
    Ok(rows)
}
