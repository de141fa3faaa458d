//! What the operator says of sites that are known to be bad, and a watch, in several processes.

use super::*;
use stripe_propagate::rules::acknowledgement::{Acknowledged, Acknowledgement};
use stripe_propagate::rules::watch::{Finding, Rounds, Seen, Todo, Told};

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

/// What a watch tells of the sites in so many hours, as `cli/watching.rs` drives it.
async fn watched(process: &mut Process, clock: Clock, told: &mut Told, hours: u64) -> Vec<(Finding, bool)> {
    let watched: Vec<SiteId> = (0..process.sites.len()).map(SiteId::at).collect();
    let mut rounds = Rounds::new(Duration::from_hours(1), clock.now());
    let end = clock.now() + Duration::from_hours(hours);
    let mut found = Vec::new();
    loop {
        let due = rounds.due().map(|due| clock.instant(due));
        let todo = tokio::select! {
            event = process.events.recv() => match event.unwrap() {
                Event::Site { site, state } => {
                    let todo = rounds.take(site, &state, clock.now());
                    process.states[site.index()] = *state;
                    todo
                }
                Event::Refreshed { since } => rounds.read(&watched, watched.len(), since, clock.now()),
                _ => Todo::Nothing,
            },
            () = engine::sleep_until(due) => rounds.tick(clock.now()),
        };
        match todo {
            Todo::Nothing => {}
            Todo::Read => process.handle.send(Command::Refresh { tells_all: false }),
            Todo::Look => process.handle.send(Command::Look {
                sites: watched.clone(),
                expected: None,
                attempts: engine::Attempts::Policy,
                background: true,
            }),
            Todo::Judge | Todo::JudgeAgain => {
                let changes = told.changes(&Seen {
                    sites: &process.sites,
                    states: &process.states,
                    watched: &watched,
                    acknowledged: &Acknowledged::default(),
                    at: clock.now().wall,
                });
                for change in changes {
                    assert!(told.take(&change));
                    found.push((change.finding, change.over));
                }
                if rounds.next() >= end {
                    return found;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_takes_no_run_for_a_drift_and_tells_one_once() {
    let (shops, store, clock) = stage();
    let list = sites(&["a", "b", "c"]);
    let mut process = Process::begin(&shops, &store, &list, clock).await;
    process.push("One");
    process.for_seconds(700).await;
    assert_eq!(process.words(0), (Push::Stored, Verify::Verified));
    let mut told = Told::default();
    assert_eq!(watched(&mut process, clock, &mut told, 2).await, []);
    // Another process pushes another key, and its settle time runs while the watch looks.
    let mut other = Process::begin(&shops, &Arc::new(store.beside()), &list, clock).await;
    other.push("Two");
    other.for_seconds(5).await;
    assert_eq!(other.words(0), (Push::Stored, Verify::Serving));
    assert_eq!(watched(&mut process, clock, &mut told, 1).await, []);
    other.for_seconds(700).await;
    assert_eq!(watched(&mut process, clock, &mut told, 2).await, []);
    // Somebody changes it behind everybody's back.
    shops.stored.lock().unwrap().insert("a".to_owned(), key("Three"));
    assert_eq!(
        watched(&mut process, clock, &mut told, 5).await,
        [(Finding::Drifted, false)]
    );
    shops.stored.lock().unwrap().insert("a".to_owned(), key("Two"));
    assert_eq!(
        watched(&mut process, clock, &mut told, 5).await,
        [(Finding::Drifted, true)]
    );
}
