use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cli::session::Db;
use crate::rules::crew::Crew;
use crate::store::Store;
use crate::tui::Message;

/// How often it is asked which workers are there.
const EVERY: Duration = Duration::from_secs(5);

/// Tells the screen which workers are there, beside all else, where they make the calls of runs; until it is dropped.
pub(super) fn tell_of_workers(store: &Db, tell: UnboundedSender<Message>) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    let Some(workers) = store.workers() else {
        return asking;
    };
    asking.spawn(async move {
        let mut told = None;
        loop {
            match workers.living().await {
                Ok(living) => {
                    let crew = Some(Crew::of(living));
                    if crew != told {
                        told.clone_from(&crew);
                        if let Some(crew) = crew
                            && tell.send(Message::Crew(crew)).is_err()
                        {
                            // The screen is left.
                            return;
                        }
                    }
                }
                // That the store is away is told elsewhere.
                Err(error) => tracing::debug!(%error, "which workers are there is not known"),
            }
            sleep(EVERY).await;
        }
    });
    asking
}
