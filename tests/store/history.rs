//! What every store promises of its history: attempts, what was seen, and what is dropped in time.

use jiff::{SignedDuration, Timestamp};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::standing::Standing;
use stripe_propagate::rules::state::Served;
use stripe_propagate::store::{Outcome, Record, Recorded, Request, RunId, Store};
use stripe_propagate::text::CleanText;

use crate::shop::{Home, Shop, at, key, known, run, run_of, time, url};

pub(crate) async fn attempts_are_kept_in_order(home: &impl Home) {
    let db = home.open();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.look(&db, "Old", 1).await;
    let id = db.begin_run(run_of("New", &["a"], 2)).await.unwrap();
    shop.order(id, "New", 2);
    shop.put(&db, 3).await;
    shop.look(&db, "New", 4).await;
    let all = db.attempts(None, Some(&url("a")), 99).await.unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|attempt| (attempt.run, attempt.request, attempt.at))
        .collect();
    let (put, get) = (Request::Put, Request::Get);
    assert_eq!(
        told,
        [
            (None, get, time(1)),
            (Some(id), put, time(3)),
            (Some(id), get, time(4))
        ]
    );
    assert!(
        all.iter()
            .all(|attempt| attempt.ended && attempt.ms == Some(20) && attempt.http == Some(200))
    );
    assert_eq!(
        db.attempts(Some(id), Some(&url("a")), 99).await.unwrap(),
        all[1..]
    );
    assert_eq!(db.attempts(None, Some(&url("a")), 1).await.unwrap(), all[2..]);
    assert!(db.attempts(None, Some(&url("b")), 1).await.unwrap().is_empty());
}

pub(crate) async fn the_timeline_tells_what_was_seen_and_who_sent_it(home: &impl Home) {
    let db = home.open();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.look(&db, "Old", 1).await;
    shop.look(&db, "Old", 2).await;
    let id = db.begin_run(run_of("New", &["a"], 3)).await.unwrap();
    shop.order(id, "New", 3);
    shop.put(&db, 4).await;
    shop.look(&db, "New", 5).await;
    shop.look(&db, "Old", 6).await;
    shop.look(&db, "New", 7).await;
    let seen = db.timeline(&url("a"), 99).await.unwrap();
    let told: Vec<_> = seen
        .iter()
        .map(|seen| (seen.served.clone(), seen.first, seen.last, seen.pushed_by))
        .collect();
    let [old, new] = ["Old", "New"].map(|tail| Served::Key(key(tail)));
    assert_eq!(
        told,
        [
            (old.clone(), time(1), time(2), None),
            (new.clone(), time(5), time(5), Some(id)),
            (old, time(6), time(6), None),
            (new, time(7), time(7), Some(id)),
        ]
    );
    assert_eq!(db.timeline(&url("a"), 2).await.unwrap(), seen[2..]);
    for (tail, was_served) in [("Old", true), ("New", true), ("Other", false)] {
        assert_eq!(home.open().was_served(&key(tail)).await.unwrap(), was_served);
    }
}

pub(crate) async fn the_runs_of_a_site_are_told_newest_first(home: &impl Home) {
    let db = home.open();
    let mut shop = Shop::of(&db, "a", 0).await;
    let first = db.begin_run(run_of("Old", &["b", "a"], 1)).await.unwrap();
    shop.order(first, "Old", 1);
    shop.put(&db, 2).await;
    let later = Record {
        note: CleanText::note("later"),
        ..shop.record(None, 3)
    };
    // Nobody waits for it, and all the same it is told.
    let recorded = db.record(later);
    assert_eq!(told(&db, 9).await, [(first, "stored")]);
    let note = &db.site_runs(&url("a"), 9).await.unwrap()[0].site.note;
    assert_eq!(note.as_str(), "later");
    recorded.await.unwrap();
    db.run_sent(first, at(3)).await.unwrap();
    let other = db.begin_run(run_of("New", &["b"], 4)).await.unwrap();
    db.run_sent(other, at(5)).await.unwrap();
    let second = db.begin_run(run_of("New", &["a", "c"], 6)).await.unwrap();
    assert_eq!(told(&db, 9).await, [(second, "queued"), (first, "stored")]);
    assert_eq!(told(&db, 1).await, [(second, "queued")]);
    let runs = db.site_runs(&url("a"), 9).await.unwrap();
    assert_eq!((runs[1].began, runs[1].kind), (time(1), run_of("", &[], 0).kind));
    for known in &runs {
        let rows = db.run_sites(known.run).await.unwrap();
        assert!(rows.contains(&known.site), "{known:?}");
    }
    assert!(db.site_runs(&url("x"), 9).await.unwrap().is_empty());
    let db = home.die(db);
    assert_eq!(told(&db, 9).await, [(second, "not_started"), (first, "stored")]);
}

/// The runs of site `a`, and what each came to.
async fn told(db: &impl Store, count: usize) -> Vec<(RunId, &'static str)> {
    let runs = db.site_runs(&url("a"), count).await.unwrap();
    runs.iter()
        .map(|run| (run.run, run.site.push.look().word))
        .collect()
}

