use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::format::print;
use super::key::refuse_strays;
use super::session::{StoreAt, find_config, read_url, state_folder, where_is};
use super::status::Status;
use super::{Globals, log};
use crate::config::{self, Config, Found, Searched};
use crate::policy::POLICY;
use crate::rules::rollout::{Canary, Pause, Share, StopAfter};
use crate::secret::SecretSource;
use crate::store::postgres;
use crate::store::sqlite::{about, newest_version};
use crate::text::{CleanText, Count, pad, width};

/// The longest text that is told, in characters: an error of a config has several lines.
const TEXT: usize = 2000;

/// Flags of `info`.
#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// How it is written.
    #[arg(long, value_enum, default_value_t)]
    format: InfoFormat,
    /// What stands behind the flags: caught here so that a key is never echoed.
    #[arg(hide = true, value_name = "KEY")]
    stray: Vec<OsString>,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum InfoFormat {
    /// A line a fact.
    #[default]
    Table,
    /// One document.
    Json,
}

/// What belongs together, with its facts.
type Section = (&'static str, Vec<(&'static str, Value)>);

/// `info`: works without a config, and with a wrong one.
pub(super) async fn run(globals: &Globals, args: &InfoArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.stray)?;
    let around = config::Surroundings::of_process(globals.config.clone());
    let (file, searched) = match config::find(&around) {
        Found::File(file) => (Some(file), Vec::new()),
        Found::Nowhere(Searched(places)) => (None, places),
    };
    let (config, error) = match find_config(globals) {
        Ok(Ok(config)) => (config, None),
        Ok(Err(_)) => (Config::empty(), None),
        Err(error) => (Config::empty(), Some(format!("{error:#}"))),
    };
    let is_wrong = error.is_some();
    let sections: Vec<Section> = vec![
        (
            "program",
            vec![
                ("version", json!(env!("CARGO_PKG_VERSION"))),
                ("has_workers", json!(cfg!(feature = "cluster"))),
            ],
        ),
        ("config", of_config(&config, file.as_deref(), &searched, error)),
        ("master_key", of_master_key(&config)),
        ("store", of_store(&config, globals).await),
        ("cluster", of_cluster(&config, globals).await),
        ("log", of_log(&config, globals)),
        ("policy", of_policy()),
        ("push", of_push(&config)),
        ("verify", of_verify(&config)),
        ("rollout", of_rollout(&config)),
        ("tls", of_tls(&config)),
    ];
    print(&match args.format {
        InfoFormat::Table => table(&sections),
        InfoFormat::Json => document(sections),
    })?;
    Ok(if is_wrong {
        Status::NothingSent
    } else {
        Status::Good
    })
}

fn path(path: &Path) -> Value {
    clean(&path.display().to_string())
}

/// A path, a name or an error may be anybody's.
fn clean(text: &str) -> Value {
    Value::String(CleanText::new(text, TEXT).to_string())
}

/// What a question came to: its answer, or why there is none.
fn or_error(answer: anyhow::Result<PathBuf>) -> Value {
    answer.map_or_else(
        |error| clean(&format!("not known: {error:#}")),
        |answer| path(&answer),
    )
}

/// As it is written in a config.
fn duration(duration: Duration) -> Value {
    let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    json!(format!("{signed:#}"))
}

fn of_config(
    config: &Config,
    file: Option<&Path>,
    searched: &[PathBuf],
    error: Option<String>,
) -> Vec<(&'static str, Value)> {
    let searched: Vec<Value> = searched.iter().map(|place| path(place)).collect();
    let sources: Vec<Value> = config
        .sources
        .iter()
        .map(|source| clean(&format!("{} ({})", source.name, source.kind.word())))
        .collect();
    let mut facts = vec![("file", file.map_or(Value::Null, path))];
    if !searched.is_empty() {
        facts.push(("looked_for", json!(searched)));
    }
    if let Some(error) = error {
        facts.push(("error", clean(&error)));
        facts.push((
            "note",
            json!("the rest is what holds without a config, not what this one says"),
        ));
        return facts;
    }
    facts.push(("sites", json!(config.sites.len())));
    facts.push(("sources", json!(sources)));
    facts
}

/// Where it would be read, which it is not.
fn of_master_key(config: &Config) -> Vec<(&'static str, Value)> {
    let mut keys = config.master_keys.iter();
    let global = keys.next().map_or(Value::Null, |key| clean(&place(key)));
    vec![("global", global), ("others", json!(keys.count()))]
}

fn place(key: &SecretSource) -> String {
    let names = key.variables();
    if names.is_empty() {
        return key.place();
    }
    let is_set = |name: &String| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let set = if names.iter().any(is_set) {
        "set"
    } else {
        "not set"
    };
    format!("{} ({set})", key.place())
}

async fn of_store(config: &Config, globals: &Globals) -> Vec<(&'static str, Value)> {
    let mut facts = match where_is(&config.store, globals) {
        Ok(StoreAt::Database(url)) => of_database(config, &url).await,
        Ok(StoreAt::File(file)) => {
            let known = about(&file).map(|known| known.map(|known| (known.bytes, known.version)));
            let mut facts = vec![("file", path(&file))];
            facts.extend(of_tables(known, newest_version()));
            facts
        }
        Err(error) => vec![
            ("file", or_error(Err(error))),
            ("newest_version", json!(newest_version())),
        ],
    };
    let days = config.store.retention.as_secs() / 86_400;
    facts.push((
        "retention",
        json!(Count(usize::try_from(days).unwrap_or(usize::MAX), "day").to_string()),
    ));
    facts.push(("state_folder", or_error(state_folder())));
    facts
}

