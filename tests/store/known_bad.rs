//! What every store promises of what the operator says of sites, and of what the watch has told.

use stripe_propagate::rules::acknowledgement::Acknowledgement;
use stripe_propagate::rules::watch::{About, Change, Finding, Told};
use stripe_propagate::store::Store;
use stripe_propagate::text::CleanText;

use crate::shop::{Home, time, url};

pub(crate) async fn what_is_acknowledged_is_known_to_all_until_it_is_taken_back(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let known = Acknowledgement {
        reason: CleanText::note("the domain moves"),
        until: Some(time(900)),
        by: CleanText::note("ada@desk"),
        at: time(1),
    };
    let _asked = other.has_changed().await.unwrap();
    let sites = [url("a"), url("b")];
    db.acknowledge(&sites, Some(known.clone())).await.unwrap();
    assert!(other.has_changed().await.unwrap());
    let read = other.acknowledged().await.unwrap();
    assert_eq!(read.of(&url("a"), time(899)), Some(&known));
    assert_eq!(read.of(&url("a"), time(900)), None);
    assert_eq!(read.of(&url("c"), time(2)), None);
    let later = Acknowledgement {
        until: None,
        ..known.clone()
    };
    other.acknowledge(&sites[..1], Some(later.clone())).await.unwrap();
    other.acknowledge(&sites[1..], None).await.unwrap();
    drop(other);
    let db = home.die(db);
    let read = db.acknowledged().await.unwrap();
    assert_eq!(read.on_record(&url("a")), Some(&later));
    assert_eq!(read.on_record(&url("b")), None);
}

pub(crate) async fn each_change_is_told_by_one_process_only(home: &impl Home) {
    let (db, other) = (home.open(), home.open());
    let change = |name: &str, over| Change {
        about: About::Site(url(name)),
        finding: Finding::Drifted,
        over,
    };
    let mixed = Change {
        about: About::Group(Some(CleanText::note("prod"))),
        finding: Finding::MixedModes,
        over: false,
    };
    let both = vec![change("a", false), mixed.clone()];
    assert_eq!(db.tell(both.clone(), time(1)).await.unwrap(), both);
    let more = vec![change("a", false), change("b", false), mixed.clone()];
    assert_eq!(other.tell(more, time(2)).await.unwrap(), [change("b", false)]);
    drop(other);
    let db = home.die(db);
    let told = db.told().await.unwrap();
    let mut expected = Told::default();
    for change in [change("a", false), change("b", false), mixed] {
        assert!(expected.take(&change));
    }
    assert_eq!(told, expected);
    let over = vec![change("a", true), change("c", true)];
    assert_eq!(db.tell(over.clone(), time(3)).await.unwrap(), [change("a", true)]);
    assert_eq!(db.tell(over, time(4)).await.unwrap(), []);
    assert_eq!(
        db.tell(vec![change("a", false)], time(5)).await.unwrap(),
        [change("a", false)]
    );
}
