//! Runs on sockets: a hub with a scripted engine on one side, screens on the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness::{
    HELLO, Process, about, attached, attempt, changed, key, look, many, raw, retry, run, said, site, sites,
    state, until,
};
use stripe_propagate::attach::{self, Attached, Changed, Hub, Offer, Watch};
use stripe_propagate::engine::{Command, Event};
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::site::{Site, SiteId, SiteUrl};
use stripe_propagate::store::{RunId, StoreError};
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;

#[path = "attach/harness.rs"]
mod harness;
#[path = "attach/hostile.rs"]
mod hostile;

#[tokio::test]
async fn a_screen_is_told_what_is_known_then_what_happens_in_the_terms_of_its_own_list() {
    let folder = TempDir::new().unwrap();
    let known = vec![state(201), state(202), state(203)];
    let mut process = Process::start(folder.path(), 11, sites("a b c"), known);
    let begun = [
        run(1, RunPhase::Sending),
        said("early"),
        attempt(0, 1),
        attempt(1, 1),
    ];
    process.happens(begun).await;
    let mut screen = attached(folder.path(), &sites("c x a")).await;
    assert_eq!(screen.about, about(11));
    assert_eq!(screen.run.as_ref().map(|run| run.id), Some(RunId(1)));
    assert_eq!(screen.foreign_sites, 1);
    let known = [
        changed(2, 201),
        changed(0, 203),
        run(1, RunPhase::Sending),
        said("early"),
        attempt(2, 1),
    ];
    for event in known {
        assert_eq!(screen.events.recv().await, Some(event));
    }
    let live = [changed(1, 500), changed(2, 204), attempt(1, 2), Event::Taken];
    process.happens(live).await;
    let failed = Event::NotBegun(StoreError::Failed("disk\u{1b}[2J full".to_owned()));
    process.happens([failed, said("end")]).await;
    let cleaned = Event::NotBegun(StoreError::Failed("disk[2J full".to_owned()));
    assert_eq!(
        until(&mut screen.events, "end").await,
        [changed(0, 204), Event::Taken, cleaned, said("end")]
    );
}

#[tokio::test]
async fn lists_of_any_length_fit_into_lines() {
    let folder = TempDir::new().unwrap();
    let long = |index: usize| {
        let url = format!("https://shop{index}.example.com/{}", "x".repeat(1900));
        let url = SiteUrl::parse(&url).unwrap();
        Site { url, ..site("long") }
    };
    let mut ours: Vec<Site> = (0..4000).map(long).collect();
    let _process = Process::start(folder.path(), 11, ours.clone(), Vec::new());
    ours.reverse();
    let mut screen = attached(folder.path(), &ours).await;
    assert_eq!(screen.foreign_sites, 0);
    for index in (0..4000).rev() {
        let Some(Event::Site { site, .. }) = screen.events.recv().await else {
            panic!("no site")
        };
        assert_eq!(site, SiteId(index));
    }
}

#[tokio::test]
async fn nobody_waits_for_a_screen_that_takes_nothing_and_it_gets_the_newest_of_each_site() {
    const CHANGES: u32 = 100_000;
    let folder = TempDir::new().unwrap();
    let mut process = Process::start(folder.path(), 11, many(100), Vec::new());
    let stalled = raw(folder.path(), 11, HELLO).await;
    let http = |change: u32| u16::try_from(change % 10_007).unwrap();
    for change in 0..CHANGES {
        process.happens([changed(change % 100, http(change))]).await;
    }
    process.happens([said("end")]).await;
    let mut lines = stalled.lines();
    let mut newest = BTreeMap::new();
    let mut told = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let event = &line["event"];
        if event["message"]["text"] == "end" {
            break;
        }
        if let Some(site) = event["site"]["site"].as_u64() {
            told += 1;
            newest.insert(site, event["site"]["state"]["http"].clone());
        }
    }
    assert!(told < 2000, "{told} changes were queued");
    let expected = (0..100).map(|site| (u64::from(site), http(CHANGES - 100 + site).into()));
    assert_eq!(newest, expected.collect());
}

