use std::collections::BTreeSet;

use anyhow::{Context, bail};
use clap::Args;
use glob::Pattern;

use crate::rules::state::SiteState;
use crate::site::{Site, SiteId, SiteUrl};
use crate::text::{CleanText, Count, NOTE_LIMIT, list, some_names};

/// Which sites a command is for. Each flag narrows what the others leave; several of one name more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which sites")]
pub(super) struct SelectionArgs {
    /// Only this site, by its name or URL. `*`, `?` and `[…]` stand for other letters, where no site has just this
    /// name. Can be repeated.
    #[arg(long = "site", value_name = "NAME")]
    sites: Vec<String>,
    /// Only sites of this group; as with --site. With both, only what both name.
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Not this site; as with --site.
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
    /// Only sites that failed, as far as is on record.
    #[arg(long)]
    only_failed: bool,
    /// Only sites that are owed a key: they are not known to serve what was last meant for them.
    #[arg(long)]
    owed: bool,
}

impl SelectionArgs {
    /// Whether any of the flags is there.
    pub(super) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Whether it asks what is on record of the sites.
    pub(super) fn asks_states(&self) -> bool {
        self.only_failed || self.owed
    }

    /// The sites that the names leave, in the order of the list.
    ///
    /// # Errors
    /// When a flag, or all of them together, match nothing: which, and what may be meant.
    pub(super) fn by_name(&self, sites: &[Site]) -> anyhow::Result<Vec<SiteId>> {
        let mut chosen: Vec<bool> = vec![true; sites.len()];
        let mut flags = Vec::new();
        for (flag, texts, keeps) in [
            ("--site", &self.sites, true),
            ("--group", &self.groups, true),
            ("--exclude", &self.exclude, false),
        ] {
            if texts.is_empty() {
                continue;
            }
            flags.push(flag);
            let mut named = vec![false; sites.len()];
            for text in texts {
                let matched = if flag == "--group" {
                    of_group(sites, text)?
                } else {
                    of_name(sites, text, flag)?
                };
                for place in matched {
                    named[place] = true;
                }
            }
            for (chosen, named) in chosen.iter_mut().zip(named) {
                *chosen &= named == keeps;
            }
        }
        let chosen: Vec<SiteId> = (0..sites.len())
            .filter(|place| chosen[*place])
            .map(SiteId::at)
            .collect();
        if chosen.is_empty() && !flags.is_empty() {
            bail!("{} together leave no site: nothing is done", list(&flags, "and"));
        }
        Ok(chosen)
    }

    /// Those of `chosen` that are as the flags want them; `states` is what is known of all sites.
    ///
    /// # Errors
    /// When that is none: which flag leaves none.
    pub(super) fn by_state(
        &self,
        mut chosen: Vec<SiteId>,
        states: &[SiteState],
    ) -> anyhow::Result<Vec<SiteId>> {
        let count = Count(chosen.len(), "site");
        let failed = |state: &SiteState| state.retry_plan().is_failed();
        for (flag, wanted, is_so, none) in [
            (
                "--only-failed",
                self.only_failed,
                &failed as &dyn Fn(&SiteState) -> bool,
                "none of them failed, as far as is on record",
            ),
            (
                "--owed",
                self.owed,
                &|state: &SiteState| state.is_owed(),
                "none of them is owed a key, as far as is on record",
            ),
        ] {
            if !wanted {
                continue;
            }
            chosen.retain(|id| is_so(&states[id.index()]));
            if chosen.is_empty() {
                bail!("{flag} leaves none of {count}: {none}");
            }
        }
        Ok(chosen)
    }
}

