use super::Effect;
use super::dialogs::Dialog;
use super::model::Model;
use super::screen::Screen;
use crate::engine::Level;
use crate::key::PublishableKey;
use crate::rules::standing::Asked;

impl Screen {
    /// The screen asks Stripe of the key that is entered, and of those of a plan.
    #[must_use]
    pub fn asking_stripe(mut self, asks: bool) -> Self {
        self.model.stripe.is_asked(asks);
        self
    }
}

/// What is to be asked now: of the key in the field once it is whole, and of each that the open plan sends.
pub(super) fn questions(screen: &mut Screen) -> Vec<Effect> {
    let now = screen.model.now;
    let entered = screen.model.field.entered();
    let planned = match &screen.dialog {
        Some(Dialog::Plan(plan)) => Some(plan.keys()),
        _ => None,
    };
    let stripe = &mut screen.model.stripe;
    let keys = entered.iter().chain(planned.into_iter().flatten());
    let wanted = keys.filter(|key| stripe.wants(key, now));
    wanted.cloned().map(Effect::AskStripe).collect()
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
