use super::*;
use crate::site::{MasterKeyId, SiteMode, SiteUrl};
use crate::text::CleanText;

fn key(raw: &str) -> PublishableKey {
    PublishableKey::parse(&format!("{raw}_51ExampleExampleExample")).unwrap()
}

fn fleet(count: u32) -> Vec<Site> {
    let site = |index| {
        let url = SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap();
        let name = CleanText::note(&format!("shop{index}"));
        let backend = url.backend().into();
        Site {
            name,
            url,
            group: None,
            mode: SiteMode::Any,
            backend,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    (0..count).map(site).collect()
}

fn plan(key: PublishableKey, sites: &[Site], states: &[SiteState], allow: Allow) -> Plan {
    let all = (0..u32::try_from(sites.len()).unwrap()).map(SiteId);
    Plan::new(key, all, sites, |id| &states[id.index()], allow)
}

fn serving(raw: &str) -> SiteState {
    let mut state = SiteState::default();
    state.now = Served::Key(key(raw));
    state
}

#[test]
fn a_small_test_run_takes_a_letter_and_all_else_a_phrase() {
    let states = vec![SiteState::default(); 6];
    let confirm = |raw, count| plan(key(raw), &fleet(count), &states, Allow::default()).confirm();
    assert_eq!(confirm("pk_test", 5), Confirm::Yes);
    assert_eq!(confirm("pk_test", 6), Confirm::Phrase("6".to_owned()));
    assert_eq!(confirm("pk_live", 1), Confirm::Phrase("live 1".to_owned()));
    assert_eq!(confirm("pk_live", 0), Confirm::Nothing);
}

#[test]
fn a_key_that_is_not_as_long_as_those_served_takes_a_word() {
    let states = [serving("pk_live"), serving("pk_live"), SiteState::default()];
    let of = |length: usize, states: &[SiteState]| {
        let raw = format!("pk_live_{}", "a".repeat(length - 8));
        let key = PublishableKey::parse(&raw).unwrap();
        plan(
            key,
            &fleet(u32::try_from(states.len()).unwrap()),
            states,
            Allow::default(),
        )
    };
    let usual = key("pk_live").length();
    let cut = of(usual - 10, &states);
    assert_eq!(cut.confirm(), Confirm::Phrase("live 3 length".to_owned()));
    let length = usual - 10;
    assert_eq!(cut.dangers, [Danger::OtherLength { length, usual }]);
    assert_eq!(of(usual + 2, &states).dangers, []);
    // Nothing is known that it could be compared with.
    assert_eq!(of(usual - 10, &states[2..]).dangers, []);
}

#[test]
fn a_key_of_the_other_mode_is_left_alone_unless_allowed() {
    let states = [serving("pk_test"), serving("pk_live")];
    let careful = plan(key("pk_live"), &fleet(2), &states, Allow::default());
    assert_eq!((careful.puts(), careful.skipped(SkipReason::OtherMode)), (1, 1));
    assert_eq!(careful.confirm(), Confirm::Phrase("live 1".to_owned()));
    assert_eq!(careful.serving_already(), 1);
    let bold = plan(
        key("pk_live"),
        &fleet(2),
        &states,
        Allow {
            mode_change: true,
            ..Allow::default()
        },
    );
    assert_eq!(bold.confirm(), Confirm::Phrase("live 2 over-test".to_owned()));
    assert!(
        bold.dangers[0]
            .sentence()
            .starts_with("1 site serves a test key now")
    );
}

#[test]
fn config_keeps_sites_out() {
    let mut sites = fleet(2);
    sites[0].enabled = false;
    sites[1].mode = SiteMode::Test;
    let plan = plan(
        key("pk_live"),
        &sites,
        &vec![SiteState::default(); 2],
        Allow::default(),
    );
    let actions: Vec<_> = plan.rows.iter().map(|row| row.action).collect();
    assert_eq!(
        actions,
        [
            PlanAction::Skip(SkipReason::Disabled),
            PlanAction::Skip(SkipReason::WrongMode)
        ]
    );
}

#[test]
fn a_rollback_gives_each_site_what_it_had_and_lists_what_it_cannot_put_back() {
    let (one, two) = (
        key("pk_test"),
        PublishableKey::parse("pk_test_51AnotherExampleKey").unwrap(),
    );
    let back = |index: u32, before: Served, was_pushed, was_changed| PutBack {
        site: SiteId(index),
        before,
        was_pushed,
        was_changed,
        later: None,
    };
    let put_back = [
        back(0, Served::Key(one.clone()), true, true),
        back(1, Served::Key(one.clone()), true, true),
        back(2, Served::Key(two.clone()), false, true),
        back(3, Served::NoKey, false, true),
        back(4, Served::Key(two.clone()), true, false),
    ];
    let states = vec![SiteState::default(); 5];
    let plan = |put_back: &[PutBack]| {
        Plan::rollback(
            RunId(7),
            put_back,
            &fleet(5),
            |id| &states[id.index()],
            Allow::default(),
        )
    };
    let rollback = plan(&put_back).unwrap();
    assert_eq!((rollback.kind, rollback.parent), (Kind::Rollback, Some(RunId(7))));
    assert_eq!((rollback.puts(), rollback.keys(), rollback.doubtful()), (3, 2, 1));
    let keys: Vec<_> = rollback.rows.iter().map(|row| &row.key).take(3).collect();
    assert_eq!(keys, [&one, &one, &two]);
    assert_eq!(rollback.skipped(SkipReason::NotReversible), 1);
    assert_eq!(rollback.skipped(SkipReason::Unchanged), 1);
    assert_eq!(plan(&put_back[3..]), None, "nothing can be put back");
}

#[test]
fn a_rollback_tells_of_the_keys_of_later_runs_that_it_would_replace() {
    let had = Served::Key(key("pk_test"));
    let back = |index: u32, before: &Served, later| PutBack {
        site: SiteId(index),
        before: before.clone(),
        was_pushed: true,
        was_changed: true,
        later,
    };
    let states = vec![SiteState::default(); 3];
    let told = |put_back: &[PutBack]| {
        let state = |id: SiteId| &states[id.index()];
        let plan = Plan::rollback(RunId(1), put_back, &fleet(3), state, Allow::default()).unwrap();
        let said = plan.dangers.iter().map(|danger| danger.sentence());
        (plan.confirm(), said.collect::<Vec<_>>().join("; "))
    };
    let phrase = |words: &str| Confirm::Phrase(words.to_owned());
    let none = [back(0, &had, None), back(1, &Served::NoKey, Some(RunId(2)))];
    assert_eq!(told(&none), (Confirm::Yes, String::new()));
    let one = [back(0, &had, None), back(1, &had, Some(RunId(2)))];
    let said = "run 2 has put another key on 1 site since, which this would replace";
    assert_eq!(told(&one), (phrase("2 later"), said.to_owned()));
    let two = [back(0, &had, Some(RunId(2))), back(1, &had, Some(RunId(4)))];
    let said =
        "later runs (the newest is run 4) have put other keys on 2 sites since, which this would replace";
    assert_eq!(told(&two), (phrase("2 later"), said.to_owned()));
}

#[test]
fn a_retry_gives_each_site_its_own_key() {
    let (one, two) = (key("pk_test"), key("pk_live"));
    let states = vec![SiteState::default(); 2];
    let targets = [(SiteId(0), one.clone()), (SiteId(1), two.clone())];
    let state = |id: SiteId| &states[id.index()];
    let retry = Plan::retry(Some(RunId(3)), &targets, &fleet(2), state, Allow::default()).unwrap();
    let keys: Vec<_> = retry.rows.iter().map(|row| &row.key).collect();
    assert_eq!(keys, [&one, &two]);
    assert_eq!(
        retry.confirm(),
        Confirm::Phrase("live 2".to_owned()),
        "a live key goes out"
    );
}
