use anyhow::bail;

use super::Globals;
use super::sending::say;
use super::session::{Session, StoreAt, list_name, open_store, where_is};
use crate::config::Config;
use crate::rules::plan::{ListChange, Plan};
use crate::site::Site;
use crate::store::Store;

/// By what the session's list of sites differs from the one of the last run.
pub(super) async fn change(session: &Session) -> anyhow::Result<ListChange> {
    since(&*session.store, session.list_name(), &session.sites).await
}

/// By what `sites` differ from the list of this name at its last run; nothing where none is on record.
pub(super) async fn since(
    store: &impl Store,
    name: Option<&str>,
    sites: &[Site],
) -> anyhow::Result<ListChange> {
    let before = match name {
        Some(name) => store.list(name).await?,
        None => None,
    };
    Ok(ListChange::since(before.as_deref(), sites))
}

/// Tells by what the config's list of sites has changed, where no session is needed.
///
/// # Errors
/// A large change that is not allowed: nothing is sent.
pub(super) async fn refuse_large_change(
    config: &Config,
    globals: &Globals,
    allowed: bool,
) -> anyhow::Result<()> {
    if let StoreAt::File(path) = where_is(&config.store, globals)?
        && !path.exists()
    {
        // Nothing is on record, and this leaves nothing there.
        return Ok(());
    }
    let store = open_store(config, globals).await?.store;
    let change = since(&store, list_name(config).as_deref(), &config.sites).await?;
    if !change.is_none() {
        say(&change.to_string());
    }
    if let Some(danger) = change.danger().filter(|_| !allowed) {
        bail!(
            "nothing sent: {} ({} sends it all the same)",
            danger.sentence(),
            danger.flag()
        );
    }
    Ok(())
}

/// Tells by what the list of sites has changed, and has the plan ask about a large change that is not allowed.
pub(super) async fn tell_of_list(session: &Session, plan: &mut Plan, allowed: bool) -> anyhow::Result<()> {
    let change = change(session).await?;
    if !change.is_none() {
        say(&change.to_string());
    }
    plan.dangers.extend(change.danger().filter(|_| !allowed));
    Ok(())
}
