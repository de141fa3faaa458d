use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinError, spawn_blocking};

use super::{Globals, sources};
use crate::config::{self, Config, ConfigError, Found, LogSettings, Searched, Surroundings};
use crate::inventory::{Around, gather};
use crate::site::SiteUrl;
use crate::tui::Message;
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
    /// The config that is worked with, or that was to be and is wrong.
    file: Option<PathBuf>,
    /// By which `[log]` the program logs.
    log: Option<LogSettings>,
    /// Sites that were added on the screen.
    added: Vec<SiteUrl>,
    /// What was read again, until it is worked with.
    next: Option<Loaded>,
}

impl Setup {
    pub(super) fn of(globals: &Globals) -> Self {
        Self {
            around: Surroundings::of_process(globals.config.clone()),
            ..Self::default()
        }
    }

    /// Reads the config, if there is one, and the sources that it names.
    pub(super) async fn load(&self) -> Result<Loaded, ConfigError> {
        let read = self.read(None)?;
        let around = read.around()?;
        self.take_in(Read {
            config: sources::patiently(read.config, around).await,
            ..read
        })
    }

    /// The config alone, if there is one.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        self.read(None).map(|read| read.config)
    }

    /// What was read again last.
    pub(super) fn take_next(&mut self) -> Option<Loaded> {
        self.next.take()
    }

    /// What was read last is worked with: its sites are those of the session.
    pub(super) fn keep(&mut self, loaded: &Loaded) {
        self.added.clone_from(&loaded.told.added);
        self.file.clone_from(&loaded.told.file);
        self.log.get_or_insert_with(|| loaded.config.log.clone());
    }

    /// There is a config at `path`, and it is wrong.
    pub(super) fn expect(&mut self, path: &Path) {
        self.file = Some(path.to_owned());
    }

    /// Sites that were added and stand in no config by now.
    pub(super) fn added(&self) -> &[SiteUrl] {
        &self.added
    }

    fn read(&self, newest: Option<SiteUrl>) -> Result<Read, ConfigError> {
        let (config, searched) = match config::find(&self.around) {
            Found::File(path) => (config::load(&path)?, Vec::new()),
            Found::Nowhere(Searched(places)) => match &self.file {
                Some(file) => return Err(gone(file)),
                None => (Config::empty(), places),
            },
        };
        // These name what only the screen knows.
        Theme::of(&config)?;
        bound(&config)?;
        Ok(Read {
            config,
            searched,
            newest,
        })
    }

    /// The sites of the session come last.
    fn take_in(&self, read: Read) -> Result<Loaded, ConfigError> {
        let Read {
            mut config,
            searched,
            newest,
        } = read;
        config.check_canary()?;
        let newest = newest.as_ref();
        let file = searched.is_empty().then(|| config.path.clone());
        // What the config lists by now is of the session no more.
        let added = self.added.iter().chain(newest).filter(|url| config.add_site(url));
        let added: Vec<SiteUrl> = added.cloned().collect();
        let newest = newest.filter(|url| added.contains(url)).cloned();
        let log_waits = self.log.as_ref().is_some_and(|log| *log != config.log);
        Ok(Loaded {
            searched,
            told: told::Setup {
                file,
                added,
                newest,
                log_waits,
                failed: config.listed.failed.clone(),
                lacks_canary: config.lacks_canary(),
                warnings: config.listed.warnings.clone(),
                ..told::Setup::default()
            },
            config,
        })
    }

    /// Does what the screen orders, as far as that takes no longer than files do.
    fn carry_out(&mut self, order: SetupOrder) -> Step {
        let read = match order {
            SetupOrder::Reload => self.read(None),
            SetupOrder::Add(url) => self.read(Some(url)),
            SetupOrder::WriteSites { file, urls } => return Step::Done(self.write_sites(&file, urls)),
            SetupOrder::WriteExample => return Step::Done(self.write_example()),
        };
        match read {
            Ok(read) => Step::Read(Box::new(read)),
            Err(error) => Step::Done(SetupNews::Wrong(Wrong::from(&error))),
        }
    }

    /// What was read is worked with when the screen lets go of what there was before.
    fn take_next_from(&mut self, read: Result<Read, ConfigError>) -> SetupNews {
        match read.and_then(|read| self.take_in(read)) {
            Ok(loaded) => {
                self.next = Some(loaded);
                SetupNews::Loaded
            }
            Err(error) => SetupNews::Wrong(Wrong::from(&error)),
        }
    }

    /// Writes into `file` alone: that is what was asked about.
    fn write_sites(&mut self, file: &Path, urls: Vec<SiteUrl>) -> SetupNews {
        let why = match config::find(&self.around) {
            Found::File(path) if path == file => None,
            Found::File(path) => Some(format!("the config is {} by now", path.display())),
            Found::Nowhere(_) => Some("it is gone".to_owned()),
        };
        if let Some(why) = why {
            return SetupNews::NotWritten(in_words(&of_file(file, why)));
        }
        match config::add_sites(file, &urls) {
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

/// A config that was read.
struct Read {
    config: Config,
    /// Where one was looked for, if there is none.
    searched: Vec<PathBuf>,
    /// A site that is to be added.
    newest: Option<SiteUrl>,
}

impl Read {
    fn around(&self) -> Result<Around, ConfigError> {
        let around = sources::around(&self.config);
        around.map_err(|error| of_file(&self.config.path, format!("{error:#}")))
    }

    /// With the sites of its sources, too.
    async fn with_sources(self) -> Result<Self, ConfigError> {
        let around = self.around()?;
        Ok(Self {
            config: gather(self.config, around).await,
            ..self
        })
    }
}

/// How far an order was carried out.
enum Step {
    /// This came of it.
    Done(SetupNews),
    /// The config was read, and its sources are still to be.
    Read(Box<Read>),
}

fn of_file(path: &Path, message: String) -> ConfigError {
    ConfigError {
        path: path.to_owned(),
        place: None,
        message,
        around: Vec::new(),
    }
}

/// Without it there would be other sites and another store, and nothing would say so.
fn gone(path: &Path) -> ConfigError {
    of_file(
        path,
        "it is gone, and there is no config in its place: put it back, or start the program again without one".to_owned(),
    )
}

/// Carries out what is ordered about the config, one after the other, and tells what came of it. On a thread that may
/// block: files can be slow. Gives back what it was given when nobody orders any more: sources that are being read then
/// are given up.
///
/// # Errors
/// When that thread panicked.
pub(super) async fn serve(
    mut setup: Setup,
    mut orders: UnboundedReceiver<SetupOrder>,
    tell: UnboundedSender<Message>,
) -> Result<Setup, JoinError> {
    let mut waiting: VecDeque<SetupOrder> = VecDeque::new();
    loop {
        let next = match waiting.pop_front() {
            Some(order) => Some(order),
            None => orders.recv().await,
        };
        let Some(order) = next else { break };
        let work = move || {
            let step = setup.carry_out(order);
            (setup, step)
        };
        let step;
        (setup, step) = spawn_blocking(work).await?;
        let news = match step {
            Step::Done(news) => news,
            Step::Read(read) => match unless_left(read.with_sources(), &mut orders, &mut waiting).await {
                Some(read) => setup.take_next_from(read),
                None => break,
            },
        };
        // The screen is being left.
        let _left = tell.send(Message::Setup(news));
    }
    Ok(setup)
}

/// What `work` comes to; nothing, if nobody orders any more before that. What is ordered meanwhile has to wait.
async fn unless_left<T>(
    work: impl Future<Output = T>,
    orders: &mut UnboundedReceiver<SetupOrder>,
    waiting: &mut VecDeque<SetupOrder>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            order = orders.recv() => waiting.push_back(order?),
        }
    }
}

