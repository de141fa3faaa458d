//! What the operator says of sites that are known to be bad, in several processes.

use super::*;
use stripe_propagate::rules::acknowledgement::Acknowledgement;

/// What the process was told of acknowledgements.
async fn told(process: &mut Process) -> Vec<(Vec<SiteId>, Option<Acknowledgement>)> {
    let end = tokio::time::Instant::now() + Duration::from_secs(1);
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout_at(end, process.events.recv()).await {
        if let Event::Acknowledged {
            sites,
            acknowledgement,
        } = event
        {
            told.push((sites, acknowledgement));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn what_one_process_acknowledges_the_others_know_when_they_read() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b", "c"]);
    let known = Acknowledgement {
        reason: CleanText::note("moves"),
        until: None,
        by: CleanText::note("ada@desk"),
        at: Timestamp::UNIX_EPOCH,
    };
    let order = |acknowledgement| Command::Acknowledge {
        sites: vec![SiteId(0), SiteId(2)],
        acknowledgement,
    };
    let refresh = Command::Refresh { tells_all: false };
    let mut ours = Process::begin(&shops, &store, &list, clock).await;
    let mut theirs = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    assert_eq!(told(&mut theirs).await, []);
    ours.handle.send(order(Some(known.clone())));
    let both = vec![(vec![SiteId(0), SiteId(2)], Some(known))];
    assert_eq!(told(&mut ours).await, both);
    assert_eq!(told(&mut theirs).await, []);
    theirs.handle.send(refresh.clone());
    assert_eq!(told(&mut theirs).await, both);
    theirs.handle.send(refresh.clone());
    assert_eq!(told(&mut theirs).await, [], "that is no news any more");
    let mut later = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    assert_eq!(told(&mut later).await, both, "who begins is told");
    later.handle.send(order(None));
    ours.handle.send(refresh);
    let none = vec![(vec![SiteId(0), SiteId(2)], None)];
    assert_eq!(told(&mut later).await, none);
    ours.handle.send(Command::Refresh { tells_all: false });
    assert_eq!(told(&mut ours).await, none);
}
