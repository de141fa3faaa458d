//! The words of the schemas are those of the rules: neither more nor fewer.

use serde::de::DeserializeOwned;
use serde_json::Value;
use stripe_propagate::key::KeyMode;
use stripe_propagate::report::export::STATES;
use stripe_propagate::report::export::old_keys::OldKeyState;
use stripe_propagate::report::sites::KeyPlace;
use stripe_propagate::rules::alarm::Alarm;
use stripe_propagate::rules::outcome::Cause;
use stripe_propagate::rules::preflight::{Grade, Step};
use stripe_propagate::rules::run::{Halt, Kind};
use stripe_propagate::rules::status::{SkipReason, looks, push_looks, verify_looks};
use stripe_propagate::rules::watch::Finding;
use stripe_propagate::site::SiteMode;
use stripe_propagate::store::Request;

use super::stage::schema::schema;

const SCHEMAS: [&str; 4] = [
    "lines.schema.json",
    "status.schema.json",
    "history.schema.json",
    "sites.schema.json",
];

/// The words of `name` in each schema that has them are these.
#[track_caller]
fn words_are<T: Into<String>>(name: &str, words: impl IntoIterator<Item = T>) {
    let mut words: Vec<String> = words.into_iter().map(Into::into).collect();
    words.sort();
    words.dedup();
    let mut found = 0;
    for file in SCHEMAS {
        let schema = schema(file);
        let Some(listed) = schema["$defs"][name]["enum"].as_array() else {
            continue;
        };
        let mut listed: Vec<&str> = listed.iter().map(|word| word.as_str().unwrap()).collect();
        listed.sort_unstable();
        assert_eq!(listed, words, "{name} in {file}");
        found += 1;
    }
    assert!(found > 0, "no schema has {name}");
}

/// Each name that serde takes for a value of `T`: those that it lists when it refuses another one.
fn variants<T: DeserializeOwned>() -> Vec<String> {
    let refused = serde_json::from_value::<T>(Value::from("no such name"));
    let Err(refusal) = refused else {
        panic!("it took it")
    };
    let refusal = refusal.to_string();
    let (_, names) = refusal.split_once("expected ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// As [`variants`], each with the word that it has by itself.
fn words<T: DeserializeOwned>(word: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    let names = variants::<T>();
    assert!(names.len() > 1, "{names:?}");
    names
        .into_iter()
        .map(|name| word(serde_json::from_value(Value::from(name)).unwrap()))
        .collect()
}

#[test]
fn each_list_of_words_in_a_schema_is_the_rules_own() {
    words_are("push", push_looks().map(|look| look.word));
    words_are("verify", verify_looks().map(|look| look.word));
    words_are("word", looks().map(|look| look.word));
    words_are("reason", words(SkipReason::word));
    words_are("cause", words(Cause::word));
    // One of them says which secret it was, beside its word.
    words_are("alarm", variants::<Alarm>());
    words_are("finding", words(Finding::word));
    words_are("kind", words(Kind::word));
    words_are("mode", words(KeyMode::word));
    words_are("request", variants::<Request>());
    words_are("site_mode", variants::<SiteMode>());
    words_are("step", Step::ALL.map(Step::word));
    words_are("grade", Grade::ALL.map(Grade::word));
    words_are(
        "step_result",
        Grade::ALL.map(Grade::word).into_iter().chain(["skipped"]),
    );
    words_are("run_state", STATES);
    words_are("old_key_state", OldKeyState::ALL.map(OldKeyState::word));
    words_are("key_place", KeyPlace::ALL.map(KeyPlace::word));
}

#[test]
fn each_reason_of_a_halt_is_in_the_schema() {
    let halts = [
        Halt::Canary,
        Halt::StopAfter { failed: 1, of: 2 },
        Halt::RefusedKey {
            sites: 2,
            others_took: false,
        },
        Halt::DeadKey,
        Halt::Unrecorded,
        Halt::NextWave { wave: 1, of: 2 },
    ];
    words_are("halt", halts.map(Halt::word));
    assert_eq!(variants::<Halt>().len(), halts.len(), "one is missing above");
}

/// Without this a schema would hold whatever is left out of it, or mistyped in it.
#[test]
fn each_object_of_a_schema_says_all_that_can_stand_in_it() {
    fn look(value: &Value, place: &str) {
        if let Value::Object(fields) = value {
            if value["type"] == "object" && fields.contains_key("properties") {
                assert_eq!(value["additionalProperties"], false, "{place}");
                let known = value["properties"].as_object().unwrap();
                for name in value["required"].as_array().unwrap() {
                    assert!(known.contains_key(name.as_str().unwrap()), "{place}: {name}");
                }
            }
            for (name, value) in fields {
                look(value, &format!("{place}/{name}"));
            }
        } else if let Value::Array(values) = value {
            for value in values {
                look(value, place);
            }
        }
    }
    for file in SCHEMAS {
        let schema = schema(file);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        look(&schema, file);
    }
}
