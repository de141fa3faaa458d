//! What the program prints as JSON is held to the schemas in docs/schema.

use std::path::Path;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

/// A schema, as the repository has it.
pub(crate) fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/schema")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn validator(name: &str) -> Validator {
    jsonschema::draft202012::new(&schema(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[track_caller]
fn holds(validator: &Validator, text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let wrong: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("at {}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{}\n{text}", wrong.join("\n"));
    value
}

/// A line of `--json`, which is as its schema says.
#[track_caller]
pub(crate) fn line(text: &str) -> Value {
    static LINES: OnceLock<Validator> = OnceLock::new();
    holds(LINES.get_or_init(|| validator("lines.schema.json")), text)
}

/// A document of `--format json`, which is as the schema of its command says.
#[track_caller]
pub(crate) fn document(command: &str, text: &str) -> Value {
    holds(&validator(&format!("{command}.schema.json")), text)
}
