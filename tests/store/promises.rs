//! What every store promises, one function a promise.

use std::time::Duration;

use stripe_propagate::rules::outcome::{Problem, PutVerdict};
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Served};
use stripe_propagate::rules::status::{Push, SkipReason};
use stripe_propagate::store::{Recorded, Request, RunId, Store, StoreError};
use stripe_propagate::text::CleanText;

pub(crate) use crate::ends::*;
pub(crate) use crate::history::{
    a_list_of_sites_is_as_its_last_run_had_it, attempts_are_kept_in_order,
    looks_outside_of_runs_are_dropped_sooner, many_sites_are_asked_for_at_once,
    others_are_told_of_what_has_changed, pruning_drops_old_runs_and_never_what_is_known,
    the_runs_of_a_site_are_told_newest_first, the_timeline_tells_what_was_seen_and_who_sent_it,
    what_stripe_said_of_a_key_is_remembered_by_all,
};
pub(crate) use crate::known_bad::*;
use crate::shop::{
    Home, SERVING, SETTLING, Shop, VERIFIED, at, by, counts, key, known, planned, row, row_words, run,
    run_of, time, url, words,
};
use crate::stale::newest;
pub(crate) use crate::stale::*;

pub(crate) async fn a_run_is_on_record_with_its_plan(home: &impl Home) {
    let db = home.open();
    let mut new = run_of("New", &["b", "a"], 0);
    new.kind = Kind::Retry;
    new.parent = Some(RunId(7));
    let mut left_out = planned("c", &key("Other"));
    left_out.left_out = Some(SkipReason::Disabled);
    left_out.group = Some(CleanText::note("shops of the north"));
    left_out.serves = Served::NoKey;
    new.sites.push(left_out.clone());
    let sites = new.sites.clone();
    let id = db.begin_run(new).await.unwrap();
    for db in [&db, &home.open()] {
        let run = run(db, id).await;
        assert_eq!(
            (run.kind, run.parent, run.key.clone()),
            (Kind::Retry, Some(RunId(7)), key("New"))
        );
        assert_eq!(
            (run.by.clone(), run.began, run.sent, run.ended),
            (by(), at(0), None, None)
        );
        assert_eq!(
            (run.closed, run.live, run.took, run.clock_set),
            (false, true, None, None)
        );
        assert_eq!(counts(&run), [("queued", 2), ("skipped", 1)]);
        assert_eq!(run.sites(), 3);
        let rows = db.run_sites(id).await.unwrap();
        let plan: Vec<_> = rows.iter().map(|row| row.planned.clone()).collect();
        assert_eq!(plan, sites);
        assert_eq!(
            (rows[2].puts, rows[2].at, row_words(&rows[2])),
            (0, None, ("skipped", "unchecked"))
        );
    }
    assert!(db.run_sites(RunId(99)).await.unwrap().is_empty());
}

pub(crate) async fn runs_are_numbered_and_the_newest_come_first(home: &impl Home) {
    let db = home.open();
    for number in 1..=3 {
        let id = db.begin_run(run_of("New", &["a"], number)).await.unwrap();
        assert_eq!(id, RunId(number));
        db.run_sent(id, at(number)).await.unwrap();
    }
    let newest: Vec<RunId> = db.runs(2).await.unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(newest, [RunId(3), RunId(2)]);
}

pub(crate) async fn one_run_sends_at_a_time(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 3)).await.unwrap();
    for db in [&db, &other] {
        let refused = db.begin_run(run_of("Other", &["a", "b"], 4)).await;
        let Err(StoreError::Busy(holder)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((holder.run, holder.by, holder.since), (Some(id), by(), time(3)));
    }
    assert_eq!(db.runs(9).await.unwrap().len(), 1);
    db.run_sent(id, at(5)).await.unwrap();
    let later = other.begin_run(run_of("Other", &["b", "a"], 6)).await.unwrap();
    assert_eq!(run(&db, id).await.sent, Some(at(5)));
    assert!(matches!(db.resume_run(id, at(7)).await, Err(StoreError::Busy(_))));
    other.run_sent(later, at(8)).await.unwrap();
    db.resume_run(id, at(9)).await.unwrap();
    assert_eq!(run(&db, id).await.sent, None);
}

