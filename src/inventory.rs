//! Where sites come from besides the config's own `[[sites]]`: each source is read into rows, each row parsed into an
//! entry, and the entries merged into one list. One file a kind of source.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::{Config, Source, SourceKind};
use crate::secret::Surroundings;
use crate::site_api::HttpSettings;
use crate::text::CleanText;
use formats::Rows;

/// A row of a source, and what stands in it.
pub mod row;
/// What a list can be written in.
mod formats;
/// `kind = "file"`.
mod file;
/// `kind = "sql"`.
pub mod sql;
/// `kind = "http"`.
mod http;
/// `kind = "command"`.
mod command;
/// Many lists made into one.
mod merge;

/// The longest list, in bytes.
const LIST_LIMIT: u64 = 64 * 1024 * 1024;

/// What reading sources depends on besides the config.
#[derive(Debug, Clone)]
pub struct Around {
    /// Where secrets are read from.
    pub secrets: Surroundings,
    /// How sites are reached: web servers that list them are reached in the same way.
    pub http: HttpSettings,
}

/// What a source came to: its rows, or why it could not be read.
type Outcome = Result<Rows, String>;

/// All sources of a config, which are being read at once.
pub struct Gathering {
    config: Config,
    reading: JoinSet<(usize, Outcome)>,
    outcomes: Vec<Option<Outcome>>,
}

impl Gathering {
    /// Begins to read them, each with its own limit of time. What is not over when this is dropped is broken off.
    /// Needs a runtime if there are sources.
    pub fn begin(config: Config, around: Around) -> Self {
        let around = Arc::new(around);
        let hidden: Arc<[String]> = config.secret_variables().into();
        let mut reading = JoinSet::new();
        for (place, source) in config.sources.iter().cloned().enumerate() {
            let (around, hidden) = (Arc::clone(&around), Arc::clone(&hidden));
            reading.spawn(async move { (place, read(&source, &around, &hidden).await) });
        }
        Self {
            outcomes: config.sources.iter().map(|_| None).collect(),
            reading,
            config,
        }
    }

    /// Those that are still being read, by their names.
    pub fn waits_for(&self) -> Vec<&CleanText> {
        let sources = self.config.sources.iter().zip(&self.outcomes);
        let waits = sources.filter(|(_, outcome)| outcome.is_none());
        waits.map(|(source, _)| &source.name).collect()
    }

    /// Until all are read. Nothing is lost where nobody waits for that to its end.
    pub async fn all_read(&mut self) {
        while let Some(ended) = self.reading.join_next().await {
            if let Ok((place, outcome)) = ended {
                self.outcomes[place] = Some(outcome);
            }
        }
    }

    /// The config with the sites of all sources, and what was found odd with them.
    pub async fn finish(mut self) -> Config {
        self.all_read().await;
        let faulty = || Err("reading it has failed by a fault of the program: please report it".to_owned());
        let outcomes = self.outcomes.into_iter();
        let outcomes = outcomes.map(|outcome| outcome.unwrap_or_else(faulty));
        merge::merge(self.config, outcomes.collect())
    }
}

/// Reads all sources of a config, and merges what they list with its own sites. Without sources it does nothing.
pub async fn gather(config: Config, around: Around) -> Config {
    if config.sources.is_empty() {
        return config;
    }
    Gathering::begin(config, around).finish().await
}

async fn read(source: &Source, around: &Around, hidden: &[String]) -> Outcome {
    let limit = source.timeout;
    let reading = tokio::time::timeout(limit, read_kind(source, around, hidden));
    let rows = reading.await.map_err(|_| {
        format!("was not read within {limit:?}: see what holds it up, or give it a longer timeout")
    })??;
    if rows.count() > source.max_rows {
        return Err(formats::too_many(source.max_rows));
    }
    Ok(rows)
}

async fn read_kind(source: &Source, around: &Around, hidden: &[String]) -> Outcome {
    let most = source.max_rows;
    match &source.kind {
        SourceKind::File { path, format } => file::read(path.clone(), *format, most).await,
        SourceKind::Sql { url, query } => {
            let url = url.read_secret(around.secrets, hidden).await;
            let url = url.map_err(|error| error.to_string())?;
            let rows = sql::read(&url, query, source.timeout, most).await?;
            Ok(Rows::of_answer(rows))
        }
        SourceKind::Http {
            url,
            pointer,
            fields,
            header,
        } => {
            let header = match header {
                None => None,
                Some((name, value)) => {
                    let value = value.read_secret(around.secrets, hidden).await;
                    Some((name, value.map_err(|error| error.to_string())?))
                }
            };
            let body = http::get(url, header, &around.http, source.timeout).await?;
            let (pointer, fields) = (pointer.clone(), fields.clone());
            on_a_thread(move || formats::json::read(&body, pointer.as_deref(), &fields, most)).await
        }
        SourceKind::Command {
            argv,
            pointer,
            fields,
        } => {
            let printed = command::run(argv, hidden, source.timeout).await?;
            let (pointer, fields) = (pointer.clone(), fields.clone());
            on_a_thread(move || formats::printed(&printed, pointer.as_deref(), &fields, most)).await
        }
    }
}

/// What a config becomes when its sources hold these texts, one each in their order. Does no I/O: it is what fuzzing
/// and its twins feed. A database answers no text, so a source of that kind has failed.
pub fn of_texts(config: Config, texts: &[&[u8]]) -> Config {
    let outcomes = config.sources.iter().zip(texts).map(|(source, text)| {
        let most = source.max_rows;
        match &source.kind {
            SourceKind::File { path, format } => {
                formats::read(text, format.unwrap_or_else(|| file::by_its_name(path)), most)
            }
            SourceKind::Http { pointer, fields, .. } => {
                formats::json::read(text, pointer.as_deref(), fields, most)
            }
            SourceKind::Command { pointer, fields, .. } => {
                formats::printed(text, pointer.as_deref(), fields, most)
            }
            SourceKind::Sql { .. } => Err("a database has no text".to_owned()),
        }
    });
    let outcomes = outcomes.collect();
    merge::merge(config, outcomes)
}

/// What takes a while to read or to parse holds up nothing else.
async fn on_a_thread(work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(format!(
            "reading it has failed by a fault of the program: {error}"
        ))
    })
}
