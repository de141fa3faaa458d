use std::time::Duration;

use super::run::Engine;
use super::{Event, Level};
use crate::rules::alarm::Alarm;
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::Store;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Tells at once what an answer of the site shows, if that is new and nothing that may wait.
    pub(super) fn sound(&mut self, site: SiteId) {
        let now = self.clock.now();
        // Not by a key that somebody only asks about.
        let state = self.slots[site.index()].to_record();
        let row = &self.sites[site.index()];
        let is_known_bad = self.acknowledged.of(&row.url, now.wall).is_some();
        if is_known_bad && !Alarm::of(row, state).is_some_and(Alarm::is_secret) {
            return;
        }
        let told = self.alarms.take(site, row, state, now);
        self.sound_all(told);
    }

    /// When sites that were counted are told of, as time since the start of the process.
    pub(super) fn alarm_timer(&self) -> Option<Duration> {
        self.alarms.next_at().map(|at| at.since_start)
    }

    /// Tells of sites that were counted, when that is due.
    pub(super) fn sound_counted(&mut self) {
        let due = self.alarms.due(self.clock.now());
        self.sound_all(due);
    }

    /// Tells of those that are left, at the end.
    pub(super) fn sound_rest(&mut self) {
        let rest = self.alarms.rest();
        self.sound_all(rest);
    }

    fn sound_all(&self, told: impl IntoIterator<Item = (Alarm, String)>) {
        for (alarm, text) in told {
            tracing::error!(why = alarm.word(), "{text}");
            self.say(Level::Error, text.clone());
            self.tell(Event::Alarm(alarm, text));
        }
    }
}
