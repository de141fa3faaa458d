use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::Place;
use super::error::{ConfigError, Places};
use super::secrets::{self, RawSecret};
use crate::secret::SecretSource;
use crate::site::{MasterKeyId, NAME_LIMIT, Site, SiteMode, SiteUrl};
use crate::text::CleanText;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSite {
    url: Spanned<String>,
    name: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    mode: Option<SiteMode>,
    backend: Option<Spanned<String>>,
    master_key: Option<Spanned<RawSecret>>,
    enabled: Option<bool>,
}

/// The sites, each with a name and an address of its own. Their master keys are added to `master_keys`.
pub(super) fn resolve(
    raw: &[Spanned<RawSite>],
    master_keys: &mut Vec<SecretSource>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<Vec<Site>, ConfigError> {
    let mut sites: Vec<Site> = Vec::with_capacity(raw.len());
    let mut names = HashMap::new();
    let mut places: HashMap<SiteUrl, usize> = HashMap::new();
    for entry in raw {
        let entry = entry.get_ref();
        let span = entry.url.span();
        let url = SiteUrl::parse(entry.url.get_ref())
            .map_err(|refusal| at.error(Some(span.clone()), refusal.to_string()))?;
        if let Some(first) = places.insert(url.clone(), span.start) {
            let (first, _) = at.line_and_column(first);
            return Err(at.error(
                Some(span),
                format!("this site is in line {first} already: take one of them out"),
            ));
        }
        let name = match &entry.name {
            Some(name) => text("name", name, at)?,
            None => url.default_name(),
        };
        let backend: Arc<str> = match &entry.backend {
            Some(backend) => text("backend", backend, at)?.as_str().into(),
            None => url.backend().into(),
        };
        let master_key = match &entry.master_key {
            Some(secret) => {
                master_keys.push(secrets::resolve(secret, place, at)?);
                MasterKeyId(u32::try_from(master_keys.len() - 1).unwrap_or(u32::MAX))
            }
            None => MasterKeyId::default(),
        };
        sites.push(Site {
            name: unique(&name, &mut names),
            url,
            group: entry
                .group
                .as_ref()
                .map(|group| text("group", group, at))
                .transpose()?,
            mode: entry.mode.unwrap_or_default(),
            backend,
            master_key,
            enabled: entry.enabled.unwrap_or(true),
        });
    }
    Ok(sites)
}

/// A site of which nothing is known but its address, beside `others`.
pub(super) fn by_default(url: &SiteUrl, others: &[Site]) -> Site {
    let mut names = others.iter().map(|site| (site.name.clone(), 1)).collect();
    Site {
        name: unique(&url.default_name(), &mut names),
        url: url.clone(),
        group: None,
        mode: SiteMode::default(),
        backend: url.backend().into(),
        master_key: MasterKeyId::default(),
        enabled: true,
    }
}

fn text(what: &str, raw: &Spanned<String>, at: &Places<'_>) -> Result<CleanText, ConfigError> {
    let clean = CleanText::new(raw.get_ref(), NAME_LIMIT);
    if clean.is_empty() {
        return Err(at.error(
            Some(raw.span()),
            format!("{what} has no visible character: write one, or take the line out"),
        ));
    }
    Ok(clean)
}

/// A name that is taken gets a number behind it.
fn unique(name: &CleanText, names: &mut HashMap<CleanText, usize>) -> CleanText {
    let Some(taken) = names.get(name).copied() else {
        names.insert(name.clone(), 1);
        return name.clone();
    };
    let numbered = |number: usize| CleanText::new(&format!("{name}-{number}"), NAME_LIMIT + 8);
    let mut number = taken + 1;
    while names.contains_key(&numbered(number)) {
        number += 1;
    }
    names.insert(name.clone(), number);
    names.insert(numbered(number), 1);
    numbered(number)
}
