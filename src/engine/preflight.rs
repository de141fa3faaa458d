use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::schedule::{Lane, Schedule, Want};
use super::{Clock, Settings, sleep_until};
use crate::rules::moment::Moment;
use crate::rules::outcome::{AuthVerdict, Problem};
use crate::rules::preflight::trial::{Suitability, Trials, Turn};
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
    Reached(SiteId, Result<Suitability, &'static str>),
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
                work.begin(site, call, lane, now);
            }
            // The config bounds how many calls go in a second.
            let next = work.next_timer().filter(|_| !stop.is_cancelled());
            let next = next.map(|at| self.clock.instant_of(at));
            tokio::select! {
                Some(ended) = work.tasks.join_next_with_id() => work.end(&ended),
                () = sleep_until(next), if next.is_some() => work.wake(),
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

    /// When something is due, as time since the start of the process.
    fn next_timer(&mut self) -> Option<Duration> {
        let passes_over = self.trials.next_at().map(|at| at.since_start);
        let timers = [passes_over, self.schedule.next_timer()];
        timers.into_iter().flatten().min()
    }

    fn wake(&mut self) {
        let now = self.preflight.clock.now();
        self.schedule.wake(now);
        let turns = self.trials.next(now);
        self.take(turns);
    }

    fn begin(&mut self, id: SiteId, call: Call, lane: Lane, now: Moment) {
        let (api, all) = (Arc::clone(&self.preflight.api), Arc::clone(&self.preflight.all));
        if call == Call::Put {
            self.trials.begun(all[id.index()].master_key, id, now);
        }
        let (tell, now) = (self.tell.clone(), now.wall);
        let task = self.tasks.spawn(async move {
            let site = &all[id.index()];
            let say = move |done: Done| {
                tracing::info!(
                    site = %site.name,
                    step = done.step.word(),
                    result = done.result.word(),
                    ms = done.milliseconds(),
                    note = %done.result.sentence(),
                    "preflight"
                );
                let _gone = tell.send(News::Step(id, done));
            };
            if call == Call::Put {
                let answer = api.authenticate(site).await;
                say(Done {
                    step: Step::Auth,
                    result: preflight::auth(&answer),
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
        let now = self.preflight.clock.now();
        self.schedule.release(site, lane, now);
        let key = self.preflight.all[site.index()].master_key;
        let turns = match ended {
            Ok((_, Finished::Reached(site, _))) if !self.preflight.auth => {
                self.say(News::Over(*site));
                Vec::new()
            }
            Ok((_, Finished::Reached(site, suitability))) => {
                if let Err(why) = suitability {
                    self.leave_out(*site, why);
                }
                self.trials.reached(key, *site, suitability.ok(), now)
            }
            Ok((_, Finished::Answered(site, verdict))) => {
                self.say(News::Over(*site));
                self.trials.answered(key, *site, *verdict, now)
            }
            Err(_) => {
                // A fault of the program: the others have their turn all the same.
                tracing::error!(site = %self.preflight.all[site.index()].name, "the preflight broke off");
                self.say(News::Over(site));
                if lane == Lane::Push {
                    self.trials
                        .answered(key, site, AuthVerdict::Problem(Problem::ConnectionLost), now)
                } else {
                    self.trials.reached(key, site, None, now)
                }
            }
        };
        self.take(turns);
    }

    fn take(&mut self, turns: Vec<Turn>) {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::secret::MasterKey;
    use crate::site::{MasterKeyId, SiteMode, SiteUrl};
    use crate::site_api::HttpSettings;

    /// Three sites at one address, each with a backend of its own if that is wanted, and one call at once.
    fn preflight(address: std::net::SocketAddr, apart: bool, auth: bool) -> Preflight {
        let site = |index: usize| {
            let url = SiteUrl::parse(&format!("http://{address}/{index}")).unwrap();
            let backend = if apart { url.to_string() } else { url.backend() };
            Site {
                name: url.default_name(),
                backend: backend.into(),
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
            per_backend: 1,
        };
        let api = HttpSiteApi::new(&settings).unwrap();
        api.set_master_key(MasterKeyId(0), MasterKey::parse("m4ster-key".to_owned()).unwrap());
        Preflight {
            api: Arc::new(api),
            all: (0..3).map(site).collect(),
            settings: Settings {
                per_backend: 1,
                ..Settings::default()
            },
            clock: Clock::start(),
            sites: (0..3).map(SiteId).collect(),
            auth,
        }
    }

    #[tokio::test]
    async fn what_is_stopped_begins_nothing_more_and_what_is_out_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let preflight = preflight(listener.local_addr().unwrap(), false, false);
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
    /// Accepts the master key. The first site serves a key, so that it is tried first, and never answers a PUT.
    async fn answer(mut stream: TcpStream) {
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes).await.unwrap_or(0);
        let asked = String::from_utf8_lossy(&bytes[..read]).into_owned();
        let (status, body) = if asked.starts_with("GET /0/") {
            let key = "pk_test_51ExampleExampleExampleExampleAbCd";
            let body = format!("{{\"success\": true, \"publishable_key\": \"{key}\"}}");
            ("200 OK", body)
        } else if asked.starts_with("GET") {
            let body = "{\"success\": false, \"message\": \"no_publishable_key\"}";
            ("404 Not Found", body.to_owned())
        } else if asked.starts_with("PUT /0/") {
            return std::future::pending().await;
        } else {
            ("400 Bad Request", "{\"error\": \"Missing value\"}".to_owned())
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _gone = stream.write_all(answer.as_bytes()).await;
    }

    #[tokio::test]
    async fn one_that_hangs_with_the_master_key_does_not_hold_up_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let preflight = preflight(listener.local_addr().unwrap(), true, true);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        let (tell, mut news) = unbounded_channel();
        let work = tokio::spawn(preflight.run(CancellationToken::new(), tell));
        let mut over = Vec::new();
        while over.len() < 2 {
            if let News::Over(site) = news.recv().await.unwrap() {
                over.push(site);
            }
        }
        over.sort();
        assert_eq!(over, [SiteId(1), SiteId(2)]);
        work.abort();
    }
}
