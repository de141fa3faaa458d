use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::bail;

use super::session::{Db, Session};
use super::signals::Signals;
use crate::engine::Standings;
use crate::key::PublishableKey;
use crate::rules::plan::{Plan, PlanAction};
use crate::rules::standing::{NotAsked, Purpose, Standing};
use crate::text::some_names;

/// Asks Stripe of the keys that a run without a screen sends, before it sends anything; takes seconds at most.
///
/// # Errors
/// When a key is dead and is not to be sent all the same (`allowed`); `whose` tells which sites would get it.
pub(super) async fn ask_first(
    session: &Session,
    keys: &BTreeSet<PublishableKey>,
    allowed: bool,
    whose: impl Fn(&PublishableKey) -> String,
    signals: &mut Signals,
) -> anyhow::Result<Vec<(PublishableKey, Standing)>> {
    let asked = signals
        .unless_stopped(async { Ok(ask(&session.standings, keys).await) })
        .await?;
    if let Some(why) = asked.in_vain {
        let _closed = writeln!(std::io::stderr(), "warning: {why}; the key is sent all the same");
    }
    for (key, standing) in &asked.dead {
        if !allowed {
            bail!(
                "nothing sent: {key} {}{} (--allow-unknown-key sends it all the same)",
                standing.sentence(),
                whose(key)
            );
        }
        session.standings.allow(key.clone());
    }
    Ok(asked.dead)
}

/// What came of asking.
#[derive(Default)]
struct Answers {
    dead: Vec<(PublishableKey, Standing)>,
    /// Why Stripe could not be asked of a key, if it could not.
    in_vain: Option<NotAsked>,
}

async fn ask(standings: &Arc<Standings<Db>>, keys: &BTreeSet<PublishableKey>) -> Answers {
    let mut questions = tokio::task::JoinSet::new();
    for key in keys.iter().cloned() {
        let standings = Arc::clone(standings);
        questions.spawn(async move {
            let asked = standings.of(&key, Purpose::Push).await;
            (key, asked)
        });
    }
    let mut answers = Answers::default();
    for (key, asked) in questions.join_all().await {
        match asked {
            Some(Ok(standing)) if standing.is_dead() => answers.dead.push((key, standing)),
            Some(Err(why)) => answers.in_vain = Some(why),
            Some(Ok(_)) | None => {}
        }
    }
    answers.dead.sort();
    answers
}

/// As [`ask_first`], of the keys of a plan, which tells of the dead ones then.
pub(super) async fn ask_of_plan(
    session: &Session,
    plan: &mut Plan,
    allowed: bool,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let keys = plan.put_keys().into_iter().cloned().collect();
    // Where each site has its own key, one of them stands in the way of all.
    let whose = |key: &PublishableKey| {
        let rows = plan.rows.iter().filter(|row| row.action == PlanAction::Put);
        let names: Vec<&str> = rows
            .filter(|row| row.key == *key)
            .map(|row| session.sites[row.site.index()].name.as_str())
            .collect();
        if plan.keys() > 1 {
            format!(
                "; it would go to {} (--exclude leaves a site out)",
                some_names(&names)
            )
        } else {
            String::new()
        }
    };
    let dead = ask_first(session, &keys, allowed, whose, signals).await?;
    judge(plan, &dead);
    Ok(())
}

/// What Stripe says of the keys of a plan that is only told: nothing is refused.
pub(super) async fn tell_of_plan(
    session: &Session,
    plan: &mut Plan,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let keys = plan.put_keys().into_iter().cloned().collect();
    let asked = signals
        .unless_stopped(async { Ok(ask(&session.standings, &keys).await) })
        .await?;
    if let Some(why) = asked.in_vain {
        let _closed = writeln!(std::io::stderr(), "warning: {why}");
    }
    judge(plan, &asked.dead);
    Ok(())
}

/// A plan that nobody looks at before it is sent, with what Stripe says of its keys; why it could not be asked, if it
/// could not.
pub(super) async fn judged(standings: Arc<Standings<Db>>, mut plan: Plan) -> (Plan, Option<NotAsked>) {
    let keys = plan.put_keys().into_iter().cloned().collect();
    let answers = ask(&standings, &keys).await;
    judge(&mut plan, &answers.dead);
    (plan, answers.in_vain)
}

fn judge(plan: &mut Plan, dead: &[(PublishableKey, Standing)]) {
    let standing = |key: &PublishableKey| dead.iter().find(|(other, _)| other == key).map(|(_, said)| *said);
    plan.judge_keys(standing);
}
