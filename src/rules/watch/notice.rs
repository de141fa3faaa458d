use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{About, Change, Finding, Modes, Seen};
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::note::note;
use crate::rules::status::Verify;
use crate::site::{SiteId, SiteUrl};
use crate::text::CleanText;

/// A change with all that is told of it. Keys are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What was found.
    pub finding: Finding,
    /// Whether it is over.
    pub over: bool,
    /// When it was seen.
    pub at: Timestamp,
    /// The site's name; none of a group.
    pub site: Option<String>,
    /// Its address.
    pub url: Option<String>,
    /// Its group, or the one that it is about.
    pub group: Option<String>,
    /// What the site serves.
    pub now: Option<String>,
    /// What it should serve.
    pub expected: Option<String>,
    /// What happened, in words.
    pub note: String,
}

impl Notice {
    /// What is told of `changes`; `mask` writes a key, `clock` a time of day. Nothing of one where nothing is known any
    /// more of what it is about.
    pub fn of_changes(
        changes: &[Change],
        seen: &Seen<'_>,
        mask: &dyn Fn(&PublishableKey) -> String,
        clock: &dyn Fn(Moment) -> String,
    ) -> Vec<Self> {
        if changes.is_empty() {
            return Vec::new();
        }
        let watched = seen.watched.iter();
        let places: HashMap<&SiteUrl, SiteId> =
            watched.map(|id| (&seen.sites[id.index()].url, *id)).collect();
        let modes = seen.modes();
        let of = |change: &Change| {
            let notice = Self::bare(change, seen);
            match &change.about {
                About::Site(url) => Some(notice.of_site(seen, *places.get(url)?, mask, clock)),
                About::Group(group) => Some(notice.of_group(group.as_ref(), modes.get(group)?)),
            }
        };
        changes.iter().filter_map(of).collect()
    }

    fn bare(change: &Change, seen: &Seen<'_>) -> Self {
        Self {
            finding: change.finding,
            over: change.over,
            at: seen.at,
            site: None,
            url: None,
            group: None,
            now: None,
            expected: None,
            note: String::new(),
        }
    }

    fn of_group(self, group: Option<&CleanText>, modes: &Modes<'_>) -> Self {
        Self {
            group: group.map(ToString::to_string),
            note: if self.over {
                "its sites serve keys of one mode again".to_owned()
            } else {
                modes.sentence()
            },
            ..self
        }
    }

    fn of_site(
        self,
        seen: &Seen<'_>,
        id: SiteId,
        mask: &dyn Fn(&PublishableKey) -> String,
        clock: &dyn Fn(Moment) -> String,
    ) -> Self {
        let (site, state) = (&seen.sites[id.index()], &seen.states[id.index()]);
        let serves_it = matches!(state.verify, Verify::Verified | Verify::Serving);
        let note = match self.finding {
            _ if !self.over => note(state, clock),
            Finding::ExposedSecret => "shows no secret any more: was the key rolled in Stripe?".to_owned(),
            _ if serves_it => "serves the expected key again".to_owned(),
            finding => format!("is not {} any more: {}", finding.word(), state.verify.look().word),
        };
        Self {
            site: Some(site.name.to_string()),
            url: Some(site.url.to_string()),
            group: site.group.as_ref().map(ToString::to_string),
            now: state.now.key().map(mask),
            expected: state.expected.as_ref().map(mask),
            note,
            ..self
        }
    }

    /// Whom it is about, in words.
    pub fn whose(&self) -> String {
        match (&self.site, &self.group) {
            (Some(site), _) => site.clone(),
            (None, Some(group)) => format!("group {group}"),
            (None, None) => "the sites without a group".to_owned(),
        }
    }

    /// `maison-est drifted: served the expected key, and does not any more …`.
    pub fn sentence(&self) -> String {
        let over = if self.over { " is over" } else { "" };
        format!("{} {}{over}: {}", self.whose(), self.finding.word(), self.note)
    }
}
