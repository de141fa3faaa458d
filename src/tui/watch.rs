use super::model::Model;
use super::{Effect, screen::Screen};
use crate::engine::Level;
use crate::rules::moment::Moment;

/// What the screen is told of its watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchNews {
    /// It is on, and looks at all sites then.
    Next(Moment),
    /// It is off.
    Off,
    /// It has found something.
    Notice {
        /// What, in a sentence.
        text: String,
        /// Whether it is over.
        over: bool,
    },
}

/// Begins a watch, or ends it.
pub(super) fn turn(screen: &mut Screen) -> Vec<Effect> {
    let model = &mut screen.model;
    let is_on = model.watch.is_some();
    if !is_on && model.enabled(model.all()).is_empty() {
        model.say(
            Level::Info,
            "there is no site to watch (a disabled one is never asked)",
        );
        return Vec::new();
    }
    vec![Effect::Watch(!is_on)]
}

pub(super) fn take(model: &mut Model, news: WatchNews) {
    match news {
        WatchNews::Next(next) => {
            if model.watch.replace(next).is_none() {
                model.say(
                    Level::Info,
                    "the watch is on: all sites are looked at now, and again and again",
                );
            }
        }
        WatchNews::Off => {
            if model.watch.take().is_some() {
                model.say(Level::Info, "the watch is off");
            }
        }
        WatchNews::Notice { text, over } => {
            let level = if over { Level::Info } else { Level::Error };
            model.say(level, format!("watch: {text}"));
            if !over {
                model.live.found += 1;
            }
        }
    }
}

/// What the footer says of it: the time of the next look stands still until that has come.
pub(super) fn in_footer(model: &Model) -> Option<String> {
    let next = model.watch?;
    Some(format!("watch: next look {}", model.clock(next)))
}
