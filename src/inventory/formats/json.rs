use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Rows, put};
use crate::inventory::row::Place;
use crate::site::{FIELDS, Field};
use crate::text::{CleanText, list};

/// The longest row, in bytes. One row at a time is made into values, which take many times the memory of its text.
const ROW_LIMIT: usize = 1024 * 1024;

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
    let whole: &RawValue =
        serde_json::from_slice(super::without_mark(bytes)).map_err(|error| no_json(&error))?;
    let list = find_list(whole, pointer)?;
    let mut reading = Reading {
        names: fields,
        most,
        rows: Rows::default(),
        met: BTreeSet::new(),
        refusal: None,
    };
    let read = serde_json::Deserializer::from_str(list.get()).deserialize_seq(&mut reading);
    match reading.refusal.take() {
        Some(refusal) => Err(refusal),
        None => read.map(|()| reading.finish()).map_err(|error| no_json(&error)),
    }
}

fn no_json(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("is no JSON (line {line}, column {column})")
}

fn find_list<'a>(whole: &'a RawValue, pointer: Option<&str>) -> Result<&'a RawValue, String> {
    let mut found = whole;
    if let Some(pointer) = pointer {
        for step in pointer.split('/').skip(1) {
            // RFC 6901, 4
            let step = step.replace("~1", "/").replace("~0", "~");
            found = part(found, &step)?.ok_or_else(|| {
                let pointer = CleanText::note(pointer);
                format!("has nothing at {pointer}: is pointer right?")
            })?;
        }
    } else if found.get().starts_with('{')
        && let Some(sites) = part(found, "sites")?
    {
        found = sites;
    }
    if !found.get().starts_with('[') {
        return Err("holds no list there: pointer = \"/data/sites\" says where one is".to_owned());
    }
    Ok(found)
}

/// The part of an object or of a list that is called so, or has this number.
fn part<'a>(of: &'a RawValue, step: &str) -> Result<Option<&'a RawValue>, String> {
    struct Part<'b>(&'b str);

    impl<'de> Visitor<'de> for Part<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object or a list")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<String>()? {
                if name == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let wanted: Option<usize> = self.0.parse().ok();
            let (mut found, mut number) = (None, 0);
            while let Some(item) = items.next_element()? {
                if wanted == Some(number) {
                    found = Some(item);
                }
                number += 1;
            }
            Ok(found)
        }
    }

    if !of.get().starts_with(['{', '[']) {
        return Ok(None);
    }
    let mut deserializer = serde_json::Deserializer::from_str(of.get());
    deserializer
        .deserialize_any(Part(step))
        .map_err(|error| no_json(&error))
}

struct Reading<'a> {
    names: &'a BTreeMap<Field, String>,
    most: usize,
    rows: Rows,
    /// Those of `names` that a row has.
    met: BTreeSet<Field>,
    /// Why the rest is not read.
    refusal: Option<String>,
}

impl<'de> Visitor<'de> for &mut Reading<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut number = 1;
        while let Some(item) = items.next_element::<&RawValue>()? {
            if let Err(refusal) = self.take(Place::Row(number), item) {
                self.refusal = Some(refusal);
                return Err(serde::de::Error::custom("more rows than are allowed"));
            }
            number += 1;
        }
        Ok(())
    }
}

impl Reading<'_> {
    fn take(&mut self, place: Place, item: &RawValue) -> Result<(), String> {
        let mut fields = BTreeMap::new();
        let wrong = if item.get().len() > ROW_LIMIT {
            // Which site it speaks of is not known: it may say of one that it gets no key.
            return Err(format!("{place} is longer than 1 MiB"));
        } else {
            match serde_json::from_str(item.get()) {
                Ok(Value::String(address)) => {
                    put(&mut fields, Field::Url, &address);
                    None
                }
                Ok(Value::Object(object)) => self.of_object(&object, &mut fields).err(),
                Ok(_) => Some("is neither an address nor an object".to_owned()),
                Err(_) => return Err(format!("{place} cannot be read")),
            }
        };
        self.rows.push(place, fields, wrong, self.most)
    }

    /// # Errors
    /// What is wrong with the object; `fields` has what is right with it all the same.
    fn of_object(
        &mut self,
        object: &Map<String, Value>,
        fields: &mut BTreeMap<Field, SecretString>,
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        for (field, own_name) in FIELDS {
            let called = self.names.get(&field);
            let is_so = |name: &str| match called {
                Some(called) => name == called,
                None => name.eq_ignore_ascii_case(own_name),
            };
            let mut values = object.iter().filter(|(name, _)| is_so(name));
            let Some((_, value)) = values.next() else { continue };
            if called.is_some() {
                self.met.insert(field);
            }
            if values.next().is_some() {
                outcome = Err(format!("{own_name}: stands there twice"));
            }
            match value {
                Value::Null => {}
                Value::String(text) => put(fields, field, text),
                Value::Bool(_) | Value::Number(_) => put(fields, field, &value.to_string()),
                Value::Array(_) | Value::Object(_) => {
                    outcome = Err(format!("{own_name}: is a list or an object, and must be a text"));
                }
            }
        }
        outcome
    }

    fn finish(mut self) -> Rows {
        let missed = self.names.iter().filter(|(field, _)| !self.met.contains(*field));
        let missed: Vec<String> = missed
            .map(|(_, name)| CleanText::new(name, 40).to_string())
            .collect();
        if !missed.is_empty() && self.rows.count() > 0 {
            self.rows.odd.push(format!(
                "none of its rows has {}: is fields right?",
                list(&missed, "or")
            ));
        }
        self.rows
    }
}
