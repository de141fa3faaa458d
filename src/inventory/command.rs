use std::time::Duration;

use zeroize::Zeroizing;

use super::LIST_LIMIT;
use crate::secret::run_bounded_to;

/// What a command prints. It sees none of the variables that may hold a secret.
///
/// # Errors
/// It cannot be started, fails, takes too long or prints too much: in words, with what it said on its standard error.
pub(super) async fn run(
    argv: &[String],
    hidden: &[String],
    timeout: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let program = argv.first().map_or("(empty)", String::as_str);
    let refuse = |reason: String| format!("the command {program}: {reason}");
    let ended = run_bounded_to(argv, hidden, &[], timeout, LIST_LIMIT + 1).await;
    let ended = ended.map_err(refuse)?;
    // Before its status: it fails when nobody reads any more.
    if ended.out.len() as u64 > LIST_LIMIT {
        return Err(refuse("prints more than 64 MiB: is it the right one?".to_owned()));
    }
    match ended.failure() {
        Some(failure) => Err(refuse(failure)),
        None => Ok(ended.out),
    }
}