/// The sites of this name or URL; else those that it matches as a pattern.
fn of_name(sites: &[Site], text: &str, flag: &str) -> anyhow::Result<Vec<usize>> {
    let url = text.contains("://").then(|| SiteUrl::parse(text).ok()).flatten();
    let is_it = |site: &Site| site.name.as_str() == text || url.as_ref() == Some(&site.url);
    let literally = places(sites, is_it);
    if !literally.is_empty() {
        return Ok(literally);
    }
    let matched = match pattern(text, flag)? {
        Some(pattern) if text.contains("://") => places(sites, |site| pattern.matches(&site.url.to_string())),
        Some(pattern) => places(sites, |site| pattern.matches(site.name.as_str())),
        None => Vec::new(),
    };
    if matched.is_empty() {
        let shown = shown(text);
        let near = near(
            sites.iter().map(|site| site.name.as_str()),
            text,
            Count(sites.len(), "site"),
        );
        bail!("no site is called {shown}{near} ({flag})");
    }
    Ok(matched)
}

/// The sites of this group, or of those that it matches as a pattern.
fn of_group(sites: &[Site], text: &str) -> anyhow::Result<Vec<usize>> {
    let group = |site: &Site, is_it: &dyn Fn(&str) -> bool| {
        site.group.as_ref().is_some_and(|group| is_it(group.as_str()))
    };
    let literally = places(sites, |site| group(site, &|name| name == text));
    if !literally.is_empty() {
        return Ok(literally);
    }
    let matched = match pattern(text, "--group")? {
        Some(pattern) => places(sites, |site| group(site, &|name| pattern.matches(name))),
        None => Vec::new(),
    };
    if matched.is_empty() {
        let groups: BTreeSet<&str> = sites
            .iter()
            .filter_map(|site| site.group.as_ref().map(CleanText::as_str))
            .collect();
        let count = groups.len();
        let near = near(groups.into_iter(), text, Count(count, "group"));
        bail!("no site is of group {}{near} (--group)", shown(text));
    }
    Ok(matched)
}

fn places(sites: &[Site], is_it: impl Fn(&Site) -> bool) -> Vec<usize> {
    (0..sites.len()).filter(|place| is_it(&sites[*place])).collect()
}

/// The text as a pattern; none where there is nothing in it that stands for other letters.
fn pattern(text: &str, flag: &str) -> anyhow::Result<Option<Pattern>> {
    if !text.contains(['*', '?', '[']) {
        return Ok(None);
    }
    let pattern = Pattern::new(text);
    let pattern =
        pattern.with_context(|| format!("{flag} {} is neither a name nor a pattern", shown(text)))?;
    Ok(Some(pattern))
}

fn shown(text: &str) -> CleanText {
    CleanText::new(text, NOTE_LIMIT)
}

