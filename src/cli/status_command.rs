use std::io::{ErrorKind, Write};

use anyhow::Context;
use clap::Args;
use jiff::tz::TimeZone;

use super::headless::config_with_sites;
use super::key::refuse_strays;
use super::session::open_store;
use super::status::Status;
use super::{Common, Globals};
use crate::engine::Clock;
use crate::report::{Results, ServedKeys, old_keys, status};
use crate::rules::state::SiteState;
use crate::site::SiteUrl;
use crate::store::Store;

/// Flags of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// May the old key expire? For each key that the last run of each site replaced: which sites serve it still, which
    /// may and until when, which were not seen.
    #[arg(long)]
    old_key: bool,
    #[command(flatten)]
    common: Common,
}

/// `status`: from the store alone. No site is asked, and no run is held up.
pub(super) async fn run(globals: &Globals, args: StatusArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let config = config_with_sites(globals).await?;
    let selection = args.common.selection.by_name(&config.sites)?;
    let store = open_store(&config.store, globals).await?.store;
    let now = Clock::start().now();
    let urls: Vec<SiteUrl> = config.sites.iter().map(|site| site.url.clone()).collect();
    let newest = store.last_known(&urls, &config.policy(), now).await?;
    let states: Vec<SiteState> = newest.into_iter().map(|newest| newest.state).collect();
    let selection = args.common.selection.by_state(selection, &states)?;
    let acknowledged = store.acknowledged().await?;
    let results = Results {
        sites: &config.sites,
        states: &states,
        selection: &selection,
        key: None,
        now,
        zone: &TimeZone::system(),
        hidden_for: None,
        acknowledged: &acknowledged,
        served: ServedKeys::default(),
    };
    let text = match (args.common.json, args.old_key) {
        (true, _) => status::document(&results),
        (false, true) => old_keys::answer(&results),
        (false, false) => status::table(&results),
    };
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Status::Good),
        written => written.context("writing the answer").map(|()| Status::Good),
    }
}