pub(crate) async fn a_process_that_dies_lets_others_send(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    assert!(other.unfinished_runs().await.unwrap().is_empty());
    let db = home.die(db);
    let left = other.unfinished_runs().await.unwrap();
    assert_eq!(
        left.iter().map(|run| (run.id, run.live)).collect::<Vec<_>>(),
        [(id, false)]
    );
    assert_eq!(counts(&left[0]), [("not_started", 1)]);
    db.resume_run(id, at(5)).await.unwrap();
    db.resume_run(id, at(6)).await.unwrap();
    assert!(matches!(
        other.resume_run(id, at(6)).await,
        Err(StoreError::Busy(_))
    ));
    assert!(other.unfinished_runs().await.unwrap().is_empty());
    assert_eq!(counts(&run(&other, id).await), [("queued", 1)]);
}

pub(crate) async fn a_run_that_settles_elsewhere_is_left_to_its_process(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    db.run_sent(id, at(1)).await.unwrap();
    assert!(run(&other, id).await.live);
    assert!(matches!(
        other.resume_run(id, at(2)).await,
        Err(StoreError::Busy(_))
    ));
    assert!(matches!(
        other.close_run(id, at(2)).await,
        Err(StoreError::Busy(_))
    ));
    assert!(!known(&other, "a", 2).await.is_busy());
    let db = home.die(db);
    assert!(!run(&other, id).await.live);
    assert!(known(&other, "a", 2).await.is_busy(), "its looks go on");
    other.resume_run(id, at(3)).await.unwrap();
    drop(db);
}

pub(crate) async fn a_run_that_nobody_began_cannot_be_taken_up_or_closed(home: &impl Home) {
    let db = home.open();
    for refused in [
        db.resume_run(RunId(4), at(0)).await,
        db.close_run(RunId(4), at(0)).await,
    ] {
        assert!(refused.unwrap_err().to_string().contains("no run 4"));
    }
    assert!(
        db.begin_run(run_of("New", &["a"], 0)).await.is_ok(),
        "nothing is held"
    );
}

pub(crate) async fn what_is_recorded_is_known_to_all_and_after_death(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.look_before(&db, "Old", 1).await;
    assert_eq!(shop.put(&db, 2).await, Recorded::Known);
    shop.look(&db, "Old", 3).await;
    assert_eq!(words(&known(&other, "a", 3).await), SETTLING);
    let row_now = row(&other, id, "a").await;
    assert_eq!(row_words(&row_now), SETTLING);
    assert_eq!(
        (row_now.puts, row_now.http, row_now.at),
        (1, Some(200), Some(time(3)))
    );
    assert_eq!(
        (row_now.before, row_now.now),
        (Served::Key(key("Old")), Served::Key(key("Old")))
    );
    assert_eq!(row_now.note, CleanText::note("as told"));
    shop.look(&db, "New", 4).await;
    shop.look(&db, "New", 400).await;
    let before = shop.state.clone();
    let db = home.die(db);
    let mut after = known(&db, "a", 401).await;
    assert_eq!(words(&after), VERIFIED);
    after.in_run = true;
    assert_eq!(after, before);
}

pub(crate) async fn records_keep_the_order_in_which_they_were_handed_over(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    // Nobody waits for these.
    for seconds in 2..100 {
        shop.state.at = Some(at(seconds));
        drop(db.record(shop.record(None, seconds)));
    }
    db.run_sent(id, at(100)).await.unwrap();
    assert_eq!(known(&db, "a", 100).await.at, Some(at(99)));
}

pub(crate) async fn an_intent_without_outcome_is_unknown_once_its_process_is_gone(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.intend(&db, 1).await;
    assert_eq!(
        known(&other, "a", 2).await.push.look().word,
        "idle",
        "its process knows more"
    );
    assert_eq!(row_words(&row(&other, id, "a").await).0, "sending");
    let attempts = other.attempts(Some(id), Some(&url("a")), 9).await.unwrap();
    assert_eq!(
        (attempts[0].ended, attempts[0].at, attempts[0].ms),
        (false, time(1), None)
    );
    let db = home.die(db);
    let state = known(&db, "a", 3).await;
    assert_eq!(state.push.look().word, "unknown");
    assert_eq!(
        (state.run, state.expected.clone(), state.puts),
        (Some(id), Some(key("New")), 1)
    );
    assert!(state.is_busy(), "a look decides");
    assert_eq!(row_words(&row(&db, id, "a").await).0, "unknown");
    assert_eq!(counts(&run(&db, id).await), [("unknown", 1)]);
    let mut shop = Shop::of(&db, "a", 3).await;
    shop.look(&db, "New", 4).await;
    assert_eq!(words(&known(&db, "a", 5).await), SERVING);
    assert_eq!(row_words(&row(&db, id, "a").await), SERVING);
}

