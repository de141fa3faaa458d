use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::schedule::{Lane, Schedule, Want};
use super::{Clock, Settings, sleep_until};
use crate::rules::outcome::{AuthVerdict, Problem};
use crate::rules::preflight::trial::{Standing, Trials, Turn};
use crate::rules::preflight::{self, Done, Step};
use crate::rules::state::Call;
use crate::site::{Site, SiteId};
use crate::site_api::HttpSiteApi;

/// A preflight: what a push would meet, tried without one. It needs no lock, and leaves nothing on record.
#[derive(Debug)]
pub struct Preflight {
    /// Reaches the sites; with `auth` it has the master keys that they need.
    pub api: Arc<HttpSiteApi>,
    /// All sites.
    pub all: Arc<[Site]>,
    /// How many are asked at once, and how many a second.
    pub settings: Settings,
    /// Tells how old a certificate is.
    pub clock: Clock,
    /// Those that are tried.
    pub sites: Vec<SiteId>,
    /// Whether the master keys are tried, too.
    pub auth: bool,
}

/// What a preflight tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A step of a site was done, or left out.
    Step(SiteId, Done),
    /// Nothing more comes of this site.
    Over(SiteId),
}

/// What came of a task.
enum Finished {
    Reached(SiteId, Result<Standing, &'static str>),
    Answered(SiteId, AuthVerdict),
}

impl Preflight {
    /// Tries the sites and tells what it finds, until all are over. Once `stop` is cancelled nothing more is begun,
    /// and what is out ends.
    pub async fn run(self, stop: CancellationToken, tell: UnboundedSender<News>) {
        let keys = self.sites.iter().map(|id| self.all[id.index()].master_key);
        let mut work = Work {
            schedule: Schedule::new(&self.all, &self.settings),
            trials: Trials::of(keys),
            tasks: JoinSet::new(),
            out: HashMap::new(),
            preflight: &self,
            tell,
        };
        for site in &self.sites {
            work.want(*site, Call::Look);
        }
        loop {
            let now = self.clock.now();
            while !stop.is_cancelled()
                && let Some((site, call, lane)) = work.schedule.take(now)
            {
                work.begin(site, call, lane);
            }
            // The config bounds how many calls go in a second.
            let next = work.schedule.next_timer().filter(|_| !stop.is_cancelled());
            let next = next.map(|at| self.clock.instant_of(at));
            tokio::select! {
                Some(ended) = work.tasks.join_next_with_id() => work.end(&ended),
                () = sleep_until(next), if next.is_some() => work.schedule.wake(self.clock.now()),
                else => break,
            }
        }
    }
}

struct Work<'a> {
    preflight: &'a Preflight,
    schedule: Schedule,
    trials: Trials,
    tasks: JoinSet<Finished>,
    /// Which slot each task has.
    out: HashMap<Id, (SiteId, Lane)>,
    tell: UnboundedSender<News>,
}

