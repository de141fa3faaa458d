use super::Model;
use crate::site::SiteId;

impl Model {
    /// Whether nothing may be sent or steered from this screen.
    pub fn is_watching(&self) -> bool {
        self.options.read_only
    }

    /// Whether a site was added on the screen and stands in no config.
    pub fn is_of_session(&self, id: SiteId) -> bool {
        self.setup.added.contains(&self.site(id).url)
    }

    /// Whether the sites are the demo's.
    pub fn is_demo(&self) -> bool {
        self.options.demo
    }

    /// Where and why the config cannot be used, if it cannot.
    pub fn wrong_config(&self) -> Option<String> {
        let wrong = self.setup.wrong.as_ref()?;
        Some(format!("{}: {}", wrong.place, wrong.message))
    }
}
