use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::key::PublishableKey;
use crate::rules::acknowledgement::Acknowledgement;
use crate::rules::moment::Moment;
use crate::rules::outcome::Cause;
use crate::rules::state::Served;
use crate::site::MasterKeyId;

fn site(name: &str) -> Site {
    let url = SiteUrl::parse(&format!("https://{name}.example.com")).unwrap();
    Site {
        name: CleanText::note(name),
        backend: url.backend().into(),
        url,
        group: None,
        mode: SiteMode::Any,
        master_key: MasterKeyId(0),
        enabled: true,
    }
}

fn state(verify: Verify) -> SiteState {
    let mut state = SiteState::default();
    state.verify = verify;
    state
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Tells what is new, and remembers it.
fn tell(told: &mut Told, seen: &Seen<'_>) -> Vec<(Finding, bool)> {
    let changes = told.changes(seen);
    for change in &changes {
        assert!(told.take(change), "{change:?} is told already");
    }
    changes
        .iter()
        .map(|change| (change.finding, change.over))
        .collect()
}

fn known(until: i64) -> Acknowledged {
    let acknowledgement = Acknowledgement {
        reason: CleanText::note("moves"),
        until: Some(at(until)),
        by: CleanText::note("ops"),
        at: at(0),
    };
    Acknowledged::new([(site("a").url, acknowledgement)])
}

/// What is told of a site that goes through these states, one look a second.
fn life(states: &[SiteState], acknowledged: &Acknowledged) -> Vec<Vec<(Finding, bool)>> {
    let sites = [site("a")];
    let mut told = Told::default();
    let look = |(second, state): (usize, &SiteState)| {
        tell(
            &mut told,
            &Seen {
                sites: &sites,
                states: std::slice::from_ref(state),
                watched: &[SiteId(0)],
                acknowledged,
                at: at(i64::try_from(second).unwrap()),
            },
        )
    };
    states.iter().enumerate().map(look).collect()
}

#[test]
fn a_change_is_told_once_and_its_end_once() {
    let failed = Verify::Failed(Cause::Timeout);
    let states = [
        Verify::Verified,
        Verify::Drifted,
        Verify::Drifted,
        // Silence is no end.
        failed,
        Verify::Drifted,
        Verify::ExposedSecret,
        Verify::Drifted,
        Verify::Verified,
        Verify::Verified,
        Verify::Drifted,
    ]
    .map(state);
    let told = life(&states, &Acknowledged::default());
    let expected: [&[(Finding, bool)]; 10] = [
        &[],
        &[(Finding::Drifted, false)],
        &[],
        &[],
        &[],
        &[(Finding::ExposedSecret, false)],
        &[(Finding::ExposedSecret, true)],
        &[(Finding::Drifted, true)],
        &[],
        &[(Finding::Drifted, false)],
    ];
    assert_eq!(told, expected);
}

#[test]
fn of_an_acknowledged_site_only_a_secret_is_told() {
    let states = [
        Verify::Drifted,
        Verify::ExposedSecret,
        Verify::Drifted,
        Verify::Drifted,
        Verify::Verified,
    ]
    .map(state);
    let told = life(&states, &known(3));
    let expected: [&[(Finding, bool)]; 5] = [
        &[],
        &[(Finding::ExposedSecret, false)],
        &[(Finding::ExposedSecret, true)],
        // Acknowledged until here.
        &[(Finding::Drifted, false)],
        &[(Finding::Drifted, true)],
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_a_run_is_about_to_change_is_no_finding() {
    let mut queued = state(Verify::Drifted);
    queued.push = Push::Queued;
    let told = life(
        &[queued, state(Verify::Settling), state(Verify::Verified)],
        &Acknowledged::default(),
    );
    assert_eq!(told, [vec![], vec![], vec![]]);
}

/// What is told where the sites serve these modes, with the config's words for them, in a group.
fn modes(served: &[(&str, SiteMode)], in_run: bool, told: &mut Told) -> Vec<(Finding, bool)> {
    let of = |(index, (mode, allowed)): (usize, &(&str, SiteMode))| {
        let mut site = site(&format!("shop{index}"));
        (site.group, site.mode) = (Some(CleanText::note("prod")), *allowed);
        let mut state = state(Verify::Seen);
        state.now = match *mode {
            "" => Served::Unknown,
            mode => {
                Served::Key(PublishableKey::parse(&format!("pk_{mode}_51ExampleExampleExample")).unwrap())
            }
        };
        state.push = if in_run { Push::Queued } else { Push::Idle };
        (site, state)
    };
    let (sites, states): (Vec<Site>, Vec<SiteState>) = served.iter().enumerate().map(of).unzip();
    let watched: Vec<SiteId> = (0..sites.len()).map(SiteId::at).collect();
    tell(
        told,
        &Seen {
            sites: &sites,
            states: &states,
            watched: &watched,
            acknowledged: &Acknowledged::default(),
            at: at(0),
        },
    )
}

#[test]
fn mixed_modes_are_told_of_a_group_unless_they_are_meant() {
    let any = SiteMode::Any;
    let mut told = Told::default();
    let begun = [(Finding::MixedModes, false)];
    assert_eq!(modes(&[("live", any), ("live", any)], false, &mut told), []);
    assert_eq!(
        modes(&[("live", any), ("test", any)], true, &mut told),
        [],
        "a run goes on"
    );
    assert_eq!(modes(&[("live", any), ("test", any)], false, &mut told), begun);
    assert_eq!(
        modes(&[("", any), ("", any)], false, &mut told),
        [],
        "nothing was seen"
    );
    assert_eq!(
        modes(&[("test", any), ("test", any)], false, &mut told),
        [(Finding::MixedModes, true)]
    );
    let meant = [("live", SiteMode::Live), ("test", SiteMode::Test)];
    assert_eq!(modes(&meant, false, &mut told), []);
    let wrong = [("live", SiteMode::Live), ("test", SiteMode::Live)];
    assert_eq!(modes(&wrong, false, &mut told), begun);
}

#[test]
fn a_round_ends_with_its_last_site_and_the_next_one_comes_in_time() {
    let now = |second: u64| Moment::from((second * 1_000_000_000, 0));
    let mut rounds = Rounds::new(Duration::from_mins(1), now(0));
    let watched = [SiteId(0), SiteId(2)];
    assert_eq!(rounds.due(), Some(now(0)));
    assert_eq!(
        rounds.read(&watched, 3, now(0), now(0)),
        Todo::Nothing,
        "somebody else read it"
    );
    assert_eq!(rounds.tick(now(0)), Todo::Read);
    assert_eq!(rounds.due(), None);
    assert_eq!(
        rounds.take(SiteId(0), &state(Verify::Seen), now(0)),
        Todo::Nothing,
        "of the reading"
    );
    assert_eq!(rounds.read(&watched, 3, now(0), now(0)), Todo::Look);
    for (site, verify) in [
        (0, Verify::Queued),
        (0, Verify::Seen),
        // Counted once.
        (0, Verify::Seen),
        // Not watched.
        (1, Verify::Seen),
        (2, Verify::Checking),
    ] {
        assert_eq!(
            rounds.take(SiteId(site), &state(verify), now(0)),
            Todo::Nothing,
            "{site} {verify:?}"
        );
    }
    let failed = state(Verify::Failed(Cause::Dns));
    assert_eq!(rounds.take(SiteId(2), &failed, now(0)), Todo::Read);
    assert_eq!(rounds.read(&watched, 3, now(0), now(9)), Todo::Judge);
    assert_eq!(rounds.due(), Some(now(60)));
    // The machine slept: what was missed is not made up for.
    rounds.tick(now(1000));
    assert_eq!(rounds.read(&watched, 3, now(1000), now(1000)), Todo::Look);
    assert_eq!(rounds.due(), Some(now(1030)));
    // One never answers, and of the other a run goes on.
    let mut sends = state(Verify::Checking);
    sends.push = Push::Sending;
    assert_eq!(rounds.take(SiteId(0), &sends, now(0)), Todo::Nothing);
    assert_eq!(rounds.tick(now(1030)), Todo::Read);
    assert_eq!(rounds.read(&watched, 3, now(1031), now(1031)), Todo::Judge);
}

#[test]
fn a_reading_that_began_before_it_was_ordered_is_not_the_one_that_is_waited_for() {
    let now = |second: u64| Moment::from((second * 1_000_000_000, 0));
    let mut rounds = Rounds::new(Duration::from_mins(1), now(0));
    let watched = [SiteId(0)];
    rounds.tick(now(1));
    rounds.read(&watched, 1, now(1), now(1));
    assert_eq!(rounds.take(SiteId(0), &state(Verify::Seen), now(5)), Todo::Read);
    // It was out already, and has not seen the push of another process that the look has met.
    assert_eq!(rounds.read(&watched, 1, now(4), now(6)), Todo::Nothing);
    assert_eq!(rounds.read(&watched, 1, now(5), now(7)), Todo::Judge);
}

#[test]
fn what_becomes_known_between_two_rounds_is_not_kept_for_the_next_one() {
    let now = |second: u64| Moment::from((second * 1_000_000_000, 0));
    let mut rounds = Rounds::new(Duration::from_hours(1), now(0));
    let watched = [SiteId(0)];
    let through = |rounds: &mut Rounds, at: u64| {
        assert_eq!(rounds.tick(now(at)), Todo::Read);
        assert_eq!(rounds.read(&watched, 1, now(at), now(at)), Todo::Look);
        // The round tells of it by itself.
        rounds.became_known(now(at));
        assert_eq!(rounds.take(SiteId(0), &state(Verify::Seen), now(at)), Todo::Read);
        assert_eq!(rounds.read(&watched, 1, now(at), now(at)), Todo::Judge);
    };
    through(&mut rounds, 0);
    assert_eq!(rounds.due(), Some(now(3600)));
    rounds.became_known(now(10));
    rounds.became_known(now(11));
    assert_eq!(rounds.due(), Some(now(11)), "soon, and all of it together");
    assert_eq!(rounds.tick(now(11)), Todo::Read);
    assert_eq!(rounds.read(&watched, 1, now(11), now(12)), Todo::JudgeAgain);
    assert_eq!(rounds.due(), Some(now(3600)));
    // Just before the next one it is told with that.
    rounds.became_known(now(3600));
    through(&mut rounds, 3600);
    assert_eq!(rounds.due(), Some(now(7200)));
}

#[test]
fn many_changes_are_told_in_no_time() {
    const SITES: usize = 20_000;
    let sites: Vec<Site> = (0..SITES).map(|index| site(&format!("shop{index}"))).collect();
    let states = vec![state(Verify::Drifted); SITES];
    let watched: Vec<SiteId> = (0..SITES).map(SiteId::at).collect();
    let seen = Seen {
        sites: &sites,
        states: &states,
        watched: &watched,
        acknowledged: &Acknowledged::default(),
        at: at(0),
    };
    let changes = Told::default().changes(&seen);
    let begun = std::time::Instant::now();
    let notices = Notice::of_changes(&changes, &seen, &|_| String::new(), &|_| String::new());
    // Each of them searched all sites once: that takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(notices.len(), SITES);
    let names: Vec<_> = notices
        .iter()
        .filter_map(|notice| notice.site.as_deref())
        .collect();
    assert_eq!((names[0], names[SITES - 1]), ("shop0", "shop19999"));
}

#[test]
fn what_is_back_is_what_could_not_be_reached() {
    let key = PublishableKey::parse("pk_test_51ExampleExampleExample").unwrap();
    let begun = Moment::from((5, 5));
    let owed = |push, verify| {
        let mut owed = state(verify);
        (owed.push, owed.expected, owed.run) = (push, Some(key.clone()), Some(super::super::run::RunId(1)));
        (owed.now, owed.looked_at) = (Served::NoKey, Some(begun));
        owed
    };
    for push in [Push::Failed(Cause::Connect), Push::Unknown(Cause::Timeout)] {
        assert!(is_back(&owed(push, Verify::Mismatch), begun), "{push:?}");
    }
    for push in [
        Push::Failed(Cause::RefusedKey),
        Push::Cancelled,
        Push::NotStarted,
        Push::Stored,
        Push::Idle,
    ] {
        assert!(!is_back(&owed(push, Verify::Mismatch), begun), "{push:?}");
    }
    let failed = Push::Failed(Cause::Connect);
    for verify in [Verify::Drifted, Verify::ExposedSecret, Verify::Verified] {
        assert!(!is_back(&owed(failed, verify), begun), "{verify:?}");
    }
    let mut before = owed(failed, Verify::Mismatch);
    before.looked_at = Some(Moment::from((4, 4)));
    assert!(!is_back(&before, begun), "it has not answered in this round");
}

/// What of the site is true, or cannot be said: the law that is held against [`Told`].
fn truth(verify: Verify, finding: Finding) -> Option<bool> {
    match (verify, finding) {
        (Verify::ExposedSecret, Finding::ExposedSecret) | (Verify::Drifted, Finding::Drifted) => Some(true),
        (Verify::ExposedSecret | Verify::Failed(_) | Verify::Queued | Verify::Settling, _) => None,
        _ => Some(false),
    }
}

proptest! {
    #[test]
    fn each_change_is_told_exactly_once(steps in prop::collection::vec(0usize..7, 1..40)) {
        let words = [
            Verify::Verified,
            Verify::Drifted,
            Verify::ExposedSecret,
            Verify::Failed(Cause::Timeout),
            Verify::Queued,
            Verify::Settling,
            Verify::Mismatch,
        ];
        let verify: Vec<Verify> = steps.iter().map(|step| words[*step]).collect();
        let states: Vec<SiteState> = verify.iter().copied().map(state).collect();
        let told = life(&states, &Acknowledged::default());
        for finding in Finding::OF_A_SITE {
            let mut is_so = false;
            for (verify, told) in verify.iter().zip(&told) {
                let now = truth(*verify, finding).unwrap_or(is_so);
                let of_it: Vec<bool> =
                    told.iter().filter(|(told, _)| *told == finding).map(|(_, over)| *over).collect();
                let expected: &[bool] = if now == is_so { &[] } else if now { &[false] } else { &[true] };
                prop_assert_eq!(&of_it[..], expected);
                is_so = now;
            }
        }
    }
}
