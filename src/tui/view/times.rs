use super::counters::{Counter, least_room};
use crate::text::width;
use crate::tui::columns::WIDE;
use crate::tui::model::Model;

/// A time, or a pace.
pub(super) struct Time {
    pub(super) text: String,
    /// Whether it goes before the counters that are calm.
    before_calm: bool,
    /// Its place among the others.
    place: usize,
}

/// When all is sent, how fast that goes, and when all is proven; the most important first.
pub(super) fn times_of(model: &Model, columns: u16) -> Vec<Time> {
    let is_wide = columns >= WIDE;
    let is_last = is_wide && model.done_at().is_none();
    let end = model.done_at().map(|end| format!("  ends ~{}", model.clock(end)));
    let proof = model
        .proof_at()
        .map(|until| format!("  proof ~{}", model.clock(until)));
    let rate = model.rate().map(|rate| match rate {
        600.. => format!("  {}/s", rate / 60),
        60.. => format!("  {}.{}/s", rate / 60, rate % 60 / 6),
        _ => format!("  {rate}/min"),
    });
    let times = if is_wide {
        [(end, true, 0), (rate, true, 2), (proof, is_last, 1)]
    } else {
        [(end, true, 0), (proof, is_last, 1), (rate, false, 2)]
    };
    let known = times.into_iter().filter_map(|(text, before_calm, place)| {
        Some(Time {
            text: text?,
            before_calm,
            place,
        })
    });
    known.collect()
}

/// Those that have a place in `room` columns, and what that leaves. What has none is left out: times that go behind
/// the counters that are calm, then those, then the other times; what needs attention never.
pub(super) fn fitting(
    mut times: Vec<Time>,
    counters: &[Counter],
    room: usize,
    model: &Model,
) -> (Vec<Time>, usize) {
    let mut left = room;
    times.retain(|time| {
        let has_room = width(&time.text) + least_room(counters, !time.before_calm, model) <= left;
        if has_room {
            left -= width(&time.text);
        }
        has_room
    });
    times.sort_by_key(|time| time.place);
    (times, left)
}

#[cfg(test)]
mod tests {
    use super::super::counters::tests::{model, seven_each};
    use super::super::counters::{left_out, shrink};
    use super::*;

    /// The gauge of a screen, behind `done 251/300`, with sites in many states.
    fn gauge(columns: u16, words: &[&str]) -> String {
        let mut model = model();
        model.size.0 = columns;
        let time = |text: &str, before_calm, place| Time {
            text: text.to_owned(),
            before_calm,
            place,
        };
        let is_wide = columns >= WIDE;
        let mut times = vec![time("  ends ~10:54:45", true, 0)];
        let (rate, proof) = (time("  31/s", is_wide, 2), time("  proof ~10:59:45", false, 1));
        if is_wide {
            times.extend([rate, proof]);
        } else {
            times.extend([proof, rate]);
        }
        let bar = if is_wide { 12 } else { 0 };
        let room = usize::from(columns) - 1 - bar - "done 251/300".len();
        let mut counters = seven_each(words);
        let (times, left) = fitting(times, &counters, room, &model);
        shrink(&mut counters, left, &model);
        let counted: String = counters.iter().map(|counter| counter.text(&model)).collect();
        let told: String = times.into_iter().map(|time| time.text).collect();
        let all = format!("{counted}{}{told}", left_out(&counters, left - width(&counted)));
        assert!(width(&all) <= room, "{all}");
        all
    }

    #[test]
    fn end_and_pace_are_not_pushed_out_by_what_is_calm() {
        let calm = [
            "queued", "sending", "checking", "serving", "settling", "verified", "seen",
        ];
        assert_eq!(
            gauge(120, &calm),
            "  ◌ settle 7  … send 7  ◍ serve 7  · queued 7  … 7  ✓ verified 7  • 7  ends ~10:54:45  31/s"
        );
        let many = [
            &calm[..],
            &["failed", "unknown", "mismatch", "retrying", "exposed_secret"],
        ]
        .concat();
        assert_eq!(
            gauge(120, &many),
            "  ! secret 7  ✗ fail 7  ≠ mismatch 7  ? unknown 7  ↻ 7  ◍ 7  ✓ 7  +5 more  ends ~10:54:45  31/s"
        );
        assert_eq!(
            gauge(80, &many),
            "  ! secret 7  ✗ fail 7  ≠ mismatch 7  ? 7  ↻ 7  ◍ 7  ✓ 7  +5 more"
        );
    }
}
