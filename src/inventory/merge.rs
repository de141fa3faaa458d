use std::collections::{HashMap, HashSet};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Outcome;
use super::formats::{Remarks, Rows, unknown_in_words};
use super::row::{Entry, Place, Row};
use crate::config::{
    CONFIG, Config, FailedSource, InventorySettings, Listed, Origins, Otherwise, RowWarning, SiteEntry,
    Source,
};
use crate::secret::{MasterKey, SecretSource};
use crate::site::{MasterKeyId, SiteUrl};
use crate::text::{CleanText, Count};

/// The longest reason or remark that is told, in characters.
const LIMIT: usize = 600;
/// So many sites that are held back are named; the others are counted.
const NAMED: usize = 100;

/// The config with the sites of its sources, each of which has come to something. The config's own sites are first. Of a
/// site that several places list, each field is as the first of them has it that has it at all.
pub(super) fn merge(mut config: Config, outcomes: Vec<Outcome>) -> Config {
    let mut merging = Merging::of(&mut config);
    let sources = std::mem::take(&mut config.sources);
    for (source, outcome) in sources.iter().zip(outcomes) {
        merging.take(source, outcome);
    }
    merging.hold_back();
    config.sources = sources;
    config.sites = config.complete(&merging.entries).into();
    config.master_keys = merging.master_keys;
    config.listed = merging.listed;
    config
}

struct Merging {
    entries: Vec<SiteEntry>,
    places: HashMap<SiteUrl, usize>,
    listed: Listed,
    inventory: InventorySettings,
    master_keys: Vec<SecretSource>,
    /// The master keys of rows, by their hashes: sites with the same one share it.
    known_keys: HashMap<[u8; 32], MasterKeyId>,
    /// The sites of rows that are left out: where else they may stand is known when all is read.
    held_back: Vec<HeldBack>,
}

/// A site of which a source says something that cannot be read: that it gets no key, perhaps, or another one.
struct HeldBack {
    source: CleanText,
    place: Place,
    url: SiteUrl,
}

/// What is made of one source.
struct Told {
    bad: Remarks,
    odd: Remarks,
    good: usize,
    /// Where in it each of its sites stood first.
    seen: HashMap<usize, Place>,
}

impl Merging {
    fn of(config: &mut Config) -> Self {
        let entries = std::mem::take(&mut config.entries);
        let config_alone: Origins = [CleanText::note(CONFIG)].into();
        let own = Listed {
            origins: vec![config_alone; entries.len()],
            warnings: config.listed.warnings.clone(),
            failed: Vec::new(),
            held_back: 0,
        };
        Self {
            places: (0..)
                .zip(&entries)
                .map(|(place, entry)| (entry.url.clone(), place))
                .collect(),
            entries,
            listed: own,
            inventory: config.inventory.clone(),
            master_keys: config.master_keys.clone(),
            known_keys: HashMap::new(),
            held_back: Vec::new(),
        }
    }

    fn take(&mut self, source: &Source, outcome: Outcome) {
        let rows = match outcome {
            Ok(rows) => rows,
            Err(reason) => return self.fail(source, &reason),
        };
        let count = rows.count();
        let Rows {
            found,
            bad,
            bad_addresses,
            unknown,
            odd,
        } = rows;
        for (place, url) in bad_addresses {
            let url = SiteUrl::parse(url.expose_secret().trim());
            self.note_held_back(source, place, url.ok());
        }
        let mut told = Told {
            bad,
            odd: Remarks::default(),
            good: 0,
            seen: HashMap::new(),
        };
        for row in found {
            let place = row.place;
            match self.add(source, &row, &mut told) {
                Ok(()) => told.good += 1,
                Err(why) => {
                    told.bad.add(place, why);
                    self.note_held_back(source, place, row.url().ok());
                }
            }
        }
        if told.good == 0 && count > 0 {
            return self.fail(source, &all_bad(count, told.bad));
        }
        let names = (!unknown.is_empty()).then(|| unknown_in_words(&unknown));
        for text in names.into_iter().chain(odd) {
            self.warn(source, None, &text);
        }
        if count == 0 {
            self.warn(source, None, "lists no sites");
        }
        let (kept, more) = told.bad.with(told.odd).into_kept();
        for (place, text) in kept {
            self.warn(source, Some(place), &text);
        }
        if more > 0 {
            self.warn(source, None, &format!("and {more} more"));
        }
    }

    fn fail(&mut self, source: &Source, reason: &str) {
        self.listed.failed.push(FailedSource {
            source: source.name.clone(),
            reason: CleanText::new(reason, LIMIT),
        });
    }

    fn warn(&mut self, source: &Source, place: Option<Place>, text: &str) {
        self.listed.warnings.push(RowWarning {
            source: source.name.clone(),
            place: place.map(|place| place.to_string()),
            text: CleanText::new(text, LIMIT),
        });
    }

    /// A source that may not add a site may not hold it back either.
    fn note_held_back(&mut self, source: &Source, place: Place, url: Option<SiteUrl>) {
        let url = url.filter(|url| self.inventory.allows(url.host()));
        self.held_back.extend(url.map(|url| HeldBack {
            source: source.name.clone(),
            place,
            url,
        }));
    }