fn in_words(error: &ConfigError) -> String {
    let wrong = Wrong::from(error);
    format!("nothing written: {} ({})", wrong.message, wrong.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, url: &str) {
        std::fs::write(path, format!("[[sites]]\nurl = \"{url}\"\n")).unwrap();
    }

    /// A folder with a config, and what is made of it.
    fn opened() -> (tempfile::TempDir, PathBuf, Setup) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        write(&path, "https://one.example.com");
        let mut setup = Setup {
            around: Surroundings {
                current: folder.path().to_owned(),
                xdg: Some(folder.path().join("xdg")),
                ..Surroundings::default()
            },
            ..Setup::default()
        };
        let loaded = setup.take_in(setup.read(None).unwrap()).unwrap();
        setup.keep(&loaded);
        (folder, path, setup)
    }

    impl Setup {
        /// On configs without sources.
        fn does(&mut self, order: SetupOrder) -> SetupNews {
            match self.carry_out(order) {
                Step::Done(news) => news,
                Step::Read(read) => self.take_next_from(Ok(*read)),
            }
        }
    }

    fn new() -> SiteUrl {
        SiteUrl::parse("https://new.example.com").unwrap()
    }

    #[test]
    fn only_the_file_that_was_asked_about_is_written_to() {
        let (folder, path, mut setup) = opened();
        let other = folder.path().join("xdg/stripe-propagate/config.toml");
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::rename(&path, &other).unwrap();
        let order = |file: &Path| SetupOrder::WriteSites {
            file: file.to_owned(),
            urls: vec![new()],
        };
        let SetupNews::NotWritten(why) = setup.does(order(&path)) else {
            panic!("it wrote into {}", other.display())
        };
        assert!(why.contains("the config is") && why.contains("xdg"), "{why}");
        assert!(!std::fs::read_to_string(&other).unwrap().contains("new.example"));
        assert_eq!(setup.does(order(&other)), SetupNews::SitesWritten(vec![new()]));
        std::fs::remove_file(&other).unwrap();
        assert!(matches!(setup.does(order(&other)), SetupNews::NotWritten(_)));
    }

    #[test]
    fn a_config_that_vanishes_is_wrong_and_one_that_never_was_is_none() {
        let (_folder, path, mut setup) = opened();
        std::fs::remove_file(&path).unwrap();
        let news = setup.does(SetupOrder::Reload);
        let SetupNews::Wrong(wrong) = news else {
            panic!("{news:?}")
        };
        assert!(wrong.message.contains("it is gone"), "{}", wrong.message);
        setup.file = None;
        assert_eq!(setup.does(SetupOrder::Reload), SetupNews::Loaded);
    }

    #[test]
    fn another_log_counts_at_the_next_start() {
        let (_folder, path, mut setup) = opened();
        let waits = |setup: &mut Setup| {
            assert_eq!(setup.does(SetupOrder::Reload), SetupNews::Loaded);
            let next = setup.take_next().unwrap();
            setup.keep(&next);
            next.told.log_waits
        };
        assert!(!waits(&mut setup));
        std::fs::write(&path, "[log]\nlevel = \"debug\"\n").unwrap();
        assert!(waits(&mut setup) && waits(&mut setup), "as often as it is read");
        std::fs::write(&path, "").unwrap();
        assert!(!waits(&mut setup));
    }

    #[test]
    fn what_was_written_is_not_of_the_session_when_the_next_config_is_not_taken() {
        let (_folder, path, mut setup) = opened();
        assert_eq!(setup.does(SetupOrder::Add(new())), SetupNews::Loaded);
        let next = setup.take_next().unwrap();
        setup.keep(&next);
        assert_eq!(setup.added(), [new()]);
        let (file, urls) = (path, vec![new()]);
        setup.does(SetupOrder::WriteSites { file, urls });
        assert_eq!(setup.added(), []);
    }

    #[tokio::test]
    async fn orders_are_carried_out_in_their_order_and_all_of_them() {
        let (_folder, _path, setup) = opened();
        let (orders, given) = tokio::sync::mpsc::unbounded_channel();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        orders.send(SetupOrder::Add(new())).unwrap();
        orders.send(SetupOrder::Reload).unwrap();
        drop(orders);
        let mut setup = Box::pin(serve(setup, given, tell)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(told.recv().await, Some(Message::Setup(SetupNews::Loaded)));
        }
        assert_eq!(
            setup.take_next().unwrap().config.sites.len(),
            1,
            "the last one counts"
        );
    }
}
