use std::collections::{HashMap, HashSet};

use crate::engine::{Command, Event};
use crate::site::{Site, SiteId};
use crate::store::StoreError;
use crate::text::CleanText;

/// The longest sentence that is taken from another process, in characters.
const SENTENCE: usize = 2000;

/// The sites of another process's list in ours, and ours in its.
#[derive(Debug)]
pub(super) struct Remap {
    /// By their places in the other list.
    ours: Vec<Option<SiteId>>,
    /// By their places in ours.
    theirs: Vec<Option<SiteId>>,
}

impl Remap {
    /// `urls` are the sites of the other list, in its order, each as [`Site::url`] is written.
    pub(super) fn new(sites: &[Site], urls: &[String]) -> Self {
        let by_url: HashMap<String, usize> = sites
            .iter()
            .enumerate()
            .map(|(index, site)| (site.url.to_string(), index))
            .collect();
        let mut theirs = vec![None; sites.len()];
        let ours = urls.iter().enumerate().map(|(place, url)| {
            let index = *by_url.get(url)?;
            theirs[index] = Some(SiteId::at(place));
            Some(SiteId::at(index))
        });
        Self {
            ours: ours.collect(),
            theirs,
        }
    }

    /// How many sites of the other list are not in ours.
    pub(super) fn foreign(&self) -> usize {
        self.ours.iter().filter(|site| site.is_none()).count()
    }

    /// Our sites that the other list has not.
    pub(super) fn own(&self) -> HashSet<SiteId> {
        let all = self.theirs.iter().enumerate();
        all.filter(|(_, theirs)| theirs.is_none())
            .map(|(index, _)| SiteId::at(index))
            .collect()
    }

    /// An event of theirs in our terms, safe to show; none where its site is not in our list.
    pub(super) fn event(&self, mut event: Event) -> Option<Event> {
        match &mut event {
            Event::Site { site, .. } => *site = self.ours(*site)?,
            Event::Attempt(attempt) => attempt.site = self.ours(attempt.site)?,
            Event::Acknowledged { sites, .. } => sites.retain_mut(|site| {
                let ours = self.ours(*site);
                *site = ours.unwrap_or(*site);
                ours.is_some()
            }),
            Event::Message(message) => message.text = clean(&message.text),
            Event::Refused(why) | Event::NotBegun(StoreError::Failed(why) | StoreError::Damaged(why)) => {
                *why = clean(why);
            }
            Event::Halted(_, text) | Event::Alarm(_, text) | Event::Store { note: text, .. } => {
                *text = clean(text);
            }
            Event::NotBegun(StoreError::Busy(_))
            | Event::Run(_)
            | Event::Backend { .. }
            | Event::Refreshed { .. }
            | Event::ChunkOver(_)
            | Event::KeyRefused(..)
            | Event::Taken => {}
        }
        Some(event)
    }

    fn ours(&self, theirs: SiteId) -> Option<SiteId> {
        self.ours.get(theirs.index()).copied().flatten()
    }

    fn theirs(&self, ours: SiteId) -> Option<SiteId> {
        self.theirs.get(ours.index()).copied().flatten()
    }

    /// An order of ours in their terms; how many of its sites they have, and how many not.
    pub(super) fn order(&self, mut order: Command) -> (Command, usize, usize) {
        let (mut kept, mut dropped) = (0, 0);
        let mut map = |site: &mut SiteId| {
            let theirs = self.theirs(*site);
            let count = if theirs.is_some() { &mut kept } else { &mut dropped };
            *count += 1;
            *site = theirs.unwrap_or(*site);
            theirs.is_some()
        };
        match &mut order {
            Command::Push(plan) => plan.rows.retain_mut(|row| map(&mut row.site)),
            Command::Retry { sites, .. }
            | Command::Look { sites, .. }
            | Command::Acknowledge { sites, .. } => sites.retain_mut(map),
            Command::Resume(run) => run.sites.retain_mut(map),
            Command::Close(_)
            | Command::Pause
            | Command::GoOn
            | Command::Cancel
            | Command::Stop
            | Command::Leave
            | Command::End
            | Command::Refresh { .. }
            | Command::TakeChunk(_)
            | Command::GiveBack(_)
            | Command::Refuse(_) => {}
        }
        (order, kept, dropped)
    }
}

/// A sentence of another process, safe to show.
pub(super) fn clean(raw: &str) -> String {
    CleanText::new(raw, SENTENCE).to_string()
}
