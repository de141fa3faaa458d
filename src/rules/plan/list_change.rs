use std::collections::HashSet;
use std::fmt;

use super::Danger;
use crate::site::{Site, SiteUrl};
use crate::text::{Count, list};

/// A list that changed by fewer sites is not asked about ...
const FEW: usize = 5;
/// ... nor one that changed by less than one site in so many.
const PART: usize = 10;
/// So many are named; the others are counted.
const NAMED: usize = 5;

/// By what the list of sites differs from the one of the last run. A disabled site is not in a list: it gets no key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListChange {
    /// Sites that were not in it.
    pub came: Vec<SiteUrl>,
    /// Sites that are not in it any more.
    pub went: Vec<SiteUrl>,
    /// How many the list had.
    before: usize,
}

impl ListChange {
    /// How `sites` differ from the list `before`; nothing where there was none.
    pub fn since(before: Option<&[SiteUrl]>, sites: &[Site]) -> Self {
        let Some(before) = before else {
            return Self::default();
        };
        let known: HashSet<&SiteUrl> = before.iter().collect();
        let now: HashSet<&SiteUrl> = listed(sites).collect();
        Self {
            came: listed(sites)
                .filter(|url| !known.contains(url))
                .cloned()
                .collect(),
            went: before.iter().filter(|url| !now.contains(url)).cloned().collect(),
            before: before.len(),
        }
    }

    /// Whether it is the same list.
    pub fn is_none(&self) -> bool {
        self.came.is_empty() && self.went.is_empty()
    }

    /// What must be confirmed, if the list changed by at least 5 sites and a tenth.
    pub fn danger(&self) -> Option<Danger> {
        let (came, went) = (self.came.len(), self.went.len());
        let changed = came + went;
        (changed >= FEW && changed * PART >= self.before).then_some(Danger::ListChanged { came, went })
    }
}

/// The sites of a list, as far as it gives them keys.
pub fn listed(sites: &[Site]) -> impl Iterator<Item = &SiteUrl> {
    sites.iter().filter(|site| site.enabled).map(|site| &site.url)
}

impl fmt::Display for ListChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |urls: &[SiteUrl], verb: &str| {
            (!urls.is_empty()).then(|| format!("{} {verb} ({})", Count(urls.len(), "site"), names(urls)))
        };
        let parts: Vec<String> = part(&self.came, "came")
            .into_iter()
            .chain(part(&self.went, "went"))
            .collect();
        write!(formatter, "since the last run {}", parts.join(" and "))
    }
}

fn names(urls: &[SiteUrl]) -> String {
    let mut names: Vec<String> = urls
        .iter()
        .take(NAMED)
        .map(|url| url.default_name().to_string())
        .collect();
    if urls.len() > NAMED {
        names.push(format!("{} more", urls.len() - NAMED));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    list(&names, "and")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::site::{MasterKeyId, SiteMode};

    fn url(number: usize) -> SiteUrl {
        SiteUrl::parse(&format!("https://s{number}.example.com")).unwrap()
    }

    fn sites(numbers: impl IntoIterator<Item = usize>) -> Vec<Site> {
        let site = |number| Site {
            name: url(number).default_name(),
            url: url(number),
            group: None,
            mode: SiteMode::Any,
            backend: Arc::from("a"),
            master_key: MasterKeyId::default(),
            enabled: true,
        };
        numbers.into_iter().map(site).collect()
    }

    fn urls(numbers: impl IntoIterator<Item = usize>) -> Vec<SiteUrl> {
        numbers.into_iter().map(url).collect()
    }

    #[test]
    fn who_came_and_who_went_is_named() {
        let change = ListChange::since(Some(&urls(0..3)), &sites(1..10));
        assert_eq!(
            change.to_string(),
            "since the last run 7 sites came (s3.example.com, s4.example.com, s5.example.com, s6.example.com, \
             s7.example.com and 2 more) and 1 site went (s0.example.com)"
        );
        assert_eq!(change.danger(), Some(Danger::ListChanged { came: 7, went: 1 }));
    }

    #[test]
    fn a_first_run_has_nothing_to_compare_with() {
        assert!(ListChange::since(None, &sites(0..50)).is_none());
    }

    #[test]
    fn five_sites_and_a_tenth_are_asked_about_and_less_is_not() {
        let asks = |before: usize, now: std::ops::Range<usize>| {
            let change = ListChange::since(Some(&urls(0..before)), &sites(now));
            change.danger().is_some()
        };
        assert!(!asks(3, 0..7), "4 sites");
        assert!(asks(3, 0..8), "5 sites");
        assert!(asks(50, 0..55), "a tenth");
        assert!(!asks(51, 0..56), "less than a tenth");
        assert!(asks(50, 5..50), "gone ones count as well");
    }

    #[test]
    fn a_site_that_is_disabled_has_gone() {
        let mut now = sites(0..2);
        now[1].enabled = false;
        assert_eq!(ListChange::since(Some(&urls(0..2)), &now).went, urls([1]));
    }

    proptest! {
        #[test]
        fn came_and_went_make_the_one_list_of_the_other(
            before in prop::collection::btree_set(0_usize..30, 0..20),
            now in prop::collection::btree_set(0_usize..30, 0..20),
        ) {
            let change = ListChange::since(Some(&urls(before.clone())), &sites(now.clone()));
            let mut made: HashSet<SiteUrl> = urls(before).into_iter().collect();
            for gone in &change.went {
                prop_assert!(made.remove(gone));
            }
            for new in &change.came {
                prop_assert!(made.insert(new.clone()));
            }
            prop_assert_eq!(made, urls(now).into_iter().collect());
        }
    }
}
