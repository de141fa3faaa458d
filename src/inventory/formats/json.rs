use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{Rows, put};
use crate::inventory::row::Place;
use crate::site::{FIELDS, Field};
use crate::text::{CleanText, list};

/// A list of addresses or of objects. It is the whole text, what stands under `sites` in it, or where `pointer` leads.
/// `fields` says what a field is called in an object, where not by its own name. Real lists have other names besides:
/// these are not read.
///
/// # Errors
/// It is no JSON, or there is no list: in words that quote nothing of it.
pub(in crate::inventory) fn read(
    bytes: &[u8],
    pointer: Option<&str>,
    fields: &BTreeMap<Field, String>,
    most: usize,
) -> Result<Rows, String> {
    let whole: Value = serde_json::from_slice(super::without_mark(bytes)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("is no JSON (line {line}, column {column})")
    })?;
    let items = items(&whole, pointer)?;
    if items.len() > most {
        return Err(super::too_many(most));
    }
    let mut rows = Rows::default();
    let mut met = BTreeSet::new();
    for (number, item) in (1..).zip(items) {
        let place = Place::Row(number);
        let read = match item {
            Value::String(address) => {
                let mut one = BTreeMap::new();
                put(&mut one, Field::Url, address);
                (one, None)
            }
            Value::Object(object) => of_object(object, fields, &mut met),
            _ => (
                BTreeMap::new(),
                Some("is neither an address nor an object".to_owned()),
            ),
        };
        let (fields, wrong) = read;
        rows.push(place, fields, wrong, most)?;
    }
    let missed = fields.iter().filter(|(field, _)| !met.contains(*field));
    let missed: Vec<String> = missed
        .map(|(_, name)| CleanText::new(name, 40).to_string())
        .collect();
    if !missed.is_empty() && !items.is_empty() {
        rows.odd.push(format!(
            "none of its rows has {}: is fields right?",
            list(&missed, "or")
        ));
    }
    Ok(rows)
}

fn items<'a>(whole: &'a Value, pointer: Option<&str>) -> Result<&'a Vec<Value>, String> {
    let found = match pointer {
        Some(pointer) => whole.pointer(pointer).ok_or_else(|| {
            let pointer = CleanText::note(pointer);
            format!("has nothing at {pointer}: is pointer right?")
        })?,
        None => whole,
    };
    let list = match found {
        Value::Object(object) if pointer.is_none() => object.get("sites"),
        other => Some(other),
    };
    list.and_then(Value::as_array)
        .ok_or_else(|| "holds no list there: pointer = \"/data/sites\" says where one is".to_owned())
}

fn of_object(
    object: &Map<String, Value>,
    names: &BTreeMap<Field, String>,
    met: &mut BTreeSet<Field>,
) -> (BTreeMap<Field, SecretString>, Option<String>) {
    let mut fields = BTreeMap::new();
    let mut wrong = None;
    for (field, own_name) in FIELDS {
        let name = names.get(&field).map_or(own_name, String::as_str);
        let Some(value) = object.get(name) else { continue };
        if names.contains_key(&field) {
            met.insert(field);
        }
        match value {
            Value::Null => {}
            Value::String(text) => put(&mut fields, field, text),
            Value::Bool(_) | Value::Number(_) => put(&mut fields, field, &value.to_string()),
            Value::Array(_) | Value::Object(_) => {
                wrong = Some(format!("{own_name}: is a list or an object, and must be a text"));
            }
        }
    }
    (fields, wrong)
}