pub(crate) async fn what_a_dead_run_did_not_reach_is_not_started(home: &impl Home) {
    let db = home.open();
    let mut new = run_of("New", &["a", "b", "c", "d"], 0);
    new.allow.mode_change = true;
    new.sites[3].left_out = Some(SkipReason::Equal);
    let id = db.begin_run(new).await.unwrap();
    let mut reached = Shop::of(&db, "a", 0).await;
    reached.order(id, "New", 0);
    reached.put(&db, 1).await;
    // Looked at before its PUT, and no further.
    let mut looked_at = Shop::of(&db, "b", 0).await;
    looked_at.order(id, "New", 0);
    looked_at.look_before(&db, "Old", 1).await;
    assert_eq!(
        words(&known(&home.open(), "c", 2).await),
        ("idle", "unchecked"),
        "its turn may come"
    );
    let db = home.die(db);
    for name in ["b", "c"] {
        let state = known(&db, name, 2).await;
        assert_eq!(words(&state), ("not_started", "unchecked"), "{name}");
        assert_eq!(
            (state.run, state.expected.clone()),
            (Some(id), Some(key("New"))),
            "{name}"
        );
        assert!(state.is_left_over() && !state.is_busy(), "{name}");
    }
    // What was confirmed for the site itself tells more than what was for the whole run.
    for (name, confirmed) in [("b", false), ("c", true)] {
        let kept = serde_json::to_value(known(&db, name, 2).await).unwrap();
        let told = kept["allow"]["mode_change"].as_bool().unwrap_or_default();
        assert_eq!(told, confirmed, "{name}");
    }
    assert_eq!(known(&db, "a", 2).await.push.look().word, "stored");
    assert_eq!(known(&db, "d", 2).await.expected, None);
    assert_eq!(
        known(&db, "elsewhere", 2).await,
        stripe_propagate::rules::state::SiteState::default()
    );
    assert_eq!(
        counts(&run(&db, id).await),
        [("not_started", 2), ("queued", 1), ("skipped", 1)]
    );
}

pub(crate) async fn what_a_dead_run_did_not_reach_gets_its_key_and_no_earlier_one(home: &impl Home) {
    let db = home.open();
    let first = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(first, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "New", 400).await;
    db.run_sent(first, at(400)).await.unwrap();
    let second = db.begin_run(run_of("Newer", &["a"], 401)).await.unwrap();
    // What an earlier run has left is on record as if it were this one's.
    (shop.state.run, shop.state.push) = (Some(second), Push::Queued);
    db.record(shop.record(None, 402)).await.unwrap();
    let db = home.die(db);
    let known = known(&db, "a", 403).await;
    assert_eq!(words(&known).0, "not_started");
    assert_eq!((known.run, known.puts), (Some(second), 0));
    assert_eq!(
        (known.planned_key(), &known.expected),
        (Some(&key("Newer")), &Some(key("Newer")))
    );
}

pub(crate) async fn a_closed_run_expects_nothing_where_it_did_not_come(home: &impl Home) {
    let db = home.open();
    let mut looked_at = Shop::of(&db, "a", 0).await;
    let mut reached = Shop::of(&db, "c", 0).await;
    let id = db.begin_run(run_of("New", &["a", "b", "c"], 0)).await.unwrap();
    looked_at.order(id, "New", 0);
    looked_at.look_before(&db, "Old", 1).await;
    reached.order(id, "New", 0);
    reached.put(&db, 1).await;
    let db = home.die(db);
    db.close_run(id, at(9)).await.unwrap();
    assert!(db.unfinished_runs().await.unwrap().is_empty());
    let closed = run(&db, id).await;
    assert_eq!(
        (closed.closed, closed.ended, closed.sent, closed.live),
        (true, Some(at(9)), None, false)
    );
    assert_eq!(row_words(&row(&db, id, "b").await).0, "not_started");
    for name in ["a", "b"] {
        let state = known(&db, name, 10).await;
        assert_eq!(
            (state.push.look().word, state.expected.clone()),
            ("idle", None),
            "{name}"
        );
    }
    assert_eq!(known(&db, "c", 10).await.expected, Some(key("New")));
    db.resume_run(id, at(11)).await.unwrap();
    assert!(!run(&db, id).await.closed);
}

