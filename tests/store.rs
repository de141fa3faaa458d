//! The contract of a store: each promise is kept by every kind of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "store/at_once.rs"]
mod at_once;
#[path = "store/between.rs"]
mod between;
#[path = "store/doubt.rs"]
mod doubt;
#[path = "store/ends.rs"]
mod ends;
#[path = "store/files.rs"]
mod files;
#[path = "store/history.rs"]
mod history;
#[path = "store/known_bad.rs"]
mod known_bad;
#[path = "store/many.rs"]
mod many;
#[path = "store/processes.rs"]
mod processes;
#[path = "store/promises.rs"]
mod promises;
#[path = "stage/servers.rs"]
mod servers;
#[path = "store/shared.rs"]
mod shared;
#[path = "store/shop.rs"]
mod shop;
#[path = "store/stale.rs"]
mod stale;

/// Each promise as a test of each kind of store.
macro_rules! promised {
    ($($promise:ident)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $promise() { super::promises::$promise(&super::shop::Memory::default()).await; })*
        }
        mod in_postgres {
            $(#[tokio::test] async fn $promise() {
                // Where no server is installed that is told in a line (`stage/servers.rs`).
                if let Some(home) = super::shop::Postgres::begin() {
                    super::promises::$promise(&home).await;
                }
            })*
        }
        mod in_sqlite {
            $(#[tokio::test] async fn $promise() { super::promises::$promise(&super::shop::Sqlite::default()).await; })*
        }
    };
}

promised! {
    a_run_is_on_record_with_its_plan
    runs_are_numbered_and_the_newest_come_first
    one_run_sends_at_a_time
    a_process_that_dies_lets_others_send
    a_run_that_settles_elsewhere_is_left_to_its_process
    a_run_that_nobody_began_cannot_be_taken_up_or_closed
    what_is_recorded_is_known_to_all_and_after_death
    records_keep_the_order_in_which_they_were_handed_over
    an_intent_without_outcome_is_unknown_once_its_process_is_gone
    what_a_dead_run_did_not_reach_is_not_started
    what_a_dead_run_did_not_reach_gets_its_key_and_no_earlier_one
    a_closed_run_expects_nothing_where_it_did_not_come
    the_newest_of_several_left_runs_decides
    a_later_put_takes_a_site_over
    what_a_later_run_sends_is_not_left_over_in_an_earlier_one
    a_look_beside_a_run_hides_no_put
    a_look_beside_a_run_is_known_where_nothing_is_sent
    the_end_of_a_run_is_for_good
    a_dead_run_with_nothing_left_ends_by_itself
    a_retry_takes_up_a_run_that_had_ended
    attempts_are_kept_in_order
    the_timeline_tells_what_was_seen_and_who_sent_it
    the_runs_of_a_site_are_told_newest_first
    pruning_drops_old_runs_and_never_what_is_known
    what_stripe_said_of_a_key_is_remembered_by_all
    a_list_of_sites_is_as_its_last_run_had_it
    many_sites_are_asked_for_at_once
    only_the_run_that_may_send_begins_a_put
    no_put_is_begun_that_does_not_know_of_the_last
    what_was_refused_teaches_nothing
    reading_is_not_knowing_and_what_is_adopted_is_known
    a_run_goes_on_with_what_was_sent_before_it_could
    a_look_after_a_death_hides_no_put
    what_was_told_in_answer_can_be_recorded
    no_put_is_begun_that_does_not_know_of_one_left_open
    a_run_taken_up_keeps_the_doubt_until_it_is_decided
    what_is_to_be_sent_only_its_process_can_say
    a_look_that_was_out_brings_back_nothing_of_a_closed_run
    a_run_that_another_process_works_on_does_not_end
    a_run_with_something_left_does_not_end
    a_run_with_something_left_is_left_to_others
    a_look_at_what_a_dead_run_did_not_reach_does_not_end_it
    a_run_that_settles_does_not_end_until_a_later_one_has_its_sites
    who_sees_the_last_of_a_dead_run_can_end_it
    a_dead_run_that_a_later_one_took_over_ends_by_itself
    looks_outside_of_runs_are_dropped_sooner
    others_are_told_of_what_has_changed
    each_change_is_told_by_one_process_only
    what_is_acknowledged_is_known_to_all_until_it_is_taken_back
}