impl Work<'_> {
    fn say(&self, news: News) {
        // Nobody listens any more: the preflight is being stopped.
        let _gone = self.tell.send(news);
    }

    fn want(&mut self, site: SiteId, call: Call) {
        let now = self.preflight.clock.now();
        let lane = if call == Call::Put { Lane::Push } else { Lane::Look };
        let want = Want {
            call,
            lane,
            is_retry: false,
        };
        self.schedule.want(site, want, now, now);
    }

    fn begin(&mut self, id: SiteId, call: Call, lane: Lane) {
        let (api, all) = (Arc::clone(&self.preflight.api), Arc::clone(&self.preflight.all));
        let (tell, now) = (self.tell.clone(), self.preflight.clock.now().wall);
        let task = self.tasks.spawn(async move {
            let site = &all[id.index()];
            let say = move |done: Done| {
                tracing::info!(
                    site = %site.name,
                    step = done.step.word(),
                    result = done.finding.word(),
                    ms = done.milliseconds(),
                    note = %done.finding.sentence(),
                    "preflight"
                );
                let _gone = tell.send(News::Step(id, done));
            };
            if call == Call::Put {
                let answer = api.authenticate(site).await;
                say(Done {
                    step: Step::Auth,
                    finding: preflight::auth(&answer),
                    took: answer.took,
                });
                return Finished::Answered(id, answer.verdict);
            }
            Finished::Reached(id, api.reach(site, now, &say).await)
        });
        self.out.insert(task.id(), (id, lane));
    }

    fn end(&mut self, ended: &Result<(Id, Finished), JoinError>) {
        let task = match ended {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let Some((site, lane)) = self.out.remove(&task) else {
            return;
        };
        self.schedule.release(site, lane, self.preflight.clock.now());
        let key = self.preflight.all[site.index()].master_key;
        let turns = match ended {
            Ok((_, Finished::Reached(site, _))) if !self.preflight.auth => {
                self.say(News::Over(*site));
                Vec::new()
            }
            Ok((_, Finished::Reached(site, standing))) => {
                if let Err(why) = standing {
                    self.leave_out(*site, why);
                }
                self.trials.reached(key, *site, standing.ok())
            }
            Ok((_, Finished::Answered(site, verdict))) => {
                self.say(News::Over(*site));
                self.trials.answered(key, *verdict)
            }
            Err(_) => {
                // A fault of the program: the others have their turn all the same.
                tracing::error!(site = %self.preflight.all[site.index()].name, "the preflight broke off");
                self.say(News::Over(site));
                if lane == Lane::Push {
                    self.trials
                        .answered(key, AuthVerdict::Problem(Problem::ConnectionLost))
                } else {
                    self.trials.reached(key, site, None)
                }
            }
        };
        for turn in turns {
            match turn {
                Turn::Ask(site) => self.want(site, Call::Put),
                Turn::Skip(site, why) => self.leave_out(site, why),
            }
        }
    }

    fn leave_out(&self, site: SiteId, why: &str) {
        self.say(News::Step(site, Done::skipped(Step::Auth, why)));
        self.say(News::Over(site));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::site::{MasterKeyId, SiteMode, SiteUrl};
    use crate::site_api::HttpSettings;

    #[tokio::test]
    async fn what_is_stopped_begins_nothing_more_and_what_is_out_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = |index: usize| {
            let url = SiteUrl::parse(&format!("http://{address}/{index}")).unwrap();
            Site {
                name: url.default_name(),
                backend: url.backend().into(),
                url,
                group: None,
                mode: SiteMode::Any,
                master_key: MasterKeyId(0),
                enabled: true,
            }
        };
        let limit = Duration::from_secs(20);
        let settings = HttpSettings {
            connect_timeout: limit,
            timeout: limit,
            proxy: None,
            ca_pem: None,
            sites: 3,
        };
        let preflight = Preflight {
            api: Arc::new(HttpSiteApi::new(&settings).unwrap()),
            all: (0..3).map(site).collect(),
            settings: Settings {
                per_backend: 1,
                ..Settings::default()
            },
            clock: Clock::start(),
            sites: (0..3).map(SiteId).collect(),
            auth: false,
        };
        let stop = CancellationToken::new();
        let (tell, mut news) = unbounded_channel();
        let work = tokio::spawn(preflight.run(stop.clone(), tell));
        // It is out; then the listener goes, and with it what it waits for.
        let first = news.recv().await;
        assert!(matches!(first, Some(News::Step(SiteId(0), _))), "{first:?}");
        stop.cancel();
        drop(listener);
        let mut rest = Vec::new();
        while let Some(told) = news.recv().await {
            rest.push(told);
        }
        work.await.unwrap();
        assert_eq!(rest.last(), Some(&News::Over(SiteId(0))));
        let of_others = |told: &&News| !matches!(told, News::Step(SiteId(0), _) | News::Over(SiteId(0)));
        assert_eq!(rest.iter().filter(of_others).count(), 0, "{rest:?}");
    }
}
