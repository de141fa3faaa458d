use std::time::Duration;

use super::telling::Telling;
use crate::secret::run_bounded;
use crate::text::CleanText;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs the command with `telling` in its environment; it sees none of the `hidden` variables.
///
/// # Errors
/// When it cannot be started, does not end in time or fails: with what it said.
pub(super) async fn run(argv: &[String], telling: &Telling<'_>, hidden: &[String]) -> Result<(), String> {
    let ended = run_bounded(argv, hidden, &telling.variables(), LIMIT).await?;
    if ended.status.success() {
        return Ok(());
    }
    let said = CleanText::note(&String::from_utf8_lossy(&ended.said));
    let said = if said.is_empty() {
        "it said nothing".to_owned()
    } else {
        format!("it said: {said}")
    };
    Err(format!("failed ({}); {said}", ended.status))
}
