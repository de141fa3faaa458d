//! The main job on a real fleet: engine and HTTP edge against TLS sites on loopback. What the program says
//! is compared with the fleet's own record.

use std::path::Path;
use std::sync::Arc;

use stripe_propagate::config::{self, Config, Place};
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::demo::{Fleet, FleetOptions};
use stripe_propagate::engine::{self, Clock, Command, Event, Left, Settings};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::secret::MasterKey;
use stripe_propagate::site::{MasterKeyId, Site, SiteId};
use stripe_propagate::site_api::{HttpSettings, HttpSiteApi};
use stripe_propagate::store::memory::MemoryStore;

/// A fleet with an engine on it.
struct Trial {
    fleet: Fleet,
    sites: Arc<[Site]>,
    handle: engine::Handle,
    events: tokio::sync::mpsc::UnboundedReceiver<Event>,
    states: Vec<SiteState>,
    settings: Settings,
}

fn config(fleet: &Fleet) -> Config {
    let place = Place {
        path: Path::new("config.toml"),
        home: None,
        owner_only: true,
    };
    config::parse(&fleet.config_toml(), place).unwrap()
}

impl Trial {
    async fn start(sites: usize) -> Self {
        let fleet = Fleet::start(FleetOptions {
            sites,
            ..FleetOptions::default()
        })
        .await
        .unwrap();
        let config = config(&fleet);
        let api = HttpSiteApi::new(&HttpSettings {
            connect_timeout: config.push.connect_timeout,
            timeout: config.push.timeout,
            proxy: None,
            ca_pem: Some(fleet.ca_pem().as_bytes().to_vec()),
            sites,
            per_backend: config.push.per_backend,
        })
        .unwrap();
        api.set_master_key(
            MasterKeyId(0),
            MasterKey::parse(fleet.master_key().to_owned()).unwrap(),
        );
        let settings = Settings {
            concurrency: config.push.concurrency,
            per_backend: config.push.per_backend,
            policy: config.policy(),
            left: Left::default(),
            ..Settings::default()
        };
        let list: Arc<[Site]> = config.sites;
        let store = Arc::new(MemoryStore::default());
        let (handle, events) = engine::start(
            Arc::clone(&list),
            Vec::new(),
            Arc::new(api),
            store,
            settings.clone(),
            Clock::start(),
        );
        let states = vec![SiteState::default(); sites];
        Self {
            fleet,
            sites: list,
            handle,
            events,
            states,
            settings,
        }
    }

    fn all(&self) -> Vec<SiteId> {
        (0..u32::try_from(self.sites.len()).unwrap())
            .map(SiteId)
            .collect()
    }

    /// Pushes the fleet's new key everywhere and waits until all is settled.
    async fn push(&mut self) {
        let key = self.fleet.new_key().clone();
        let plan = Plan::new(
            key,
            self.all(),
            &self.sites,
            |id| &self.states[id.index()],
            Allow::default(),
        );
        self.handle.send(Command::Push(plan));
        self.settle().await;
    }