#[tokio::test]
async fn a_screen_that_takes_nothing_for_half_a_minute_is_dropped() {
    let folder = TempDir::new().unwrap();
    let _process = Process::start(folder.path(), 11, many(5000), Vec::new());
    let stalled = raw(folder.path(), 11, HELLO).await;
    stalled.get_ref().readable().await.unwrap();
    // From here on the process writes until nothing more is taken, then only time passes.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let mut lines = stalled.lines();
    let mut told = 0;
    while let Ok(Some(_)) = lines.next_line().await {
        told += 1;
    }
    assert!((1..5000).contains(&told), "{told}");
}

#[tokio::test]
async fn orders_arrive_in_the_terms_of_the_process() {
    let folder = TempDir::new().unwrap();
    let mut process = Process::start(folder.path(), 11, sites("a b c"), Vec::new());
    process.happens([run(12, RunPhase::Sending)]).await;
    let ours = sites("c x a");
    let mut screen = attached(folder.path(), &ours).await;
    let plan = |sites: &[Site], chosen: &[u32]| {
        let known = SiteState::default();
        let chosen = chosen.iter().copied().map(SiteId);
        Command::Push(Plan::new(key(), chosen, sites, |_| &known, Allow::default()))
    };
    for (order, arrives) in [
        (retry(&[0, 2]), retry(&[2, 0])),
        (look(&[0, 1, 2]), look(&[2, 0])),
        (plan(&ours, &[1, 2]), plan(&sites("a b c"), &[0])),
        (retry(&[]), retry(&[])),
        (Command::Close(RunId(3)), Command::Close(RunId(3))),
    ] {
        screen.orders.send(order).unwrap();
        assert_eq!(process.orders.recv().await, Some(arrives));
    }
    screen.orders.send(look(&[1])).unwrap();
    screen.orders.send(retry(&[1])).unwrap();
    let mut answers = Vec::new();
    while answers.last() != Some(&"taken".to_owned()) {
        match screen.events.recv().await.unwrap() {
            Event::Message(message) => answers.push(message.text),
            Event::Taken => answers.push("taken".to_owned()),
            _ => {}
        }
    }
    let left = "left out of the order: 1 site that the process of run 12 does not have in its list";
    let none = "nothing is ordered: the process of run 12 has none of these sites in its list";
    assert_eq!(answers, [left, left, none, none, "taken"]);
    screen.orders.send(Command::Pause).unwrap();
    assert_eq!(process.orders.recv().await, Some(Command::Pause));
}

#[tokio::test]
async fn a_hundred_thousand_sites_fit_into_an_order() {
    let folder = TempDir::new().unwrap();
    let ours = many(100_000);
    let mut process = Process::start(folder.path(), 11, ours.clone(), Vec::new());
    let screen = attached(folder.path(), &ours).await;
    let all: Vec<u32> = (0..100_000).rev().collect();
    screen.orders.send(retry(&all)).unwrap();
    assert_eq!(process.orders.recv().await, Some(retry(&all)));
}

