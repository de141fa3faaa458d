use std::path::PathBuf;

use super::Globals;
use crate::config::{self, Config, ConfigError, Found, Searched, Surroundings};
use crate::site::SiteUrl;
use crate::tui::actions::bound;
use crate::tui::setup::{self as told, SetupNews, SetupOrder, Wrong};
use crate::tui::theme::Theme;

/// A config that can be worked with.
pub(super) struct Loaded {
    /// With the sites of the session.
    pub(super) config: Config,
    /// Where one was looked for, if there is none.
    pub(super) searched: Vec<PathBuf>,
    /// What the screen is told of it.
    pub(super) told: told::Setup,
}

/// Where the sites of a screen come from: the config that the command line names, and what was added to it for the
/// session.
#[derive(Default)]
pub(super) struct Setup {
    around: Surroundings,
    /// Sites that were added on the screen.
    added: Vec<SiteUrl>,
    /// What was read again, until it is worked with.
    next: Option<Loaded>,
}

impl Setup {
    pub(super) fn of(globals: &Globals) -> Self {
        Self {
            around: Surroundings::of_process(globals.config.clone()),
            added: Vec::new(),
            next: None,
        }
    }

    /// Reads the config, if there is one.
    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(None)
    }

    /// What was read again last.
    pub(super) fn take_next(&mut self) -> Option<Loaded> {
        self.next.take()
    }

    /// What was read last is worked with: its sites are those of the session.
    pub(super) fn keep(&mut self, loaded: &Loaded) {
        self.added.clone_from(&loaded.told.added);
    }

    fn load_with(&self, newest: Option<&SiteUrl>) -> Result<Loaded, ConfigError> {
        let (mut config, searched) = match config::find(&self.around) {
            Found::File(path) => (config::load(&path)?, Vec::new()),
            Found::Nowhere(Searched(places)) => (Config::empty(), places),
        };
        // These name what only the screen knows.
        Theme::of(&config)?;
        bound(&config)?;
        let file = searched.is_empty().then(|| config.path.clone());
        // What the config lists by now is of the session no more.
        let added = self.added.iter().chain(newest).filter(|url| config.add_site(url));
        let added: Vec<SiteUrl> = added.cloned().collect();
        let newest = newest.filter(|url| added.contains(url)).cloned();
        Ok(Loaded {
            config,
            searched,
            told: told::Setup {
                file,
                added,
                newest,
                ..told::Setup::default()
            },
        })
    }

    /// Does what the screen orders.
    pub(super) fn carry_out(&mut self, order: SetupOrder) -> SetupNews {
        match order {
            SetupOrder::Reload => self.reload(None),
            SetupOrder::Add(url) => self.reload(Some(&url)),
            SetupOrder::WriteSites(urls) => self.write_sites(urls),
            SetupOrder::WriteExample => self.write_example(),
        }
    }

    fn reload(&mut self, newest: Option<&SiteUrl>) -> SetupNews {
        match self.load_with(newest) {
            Ok(loaded) => {
                self.next = Some(loaded);
                SetupNews::Loaded
            }
            Err(error) => SetupNews::Wrong(Wrong::from(&error)),
        }
    }

    fn write_sites(&mut self, urls: Vec<SiteUrl>) -> SetupNews {
        let Found::File(path) = config::find(&self.around) else {
            return SetupNews::NotWritten("there is no config to write to yet".to_owned());
        };
        match config::add_sites(&path, &urls) {
            Ok(_) => {
                self.added.retain(|added| !urls.contains(added));
                SetupNews::SitesWritten(urls)
            }
            Err(error) => SetupNews::NotWritten(in_words(&error)),
        }
    }

    fn write_example(&self) -> SetupNews {
        let Some(path) = self.around.own_place() else {
            let text = "the home directory is not known: name a config with --config";
            return SetupNews::NotWritten(text.to_owned());
        };
        match config::write_example(&path) {
            Ok(()) => SetupNews::ExampleWritten(path),
            Err(error) => SetupNews::NotWritten(in_words(&error)),
        }
    }
}

fn in_words(error: &ConfigError) -> String {
    let wrong = Wrong::from(error);
    format!("nothing written: {} ({})", wrong.message, wrong.place)
}
