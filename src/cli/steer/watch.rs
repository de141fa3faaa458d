use super::Steer;
use crate::cli::watching::{Judgement, Wants, Watching};
use crate::engine::{Command, Event};
use crate::rules::plan::Plan;
use crate::text::Count;
use crate::tui::{Message, WatchNews};

impl Steer {
    /// Begins a watch, or ends it. It ends with the screen: `verify --watch` needs none.
    pub(super) fn watch(&mut self, on: bool) {
        if !on {
            self.watching = None;
            return self.say(Message::Watch(WatchNews::Off));
        }
        let mut all = self.session.all();
        all.retain(|id| self.session.sites[id.index()].enabled);
        match Watching::begin(&self.session, all) {
            Ok(watching) => {
                self.say(Message::Watch(WatchNews::Next(watching.next())));
                self.watching = Some(watching);
            }
            Err(error) => {
                self.warn(format!("the watch cannot begin: {error:#}"));
                self.say(Message::Watch(WatchNews::Off));
            }
        }
    }

    /// It is time for its look, or the last one takes too long.
    pub(super) async fn watch_ticks(&mut self) {
        if let Some(wants) = self.watching.as_mut().map(Watching::tick) {
            self.watch_wants(wants).await;
        }
    }

    /// What the engine tells, or the run that the screen is attached to.
    pub(super) async fn watch_takes(&mut self, event: &Event) {
        if let Some(wants) = self.watching.as_mut().map(|watching| watching.take(event)) {
            self.watch_wants(wants).await;
        }
    }

    pub(super) async fn watch_wants(&mut self, wants: Wants) {
        match wants {
            Wants::Nothing => {}
            // What is on record is read by the engine of this process alone.
            Wants::Order(command @ Command::Refresh { .. }) => self.session.local.send(command),
            Wants::Order(command) => {
                self.order(command);
                if let Some(next) = self.watching.as_ref().map(Watching::next) {
                    self.say(Message::Watch(WatchNews::Next(next)));
                }
            }
            Wants::Judgement(of) => self.watch_judges(of).await,
            Wants::Remark(remark) => self.warn(remark),
            Wants::Retry(plan) => self.watch_retries(plan),
        }
    }

    async fn watch_judges(&mut self, of: Judgement) {
        let Some(watching) = &mut self.watching else {
            return;
        };
        let found = watching.judge(&self.session.acknowledged, of).await;
        for notice in found.notices {
            let text = notice.sentence();
            let over = notice.over;
            self.say(Message::Watch(WatchNews::Notice { text, over }));
        }
        for remark in found.remarks {
            self.warn(remark);
        }
    }

    fn watch_retries(&mut self, plan: Plan) {
        // Where somebody sends it is tried again at the next look.
        let sends = self.own_run || self.remote.is_some();
        if !sends && !self.read_only {
            let sites = Count(plan.puts(), "site");
            self.warn(format!("watch: {sites} owed a key answer again, and get it"));
            self.session.local.order(Command::Push(plan));
        }
    }
}
