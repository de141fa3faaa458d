use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::offer::Offer;
use super::shared::Shared;
use super::{About, socket};
use crate::engine::{Command, Event};
use crate::rules::state::SiteState;
use crate::site::Site;

/// How many events are passed on at once.
const BATCH: usize = 256;

/// Stands between an engine and whoever listens to it, in this process and in others.
///
/// Events pass whether or not anybody listens, and no listener holds them up.
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    told: UnboundedSender<Event>,
}

impl Hub {
    /// Passes `events` on, each to the receiver that comes back and to all clients. `known` are the states that
    /// the engine began with. The receiver may be dropped; it ends with `events`.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(
        sites: Arc<[Site]>,
        known: Vec<SiteState>,
        events: UnboundedReceiver<Event>,
    ) -> (Self, UnboundedReceiver<Event>) {
        let shared = Arc::new(Shared::new(sites, known));
        let (told, to_tell) = mpsc::unbounded_channel();
        let (local, passed) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(Arc::clone(&shared), events, to_tell, local));
        (Self { shared, told }, passed)
    }

    /// Tells all listeners something that the engine does not know: that an order could not be given to it.
    pub fn tell(&self, event: Event) {
        // Behind the engine's last event nobody listens.
        let _ended = self.told.send(event);
    }

    /// Offers the run to other processes of this user until the [`Offer`] is dropped: their orders go into
    /// `orders`, where each names sites of the list alone, and none twice. `folder` must be the user's own.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made; the run can go on without.
    pub fn offer(&self, folder: &Path, about: About, orders: UnboundedSender<Command>) -> io::Result<Offer> {
        let (listener, file) = socket::listen(folder, about.pid)?;
        Ok(Offer::start(
            listener,
            file,
            about,
            orders,
            Arc::clone(&self.shared),
        ))
    }
}

async fn pass_on(
    shared: Arc<Shared>,
    mut events: UnboundedReceiver<Event>,
    mut to_tell: UnboundedReceiver<Event>,
    local: UnboundedSender<Event>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let ended = tokio::select! {
            count = events.recv_many(&mut batch, BATCH) => count == 0,
            Some(event) = to_tell.recv() => {
                batch.push(event);
                false
            }
        };
        {
            let mut mirror = shared.mirror();
            for event in &batch {
                mirror.apply(event);
            }
            if ended {
                mirror.end();
            }
            mirror.wake();
        }
        for event in batch.drain(..) {
            // The screen may be gone: the run goes on, and so do the clients.
            let _gone = local.send(event);
        }
        if ended {
            return;
        }
    }
}
