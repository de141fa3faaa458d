//! Sites that are left out on the operator's word, and what a key of another account is told of.

use super::*;
use crate::engine::RunInfo;
use crate::rules::outcome::{Answer, LookVerdict};
use crate::rules::plan::OTHER_ACCOUNT;
use crate::rules::retry::Policy;
use crate::rules::rollout::Rollout;
use crate::rules::run::RunPhase;
use crate::rules::state::Call;
use crate::rules::status::Push;

fn shows(model: &mut Model, site: usize, key: &PublishableKey) {
    let (policy, now) = (Policy::default(), model.now);
    let answer = Answer {
        verdict: LookVerdict::Serves(key.clone()),
        http: Some(200),
        took: Duration::ZERO,
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
    };
    let state = &mut model.states[site];
    state.order_look(None, 1, now);
    state.calling(Call::Look, &policy, now);
    state.looked(&answer, &policy, now, 0.5);
    model.tally = crate::rules::tally::Tally::of(&model.states);
}

fn control_e() -> KeyEvent {
    KeyEvent::new(KeyCode::Char('e'), KeyModifiers::CONTROL)
}

#[test]
fn one_key_leaves_out_what_serves_the_key_already_and_takes_it_in_again() {
    let mut model = model(8, 1, (120, 40));
    let pushed = key("live", "AbCd");
    for site in [2, 5] {
        shows(&mut model, site, &pushed);
    }
    let mut dialog = push(&model);
    let before = dialog.clone();
    let text = picture(&dialog, &model);
    assert!(
        text.contains("2 serve it already: pushed too, it may be a fallback (^E leaves out)"),
        "{text}"
    );
    assert!(
        text.contains("type live 7 to push") && text.contains("live 8 over-test"),
        "{text}"
    );
    types(&mut dialog, &mut model, "live 7");
    assert!(matches!(dialog.press(&mut model, control_e()), Pressed::Stays));
    let text = picture(&dialog, &model);
    for seen in [
        "5 of 8 sites get a PUT",
        "2 left out (shop2 and shop5): serve it already (^E pushes them all the same)",
        "type live 5 to push",
        "live 6 over-test",
    ] {
        assert!(text.contains(seen), "{seen}:\n{text}");
    }
    // What was typed for the other number confirms nothing.
    let pressed = dialog.press(&mut model, KeyEvent::from(KeyCode::Enter));
    assert!(matches!(pressed, Pressed::Stays), "{pressed:?}");
    dialog.press(&mut model, control_e());
    assert_eq!((&dialog.plans, &dialog.rows), (&before.plans, &before.rows));
    dialog.press(&mut model, control_e());
    dialog.press(&mut model, KeyEvent::from(KeyCode::Backspace));
    types(&mut dialog, &mut model, "5");
    let pressed = dialog.press(&mut model, KeyEvent::from(KeyCode::Enter));
    let Pressed::Closes(effects) = &pressed else {
        panic!("{pressed:?}");
    };
    let [Effect::Engine(Command::Push(plan))] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((plan.puts(), plan.skipped(SkipReason::Equal)), (5, 2));
}

#[test]
fn a_rollback_and_a_retry_of_an_earlier_run_keep_the_mode_of_what_is_served_too() {
    let mut model = model(3, 0, (120, 40));
    for site in 0..2 {
        shows(&mut model, site, &key("live", "AbCd"));
    }
    let test = key("test", "0000");
    let back = |site| PutBack {
        site,
        before: Served::Key(test.clone()),
        was_pushed: true,
        was_changed: true,
        later: None,
    };
    let put_back: Vec<PutBack> = model.all().into_iter().map(back).collect();
    let rollback = PlanDialog::of_rollback(&model, RunId(7), &put_back).unwrap();
    let targets: Vec<_> = model.all().into_iter().map(|site| (site, test.clone())).collect();
    let retry = PlanDialog::of_retry(&model, Some(RunId(7)), &targets).unwrap();
    for dialog in [rollback, retry] {
        let careful = &dialog.plans.careful;
        assert_eq!((careful.puts(), careful.skipped(SkipReason::OtherMode)), (1, 2));
        assert_eq!(careful.allow, Allow::default());
        let bolder = dialog.plans.bolder.as_ref().unwrap();
        assert_eq!(bolder.confirm(), Confirm::Phrase("3 over-live".to_owned()));
    }
}

