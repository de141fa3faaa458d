use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::reading;
use super::session::Session;
use crate::demo::Fleet;
use crate::engine::Event;
use crate::store::Store;
use crate::tui::{Effect, Message, Wanted};

/// Stands between the screen and the engine: carries out what the screen orders, and tells it what happens.
pub(super) struct Steer {
    session: Session,
    /// The demo's sites, which `H` mends.
    fleet: Option<Arc<Fleet>>,
    tell: UnboundedSender<Message>,
}

impl Steer {
    pub(super) fn new(session: Session, fleet: Option<Arc<Fleet>>, tell: UnboundedSender<Message>) -> Self {
        Self { session, fleet, tell }
    }

    /// Until the screen is left; gives the session back then.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Effect>) -> Session {
        self.tell_of_what_was_left().await;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order),
                    None => return self.session,
                },
                Some(event) = self.session.events.recv() => self.say(Message::Engine(event)),
            }
        }
    }

    /// Runs that nobody works on, oldest first: the newest is asked about last, and stands on top.
    async fn tell_of_what_was_left(&self) {
        match self.session.store.unfinished_runs().await {
            Ok(runs) => {
                for run in runs.into_iter().rev() {
                    self.say(Message::Left(Box::new(run)));
                }
            }
            Err(error) => self.say(Message::Engine(Event::Refused(error.to_string()))),
        }
    }

    fn carry_out(&self, order: Effect) {
        match order {
            Effect::Engine(command) => self.session.local.order(command),
            Effect::Heal => {
                let healed = self.fleet.as_ref().map_or(0, |fleet| fleet.heal());
                self.say(Message::Healed(healed));
            }
            Effect::Read(wanted) => self.read(wanted),
            // What concerns the terminal is done by the screen itself.
            Effect::Redraw | Effect::Suspend | Effect::Quit(_) => {}
        }
    }

    /// Reads beside all else: a long history holds up nothing.
    fn read(&self, wanted: Wanted) {
        let (store, sites) = (Arc::clone(&self.session.store), Arc::clone(&self.session.sites));
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let _left = tell.send(Message::Read(reading::read(&*store, &sites, wanted).await));
        });
    }

    fn say(&self, message: Message) {
        // The screen is being left: what is told now is told by who follows.
        let _left = self.tell.send(message);
    }
}
