use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;

const NAMES: [&str; 4] = ["payments", "leads", "ops", "auditors"];

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn member(of: &[&str]) -> Who {
    Who {
        name: CleanText::note("bob"),
        uid: 2002,
        is_root: false,
        member_of: of.iter().map(|name| (*name).to_owned()).collect(),
        unknown: BTreeSet::new(),
    }
}

fn push(is_live: bool, at_once: usize, has_canary: bool) -> Sending {
    Sending {
        deed: Deed::Push,
        is_live,
        at_once,
        has_canary,
    }
}

#[test]
fn who_is_missing_a_group_is_told_who_they_are_what_is_missing_and_who_can_change_that() {
    let policy = policy("push_groups = [\"payments\", \"opps\"]\n");
    let mut bob = member(&["auditors"]);
    bob.unknown.insert("opps".to_owned());
    let denied = policy.judge(&bob, &push(false, 1, false)).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "you are bob (uid 2002), and only members of payments or opps may push \
         (/etc/stripe-propagate/policy.toml); opps is a group that this machine does not know; root can add you to a \
         group, which counts from your next login, or change the policy"
    );
}

#[test]
fn live_keys_are_for_those_who_may_push_and_are_in_a_live_group_too() {
    let policy = policy("push_groups = [\"payments\"]\nlive_groups = [\"leads\"]\n");
    let may = |of: &[&str], live| policy.judge(&member(of), &push(live, 1, false)).is_ok();
    assert!(may(&["payments"], false));
    assert!(!may(&["payments"], true));
    assert!(may(&["payments", "leads"], true));
    assert!(!may(&["leads"], true), "a live group alone lets nobody push");
    assert!(!may(&["leads"], false));
}

#[test]
fn a_canary_counts_only_if_it_is_small() {
    let policy = policy("max_sites_without_canary = 5\n");
    let judge = |sending| policy.judge(&member(&[]), &sending);
    assert!(judge(push(true, 5, false)).is_ok());
    let many = judge(push(true, 6, false)).unwrap_err().to_string();
    assert!(
        many.starts_with("this push goes to 6 sites at once, and without a canary it may go to 5 at most"),
        "{many}"
    );
    let large = judge(push(true, 99, true)).unwrap_err().to_string();
    assert!(
        large.starts_with("the canary of this push has 99 sites"),
        "{large}"
    );
    let of = |deed| Sending {
        deed,
        ..push(true, 6, false)
    };
    for deed in [Deed::Rollback, Deed::Check] {
        assert!(judge(of(deed)).is_ok(), "{deed:?} brings no new key");
    }
    for deed in [Deed::Retry, Deed::Resume] {
        let unproved = judge(of(deed)).unwrap_err().to_string();
        assert!(
            unproved.starts_with("this sends to 6 sites a key that no site is verified with"),
            "{unproved}"
        );
    }
}

#[test]
fn what_is_wrong_in_a_policy_is_told_with_its_place() {
    for (text, place) in [
        ("push_group = [\"payments\"]\n", "1:1: unknown field `push_group`"),
        ("\npush_groups = \"payments\"\n", "2:15: "),
        ("live_groups = []\n", "1:15: live_groups names no group"),
        (
            "max_sites_without_canary = 0\n",
            "1:28: max_sites_without_canary must be at least 1",
        ),
        ("push_groups = [\"a:b\"]\n", "1:16: this is no name of a group"),
        ("push_groups = [\"\"]\n", "1:16: this is no name of a group"),
        ("push_groups = [\n", ""),
    ] {
        let told = Policy::parse(text).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{POLICY}:{place}")), "{told}");
    }
}

#[test]
fn the_example_is_a_policy() {
    let example = policy(include_str!("../../packaging/policy.example.toml"));
    assert_ne!(
        example,
        Policy::default(),
        "what it shows is in force once it is copied"
    );
}

proptest! {
    /// Without groups everybody may push; with groups those, and only those, who are in one of them.
    #[test]
    fn membership_is_an_intersection(
        push_groups in subsequence(NAMES.to_vec(), 0..=4),
        live in proptest::option::of(subsequence(NAMES.to_vec(), 1..=4)),
        of in subsequence(NAMES.to_vec(), 0..=4),
        is_live: bool,
    ) {
        let mut text = format!("push_groups = {push_groups:?}\n");
        if let Some(live) = &live {
            text = format!("{text}live_groups = {live:?}\n");
        }
        let policy = policy(&text);
        let in_one = |groups: &[&str]| groups.iter().any(|group| of.contains(group));
        let may_push = push_groups.is_empty() || in_one(&push_groups);
        let may_live = !is_live || live.as_ref().is_none_or(|live| in_one(live));
        let judged = policy.judge(&member(&of), &push(is_live, 1_000, false)).is_ok();
        prop_assert_eq!(judged, may_push && may_live);
        // Root is not bound.
        let root = Who { is_root: true, ..member(&[]) };
        prop_assert!(policy.judge(&root, &push(is_live, 1_000, false)).is_ok());
    }

    /// Whoever is in more groups may do no less.
    #[test]
    fn another_group_takes_nothing_away(
        push_groups in subsequence(NAMES.to_vec(), 0..=4),
        of in subsequence(NAMES.to_vec(), 0..=4),
        one_more in 0..4_usize,
        at_once in 0..20_usize,
    ) {
        let policy = policy(&format!("push_groups = {push_groups:?}\nmax_sites_without_canary = 10\n"));
        let sending = push(false, at_once, false);
        let more: Vec<&str> = of.iter().copied().chain([NAMES[one_more]]).collect();
        if policy.judge(&member(&of), &sending).is_ok() {
            prop_assert!(policy.judge(&member(&more), &sending).is_ok());
        }
    }
}
