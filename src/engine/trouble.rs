use tokio::sync::{mpsc, watch};

use super::Event;
use crate::store::StoreError;

/// Tells when the store is not reached, and when it is back. In a task of its own: the engine may be waiting for the
/// store. It ends with the store.
pub(super) async fn tell(
    mut trouble: watch::Receiver<Option<StoreError>>,
    events: mpsc::WeakUnboundedSender<Event>,
) {
    let mut reached = true;
    while trouble.changed().await.is_ok() {
        let now = trouble.borrow_and_update().clone();
        // Why it is not reached may change; that it is not is told once.
        if std::mem::replace(&mut reached, now.is_none()) == now.is_none() {
            continue;
        }
        let note = match now {
            Some(why) => format!("waits for the store: nothing is sent until it is back ({why})"),
            None => "the store is back: what happened meanwhile goes on record, and all goes on".to_owned(),
        };
        let Some(events) = events.upgrade() else { return };
        let _nobody_listens = events.send(Event::Store { reached, note });
    }
}
