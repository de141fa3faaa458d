use anyhow::anyhow;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{FRAMES, bare};
use crate::cli::setup::{Loaded, Setup, serve};
use crate::cli::status::Status;
use crate::config::{Config, ConfigError};
use crate::engine::Clock;
use crate::tui::model::Start;
use crate::tui::run::{self, Behaviour, Left, NO_TAB, Taken};
use crate::tui::screen::Screen;
use crate::tui::setup::{self as told, SetupOrder, Wrong};
use crate::tui::{Effect, Leave};

/// What the screen with the error came to.
pub(super) enum Mended {
    /// The config can be used now.
    Loaded(Box<(Loaded, Setup)>),
    /// It was left.
    Left(Status),
}

/// Shows what is wrong with the config until it is mended or the screen is left.
///
/// # Errors
/// What is wrong, if the operator has left it so.
pub(super) async fn mended(
    taken: &mut Taken,
    mut setup: Setup,
    error: &ConfigError,
    size: (u16, u16),
    no_color: bool,
) -> anyhow::Result<Mended> {
    setup.expect(&error.path);
    let mut config = Config::empty();
    config.path.clone_from(&error.path);
    let start = Start {
        setup: told::Setup {
            wrong: Some(Wrong::from(error)),
            ..told::Setup::default()
        },
        ..bare(&config, size, no_color)?
    };
    let behaviour = Behaviour {
        fps: FRAMES,
        mouse: false,
        tab: NO_TAB,
        look_at_start: false,
    };
    let clock = Clock::start();
    let (tell, mut told) = unbounded_channel();
    let (order, orders) = unbounded_channel();
    let (about_config, mends) = unbounded_channel();
    let mender = tokio::spawn(serve(setup, mends, tell));
    let hands_on = tokio::spawn(hand_on(orders, about_config));
    let screen = Screen::new(start, clock.now());
    let (left, screen) = run::run(taken, screen, behaviour, order, &mut told, clock).await?;
    hands_on.await?;
    let mut setup = mender.await??;
    match (left, setup.take_next()) {
        (Left::ByOperator(Leave::Reload), Some(loaded)) => Ok(Mended::Loaded(Box::new((loaded, setup)))),
        (Left::Terminated, _) => Ok(Mended::Left(Status::Interrupted)),
        _ => Err(anyhow!(screen.model.wrong_config().unwrap_or_default())),
    }
}

/// There is nothing but the config to give orders about.
async fn hand_on(mut orders: UnboundedReceiver<Effect>, to: UnboundedSender<SetupOrder>) {
    while let Some(order) = orders.recv().await {
        if let Effect::Setup(order) = order {
            // Who carries it out ends after this.
            let _ended = to.send(order);
        }
    }
}
