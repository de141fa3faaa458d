use std::io::Write;

use anyhow::bail;

use super::session::Session;
use crate::config::Config;
use crate::rules::plan::{ListChange, Plan};
use crate::store::Store;

/// What the store calls the list of sites of a config: the config's path, wherever the program is started. None where
/// there is no config.
pub(super) fn name(config: &Config) -> Option<String> {
    let path = std::fs::canonicalize(&config.path).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// By what the session's list of sites differs from the one of the last run.
pub(super) async fn change(session: &Session) -> anyhow::Result<ListChange> {
    let before = match session.list_name() {
        Some(name) => session.store.list(name).await?,
        None => None,
    };
    Ok(ListChange::since(before.as_deref(), &session.sites))
}

/// Tells by what the list of sites has changed, and has the plan ask about a large change.
///
/// # Errors
/// When the change is large, nobody is asked (`yes`), and it was not allowed beforehand.
pub(super) async fn ask_of_list(
    session: &Session,
    plan: &mut Plan,
    yes: bool,
    allowed: bool,
) -> anyhow::Result<()> {
    let change = change(session).await?;
    if !change.is_none() {
        // Nobody reads it: what is asked is asked all the same.
        let _closed = writeln!(std::io::stderr(), "{change}");
    }
    let Some(danger) = change.danger().filter(|_| !allowed) else {
        return Ok(());
    };
    if yes {
        bail!(
            "nothing sent: {} (--allow-list-change sends it all the same)",
            danger.sentence()
        );
    }
    plan.dangers.push(danger);
    Ok(())
}