/// Which names may be meant.
fn near<'a>(names: impl Iterator<Item = &'a str>, name: &str, all: Count) -> String {
    /// How alike two names are, from 0 to 1, that may be meant for each other.
    const ALIKE: f64 = 0.7;

    let lower = name.to_lowercase();
    let alike = |known: &&str| {
        let known = known.to_lowercase();
        known.contains(&lower)
            || lower.contains(&known)
            || strsim::normalized_damerau_levenshtein(&known, &lower) >= ALIKE
    };
    let names: Vec<&str> = names.filter(alike).collect();
    match names.len() {
        0 => format!(" (there are {all})"),
        1..=5 => format!(" (is it {}?)", list(&names, "or")),
        _ => format!(" (is it one of {}?)", some_names(&names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::outcome::Cause;
    use crate::rules::status::{Push, Verify};
    use crate::site::{MasterKeyId, SiteMode};

    fn sites() -> Vec<Site> {
        let site = |(name, group): (&str, Option<&str>)| {
            let host = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
            let url = SiteUrl::parse(&format!("https://{host}x.example.com/shop")).unwrap();
            Site {
                name: CleanText::note(name),
                backend: url.backend().into(),
                url,
                group: group.map(CleanText::note),
                mode: SiteMode::Any,
                master_key: MasterKeyId(0),
                enabled: true,
            }
        };
        let named = [
            ("shop-a", Some("prod")),
            ("shop-b", Some("prod")),
            ("shop[1]", Some("staging")),
            ("shop1", None),
            ("café", Some("prod eu")),
        ];
        named.into_iter().map(site).collect()
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    /// What the flags leave: places, or what is said.
    fn by_name(names: &[&str], groups: &[&str], exclude: &[&str]) -> Result<Vec<u32>, String> {
        let args = SelectionArgs {
            sites: owned(names),
            groups: owned(groups),
            exclude: owned(exclude),
            ..SelectionArgs::default()
        };
        let chosen = args.by_name(&sites()).map_err(|error| format!("{error:#}"))?;
        Ok(chosen.into_iter().map(|id| id.0).collect())
    }

    #[test]
    fn names_and_groups_narrow_and_several_of_one_name_more() {
        for (names, groups, exclude, chosen) in [
            (&[][..], &[][..], &[][..], vec![0, 1, 2, 3, 4]),
            (&["shop-b", "shop-a"], &[], &[], vec![0, 1]),
            (&["shop-?"], &[], &[], vec![0, 1]),
            (&["*"], &["prod*"], &["café"], vec![0, 1]),
            (&["shop-b", "café"], &["prod"], &[], vec![1]),
            (&[], &["prod", "staging"], &["shop-*"], vec![2]),
            // Just this name goes before what it would match as a pattern.
            (&["shop[1]"], &[], &[], vec![2]),
            (&["shop[0-9]"], &[], &[], vec![3]),
            (&["https://shop-ax.example.com/shop/"], &[], &[], vec![0]),
            (&["https://*-?x.example.com/*"], &[], &[], vec![0, 1]),
        ] {
            assert_eq!(
                by_name(names, groups, exclude),
                Ok(chosen),
                "{names:?} {groups:?} {exclude:?}"
            );
        }
    }

    #[test]
    fn what_matches_nothing_is_told_with_what_may_be_meant() {
        for (names, groups, exclude, says) in [
            (
                &["shop-a", "shpo-a"][..],
                &[][..],
                &[][..],
                "shpo-a (is it shop-a",
            ),
            (
                &["nowhere"],
                &[],
                &[],
                "no site is called nowhere (there are 5 sites) (--site)",
            ),
            (&["n*"], &[], &[], "no site is called n* "),
            (&["a["], &[], &[], "--site a[ is neither a name nor a pattern"),
            (
                &[],
                &["production"],
                &[],
                "no site is of group production (is it prod?)",
            ),
            (&[], &[], &["sohp-b"], "sohp-b (is it"),
            (
                &["shop1"],
                &["prod"],
                &[],
                "--site and --group together leave no site",
            ),
            (&[], &[], &["*"], "--exclude together leave no site"),
        ] {
            let said = by_name(names, groups, exclude).unwrap_err();
            assert!(said.contains(says), "{names:?} {groups:?} {exclude:?}: {said}");
        }
    }

    #[test]
    fn what_is_on_record_narrows_further() {
        let key = PublishableKey::parse("pk_test_51ExampleExampleExampleExampleAbCd").unwrap();
        let state = |push, verify| {
            let mut state = SiteState::default();
            (state.push, state.verify, state.expected) = (push, verify, Some(key.clone()));
            state
        };
        let states = [
            state(Push::Stored, Verify::Verified),
            state(Push::Failed(Cause::Timeout), Verify::Unchecked),
            state(Push::Stored, Verify::Settling),
            SiteState::default(),
        ];
        let by_state = |only_failed, owed, of: &[u32]| {
            let args = SelectionArgs {
                only_failed,
                owed,
                ..SelectionArgs::default()
            };
            let of = of.iter().copied().map(SiteId).collect();
            args.by_state(of, &states).map_err(|error| error.to_string())
        };
        assert_eq!(by_state(false, false, &[0, 3]), Ok(vec![SiteId(0), SiteId(3)]));
        assert_eq!(by_state(true, false, &[0, 1, 2, 3]), Ok(vec![SiteId(1)]));
        assert_eq!(
            by_state(false, true, &[0, 1, 2, 3]),
            Ok(vec![SiteId(1), SiteId(2)])
        );
        assert_eq!(by_state(true, true, &[0, 1, 2, 3]), Ok(vec![SiteId(1)]));
        let said = by_state(true, false, &[0]).unwrap_err();
        assert!(said.contains("--only-failed leaves none of 1 site"), "{said}");
        assert!(by_state(false, true, &[0, 3]).unwrap_err().contains("--owed"));
    }
}
