use super::sending::say;
use super::session::Session;
use crate::rules::plan::{ListChange, Plan};
use crate::store::Store;

/// By what the session's list of sites differs from the one of the last run.
pub(super) async fn change(session: &Session) -> anyhow::Result<ListChange> {
    let before = match session.list_name() {
        Some(name) => session.store.list(name).await?,
        None => None,
    };
    Ok(ListChange::since(before.as_deref(), &session.sites))
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