pub(crate) async fn the_newest_of_several_left_runs_decides(home: &impl Home) {
    let db = home.open();
    let first = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let db = home.die(db);
    let second = db.begin_run(run_of("Newer", &["a"], 1)).await.unwrap();
    let db = home.die(db);
    let expected = async |db: &_, name| {
        let state = known(db, name, 2).await;
        (state.run, state.expected.clone())
    };
    assert_eq!(expected(&db, "a").await, (Some(second), Some(key("Newer"))));
    assert_eq!(expected(&db, "b").await, (Some(first), Some(key("New"))));
    let left: Vec<RunId> = db
        .unfinished_runs()
        .await
        .unwrap()
        .iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(left, [second, first]);
    // As the engine does it: what it knows of the sites of a closed run goes on record.
    let mut shop = Shop::of(&db, "a", 2).await;
    db.close_run(second, at(3)).await.unwrap();
    shop.state.run_closed(at(3));
    db.record(shop.record(None, 3)).await.unwrap();
    assert_eq!(expected(&db, "a").await, (Some(first), Some(key("New"))));
}

pub(crate) async fn a_later_put_takes_a_site_over(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let first = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let mut shops = [Shop::of(&db, "a", 0).await, Shop::of(&db, "b", 0).await];
    for shop in &mut shops {
        shop.order(first, "New", 0);
        shop.put(&db, 1).await;
        shop.look(&db, "Old", 2).await;
    }
    db.run_sent(first, at(2)).await.unwrap();
    let mut theirs = Shop::of(&other, "a", 3).await;
    let second = other.begin_run(run_of("Newer", &["a"], 3)).await.unwrap();
    theirs.order(second, "Newer", 3);
    theirs.intend(&other, 4).await;
    assert_eq!(row_words(&row(&db, first, "a").await), ("stored", "superseded"));
    assert_eq!(row_words(&row(&db, first, "b").await), SETTLING);
    theirs.answered(&other, PutVerdict::Stored, 5).await;
    theirs.look(&other, "Newer", 6).await;
    // What the first one sees is on record; what it thinks of it is not.
    let newest = newest(shops[0].look(&db, "Newer", 7).await);
    assert_eq!(
        (newest.run, newest.expected.clone()),
        (Some(second), Some(key("Newer")))
    );
    assert!(!newest.is_busy(), "another process works on it");
    assert_eq!(known(&other, "a", 8).await.expected, Some(key("Newer")));
    assert_eq!(row_words(&row(&db, first, "a").await), ("stored", "superseded"));
    let looks = db.attempts(Some(first), Some(&url("a")), 99).await.unwrap();
    assert_eq!(
        looks
            .iter()
            .filter(|attempt| attempt.request == Request::Get)
            .count(),
        2
    );
    assert_eq!(db.timeline(&url("a"), 1).await.unwrap()[0].last, time(7));
    // Its part has ended: it knows of the other one's once it has adopted what is on record.
    assert_eq!(shops[0].state.taken_over(&newest, true, at(8)), None);
    assert!(matches!(
        shops[0].look(&db, "Newer", 8).await,
        Recorded::TakenOver(_)
    ));
    known(&db, "a", 8).await;
    assert!(matches!(
        shops[0].look(&db, "Newer", 8).await,
        Recorded::TakenOver(_)
    ));
    shops[0] = Shop::of(&db, "a", 8).await;
    assert_eq!(shops[0].look(&db, "Newer", 8).await, Recorded::Known);
    assert_eq!(row_words(&row(&db, first, "a").await), ("stored", "superseded"));
    assert_eq!(shops[1].look(&db, "Old", 8).await, Recorded::Known);
}

pub(crate) async fn what_a_later_run_sends_is_not_left_over_in_an_earlier_one(home: &impl Home) {
    let db = home.open();
    let first = db.begin_run(run_of("New", &["a", "b"], 0)).await.unwrap();
    let db = home.die(db);
    let second = db.begin_run(run_of("Newer", &["a"], 1)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 1).await;
    shop.order(second, "Newer", 1);
    shop.put(&db, 2).await;
    shop.look(&db, "Newer", 2).await;
    shop.look(&db, "Newer", 500).await;
    assert!(db.end_run(second, at(500)).await.unwrap());
    assert_eq!(known(&db, "a", 501).await.expected, Some(key("Newer")));
    assert_eq!(
        row_words(&row(&db, first, "a").await),
        ("not_started", "superseded")
    );
    assert_eq!(db.unfinished_runs().await.unwrap().len(), 1, "b is left");
}

pub(crate) async fn a_look_beside_a_run_hides_no_put(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.look_before(&db, "Old", 1).await;
    let mut beside = Shop::of(&other, "a", 1).await;
    assert!(matches!(
        beside.look(&other, "Old", 2).await,
        Recorded::TakenOver(_)
    ));
    shop.intend(&db, 3).await;
    let mut beside = Shop::of(&other, "a", 3).await;
    assert!(matches!(
        beside.look(&other, "Old", 4).await,
        Recorded::TakenOver(_)
    ));
    let db = home.die(db);
    assert_eq!(known(&db, "a", 5).await.push.look().word, "unknown");
    assert_eq!(db.attempts(None, Some(&url("a")), 99).await.unwrap().len(), 4);
}

