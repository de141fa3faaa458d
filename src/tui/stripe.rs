use std::collections::{HashMap, HashSet};

use super::Effect;
use super::dialogs::Dialog;
use super::model::Model;
use super::screen::Screen;
use crate::engine::Level;
use crate::key::PublishableKey;
use crate::rules::moment::Moment;
use crate::rules::standing::{Asked, Asker, NotAsked, Standing};

/// Keys that are held in mind at most.
const KEYS: usize = 1000;

/// What the screen knows of what Stripe says. Nothing waits for it.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    /// Whether Stripe is asked at all.
    asks: bool,
    said: HashMap<PublishableKey, (Asked, Moment)>,
    /// Keys that are being asked about.
    asking: HashSet<PublishableKey>,
}

impl Stripe {
    /// What was said of a key last.
    pub(super) fn asked(&self, key: &PublishableKey) -> Option<&Asked> {
        self.said.get(key).map(|(asked, _)| asked)
    }

    /// What Stripe says of a key, where that is known.
    pub(super) fn standing(&self, key: &PublishableKey) -> Option<Standing> {
        self.asked(key)?.as_ref().ok().copied()
    }

    /// Why it could not be asked of a key, if it could not.
    pub(super) fn in_vain(&self, key: &PublishableKey) -> Option<&NotAsked> {
        self.asked(key)?.as_ref().err()
    }

    fn wants(&self, key: &PublishableKey, now: Moment) -> bool {
        let holds = |(asked, at): &(Asked, Moment)| now.since(*at) < Asker::Push.holds_for(asked);
        self.asks && !self.asking.contains(key) && !self.said.get(key).is_some_and(holds)
    }

    fn take(&mut self, key: PublishableKey, asked: Asked, now: Moment) {
        self.asking.remove(&key);
        if self.said.len() >= KEYS {
            self.said.clear();
        }
        self.said.insert(key, (asked, now));
    }
}

impl Screen {
    /// The screen asks Stripe of the key that is entered, and of those of a plan.
    #[must_use]
    pub fn asking_stripe(mut self, asks: bool) -> Self {
        self.model.stripe.asks = asks;
        self
    }
}

/// What is to be asked now: of the key in the field once it is whole, and of each that the open plan sends.
pub(super) fn questions(screen: &mut Screen) -> Vec<Effect> {
    let now = screen.model.now;
    let mut keys: Vec<PublishableKey> = screen.model.field.entered().into_iter().collect();
    if let Some(Dialog::Plan(plan)) = &screen.dialog {
        keys.extend(plan.keys().into_iter().cloned());
    }
    let stripe = &mut screen.model.stripe;
    let mut effects = Vec::new();
    for key in keys {
        if stripe.wants(&key, now) {
            stripe.asking.insert(key.clone());
            effects.push(Effect::AskStripe(key));
        }
    }
    effects
}

/// Stripe was asked of a key. An open plan that sends it is judged by that at once.
pub(super) fn take(screen: &mut Screen, key: PublishableKey, asked: Asked) {
    let model = &mut screen.model;
    let is_news = model.stripe.asked(&key) != Some(&asked);
    if is_news && model.field.entered().as_ref() == Some(&key) {
        tell(model, &key, &asked);
    }
    let now = model.now;
    model.stripe.take(key, asked, now);
    if let Some(Dialog::Plan(plan)) = &mut screen.dialog {
        plan.judge_keys(&screen.model);
    }
}

/// A narrow screen has no room for it beside the field.
fn tell(model: &mut Model, key: &PublishableKey, asked: &Asked) {
    let mask = model.mask(key);
    match asked {
        Ok(standing) if standing.is_dead() => {
            model.say(Level::Error, format!("{mask} {}", standing.sentence()));
        }
        Ok(_) => {}
        Err(why) => model.mention(model.now, Level::Info, why.to_string()),
    }
}
