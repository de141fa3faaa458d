use anyhow::bail;
use clap::Args;

use super::key::refuse_strays;
use super::printer::Telling;
use super::reading::put_back;
use super::sending::{AllowArgs, Planned, SendArgs, config_to_send, run_on_record, say, send, session};
use super::session::Session;
use super::signals::Signals;
use super::status::Status;
use super::{Common, Globals, log};
use crate::config::Config;
use crate::rules::plan::{Plan, PlanAction};
use crate::rules::status::SkipReason;
use crate::site::SiteId;
use crate::text::{Count, some_names};

/// Flags of `rollback`.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// Put back what sites had before this run. Default: before the newest.
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    send: SendArgs,
    #[command(flatten)]
    allow: AllowArgs,
}

/// `rollback`.
pub(super) async fn run(globals: &Globals, args: RollbackArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let mut signals = Signals::listen()?;
    let config = config_to_send(globals, "rollback", &args.send, &mut signals).await?;
    let named = args.common.selection.by_name(&config.sites)?;
    log::start(&config.log, globals);
    let session = session(&config, globals, args.send.dry_run).await?;
    match plan(&session, &config, named, &args).await {
        Ok(Some(plan)) => {
            if args.send.yes && !args.send.dry_run {
                tell_what_stays(&session, &plan);
            }
            let planned = Planned {
                plan: Some(plan),
                ..Planned::default()
            };
            send(
                session,
                planned,
                &args.send,
                Telling::of(args.common.json),
                &mut signals,
            )
            .await
        }
        Ok(None) => {
            session.close().await;
            Ok(Status::Good)
        }
        Err(error) => {
            session.close().await;
            Err(error)
        }
    }
}

/// None where there is nothing to put back, which was said then.
async fn plan(
    session: &Session,
    config: &Config,
    named: Vec<SiteId>,
    args: &RollbackArgs,
) -> anyhow::Result<Option<Plan>> {
    let selection = args.common.selection.by_state(named, &session.known)?;
    let Some(run) = run_on_record(session, args.run).await? else {
        say("no run is on record: there is nothing to put back");
        return Ok(None);
    };
    let urls = selection.iter().map(|id| session.sites[id.index()].url.clone());
    let sites = put_back(&*session.store, &session.sites, run.id, Some(urls.collect())).await?;
    let state = |id: SiteId| &session.known[id.index()];
    let plan = Plan::rollback(run.id, &sites, &session.sites, state, args.allow.into());
    let Some(plan) = plan else {
        say(&format!(
            "nothing of run {} can be put back: it changed no site that had a key",
            run.id.0
        ));
        return Ok(None);
    };
    if plan.puts() == 0 && !args.send.dry_run {
        tell_what_stays(session, &plan);
        let refused = plan.skipped(SkipReason::OtherMode);
        if refused > 0 {
            bail!(
                "nothing sent: {} left out, which serve a key of the other mode than what they had before \
                 (--allow-mode-change sends it all the same)",
                Count(refused, "site")
            );
        }
        say(&format!(
            "nothing of run {} is to be put back on these sites",
            run.id.0
        ));
        return Ok(None);
    }
    Ok(Some(plan.in_waves(
        &config.rollout,
        &session.sites,
        state,
        session.clock.now(),
    )))
}

/// What no call can put back, and what may be none of a site's own: without a question nobody has read it.
fn tell_what_stays(session: &Session, plan: &Plan) {
    let names = |is_so: &dyn Fn(PlanAction, bool) -> bool| {
        let rows = plan.rows.iter().filter(|row| is_so(row.action, row.doubtful));
        let names: Vec<&str> = rows
            .map(|row| session.sites[row.site.index()].name.as_str())
            .collect();
        (!names.is_empty()).then(|| (Count(names.len(), "site"), some_names(&names)))
    };
    let stays = names(&|action, _| action == PlanAction::Skip(SkipReason::NotReversible));
    if let Some((count, names)) = stays {
        say(&format!(
            "{count}: {} ({names})",
            SkipReason::NotReversible.sentence()
        ));
    }
    let doubtful = names(&|action, doubtful| action == PlanAction::Put && doubtful);
    if let Some((count, names)) = doubtful {
        say(&format!(
            "{count} may get a fallback: what was seen there before was never pushed from here ({names})"
        ));
    }
}