#[test]
fn where_nothing_serves_the_key_there_is_nothing_to_leave_out() {
    let mut model = model(3, 0, (80, 24));
    let mut dialog = push(&model);
    let before = dialog.clone();
    dialog.press(&mut model, control_e());
    assert_eq!(dialog, before);
    assert!(!picture(&dialog, &model).contains("^E"));
}

#[test]
fn where_all_serve_it_nothing_is_left_to_confirm_and_the_way_back_is_told() {
    let mut model = model(3, 0, (80, 24));
    for site in 0..3 {
        shows(&mut model, site, &key("live", "AbCd"));
    }
    let mut dialog = push(&model);
    dialog.press(&mut model, control_e());
    let text = picture(&dialog, &model);
    assert!(
        text.contains("nothing would be sent") && text.contains("^E pushes"),
        "{text}"
    );
}

#[test]
fn who_lets_a_changed_site_go_says_nothing_of_a_key_of_the_other_mode() {
    let mut model = model(2, 0, (80, 24));
    model.run = Some(RunInfo {
        kind: Kind::Push,
        id: RunId(4),
        key: key("live", "AbCd"),
        phase: RunPhase::Settling,
        started: model.now,
        ended: None,
        puts: 2,
        rollout: Rollout::default(),
        halt: None,
    });
    let allowed = |model: &Model| {
        let dialog = PlanDialog::of_held_back(model, &[SiteId(0)]).unwrap();
        dialog.plans.careful.allow
    };
    model.states[0].push = Push::Skipped(SkipReason::ChangedMeanwhile);
    let changed = Allow {
        changed: true,
        ..Allow::default()
    };
    assert_eq!(allowed(&model), changed);
    // Where that is the other mode, too, the plan says so with a word of its own.
    shows(&mut model, 0, &key("test", "0000"));
    model.states[0].push = Push::Skipped(SkipReason::ChangedMeanwhile);
    let both = Allow {
        mode_change: true,
        ..changed
    };
    assert_eq!(allowed(&model), both);
    let dialog = PlanDialog::of_held_back(&model, &[SiteId(0)]).unwrap();
    let text = picture(&dialog, &model);
    assert!(text.contains("type live 1 over-test changed"), "{text}");
}

#[test]
fn a_key_that_begins_otherwise_and_was_never_served_is_told_of() {
    let mut model = model(3, 0, (120, 40));
    let hint = &OTHER_ACCOUNT[..30];
    let told = |model: &Model| picture(&push(model), model).contains(hint);
    shows(&mut model, 0, &key("live", "9zQe"));
    assert_eq!(model.ask_of_strange_key(), None, "it begins as the others do");
    let other = PublishableKey::parse("pk_live_51OtherAccountsKeyOtherAccountsKey").unwrap();
    shows(&mut model, 0, &other);
    let asked = model.ask_of_strange_key();
    let pushed = key("live", "AbCd");
    assert_eq!(
        asked,
        Some(Effect::Read(crate::tui::Wanted::WasServed(pushed.clone())))
    );
    assert_eq!(model.ask_of_strange_key(), None, "once");
    assert!(!told(&model), "nobody knows yet");
    model.take_was_served(&pushed, false);
    assert!(told(&model));
    let plan = push(&model).plans.careful;
    assert_eq!(plan.confirm(), Confirm::Phrase("live 3".to_owned()), "no word");
    model.take_was_served(&pushed, true);
    assert!(!told(&model), "a site served it once");
    model.take_was_served(&pushed, false);
    shows(&mut model, 1, &pushed);
    assert!(!told(&model), "a site serves it now");
}
