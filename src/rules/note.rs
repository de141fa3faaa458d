use super::acknowledgement::Acknowledgement;
use super::moment::Moment;
use super::outcome::{Leak, Problem};
use super::standing::Standing;
use super::state::{Served, SiteState};
use super::status::{Push, SkipReason, Verify};

/// The sentence for a site's NOTE column. `clock` writes a time of day.
///
/// Says what happened, what happens next, and when; empty where the other columns say it all.
pub fn note(state: &SiteState, clock: &dyn Fn(Moment) -> String) -> String {
    let base = sentence(state, clock);
    if state.alarm && state.verify != Verify::ExposedSecret {
        return format!("{}. {base}", Leak::sentence(state.leak));
    }
    base
}

/// A site's note, behind that the operator knows of it. An alarm stands alone.
pub fn acknowledged_note(
    acknowledgement: Option<&Acknowledgement>,
    state: &SiteState,
    clock: &dyn Fn(Moment) -> String,
) -> String {
    let note = note(state, clock);
    match acknowledgement.filter(|_| !state.exposes()) {
        Some(known) if note.is_empty() => known.sentence(clock),
        Some(known) => format!("{}. {note}", known.sentence(clock)),
        None => note,
    }
}

fn sentence(state: &SiteState, clock: &dyn Fn(Moment) -> String) -> String {
    match state.push {
        Push::Sending => {
            let asked = state.at.map(clock).unwrap_or_default();
            return match state.until {
                Some(until) => format!("asked {asked}, waits to {}", clock(until)),
                None => format!("asked {asked}"),
            };
        }
        Push::Queued => return String::new(),
        Push::Retrying => {
            let when = state
                .next_at
                .map(|at| format!("; again {}", clock(at)))
                .unwrap_or_default();
            return format!("{}{when}", problem(state));
        }
        Push::Skipped(SkipReason::NotThisApi) if !state.is_busy() && state.problem.is_none() => {
            return "was held back, and answers like a template site now: a retry pushes it".to_owned();
        }
        Push::Skipped(reason) if !state.is_busy() => {
            let why = reason.sentence();
            let problem = state.problem.map(|_| format!(" ({})", problem(state)));
            let way_out = reason.way_out().map(|way_out| format!("; {way_out}"));
            return format!(
                "{why}{}{}",
                problem.unwrap_or_default(),
                way_out.unwrap_or_default()
            );
        }
        Push::Failed(_) if matches!(state.verify, Verify::Unchecked) => {
            let when = state
                .until
                .map(|until| format!("; asks to wait until {}", clock(until)))
                .unwrap_or_default();
            return format!("{}{when}", problem(state));
        }
        Push::Cancelled if state.puts > 0 => return "stopped before its next try: push it again".to_owned(),
        Push::Cancelled => return "stopped: not sent, push it again".to_owned(),
        Push::NotStarted if state.problem == Some(Problem::RefusedElsewhere) => return problem(state),
        Push::NotStarted if state.is_held() => return "the run halted before its turn".to_owned(),
        Push::NotStarted if state.puts > 0 => return "the run ended before its next try".to_owned(),
        Push::NotStarted => return "the run ended before its turn".to_owned(),
        _ => {}
    }
    verify_sentence(state, clock)
}

fn verify_sentence(state: &SiteState, clock: &dyn Fn(Moment) -> String) -> String {
    let at = |when: Option<Moment>| when.map(clock).unwrap_or_default();
    let why = if state.problem.is_some() {
        format!("{}; ", problem(state))
    } else {
        String::new()
    };
    let again = state
        .next_at
        .map_or("; the next start looks again".to_owned(), |at| {
            format!("; looks again {}", clock(at))
        });
    let unseen = if matches!(state.push, Push::Unknown(_)) {
        "answer to the PUT never seen; "
    } else {
        ""
    };
    match state.verify {
        Verify::Serving if state.until.is_none() => format!("{why}not proven: the next start looks again"),
        Verify::Serving => format!("{why}proof at {}", at(state.until)),
        Verify::Settling if state.problem.is_some() => format!("{unseen}{}{again}", problem(state)),
        Verify::Settling if state.now == Served::NoKey => format!("{unseen}no key yet{again}"),
        Verify::Settling => format!("{unseen}old key cached{again}"),
        Verify::Queued if state.next_at.is_some() => format!("{unseen}{}{again}", problem(state)),
        Verify::Mismatch if state.was_replaced() => {
            "served the new key, then another: pushed by someone else?".to_owned()
        }
        Verify::Mismatch if state.push == Push::Stored => {
            "stored, but serves another key: another tenant, or a fallback from its environment?".to_owned()
        }
        Verify::Mismatch => format!("{unseen}serves another key than expected"),
        Verify::Drifted => {
            "served the expected key, and does not any more: changed by someone else?".to_owned()
        }
        Verify::NoKey if state.push == Push::Stored => {
            "answered success and stored nothing: set a first key by hand, its version is too old".to_owned()
        }
        Verify::NoKey => format!("{unseen}has no key"),
        Verify::ExposedSecret => {
            "ALARM: shows a SECRET key to the public: have it rolled in Stripe now".to_owned()
        }
        Verify::DeadKey => dead_sentence(state),
        Verify::Failed(_) if matches!(state.push, Push::Unknown(_)) => format!("{unseen}{}", problem(state)),
        Verify::Failed(_) => problem(state),
        Verify::Superseded => "a later run took it over".to_owned(),
        Verify::Unchecked | Verify::Checking | Verify::Queued | Verify::Seen | Verify::Verified => {
            if state.problem.is_some() {
                problem(state)
            } else {
                String::new()
            }
        }
    }
}

/// What is wrong with the key that it serves.
fn dead_sentence(state: &SiteState) -> String {
    let which = match (state.dead.as_ref().map(|(_, said)| *said), state.verify_besides()) {
        (Some(Standing::Expired), Verify::Mismatch | Verify::Drifted) => {
            "another key than expected, and an expired one (rolled)"
        }
        (Some(Standing::Expired), _) => "an expired key (it was rolled)",
        (_, Verify::Mismatch | Verify::Drifted) => {
            "another key than expected, and one that Stripe does not know"
        }
        (_, _) => "a key that Stripe does not know",
    };
    format!("serves {which}: it takes no payments")
}

/// The last problem with the site's own words behind it.
fn problem(state: &SiteState) -> String {
    let Some(problem) = state.problem else {
        return String::new();
    };
    let sentence = problem.row().sentence;
    let status = state
        .http
        .map(|status| format!(" ({status})"))
        .unwrap_or_default();
    if state.detail.is_empty() {
        format!("{sentence}{status}")
    } else {
        format!("{sentence}{status}: {}", state.detail)
    }
}
