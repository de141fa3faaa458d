use super::Action;
use crate::engine::Level;
use crate::tui::Effect;
use crate::tui::model::Model;
use crate::tui::screen::Screen;

/// When an action is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Where the config can be used, or none is there.
    Configured,
    /// As [`When::Configured`], for what sends or steers.
    Steering,
    /// Where there are sites.
    WithSites,
    /// As [`When::Configured`], for what asks the sites: the run's own process does that.
    Looking,
    /// Where there are none yet.
    WithoutSites,
    /// Where there are no sites yet, or those of the session alone.
    WithoutConfig,
    /// In the demo, whose config is not the operator's.
    InDemo,
}

impl When {
    pub(super) fn is_now(self, model: &Model) -> bool {
        let is_configured = model.setup.wrong.is_none();
        match self {
            Self::Always => true,
            Self::Configured | Self::Steering | Self::Looking => is_configured,
            Self::WithSites => !model.sites.is_empty(),
            Self::WithoutSites => is_configured && model.sites.is_empty(),
            Self::WithoutConfig => {
                let of_session = model.setup.file.is_none() && !model.setup.added.is_empty();
                is_configured && (of_session || model.sites.is_empty())
            }
            Self::InDemo => model.options.demo,
        }
    }

    /// Why a screen that only watches does not do it, if it is one.
    pub(super) fn refusal(self, model: &Model) -> Option<String> {
        let refuses = match self {
            Self::Steering => true,
            Self::Looking => model.is_attached(),
            _ => false,
        };
        (model.options.read_only && refuses).then(|| model.read_only_why())
    }

    /// Whether both can be so at once, on an operator's config.
    pub(super) fn can_meet(self, other: Self) -> bool {
        let both = [self, other];
        let apart = both.contains(&Self::WithSites) && both.contains(&Self::WithoutSites);
        !apart && !both.contains(&Self::InDemo)
    }
}

impl Action {
    /// Does it; a screen that only watches says so of what it does not do.
    pub(in crate::tui) fn act(&self, screen: &mut Screen) -> Vec<Effect> {
        if let Some(why) = self.when.refusal(&screen.model) {
            screen.model.say(Level::Info, why);
            return Vec::new();
        }
        (self.run)(screen)
    }

    /// What the footer says of it, if it can be done.
    pub(in crate::tui) fn in_footer(&self, model: &Model) -> Option<String> {
        match self.when.refusal(model) {
            Some(_) => None,
            None => (self.footer)(model),
        }
    }
}
