use std::time::Duration;

use super::telling::Telling;
use crate::secret::run_bounded;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs the command with `telling` in its environment; it sees none of the `hidden` variables.
///
/// # Errors
/// When it cannot be started, does not end in time or fails: with what it said.
pub(super) async fn run(argv: &[String], telling: &Telling<'_>, hidden: &[String]) -> Result<(), String> {
    let ended = run_bounded(argv, hidden, &telling.variables(), LIMIT).await?;
    ended.failure().map_or(Ok(()), Err)
}
