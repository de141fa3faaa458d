use crate::tui::model::Model;

/// When an action is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Where the config can be used, or none is there.
    Configured,
    /// Where there are sites.
    WithSites,
    /// Where there are none yet.
    WithoutSites,
    /// In the demo, whose config is not the operator's.
    InDemo,
}

impl When {
    pub(super) fn is_now(self, model: &Model) -> bool {
        let is_configured = model.setup.wrong.is_none();
        match self {
            Self::Always => true,
            Self::Configured => is_configured,
            Self::WithSites => !model.sites.is_empty(),
            Self::WithoutSites => is_configured && model.sites.is_empty(),
            Self::InDemo => model.options.demo,
        }
    }

    /// Whether both can be so at once, on an operator's config.
    pub(super) fn can_meet(self, other: Self) -> bool {
        let both = [self, other];
        let apart = both.contains(&Self::WithSites) && both.contains(&Self::WithoutSites);
        !apart && !both.contains(&Self::InDemo)
    }
}
