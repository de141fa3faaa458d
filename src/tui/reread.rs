use std::collections::HashMap;

use crate::site::{Site, SiteUrl};
use crate::text::Count;

/// So many names are told of each kind of change.
const NAMES: usize = 3;

/// What became of the sites when their config was read again, in words: `300 sites, 1 gone (a), 2 new (b, c)`.
pub(super) fn compared(before: &[Site], now: &[Site]) -> String {
    let by_url = |sites: &[Site]| -> HashMap<SiteUrl, usize> {
        let places = sites.iter().enumerate();
        places.map(|(place, site)| (site.url.clone(), place)).collect()
    };
    let (old, new) = (by_url(before), by_url(now));
    let pairs = now
        .iter()
        .filter_map(|site| Some((&before[*old.get(&site.url)?], site)));
    let (mut renamed, mut changed) = (Vec::new(), Vec::new());
    for (old, new) in pairs {
        if old.name != new.name {
            renamed.push(new);
        } else if !is_same(old, new) {
            changed.push(new);
        }
    }
    let gone = before
        .iter()
        .filter(|site| !new.contains_key(&site.url))
        .collect();
    let fresh = now.iter().filter(|site| !old.contains_key(&site.url)).collect();
    let kinds = [
        ("gone", gone),
        ("new", fresh),
        ("renamed", renamed),
        ("changed", changed),
    ];
    let told: Vec<String> = kinds
        .iter()
        .filter_map(|(what, sites)| told(what, sites))
        .collect();
    let count = Count(now.len(), "site");
    if told.is_empty() {
        return format!("the same {count}");
    }
    format!("{count}, {}", told.join(", "))
}

/// Whether the config says the same of both. Which master key it is cannot be told by its place among others.
fn is_same(one: &Site, other: &Site) -> bool {
    (&one.group, one.mode, &one.backend, one.enabled)
        == (&other.group, other.mode, &other.backend, other.enabled)
}

fn told(what: &str, sites: &[&Site]) -> Option<String> {
    let names: Vec<&str> = sites.iter().take(NAMES).map(|site| site.name.as_str()).collect();
    let more = sites.len() - names.len();
    let more = if more > 0 {
        format!(", {more} more")
    } else {
        String::new()
    };
    (!sites.is_empty()).then(|| format!("{} {what} ({}{more})", sites.len(), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Place, parse};

    /// Sites of these names (their addresses), with what else stands in their tables.
    fn sites(of: &[(&str, &str)]) -> Vec<Site> {
        let table = |(host, more): &(&str, &str)| format!("[[sites]]\nurl = \"https://{host}\"\n{more}\n");
        let place = Place {
            path: Path::new("c.toml"),
            home: None,
            owner_only: true,
        };
        parse(&of.iter().map(table).collect::<String>(), place)
            .unwrap()
            .sites
            .to_vec()
    }

    #[test]
    fn what_came_went_and_was_changed_is_told() {
        let before = sites(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]);
        assert_eq!(compared(&before, &before), "the same 4 sites");
        let after = sites(&[
            ("d", "enabled = false"),
            ("c", "name = \"shop\""),
            ("a", "master_key = { value = \"x\" }"),
            ("e", ""),
        ]);
        let told = "4 sites, 1 gone (b), 1 new (e), 1 renamed (shop), 1 changed (d)";
        assert_eq!(compared(&before, &after), told);
        assert_eq!(compared(&before, &[]), "0 sites, 4 gone (a, b, c, 1 more)");
        assert_eq!(compared(&[], &before[..1]), "1 site, 1 new (a)");
    }
}