/// Of a database the place of its URL is told, and never that.
async fn of_database(config: &Config, url: &SecretSource) -> Vec<(&'static str, Value)> {
    let known = match read_url(config, url).await {
        Ok(secret) => postgres::about(&secret).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    let known = known.map(|known| known.map(|known| (known.bytes, known.version)));
    let mut facts = vec![("url", clean(&place(url)))];
    facts.extend(of_tables(known, postgres::newest_version()));
    facts
}

/// Whether workers make the calls of runs, and on which machines they are now.
async fn of_cluster(config: &Config, globals: &Globals) -> Vec<(&'static str, Value)> {
    let enabled = config.cluster.enabled;
    let mut facts = vec![("enabled", json!(enabled))];
    if let Ok(StoreAt::Database(url)) = where_is(&config.store, globals)
        && enabled
    {
        let living = match read_url(config, &url).await {
            Ok(secret) => postgres::living(&secret).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        facts.push(match living {
            Ok(machines) => (
                "workers",
                machines.iter().map(|machine| clean(machine.as_str())).collect(),
            ),
            Err(error) => ("error", clean(&format!("{error:#}"))),
        });
    }
    facts
}

/// Size and version of a store, if there is one.
fn of_tables<Error: std::fmt::Display>(
    known: Result<Option<(u64, u32)>, Error>,
    newest: usize,
) -> Vec<(&'static str, Value)> {
    let mut facts = match known {
        Ok(Some((bytes, version))) => vec![("bytes", json!(bytes)), ("version", json!(version))],
        Ok(None) => vec![("bytes", Value::Null)],
        Err(error) => vec![("error", clean(&format!("{error:#}")))],
    };
    facts.push(("newest_version", json!(newest)));
    facts
}

fn of_log(config: &Config, globals: &Globals) -> Vec<(&'static str, Value)> {
    let log = config
        .log
        .clone()
        .overridden(globals.log.clone(), globals.verbose);
    vec![
        ("level", json!(format!("{:?}", log.level).to_lowercase())),
        ("file", or_error(log::path(log.file))),
    ]
}

fn of_policy() -> Vec<(&'static str, Value)> {
    vec![
        ("file", json!(POLICY)),
        ("present", json!(Path::new(POLICY).symlink_metadata().is_ok())),
    ]
}

fn of_push(config: &Config) -> Vec<(&'static str, Value)> {
    let push = &config.push;
    vec![
        ("concurrency", json!(push.concurrency)),
        ("per_backend", json!(push.per_backend)),
        ("rate_per_second", json!(push.rate_per_second)),
        ("backend_rate_per_second", json!(push.backend_rate_per_second)),
        ("connect_timeout", duration(push.connect_timeout)),
        ("timeout", duration(push.timeout)),
        ("attempts", json!(push.attempts)),
        ("backoff", duration(push.backoff)),
        ("backoff_max", duration(push.backoff_max)),
        ("retry_after_max", duration(push.retry_after_max)),
        // Its address may hold a password.
        (
            "proxy",
            push.proxy
                .as_ref()
                .map_or(Value::Null, |proxy| clean(proxy.host())),
        ),
    ]
}

fn of_verify(config: &Config) -> Vec<(&'static str, Value)> {
    vec![
        ("on_start", json!(config.verify.on_start)),
        ("settle", duration(config.verify.settle)),
    ]
}

fn of_rollout(config: &Config) -> Vec<(&'static str, Value)> {
    let rollout = &config.rollout;
    let share = |share: &Share| match share {
        Share::Sites(sites) => json!(sites),
        Share::Percent(percent) => json!(format!("{percent}%")),
    };
    let canary = match &rollout.canary {
        Canary::Automatic => json!("automatic"),
        Canary::Share(of) => share(of),
        Canary::Named(names) => names.iter().map(|name| clean(name)).collect(),
    };
    vec![
        ("canary", canary),
        ("waves", rollout.waves.iter().map(share).collect()),
        (
            "pause",
            json!(match rollout.pause {
                Pause::None => "none",
                Pause::Ask => "ask",
            }),
        ),
        (
            "stop_after",
            match &rollout.stop_after {
                StopAfter::Never => json!("never"),
                StopAfter::Share(of) => share(of),
            },
        ),
    ]
}

fn of_tls(config: &Config) -> Vec<(&'static str, Value)> {
    vec![
        ("roots", json!("the system's")),
        ("ca_file", config.ca_file.as_deref().map_or(Value::Null, path)),
    ]
}

/// A line a fact: what it belongs to, its name, what is known.
fn table(sections: &[Section]) -> String {
    let facts = || {
        sections
            .iter()
            .flat_map(|(section, facts)| facts.iter().map(move |fact| (section, fact)))
    };
    let name = |section: &str, name: &str| format!("{section}.{name}");
    let room = facts()
        .map(|(section, (fact, _))| width(&name(section, fact)))
        .max();
    let lines = facts().map(|(section, (fact, value))| {
        let name = pad(&name(section, fact), room.unwrap_or_default());
        format!("{name}  {}\n", in_words(value))
    });
    lines.collect()
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(in_words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// One document in one line.
fn document(sections: Vec<Section>) -> String {
    let sections = sections.into_iter().map(|(section, facts)| {
        let facts: BTreeMap<&str, Value> = facts.into_iter().collect();
        (section.to_owned(), json!(facts))
    });
    let version = ("v".to_owned(), json!(1));
    Value::Object(std::iter::once(version).chain(sections).collect()).to_string()
}