pub(crate) async fn a_look_beside_a_run_is_known_where_nothing_is_sent(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.put(&db, 1).await;
    shop.look(&db, "Old", 2).await;
    let mut beside = Shop::of(&other, "a", 3).await;
    assert_eq!(beside.look(&other, "New", 4).await, Recorded::Known);
    assert_eq!(words(&known(&db, "a", 5).await), SERVING);
    assert_eq!(shop.look(&db, "New", 400).await, Recorded::Known);
    assert_eq!(words(&known(&other, "a", 400).await), VERIFIED);
}

pub(crate) async fn the_end_of_a_run_is_for_good(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a", "b"], 10)).await.unwrap();
    let mut shops = [Shop::of(&db, "a", 10).await, Shop::of(&db, "b", 10).await];
    for shop in &mut shops {
        shop.order(id, "New", 10);
        shop.put(&db, 11).await;
        shop.look(&db, "New", 12).await;
    }
    shops[0].look(&db, "New", 400).await;
    db.run_sent(id, at(12)).await.unwrap();
    let later = db.begin_run(run_of("Newer", &["b"], 405)).await.unwrap();
    shops[1].order(later, "Newer", 405);
    shops[1].put(&db, 406).await;
    db.run_sent(later, at(407)).await.unwrap();
    let mut ended = at(410);
    ended.wall = time(417);
    assert!(db.end_run(id, ended).await.unwrap());
    let over = run(&db, id).await;
    assert_eq!(
        (over.ended, over.sent, over.closed, over.live),
        (Some(ended), Some(at(12)), false, false)
    );
    assert_eq!(over.took, Some(Duration::from_secs(400)));
    assert_eq!(over.clock_set.map(|set| set.as_secs()), Some(7));
    assert_eq!(counts(&over), [("superseded", 1), ("verified", 1)]);
    shops[0].look(&db, "Other", 500).await;
    assert_eq!(
        row_words(&row(&db, id, "a").await),
        VERIFIED,
        "the row keeps its last word"
    );
    assert_eq!(known(&db, "a", 500).await.verify.look().word, "drifted");
    assert!(db.begin_run(run_of("Newer", &["a"], 600)).await.is_ok());
}

pub(crate) async fn a_dead_run_with_nothing_left_ends_by_itself(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 10)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 10).await;
    shop.order(id, "New", 10);
    shop.put(&db, 11).await;
    shop.look(&db, "New", 12).await;
    let db = home.die(db);
    assert_eq!(db.unfinished_runs().await.unwrap().len(), 1, "its proof is due");
    let mut shop = Shop::of(&db, "a", 13).await;
    shop.look(&db, "New", 400).await;
    assert!(db.unfinished_runs().await.unwrap().is_empty());
    let over = run(&db, id).await;
    assert_eq!(
        (over.ended, over.closed, over.took),
        (Some(at(400)), false, Some(Duration::from_secs(390)))
    );
    assert_eq!(counts(&over), [("verified", 1)]);
}

pub(crate) async fn a_retry_takes_up_a_run_that_had_ended(home: &impl Home) {
    let db = home.open();
    let id = db.begin_run(run_of("New", &["a"], 0)).await.unwrap();
    let mut shop = Shop::of(&db, "a", 0).await;
    shop.order(id, "New", 0);
    shop.intend(&db, 1).await;
    shop.answered(&db, PutVerdict::Problem(Problem::RefusedKey), 1)
        .await;
    assert!(db.end_run(id, at(2)).await.unwrap());
    assert_eq!(counts(&run(&db, id).await), [("failed", 1)]);
    db.resume_run(id, at(3)).await.unwrap();
    let _next = shop.state.order_push(key("New"), Allow::default(), true, at(3));
    shop.put(&db, 4).await;
    shop.look(&db, "New", 5).await;
    let again = run(&db, id).await;
    assert_eq!(
        (again.ended, again.live, counts(&again)),
        (None, true, vec![("serving", 1)])
    );
    assert_eq!(row(&db, id, "a").await.puts, 2);
    let puts = db.attempts(Some(id), Some(&url("a")), 99).await.unwrap();
    let puts: Vec<_> = puts
        .iter()
        .filter(|attempt| attempt.request == Request::Put)
        .collect();
    assert_eq!(
        puts.iter().map(|put| (put.number, put.ended)).collect::<Vec<_>>(),
        [(1, true), (2, true)]
    );
}
