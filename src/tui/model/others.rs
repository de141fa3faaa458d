use std::collections::HashMap;
use std::sync::Arc;

use super::Model;
use crate::engine::Level;
use crate::rules::run::RunId;
use crate::site::SiteId;
use crate::store::Holder;
use crate::text::Count;

/// A run of another process, that this screen is not attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OthersRun {
    /// Which.
    pub run: RunId,
    /// Who works on it, and where.
    pub holder: Holder,
    /// Whether something of it is still to be sent: until then it holds its sites.
    pub sends: bool,
    /// Those of its sites that this screen has.
    pub sites: Arc<[SiteId]>,
}

impl OthersRun {
    /// `run 7 of ada on ops-2`
    pub fn name(&self) -> String {
        format!("run {} of {}", self.run.0, self.holder.who())
    }

    /// What it does, in a word.
    fn does(&self) -> &'static str {
        match (self.holder.free_in, self.sends) {
            (Some(_), _) => "is not heard of",
            (None, true) => "sends",
            (None, false) => "waits for proofs",
        }
    }
}

/// What others do beside this screen.
#[derive(Debug, Default)]
pub(in crate::tui) struct Others {
    runs: Vec<OthersRun>,
    /// Which of them holds a site.
    held: HashMap<SiteId, usize>,
    /// Whether the store is not reached.
    pub(in crate::tui) store_is_away: bool,
}

impl Model {
    /// The runs of others are these by now.
    pub(in crate::tui) fn take_others(&mut self, runs: Vec<OthersRun>) {
        let before = std::mem::take(&mut self.others.runs);
        let known = |id: RunId| before.iter().find(|run| run.run == id);
        for run in &runs {
            if run.sends && !known(run.run).is_some_and(|known| known.sends) {
                let (count, all) = (run.sites.len(), self.sites.len());
                let name = run.name();
                self.say(
                    Level::Info,
                    format!("{name} is sending to {count} of these {all} sites"),
                );
            }
        }
        for run in before.iter().filter(|run| run.sends) {
            if !runs.iter().any(|now| now.run == run.run && now.sends) {
                self.say(Level::Info, format!("{} sends nothing more", run.name()));
            }
        }
        self.others.held.clear();
        for (place, run) in runs.iter().enumerate().filter(|(_, run)| run.sends) {
            self.others
                .held
                .extend(run.sites.iter().map(|site| (*site, place)));
        }
        self.others.runs = runs;
    }

    /// The run of another process that holds a site: none else sends there.
    pub(in crate::tui) fn held_by(&self, site: SiteId) -> Option<&OthersRun> {
        self.others.runs.get(*self.others.held.get(&site)?)
    }

    /// By which run of others a site is held, in words.
    pub(in crate::tui) fn held_in_words(&self, site: SiteId) -> Option<String> {
        let run = self.held_by(site)?;
        Some(match run.holder.free_in {
            Some(_) => format!("held by {}, not heard of", run.name()),
            None => format!("held by {}", run.name()),
        })
    }

    /// Whether a run of others goes on.
    pub(in crate::tui) fn has_others(&self) -> bool {
        !self.others.runs.is_empty()
    }

    /// The runs of others, for the header: the name of one, which sends if any does, where there is `room` for it, and how
    /// many more there are.
    pub(in crate::tui) fn others_in_words(&self, room: usize) -> Option<String> {
        let runs = &self.others.runs;
        let one = runs.iter().find(|run| run.sends).or(runs.first())?;
        let more = match runs.len() - 1 {
            0 => String::new(),
            more => format!(", and {}", Count(more, "more run")),
        };
        let words = format!("{} {}{more}", one.name(), one.does());
        Some(if crate::text::width(&words) <= room {
            words
        } else if more.is_empty() {
            format!("run {} of others", one.run.0)
        } else {
            format!("{} of others", Count(runs.len(), "run"))
        })
    }
}
