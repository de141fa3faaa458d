use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::model::Model;
use crate::engine::{Level, Message, RunInfo};
use crate::rules::moment::Moment;
use crate::rules::run::RunPhase;
use crate::rules::state::SiteState;
use crate::rules::status::Role;
use crate::rules::tally::word;
use crate::store::RunId;

impl Model {
    /// Tells of a run that has ended since the last screen was lost.
    pub(super) fn tell_of_the_end(&mut self) {
        let ended = |run: &RunInfo, since: Moment| {
            let ended = run.ended.filter(|ended| ended.since_start >= since.since_start);
            ended.is_some()
        };
        if let (Some(since), Some(run)) = (self.away_since, self.run.clone())
            && ended(&run, since)
        {
            self.tell_meanwhile(run.id, since, &self.end_of(&run));
        }
    }

    /// Tells of a run that went on without this screen, which has just come to it.
    pub(super) fn tell_of_the_run(&mut self, run: &RunInfo) {
        let since = self.away_since.unwrap_or(run.started);
        self.tell_meanwhile(run.id, since, &self.end_of(run));
    }

    /// Tells of a run whose process has ended before it.
    pub(super) fn tell_of_what_was_left(&mut self, run: RunId) {
        if let Some(since) = self.away_since {
            self.tell_meanwhile(run, since, &format!("run {} was not finished", run.0));
        }
    }

    fn end_of(&self, run: &RunInfo) -> String {
        let id = run.id.0;
        match run.phase {
            RunPhase::Settled => format!("run {id} settled"),
            RunPhase::Sending => format!("run {id} still sends, {} left", self.left_to_send()),
            RunPhase::Settling => format!("run {id} has sent all, proofs are due"),
            RunPhase::Paused | RunPhase::Halted => format!("run {id} is {}", run.phase.word()),
        }
    }

    /// `since 14:02:12, while away: run 12 settled; 2 failed, 180 verified`. It stands first until a key is pressed.
    fn tell_meanwhile(&mut self, run: RunId, since: Moment, end: &str) {
        let is_new = |state: &&SiteState| {
            let of_run = state.in_run || state.run == Some(run);
            of_run && state.at.is_some_and(|at| at.since_start >= since.since_start)
        };
        // By word: how much attention it needs, and how many sites have it.
        let mut words: BTreeMap<&str, (u8, usize)> = BTreeMap::new();
        let mut level = Level::Info;
        for state in self.states.iter().filter(is_new) {
            let (rank, loud) = grade(state);
            let of_word = words.entry(word(state)).or_default();
            *of_word = (of_word.0.max(rank), of_word.1 + 1);
            level = level.max(loud);
        }
        let mut words: Vec<(&str, (u8, usize))> = words.into_iter().collect();
        words.sort_by_key(|(_, (rank, _))| Reverse(*rank));
        let counts: Vec<String> = words
            .iter()
            .map(|(word, (_, count))| format!("{count} {word}"))
            .collect();
        let counts = if counts.is_empty() {
            "no site has changed".to_owned()
        } else {
            counts.join(", ")
        };
        let whence = if self.away_since.is_some() {
            "while away"
        } else {
            "before this screen"
        };
        let message = Message {
            at: self.now,
            level,
            text: format!("since {}, {whence}: {end}; {counts}", self.clock(since)),
        };
        self.away_since = None;
        self.meanwhile = Some(message.clone());
        self.take_message(message);
        self.pinned = true;
    }
}

/// How much attention a state needs, and how loudly it is told.
fn grade(state: &SiteState) -> (u8, Level) {
    let (push, verify) = (state.push.look(), state.verify.look());
    let bad = |role| matches!(role, Role::Bad | Role::Alarm);
    let level = if bad(push.role) || bad(verify.role) {
        Level::Warning
    } else {
        Level::Info
    };
    (push.rank.max(verify.rank), level)
}
