use std::collections::{BTreeMap, HashMap};
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGroup {
    master_key: Option<Spanned<RawSecret>>,
}

/// A site as the places that list it describe it. What none of them says is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteEntry {
    /// Its address.
    pub url: SiteUrl,
    /// How it is called.
    pub name: Option<CleanText>,
    /// Those that belong together.
    pub group: Option<CleanText>,
    /// Which keys it may be given.
    pub mode: Option<SiteMode>,
    /// Which sites share a server.
    pub backend: Option<CleanText>,
    /// A master key of its own.
    pub master_key: Option<MasterKeyId>,
    /// Whether it is sent keys.
    pub enabled: Option<bool>,
    /// What its sources say of all of their sites: less than what any of them says of this one.
    pub otherwise: Otherwise,
}

/// What a source says of all of its sites.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Otherwise {
    /// Their group.
    pub group: Option<CleanText>,
    /// Which keys they may be given.
    pub mode: Option<SiteMode>,
    /// Their master key.
    pub master_key: Option<MasterKeyId>,
}

/// The master keys of groups.
pub(super) type Groups = BTreeMap<CleanText, MasterKeyId>;

/// The sites as they stand in the config, each with an address of its own. Their master keys are added to
/// `master_keys`.
pub(super) fn resolve(
    raw: &[Spanned<RawSite>],
    master_keys: &mut Vec<SecretSource>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<Vec<SiteEntry>, ConfigError> {
    let mut entries: Vec<SiteEntry> = Vec::with_capacity(raw.len());
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
        let text =
            |what, raw: &Option<Spanned<String>>| raw.as_ref().map(|raw| clean(what, raw, at)).transpose();
        entries.push(SiteEntry {
            url,
            name: text("name", &entry.name)?,
            group: text("group", &entry.group)?,
            mode: entry.mode,
            backend: text("backend", &entry.backend)?,
            master_key: key(entry.master_key.as_ref(), master_keys, place, at)?,
            enabled: entry.enabled,
            otherwise: Otherwise::default(),
        });
    }
    Ok(entries)
}

/// These sites, whose master keys are `own`, when those stand behind `master_keys`.
pub(super) fn behind(
    mut entries: Vec<SiteEntry>,
    mut own: Vec<SecretSource>,
    master_keys: &mut Vec<SecretSource>,
) -> Vec<SiteEntry> {
    let before = u32::try_from(master_keys.len()).unwrap_or(u32::MAX);
    for key in entries.iter_mut().filter_map(|entry| entry.master_key.as_mut()) {
        key.0 = key.0.saturating_add(before);
    }
    master_keys.append(&mut own);
    entries
}

/// `[groups.NAME]`. One that no site has is none too many: a source may list its sites.
pub(super) fn resolve_groups(
    raw: &BTreeMap<Spanned<String>, RawGroup>,
    master_keys: &mut Vec<SecretSource>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<Groups, ConfigError> {
    let mut groups = Groups::new();
    for (name, group) in raw {
        let clean = clean("the name of a group", name, at)?;
        if let Some(key) = key(group.master_key.as_ref(), master_keys, place, at)? {
            groups.insert(clean, key);
        }
    }
    Ok(groups)
}

/// Adds a master key that stands in the config to `master_keys`.
pub(super) fn key(
    raw: Option<&Spanned<RawSecret>>,
    master_keys: &mut Vec<SecretSource>,
    place: Place<'_>,
    at: &Places<'_>,
) -> Result<Option<MasterKeyId>, ConfigError> {
    let Some(secret) = raw else { return Ok(None) };
    master_keys.push(secrets::resolve(secret, place, at)?);
    Ok(Some(MasterKeyId(
        u32::try_from(master_keys.len() - 1).unwrap_or(u32::MAX),
    )))
}

/// Each entry with what is the default, and with a name of its own. A site's master key is its own, else its group's,
/// else its source's, else the global one.
pub(super) fn complete(entries: &[SiteEntry], groups: &Groups) -> Vec<Site> {
    let mut names = HashMap::with_capacity(entries.len());
    let complete = |entry: &SiteEntry| {
        let url = &entry.url;
        let name = entry.name.clone().unwrap_or_else(|| url.default_name());
        let group = entry.group.as_ref().or(entry.otherwise.group.as_ref());
        let of_group = || group.and_then(|group| groups.get(group)).copied();
        let key = entry.master_key.or_else(of_group).or(entry.otherwise.master_key);
        let backend: Arc<str> = match &entry.backend {
            Some(backend) => backend.as_str().into(),
            None => url.backend().into(),
        };
        Site {
            name: unique(&name, &mut names),
            url: url.clone(),
            group: group.cloned(),
            mode: entry.mode.or(entry.otherwise.mode).unwrap_or_default(),
            backend,
            master_key: key.unwrap_or_default(),
            enabled: entry.enabled.unwrap_or(true),
        }
    };
    entries.iter().map(complete).collect()
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

/// `raw` as the `what` of something, made safe.
pub(super) fn clean(what: &str, raw: &Spanned<String>, at: &Places<'_>) -> Result<CleanText, ConfigError> {
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
