use std::fmt::Write;

use serde::Serialize;

use super::{Results, UNSEEN};
use crate::config::FailedSource;
use crate::rules::expiry::{KeyAtSites, May, SitesOfOldKeys};
use crate::rules::moment::Moment;
use crate::text::{Count, some_names};

/// So many old keys are told of one by one.
const NAMED: usize = 10;

/// A line for each old key and what its sites do with it: serve it, or may. None for a key without such a site.
pub(super) fn lines(results: &Results<'_>, old_keys: &SitesOfOldKeys) -> String {
    let mut text = String::new();
    let feared = |old: &&KeyAtSites| !old.serving.is_empty() || !old.may.is_empty();
    for old in old_keys.keys.iter().filter(feared).take(NAMED) {
        let key = results.mask(&old.key);
        if !old.serving.is_empty() {
            let serve = if old.serving.len() == 1 { "serves" } else { "serve" };
            // Writing into a string cannot fail.
            let _written = writeln!(
                text,
                "{} {serve} {key}: {}",
                Count(old.serving.len(), "site"),
                names(results, old.serving.iter().copied())
            );
        }
        if !old.may.is_empty() {
            let _written = writeln!(
                text,
                "{} may serve {key}{}: {}",
                Count(old.may.len(), "site"),
                until(results, &old.may),
                names(results, old.may.iter().map(|(place, _)| *place))
            );
        }
    }
    match old_keys.keys.iter().filter(feared).count().saturating_sub(NAMED) {
        0 => {}
        more => {
            let _written = writeln!(text, "and so with {}", Count(more, "more old key"));
        }
    }
    text
}

/// A line about the sources whose sites are missing; nothing where none is.
pub(super) fn missing(results: &Results<'_>) -> String {
    let names: Vec<&str> = missing_names(results).collect();
    if names.is_empty() {
        return String::new();
    }
    let (count, names) = (Count(names.len(), "source"), some_names(&names));
    format!("{count} could not be read, and the sites that only stand there may serve any key: {names}\n")
}

fn missing_names<'a>(results: &Results<'a>) -> impl Iterator<Item = &'a str> {
    let missing: &'a [FailedSource] = results.missing_sources;
    missing.iter().map(|failed| failed.source.as_str())
}

/// The answer for each key that the last run of each site replaced, from what is on record alone.
pub fn answer(results: &Results<'_>) -> String {
    let old_keys = results.replaced_keys();
    let mut text = String::new();
    if old_keys.keys.is_empty() {
        return if results.missing_sources.is_empty() {
            "no run on record has replaced a key: there is no old one\n".to_owned()
        } else {
            let missing = missing(results);
            format!("no run on record has replaced a key at a site that is listed\n{missing}")
        };
    }
    let shown = old_keys.keys.len().min(NAMED);
    for old in &old_keys.keys[..shown] {
        let key = results.mask(&old.key);
        let _written = if old_keys.may_expire(old) {
            writeln!(text, "{key} may expire, as far as can be seen from here")
        } else {
            writeln!(text, "do not expire {key} yet")
        };
    }
    if old_keys.keys.len() > shown {
        let more = Count(old_keys.keys.len() - shown, "more old key");
        let safe = old_keys.keys[shown..]
            .iter()
            .filter(|old| old_keys.may_expire(old))
            .count();
        let _written = writeln!(text, "{more}, {safe} of them may expire: --json names each");
    }
    text.push_str(&lines(results, &old_keys));
    let left = [
        ("not seen", old_keys.unseen.clone(), String::new()),
        (
            "not proven",
            old_keys.unproven.iter().map(|(place, _)| *place).collect(),
            until(results, &old_keys.unproven),
        ),
    ];
    for (what, places, until) in left {
        if !places.is_empty() {
            let count = Count(places.len(), "site");
            let names = names(results, places);
            let _written = writeln!(text, "{count} {what}{until}: {names}");
        }
    }
    text.push_str(&missing(results));
    let oldest = results.states.iter().filter_map(|state| state.looked_at).min();
    if let Some(oldest) = oldest {
        let _written = writeln!(
            text,
            "By what is on record: the oldest look was at {}. `stripe-propagate verify` looks again.",
            results.clock(oldest)
        );
    }
    let _written = writeln!(text, "{UNSEEN}");
    text
}

fn names(results: &Results<'_>, places: impl IntoIterator<Item = usize>) -> String {
    let names = places.into_iter().map(|place| results.sites[place].name.as_str());
    some_names(&names.collect::<Vec<_>>())
}

/// When the last of them cannot any more, where all have a time.
fn until(results: &Results<'_>, may: &[May]) -> String {
    let ends: Option<Vec<Moment>> = may.iter().map(|(_, until)| *until).collect();
    let last = ends.and_then(|ends| ends.into_iter().max());
    last.map_or_else(String::new, |last| format!(" until {}", results.clock(last)))
}

/// An old key in JSON, with all of its sites.
#[derive(Serialize)]
pub(super) struct OldKeyBody<'a> {
    key: String,
    may_expire: bool,
    /// How many sites serve it.
    serving: usize,
    /// When the last cache that may have it has lost it, if one may.
    until: Option<String>,
    /// The sites that serve it.
    sites: Vec<&'a str>,
    /// The sites that showed another one, and may serve it all the same.
    may: Vec<MayBody<'a>>,
}

/// A site that may serve an old key.
#[derive(Serialize)]
pub(super) struct MayBody<'a> {
    site: &'a str,
    until: Option<String>,
}

/// The old keys, and the sites that may serve any of them, in JSON.
#[derive(Serialize)]
pub(super) struct OldKeysBody<'a> {
    old_keys: Vec<OldKeyBody<'a>>,
    /// Sites of which nobody knows what they serve.
    unseen_sites: Vec<&'a str>,
    /// Sites whose PUT, or the proof of it, is still to come.
    unproven_sites: Vec<MayBody<'a>>,
    /// Sources that could not be read: nobody knows which sites only stand there, nor what they serve.
    missing_sources: Vec<&'a str>,
}

/// All of it, whatever the number of sites. `may_expire` says of a key whether nothing else speaks against it, either.
pub(super) fn body<'a>(
    results: &'a Results<'_>,
    old_keys: &SitesOfOldKeys,
    may_expire: impl Fn(&KeyAtSites) -> bool,
) -> OldKeysBody<'a> {
    let name = |place: &usize| results.sites[*place].name.as_str();
    let may = |may: &[May]| -> Vec<MayBody<'a>> {
        let body = |(place, until): &May| MayBody {
            site: name(place),
            until: until.map(|until| format!("{:.3}", until.wall)),
        };
        may.iter().map(body).collect()
    };
    let old_key = |old: &KeyAtSites| OldKeyBody {
        key: results.mask(&old.key),
        may_expire: may_expire(old),
        serving: old.serving.len(),
        until: old.until.map(|until| format!("{:.3}", until.wall)),
        sites: old.serving.iter().map(name).collect(),
        may: may(&old.may),
    };
    OldKeysBody {
        old_keys: old_keys.keys.iter().map(old_key).collect(),
        unseen_sites: old_keys.unseen.iter().map(name).collect(),
        unproven_sites: may(&old_keys.unproven),
        missing_sources: missing_names(results).collect(),
    }
}