pub(crate) async fn pruning_drops_old_runs_and_never_what_is_known(home: &impl Home) {
    let db = home.open();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.look(&db, "Old", 1).await;
    let old = db.begin_run(run_of("New", &["a"], 2)).await.unwrap();
    shop.order(old, "New", 2);
    shop.put(&db, 3).await;
    shop.look(&db, "New", 4).await;
    shop.look(&db, "New", 400).await;
    assert!(db.end_run(old, at(400)).await.unwrap());
    let left = db.begin_run(run_of("New", &["b"], 401)).await.unwrap();
    let db = home.die(db);
    let before = known(&db, "a", 500).await;
    assert_eq!(db.prune(time(400)).await.unwrap(), 0);
    assert_eq!(db.prune(time(401)).await.unwrap(), 0, "once a day");
    assert_eq!(run(&db, old).await.ended, Some(at(400)));
    assert_eq!(db.prune(time(400 + 24 * 60 * 60)).await.unwrap(), 1);
    let runs: Vec<RunId> = db.runs(9).await.unwrap().iter().map(|run| run.id).collect();
    assert_eq!(runs, [left]);
    assert!(db.run_sites(old).await.unwrap().is_empty());
    assert!(db.attempts(None, Some(&url("a")), 99).await.unwrap().is_empty());
    assert!(db.timeline(&url("a"), 99).await.unwrap().is_empty());
    assert_eq!(known(&db, "a", 500).await, before);
    // A process that still shows that run looks at the site.
    shop.catch_up(&db, 500).await;
    assert_eq!(shop.look(&db, "New", 501).await, Recorded::Known);
    db.close_run(left, at(502)).await.unwrap();
    assert_eq!(
        db.begin_run(run_of("New", &["a"], 600)).await.unwrap(),
        RunId(left.0 + 1),
        "no number comes twice"
    );
}

pub(crate) async fn many_sites_are_asked_for_at_once(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    let db = home.die(db);
    let sites = [url("x"), url("b"), url("a"), url("b")];
    let states = db.last_known(&sites, &Policy::default(), at(2)).await.unwrap();
    let pushes: Vec<_> = states
        .iter()
        .map(|newest| newest.state.push.look().word)
        .collect();
    assert_eq!(pushes, ["idle", "not_started", "stored", "not_started"]);
}

pub(crate) async fn looks_outside_of_runs_are_dropped_sooner(home: &impl Home) {
    let db = home.open();
    let shop = Shop::of(&db, "a", 0).await;
    let ago = |days: i64| Timestamp::now() - SignedDuration::from_hours(24 * days);
    for days in [50, 31, 29, 5] {
        let mut moment = at(0);
        moment.wall = ago(days);
        let look = Outcome {
            at: moment,
            served: Served::Key(key("Old")),
            ..shop.outcome(Request::Get, 0)
        };
        db.record(shop.record(Some(look), 0)).await.unwrap();
    }
    let looks = async || db.attempts(None, Some(&url("a")), 99).await.unwrap().len();
    db.prune(ago(40)).await.unwrap();
    assert_eq!(looks().await, 2, "those of the last 30 days");
    let seen = db.timeline(&url("a"), 99).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].first < ago(49), "what they showed is told");
    db.prune(ago(10)).await.unwrap();
    assert_eq!(looks().await, 1, "no longer than all else");
}

pub(crate) async fn others_are_told_of_what_has_changed(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    for db in [&db, &other] {
        assert!(db.has_changed().await.unwrap(), "so far it knows nothing");
        assert!(!db.has_changed().await.unwrap());
    }
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.look(&db, "Old", 1).await;
    assert!(!db.has_changed().await.unwrap(), "its own");
    assert!(other.has_changed().await.unwrap());
    assert!(!other.has_changed().await.unwrap(), "once");
    known(&other, "a", 2).await;
    assert!(!db.has_changed().await.unwrap(), "nothing was written");
    let id = other.begin_run(run_of("New", &["a"], 3)).await.unwrap();
    assert!(db.has_changed().await.unwrap());
    assert!(db.begin_run(run_of("New", &["a", "b"], 3)).await.is_err());
    assert!(db.unfinished_runs().await.unwrap().is_empty());
    assert!(!other.has_changed().await.unwrap(), "nothing came of it");
    other.run_sent(id, at(4)).await.unwrap();
    assert!(db.has_changed().await.unwrap());
    assert!(!other.has_changed().await.unwrap());
}

pub(crate) async fn what_stripe_said_of_a_key_is_remembered_by_all(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let (one, two) = (key("One"), key("Two"));
    assert_eq!(db.standing(&one).await.unwrap(), None);
    db.remember_standing(&one, Standing::Known, time(1))
        .await
        .unwrap();
    db.remember_standing(&two, Standing::Unknown, time(2))
        .await
        .unwrap();
    db.remember_standing(&one, Standing::Expired, time(3))
        .await
        .unwrap();
    for db in [&db, &other, &home.open()] {
        assert_eq!(
            db.standing(&one).await.unwrap(),
            Some((Standing::Expired, time(3)))
        );
        assert_eq!(
            db.standing(&two).await.unwrap(),
            Some((Standing::Unknown, time(2)))
        );
    }
    let month = 31 * 24 * 3600;
    other
        .remember_standing(&one, Standing::Known, time(month))
        .await
        .unwrap();
    assert_eq!(
        db.standing(&one).await.unwrap(),
        Some((Standing::Known, time(month)))
    );
    assert_eq!(db.standing(&two).await.unwrap(), None, "it is too old to count");
}

pub(crate) async fn a_list_of_sites_is_as_its_last_run_had_it(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    assert_eq!(db.list("one.toml").await.unwrap(), None);
    db.keep_list("one.toml", vec![url("a"), url("b")]).await.unwrap();
    db.keep_list("two.toml", vec![]).await.unwrap();
    other.keep_list("one.toml", vec![url("c")]).await.unwrap();
    for db in [&db, &other, &home.open()] {
        assert_eq!(db.list("one.toml").await.unwrap(), Some(vec![url("c")]));
        assert_eq!(db.list("two.toml").await.unwrap(), Some(vec![]));
        assert_eq!(db.list("three.toml").await.unwrap(), None);
    }
}
