use super::model::Model;
use crate::engine::Level;
use crate::text::Count;

/// So many warnings are kept among the messages: there is room for others.
const KEPT: usize = 200;

/// Tells what is odd with the list of sites: what could not be read, and how many warnings there are. Each of them is
/// among the messages.
pub(super) fn tell(model: &mut Model) {
    let (warnings, failed) = (model.setup.warnings.clone(), model.setup.failed.clone());
    for warning in warnings.iter().take(KEPT) {
        model.mention(model.now, Level::Warning, warning.to_string());
    }
    if !warnings.is_empty() {
        let key = model.key_of("messages");
        let text = format!(
            "{} about the list of sites: {key} shows all",
            Count(warnings.len(), "warning")
        );
        model.say(Level::Warning, text);
    }
    for failed in failed {
        model.say(Level::Error, format!("source {failed}; its sites are missing"));
    }
}
