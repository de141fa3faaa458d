//! What is known of many sites is read in another way than what is known of a few, and is the same.

use stripe_propagate::rules::retry::Policy;
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::{Newest, Store};

use crate::shop::{Home, Shop, Sqlite, at, run_of, url};

/// So many sites are asked for in one go, and so few at a time.
const MANY: usize = 600;
const FEW: usize = 60;

/// What is known of them, asked for so many at a time.
async fn known(db: &impl Store, urls: &[SiteUrl], at_a_time: usize) -> Vec<Newest> {
    let mut all = Vec::new();
    for some in urls.chunks(at_a_time) {
        all.extend(db.last_known(some, &Policy::default(), at(50)).await.unwrap());
    }
    all
}

#[tokio::test]
async fn many_sites_are_known_as_a_few_are() {
    let names: Vec<&'static str> = (0..MANY).map(|number| &*format!("s{number}").leak()).collect();
    let urls: Vec<SiteUrl> = names.iter().map(|name| url(name)).collect();
    let home = Sqlite::default();
    let (db, beside) = (home.open(), home.open());
    // The last ones are in no run.
    let run = db.begin_run(run_of("New", &names[..MANY - 20], 1)).await.unwrap();
    for (number, name) in names[..20].iter().copied().enumerate() {
        let mut shop = Shop::of(&db, name, 2).await;
        shop.order(run, "New", 2);
        shop.look_before(&db, "Old", 3).await;
        match number % 4 {
            0 => {
                shop.put(&db, 4).await;
                shop.look(&db, "New", 5).await;
            }
            1 => shop.intend(&db, 4).await,
            2 => drop(shop.put(&db, 4).await),
            _ => {}
        }
    }
    let in_both_ways = async |db: &_, what: &str| {
        let (many, few) = (known(db, &urls, MANY).await, known(db, &urls, FEW).await);
        assert!(many == few, "{what}");
        let words = many.iter().map(|newest| newest.state.push.look().word);
        words.collect::<std::collections::BTreeSet<_>>()
    };
    in_both_ways(&db, "by the process that works on them").await;
    in_both_ways(&beside, "by another one").await;
    drop(db);
    let words = in_both_ways(&beside, "once that is gone").await;
    for word in ["idle", "not_started", "stored", "unknown"] {
        assert!(words.contains(word), "{word} is not among {words:?}");
    }
    let twice: Vec<SiteUrl> = urls.iter().chain(&urls[..5]).cloned().collect();
    let asked_twice = known(&beside, &twice, twice.len()).await;
    assert!(asked_twice[..5] == asked_twice[MANY..], "what is asked for twice");
    assert!(asked_twice[..MANY] == known(&beside, &urls, FEW).await[..]);
    beside.close_run(run, at(60)).await.unwrap();
    in_both_ways(&beside, "once the run is closed").await;
}

#[tokio::test]
async fn what_cannot_be_read_of_a_site_is_an_error_that_names_it() {
    let names: Vec<&'static str> = (0..MANY).map(|number| &*format!("s{number}").leak()).collect();
    let urls: Vec<SiteUrl> = names.iter().map(|name| url(name)).collect();
    let home = Sqlite::default();
    let db = home.open();
    let run = db.begin_run(run_of("New", &names, 1)).await.unwrap();
    Shop::of(&db, "s7", 2).await.order(run, "New", 2);
    db.flush(std::time::Duration::from_mins(1)).unwrap();
    let raw = rusqlite::Connection::open(home.path()).unwrap();
    let of_s7 = "= (SELECT id FROM sites WHERE url LIKE '%s7.%')";
    let names_it = async || {
        for sites in [&urls[..], &urls[..FEW]] {
            let error = db
                .last_known(sites, &Policy::default(), at(50))
                .await
                .unwrap_err();
            assert!(error.to_string().contains(urls[7].as_str()), "{error}");
        }
    };
    let damages = |cell: &str, value: &str| {
        let (table, column) = cell.split_once('.').unwrap();
        let id = if table == "sites" { "id" } else { "site" };
        let before = raw.query_row(
            &format!("SELECT {column} FROM {table} WHERE {id} {of_s7}"),
            [],
            |row| row.get::<_, rusqlite::types::Value>(0),
        );
        let change = format!("UPDATE {table} SET {column} = ?1 WHERE {id} {of_s7}");
        assert_eq!(raw.execute(&change, [value]).unwrap(), 1);
        (change, before.unwrap())
    };
    for cell in ["run_sites.serves", "sites.version"] {
        let (change, before) = damages(cell, "?");
        names_it().await;
        raw.execute(&change, [before]).unwrap();
    }
    // It is looked at anew.
    let _stays = damages("sites.state", "?");
    assert!(db.last_known(&urls, &Policy::default(), at(50)).await.is_ok());
}
