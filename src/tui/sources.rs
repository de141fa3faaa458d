use super::model::Model;
use crate::engine::Level;
use crate::text::Count;

/// So many warnings are kept among the messages: there is room for others.
const KEPT: usize = 200;

/// How many warnings there are about the list of sites. Each of them is among the messages.
pub(super) fn tell_warnings(model: &mut Model) {
    let warnings = model.setup.warnings.clone();
    for warning in warnings.iter().take(KEPT) {
        model.mention(model.now, Level::Warning, warning.to_string());
    }
    if !warnings.is_empty() {
        let key = model.key_of("messages");
        let warnings = Count(warnings.len(), "warning");
        model.say(
            Level::Warning,
            format!("{warnings} about the list of sites: {key} shows all"),
        );
    }
}

/// Which sources could not be read: it is the last that is said, and so stays on the line.
pub(super) fn tell_failed(model: &mut Model) {
    for failed in model.setup.failed.clone() {
        model.say(Level::Error, format!("source {failed}; its sites are missing"));
    }
}