    /// A site that a row which is left out speaks of, and that stands elsewhere too, gets no key: without the row it would
    /// be of any mode, enabled and with the global master key, as far as the other places say nothing of that.
    fn hold_back(&mut self) {
        let mut sites = HashSet::new();
        let mut last = None;
        for held in std::mem::take(&mut self.held_back) {
            let Some(at) = self.places.get(&held.url).copied() else {
                continue;
            };
            if !sites.insert(at) {
                continue;
            }
            self.entries[at].enabled = Some(false);
            if sites.len() > NAMED {
                last = Some(held.source);
                continue;
            }
            let text = format!(
                "{} stands elsewhere too, but what this row says of it is not known: it gets no key until the row is mended",
                held.url
            );
            self.listed.warnings.push(RowWarning {
                source: held.source,
                place: Some(held.place.to_string()),
                text: CleanText::new(&text, LIMIT),
            });
        }
        self.listed.held_back = sites.len();
        if let Some(source) = last {
            let more = Count(sites.len() - NAMED, "more site");
            let text =
                format!("and {more} of rows that are left out: none gets a key until its row is mended");
            self.listed.warnings.push(RowWarning {
                source,
                place: None,
                text: CleanText::note(&text),
            });
        }
    }

    /// Adds a row's site, or what the row says of one that is known.
    ///
    /// # Errors
    /// Why the row is left out.
    fn add(&mut self, source: &Source, row: &Row, told: &mut Told) -> Result<(), String> {
        let entry = row.parse().map_err(|refusal| refusal.to_string())?;
        if let Some(key) = &entry.master_key {
            check_key(key)?;
        }
        let host = entry.url.host();
        if !self.inventory.allows(host) {
            let host = CleanText::note(host);
            return Err(format!(
                "host {host} is none of inventory.allow_hosts: it is left out"
            ));
        }
        let at = match self.places.get(&entry.url) {
            Some(at) => *at,
            None => self.add_new(source, row.place, &entry.url, told),
        };
        if let Some(first) = told.seen.get(&at) {
            told.odd.add(
                row.place,
                format!("this site is in {first} already: what both say is one"),
            );
        } else {
            told.seen.insert(at, row.place);
            let origins = &mut self.listed.origins[at];
            if !origins.contains(&source.name) {
                *origins = origins.iter().chain([&source.name]).cloned().collect();
            }
        }
        self.complete(at, source, entry);
        Ok(())
    }

    fn add_new(&mut self, source: &Source, place: Place, url: &SiteUrl, told: &mut Told) -> usize {
        let at = self.entries.len();
        if let Some(warning) = RowWarning::of_scripts(&source.name, None, url) {
            told.odd.add(place, warning.text.as_str());
        }
        self.places.insert(url.clone(), at);
        self.listed.origins.push([].into());
        self.entries.push(SiteEntry {
            url: url.clone(),
            name: None,
            group: None,
            mode: None,
            backend: None,
            master_key: None,
            enabled: None,
            otherwise: Otherwise::default(),
        });
        at
    }

    /// What is set already stays.
    fn complete(&mut self, at: usize, source: &Source, entry: Entry) {
        let wants_key = self.entries[at].master_key.is_none();
        let key = entry.master_key.filter(|_| wants_key);
        let key = key.map(|key| self.master_key(&key));
        let known = &mut self.entries[at];
        let otherwise = &mut known.otherwise;
        set(&mut known.name, entry.name);
        set(&mut known.group, entry.group);
        set(&mut known.mode, entry.mode);
        set(&mut known.backend, entry.backend);
        set(&mut known.enabled, entry.enabled);
        set(&mut known.master_key, key);
        set(&mut otherwise.group, source.group.clone());
        set(&mut otherwise.mode, source.mode);
        set(&mut otherwise.master_key, source.master_key);
    }

    fn master_key(&mut self, key: &SecretString) -> MasterKeyId {
        let text = key.expose_secret().trim();
        let hash: [u8; 32] = Sha256::digest(text).into();
        let keys = &mut self.master_keys;
        *self.known_keys.entry(hash).or_insert_with(|| {
            keys.push(SecretSource::Value(SecretString::from(text)));
            MasterKeyId(u32::try_from(keys.len() - 1).unwrap_or(u32::MAX))
        })
    }
}

fn set<T>(known: &mut Option<T>, other: Option<T>) {
    if known.is_none() {
        *known = other;
    }
}

/// A key that is none would be met only when a push needs it, and stop that.
fn check_key(key: &SecretString) -> Result<(), String> {
    let text = key.expose_secret().trim();
    if text.ends_with('…') || text.ends_with("...") {
        return Err("master_key: it is cut short (it ends with dots), and no site takes it".to_owned());
    }
    match MasterKey::parse(text.to_owned()) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(format!("master_key: {refusal}")),
    }
}

fn all_bad(count: usize, bad: Remarks) -> String {
    let (kept, _) = bad.with(Remarks::default()).into_kept();
    let first = kept.first().map(|(place, text)| format!(" ({place}: {text})"));
    let first = first.unwrap_or_default();
    match count {
        1 => format!("its only row is no site{first}"),
        _ => format!("none of its {} is a site{first}", Count(count, "row")),
    }
}

#[cfg(test)]
mod tests;
