use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::Strip;
use crate::rules::status::Role;
use crate::tui::live::{BARS, Latencies};
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// ` newest failure 14:02:12 maison-est PUT 1: refuses the master key (401)`
pub(super) fn failure(model: &Model, frame: &mut Frame, area: Rect) {
    let Some(failure) = model.live.newest_failure() else {
        return;
    };
    let mut strip = Strip::new(model, area.width);
    strip.push(
        &format!(" newest failure {} ", model.clock(failure.at)),
        Part::Label,
    );
    strip.push(&failure.text, Part::Status(Role::Bad));
    strip.draw(frame, area);
}

/// ` latency  PUT  10 ms ▁▂▅█▃▁▁▁▁▁▂ 10 s  p50 84 ms  p95 310 ms  max 2.1 s  since 14:02:10 ▁▁▂▃▂▁`
pub(super) fn latency(model: &Model, frame: &mut Frame, area: Rect) {
    let Some((request, latencies)) = model.live.latencies() else {
        return;
    };
    let mut strip = Strip::new(model, area.width);
    strip.push(" latency  ", Part::Label);
    strip.push(request.word(), Part::Text);
    strip.push("  10 ms ", Part::Label);
    strip.push(&histogram(model, latencies), Part::Status(Role::Busy));
    strip.push(" 10 s", Part::Label);
    for (name, took) in [
        ("p50", latencies.within(50)),
        ("p95", latencies.within(95)),
        ("max", Some(latencies.longest())),
    ] {
        if let Some(took) = took {
            strip.push(&format!("  {name} "), Part::Label);
            strip.push(&short(took), Part::Text);
        }
    }
    let over_time = over_time(model, latencies);
    let since = latencies.since().map(|since| model.clock(since));
    let since = format!("  since {} ", since.unwrap_or_default());
    // A curve that is cut off would tell of another time.
    if crate::text::width(&since) + crate::text::width(&over_time) <= strip.left {
        strip.push(&since, Part::Label);
        strip.push(&over_time, Part::Status(Role::Busy));
    }
    strip.draw(frame, area);
}

/// A bar for each range of durations, as high as it has many.
fn histogram(model: &Model, latencies: &Latencies) -> String {
    let bars = latencies.bars();
    let highest = u64::from(bars.into_iter().max().unwrap_or_default());
    let heights = bars.into_iter().map(u64::from);
    heights
        .map(|count| match count {
            // A bar without any is the ground that the others stand on; what is there at all rises from it.
            0 => level(model, 1),
            _ => level(
                model,
                1 + usize::try_from((count * 7).div_ceil(highest)).unwrap_or(7),
            ),
        })
        .collect()
}

/// The middle duration of each slice of time, as high as its bar is far to the right.
fn over_time(model: &Model, latencies: &Latencies) -> String {
    let middles = latencies.over_time().into_iter();
    middles
        .map(|middle| level(model, middle.map_or(0, |bar| 1 + bar * 7 / (BARS - 1))))
        .collect()
}

/// A block of a height from 0 (nothing) to 8.
fn level(model: &Model, height: usize) -> char {
    const UNICODE: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '#', '@'];

    let levels = if model.options.ascii { ASCII } else { UNICODE };
    levels[height.min(levels.len() - 1)]
}

/// `84 ms`, `2.1 s`, `35 s`
fn short(took: Duration) -> String {
    let milliseconds = took.as_millis();
    match milliseconds {
        ..1000 => format!("{milliseconds} ms"),
        1000..10_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} s", milliseconds / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let told =
            [0, 84, 999, 1000, 2199, 9999, 10_000, 35_020].map(|took| short(Duration::from_millis(took)));
        assert_eq!(
            told,
            [
                "0 ms", "84 ms", "999 ms", "1.0 s", "2.1 s", "9.9 s", "10 s", "35 s"
            ]
        );
    }
}