    async fn settle(&mut self) {
        let mut sending = false;
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Site { site, state } => {
                    let (words, index) = ((state.push, state.verify), site.index());
                    if words.1 == Verify::Verified && self.states[index].verify != Verify::Verified {
                        self.no_process_answers_another_key(index);
                    }
                    self.states[index] = *state;
                }
                Event::Run(info) if info.phase == RunPhase::Settled && sending => return,
                Event::Run(_) => sending = true,
                Event::NotBegun(error) => panic!("{error}"),
                Event::Refused(why) => panic!("{why}"),
                Event::Attempt(_)
                | Event::Message(_)
                | Event::Halted(..)
                | Event::Alarm(..)
                | Event::Backend { .. }
                | Event::Acknowledged { .. }
                | Event::Store { .. }
                | Event::Refreshed { .. }
                | Event::ChunkOver(_)
                | Event::KeyRefused(..)
                | Event::Taken => {}
            }
        }
    }

    /// What `verified` promises.
    fn no_process_answers_another_key(&self, index: usize) {
        let expected = Some(self.fleet.new_key().as_str().to_owned());
        let serves = self.fleet.serves_now(index);
        assert!(
            serves.iter().all(|served| *served == expected),
            "{}: {serves:?}",
            self.sites[index].name
        );
    }

    /// The fleet's own record against the program's word.
    fn agrees_with_the_record(&self) {
        let record = self.fleet.record();
        assert_eq!(record.to_redirect_target, 0, "a redirect is never followed");
        assert!(record.most_connections <= self.settings.concurrency);
        assert!(
            record
                .most_of_backend
                .values()
                .all(|&most| most <= self.settings.per_backend)
        );
        for (index, site) in self.fleet.sites().iter().enumerate() {
            let state = &self.states[index];
            let puts = if site.fault == Fault::Dead {
                3
            } else {
                record.puts(index).len()
            };
            assert_eq!(
                state.puts as usize, puts,
                "{}: each PUT is a counted attempt",
                site.name
            );
            assert!(
                record.gets(index).iter().all(|get| !get.had_master_key),
                "{}",
                site.name
            );
            if state.push == Push::Stored && !matches!(site.fault, Fault::OtherTenant | Fault::StoresNothing)
            {
                assert_eq!(
                    self.fleet.stored(index).as_deref(),
                    Some(self.fleet.new_key().as_str())
                );
            }
        }
    }

    fn words(&self, fault: Fault) -> (Push, Verify) {
        let index = self
            .fleet
            .sites()
            .iter()
            .position(|site| site.fault == fault)
            .unwrap();
        (self.states[index].push, self.states[index].verify)
    }
}

/// What each fault comes to: PUSH and VERIFY.
const ENDS: [(Fault, (&str, &str)); 16] = [
    (Fault::Healthy, ("stored", "verified")),
    (Fault::Slow, ("stored", "verified")),
    (Fault::NeedsTwoRetries, ("stored", "verified")),
    (Fault::AsksToSlowDown, ("stored", "verified")),
    (Fault::OtherMasterKey, ("failed", "unchecked")),
    (Fault::Dead, ("failed", "unchecked")),
    (Fault::CachingProcesses, ("stored", "verified")),
    (Fault::OtherTenant, ("stored", "mismatch")),
    (Fault::StoresNothing, ("stored", "no_key")),
    (Fault::SaysNotStored, ("failed", "unchecked")),
    (Fault::HtmlPage, ("skipped", "failed")),
    (Fault::Redirects, ("skipped", "failed")),
    (Fault::ExposesSecret, ("stored", "exposed_secret")),
    (Fault::OldVersion, ("stored", "verified")),
    (Fault::NoKeyYet, ("stored", "verified")),
    (Fault::SharedBackend, ("stored", "verified")),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_ends_in_its_own_words_and_is_mended_by_a_retry() {
    let mut trial = Trial::start(24).await;
    trial.push().await;
    let words = |fault| {
        let (push, verify) = trial.words(fault);
        (push.look().word, verify.look().word)
    };
    for (fault, expected) in ENDS {
        assert_eq!(words(fault), expected, "{fault:?}");
    }
    trial.agrees_with_the_record();

    assert_eq!(trial.fleet.heal(), 8);
    let allow = Allow {
        mode_change: false,
        unrecognised: true,
        ..Allow::default()
    };
    trial.handle.send(Command::Retry {
        sites: trial.all(),
        allow,
    });
    trial.settle().await;
    let exposed = |index: usize| trial.fleet.sites()[index].fault == Fault::ExposesSecret;
    for (index, state) in trial
        .states
        .iter()
        .enumerate()
        .filter(|(index, _)| !exposed(*index))
    {
        assert_eq!(
            (state.push, state.verify),
            (Push::Stored, Verify::Verified),
            "{}",
            trial.sites[index].name
        );
    }
}