#[tokio::test]
async fn the_last_order_of_a_screen_that_is_left_arrives() {
    let folder = TempDir::new().unwrap();
    let ours = many(5000);
    let mut process = Process::start(folder.path(), 11, ours.clone(), Vec::new());
    let Attached {
        events,
        orders,
        connection,
        ..
    } = attached(folder.path(), &ours).await;
    orders.send(Command::Cancel).unwrap();
    drop((events, orders));
    connection.await.unwrap();
    assert_eq!(process.orders.recv().await, Some(Command::Cancel));
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("x".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    let process = Process::start(&deep, 11, sites("a"), Vec::new());
    let mut screen = attached(&deep, &sites("a")).await;
    drop(process);
    while screen.events.recv().await.is_some() {}
    assert!(attach::find(&deep).await.is_empty());
    assert!(attach::find(&deep.join("missing")).await.is_empty());
}

#[tokio::test]
async fn what_has_happened_is_told_before_the_end() {
    let folder = TempDir::new().unwrap();
    let mut process = Process::start(folder.path(), 11, many(3000), Vec::new());
    let mut screen = attached(folder.path(), &many(3000)).await;
    process.happens([run(1, RunPhase::Settled), said("end")]).await;
    tokio::join!(process.offer.close(), async {
        assert_eq!(until(&mut screen.events, "end").await.len(), 3002);
        assert_eq!(screen.events.recv().await, None);
    });
    screen.connection.await.unwrap();
    assert!(screen.orders.send(Command::Pause).is_err());
}

#[tokio::test]
async fn the_end_of_the_engine_is_the_end_for_all() {
    let folder = TempDir::new().unwrap();
    let mut process = Process::start(folder.path(), 11, sites("a"), Vec::new());
    let mut screen = attached(folder.path(), &sites("a")).await;
    process.engine.send(said("end")).unwrap();
    drop(process.engine);
    assert_eq!(until(&mut process.local, "end").await.len(), 1);
    assert_eq!(process.local.recv().await, None);
    assert_eq!(until(&mut screen.events, "end").await.len(), 2);
    assert_eq!(screen.events.recv().await, None);
}

#[tokio::test]
async fn a_run_goes_on_for_others_without_its_own_screen() {
    let folder = TempDir::new().unwrap();
    let process = Process::start(folder.path(), 11, sites("a b"), Vec::new());
    let mut one = attached(folder.path(), &sites("a b")).await;
    let mut two = attached(folder.path(), &sites("b")).await;
    drop(process.local);
    let mut orders = process.orders;
    for (screen, order) in [(&one, Command::Pause), (&two, Command::GoOn)] {
        screen.orders.send(order.clone()).unwrap();
        assert_eq!(orders.recv().await, Some(order));
    }
    process.engine.send(changed(1, 200)).unwrap();
    process.hub.tell(said("no master key"));
    for (screen, site) in [(&mut one, 1), (&mut two, 0)] {
        let mut told = until(&mut screen.events, "no master key").await;
        if told.last() != Some(&changed(site, 200)) && !told.contains(&changed(site, 200)) {
            told.push(screen.events.recv().await.unwrap());
        }
        assert!(told.contains(&changed(site, 200)));
    }
}

#[tokio::test]
async fn the_run_that_sends_is_found_first_then_the_newest() {
    let folder = TempDir::new().unwrap();
    let mut processes = Vec::new();
    for (pid, event) in [
        (1, said("no run yet")),
        (2, run(7, RunPhase::Settling)),
        (3, run(5, RunPhase::Paused)),
        (4, run(9, RunPhase::Settled)),
    ] {
        let mut process = Process::start(folder.path(), pid, sites("a"), Vec::new());
        process.happens([event]).await;
        processes.push(process);
    }
    let found = attach::find(folder.path()).await;
    let order: Vec<(u32, bool)> = found.iter().map(|found| (found.about.pid, found.sends)).collect();
    assert_eq!(order, [(3, true), (4, false), (2, false), (1, false)]);
    assert_eq!(found[0].run.as_ref().map(|run| run.phase), Some(RunPhase::Paused));
    assert_eq!(found[3].run, None);
}

#[tokio::test]
async fn the_kernel_tells_of_runs_and_of_writes_to_the_store() {
    let folder = TempDir::new().unwrap();
    let mut watch = Watch::new(folder.path()).unwrap();
    let write = |name: &str| std::fs::write(folder.path().join(name), "written").unwrap();
    write("stripe-propagate.log");
    let process = Process::start(folder.path(), 11, sites("a"), Vec::new());
    assert_eq!(watch.changed().await, Changed::Runs);
    for _ in 0..10 {
        write("state.db-wal");
        write("stripe-propagate.log");
    }
    assert_eq!(watch.changed().await, Changed::Store);
    drop(process);
    assert_eq!(watch.changed().await, Changed::Runs);
    write("stripe-propagate.log");
    write("state.db-wal");
    assert_eq!(watch.changed().await, Changed::Store);
    assert!(Watch::new(&folder.path().join("missing")).is_err());
}

#[test]
fn a_hub_is_of_use_across_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Hub>();
    is_shared::<Offer>();
    is_shared::<Arc<Watch>>();
}
