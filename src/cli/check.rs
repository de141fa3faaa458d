use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::gate::may_push;
use super::key::refuse_strays;
use super::list::refuse_large_change;
use super::printer::{Printer, Telling, next};
use super::sending::PaceArgs;
use super::session::{MasterKeys, ca_pem, http, known, settings};
use super::signals::Signals;
use super::sources::{self, ListArgs, config_with_sites};
use super::status::Status;
use super::{Common, Globals, log};
use crate::engine::preflight::{News, Preflight};
use crate::engine::{Clock, Left};
use crate::report::preflight::{Table, json, json_summary};
use crate::rules::preflight::{Counts, Report};
use crate::site::{Site, SiteId};

/// Flags of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    common: Common,
    /// Try the master key, too: by a PUT with the body {}, which stores nothing, on one site first.
    #[arg(long)]
    auth: bool,
    /// With --auth: go on where the list of sites changed by at least 5 sites and a tenth since the last run.
    #[arg(long, requires = "auth")]
    allow_list_change: bool,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    pace: PaceArgs,
}

/// `check`: it needs no lock, and leaves nothing in the store.
pub(super) async fn run(globals: &Globals, args: CheckArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    if globals.read_only && args.auth {
        bail!("--read-only sends no master key, and --auth tries it: leave out one of the two");
    }
    let mut signals = Signals::listen()?;
    let mut config = config_with_sites(globals, &mut signals).await?;
    args.pace.apply(&mut config);
    let mut selection = args.common.selection.by_name(&config.sites)?;
    if args.common.selection.asks_states() {
        selection = args
            .common
            .selection
            .by_state(selection, &known(&config, globals).await?)?;
    }
    selection.retain(|id| config.sites[id.index()].enabled);
    if selection.is_empty() {
        bail!("all of these sites are disabled in the config: there is nothing to check");
    }
    if args.auth {
        // It sends no key, but the master key.
        let asked = async { may_push().await.context("nothing sent") };
        signals.unless_stopped(asked).await?;
        sources::may_send(&config, args.list, false)?;
        refuse_large_change(&config, globals, args.allow_list_change).await?;
    }
    log::start(&config.log, globals);
    let sites = Arc::clone(&config.sites);
    let reach = Arc::new(http(&config, ca_pem(&config)?));
    let master_keys = MasterKeys::new(&config, &sites, reach);
    let api = Arc::clone(master_keys.client().await?);
    if args.auth {
        let loaded = signals.unless_stopped(master_keys.load(&selection)).await;
        loaded.context("nothing sent")?;
    }
    let preflight = Preflight {
        api,
        all: Arc::clone(&sites),
        settings: settings(&config, Left::Alone),
        clock: Clock::start(),
        sites: selection.clone(),
        auth: args.auth,
    };
    let followed = Followed {
        clock: preflight.clock,
        table: Table::of(selection.iter().map(|id| sites[id.index()].name.as_str())),
        sites,
        selected: selection.len(),
        waiting: selection.iter().copied().collect(),
        held: BTreeMap::new(),
        lacks_sites: !config.listed.failed.is_empty() || config.listed.held_back > 0,
        telling: Telling::of(args.common.json),
        reports: HashMap::new(),
        counts: Counts::default(),
    };
    let (tell, news) = unbounded_channel();
    // Whatever is out is given up with this: no answer to it changes anything.
    let work = tokio::spawn(preflight.run(CancellationToken::new(), tell));
    let status = followed.follow(news, &mut signals).await;
    work.abort();
    status
}

/// A preflight, told as it goes.
struct Followed {
    sites: Arc<[Site]>,
    clock: Clock,
    telling: Telling,
    table: Table,
    /// How many sites are checked.
    selected: usize,
    /// Whether sites are missing, since their source could not be read.
    lacks_sites: bool,
    /// Sites without their line, in the order of the list, which is that of the table.
    waiting: VecDeque<SiteId>,
    /// Lines of the table that wait for those before them.
    held: BTreeMap<SiteId, String>,
    /// Of the sites that are not over.
    reports: HashMap<SiteId, Report>,
    counts: Counts,
}

impl Followed {
    async fn follow(
        mut self,
        mut news: UnboundedReceiver<News>,
        signals: &mut Signals,
    ) -> anyhow::Result<Status> {
        let begun = self.clock.now();
        let printer = Printer::start(self.telling)?;
        if self.telling == Telling::Plain {
            printer.out(self.table.heads());
        }
        let mut frames = printer.progress_every().map(tokio::time::interval);
        let interrupted = loop {
            tokio::select! {
                biased;
                () = signals.stop() => break true,
                () = next(&mut frames) => printer.progress(self.progress()),
                told = news.recv() => match told {
                    Some(News::Step(site, done)) => self.reports.entry(site).or_default().take(done),
                    Some(News::Over(site)) => self.over(site, &printer),
                    None => break false,
                },
            }
        };
        // Of one that did not come to its end there is no line.
        for line in std::mem::take(&mut self.held).into_values() {
            printer.out(line);
        }
        // A site that got lost on the way, or before, is not known to be good.
        let is_bad = self.lacks_sites || self.counts.bad > 0 || self.counts.all() < self.selected;
        let status = if interrupted {
            Status::Interrupted
        } else if is_bad {
            Status::Bad
        } else {
            Status::Good
        };
        let now = self.clock.now();
        printer.out(match self.telling {
            Telling::Json => {
                let seconds = now.since(begun).as_secs();
                json_summary(self.counts, self.selected, now.wall, seconds, status.code())
            }
            _ => Table::summary(self.counts, self.selected),
        });
        tokio::select! {
            () = printer.finish(interrupted) => {}
            () = signals.stop() => {}
        }
        if printer.has_lost() {
            return Ok(status.worse(Status::Bad));
        }
        Ok(status)
    }

    /// How far all is, in one line.
    fn progress(&self) -> String {
        let line = format!("checked {}/{}", self.counts.all(), self.selected);
        match self.counts.bad {
            0 => line,
            bad => format!("{line}  failed {bad}"),
        }
    }

    fn over(&mut self, id: SiteId, printer: &Printer) {
        let report = self.reports.remove(&id).unwrap_or_default();
        self.counts.add(report.grade());
        let site = &self.sites[id.index()];
        if self.telling == Telling::Json {
            printer.out(json(site, &report, self.clock.now().wall));
            return;
        }
        self.held.insert(id, self.table.line(site, &report));
        while let Some(line) = self.waiting.front().and_then(|next| self.held.remove(next)) {
            self.waiting.pop_front();
            printer.out(line);
        }
    }
}
