use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span, Text};

use super::Strip;
use super::counters::{are_cut, counters, least_room, room, shrink};
use super::head::bar;
use crate::engine::Level;
use crate::rules::run::RunPhase;
use crate::rules::status::Role;
use crate::text::width;
use crate::tui::actions::{Action, known};
use crate::tui::columns::WIDE;
use crate::tui::filter::FIELDS;
use crate::tui::model::Model;
use crate::tui::screen::Screen;
use crate::tui::theme::Part;

/// ` 14:02:12 maison-est refuses the master key (401): check master_key of this site`
pub(super) fn message(model: &Model, frame: &mut Frame, area: Rect) {
    let Some(message) = &model.line else {
        return;
    };
    let part = match message.level {
        Level::Info => Part::Text,
        Level::Warning => Part::Status(Role::Warning),
        Level::Error => Part::Status(Role::Bad),
    };
    let mut strip = Strip::new(model, area.width);
    strip.push(&format!(" {} ", model.clock(message.at)), Part::Label);
    strip.push(&message.text, part);
    strip.draw(frame, area);
}

/// ` ███████████████░  done 237/240  sending  ✗ failed 3  ◌ settling 5  ◍ serving 229  done ~14:02:30  31/s`
pub(super) fn gauge(model: &Model, frame: &mut Frame, area: Rect) {
    let mut strip = Strip::new(model, area.width);
    let mut counters = counters(model);
    let times = times_of(model);
    strip.push(" ", Part::Text);
    if let Some(run) = &model.run {
        // Not "sent": a site that was held back had its turn, too.
        let done = model.done();
        let mut text = format!("done {done}/{}", run.puts);
        if run.phase != RunPhase::Sending {
            text = format!("{text}  {}", run.phase.word());
        }
        if area.width >= WIDE {
            let others = times.iter().map(|time| width(&time.0)).sum::<usize>() + room(&counters, model);
            let columns = bar_columns(strip.left, width(&text) + others);
            let filled = (done * columns).checked_div(run.puts).unwrap_or(columns);
            bar(model, &mut strip, filled.min(columns), columns);
            strip.push("  ", Part::Text);
        }
        strip.push(&text, Part::Text);
    }
    // What has no room is left out: the rate first, then the proof, then what is calm, then the end; what needs
    // attention never.
    let mut left = strip.left;
    let mut told = String::new();
    for (time, before_calm) in times {
        if width(&time) + least_room(&counters, !before_calm, model) <= left {
            left -= width(&time);
            told.push_str(&time);
        }
    }
    shrink(&mut counters, left, model);
    for counter in &counters {
        strip.push(&counter.text(model), counter.part());
    }
    if are_cut(&counters) && strip.left >= width(&told) + 3 {
        strip.push(model.glyph("  …", "  ~"), Part::Text);
    }
    strip.push(&told, Part::Label);
    strip.draw(frame, area);
}

/// The bar of a wide screen is shorter where the words beside it need the room. Two lengths and no more: it is not
/// to jump about.
fn bar_columns(left: usize, others: usize) -> usize {
    const LONG: usize = 20;
    const SHORT: usize = 10;

    if others + LONG + 2 <= left { LONG } else { SHORT }
}

/// When all is sent, when all is proven, and how fast it goes; the most important first, with whether it goes
/// before the counters that are calm.
fn times_of(model: &Model) -> Vec<(String, bool)> {
    let done = model.done_at().map(|end| format!("  done ~{}", model.clock(end)));
    let proof = model
        .proof_at()
        .map(|until| format!("  proof ~{}", model.clock(until)));
    let rate = model.rate().map(|rate| match rate {
        600.. => format!("  {}/s", rate / 60),
        60.. => format!("  {}.{}/s", rate / 60, rate % 60 / 6),
        _ => format!("  {rate}/min"),
    });
    let times = [(done, true), (proof, false), (rate, false)].into_iter();
    let known = times.filter_map(|(time, before_calm)| Some((time?, before_calm)));
    known.collect()
}

/// The keys that do something now; help and quit have their place in any case.
pub(super) fn footer(screen: &Screen, frame: &mut Frame, area: Rect) {
    let model = &screen.model;
    let items = items(screen);
    let lines = wrapped(&items, area.width.into(), area.height.into());
    let theme = model.options.theme;
    let drawn = lines.into_iter().map(|items| {
        let mut spans = vec![Span::raw(" ")];
        for (key, label) in items {
            spans.push(Span::styled(key.clone(), theme.style(Part::Key)));
            spans.push(Span::raw(format!(" {label}  ")));
        }
        Line::from(spans)
    });
    frame.render_widget(Text::from(drawn.collect::<Vec<_>>()), area);
}

type Item = (String, String);

/// `push: verify: cause:`: the fields that a filter can name; on a narrow screen the first ones.
fn filter_fields(wide: bool) -> String {
    /// So many have room on a narrow screen.
    const NARROW: usize = 5;

    FIELDS
        .iter()
        .take(if wide { FIELDS.len() } else { NARROW })
        .map(|field| format!("{}:", field.name))
        .collect::<Vec<_>>()
        .join(" ")
}

fn items(screen: &Screen) -> Vec<Item> {
    let model = &screen.model;
    let item = |key: &str, label: &str| (model.text(key), label.to_owned());
    if let Some(dialog) = &screen.dialog {
        return dialog.keys().iter().map(|(key, does)| item(key, does)).collect();
    }
    if model.field.offers().is_some() {
        return vec![
            item("↑ ↓", "choose"),
            item("Enter", "take"),
            item("Esc", "leave it as it was"),
        ];
    }
    if model.field.is_editing() {
        return vec![
            item("Enter", "done"),
            item("^U", "wipe"),
            item("^R", "show or hide"),
            item("↑", "known keys"),
            item("Esc", "leave"),
        ];
    }
    if model.filter.is_editing() {
        return vec![
            item("", &filter_fields(model.size.0 >= WIDE)),
            item("!", "not"),
            item("Enter", "keep it"),
            item("Esc", "all sites"),
        ];
    }
    let first_key = |action: &Action| Some(model.options.keys.keys(action.name).first()?.to_string());
    known(model)
        .filter_map(|action| Some(item(&first_key(action)?, &action.in_footer(model)?)))
        .collect()
}

/// As many items as go into `lines` of `columns`; what must be left out is left out before the last two.
fn wrapped(items: &[Item], columns: usize, lines: usize) -> Vec<Vec<&Item>> {
    let wide = |item: &Item| width(&item.0) + width(&item.1) + 3;
    let tail: usize = items.iter().rev().take(2).map(wide).sum();
    let mut rows: Vec<Vec<&Item>> = vec![Vec::new()];
    let mut used = 1;
    for (index, item) in items.iter().enumerate() {
        let in_tail = index + 2 >= items.len();
        let reserved = if rows.len() == lines && !in_tail { tail } else { 0 };
        if used + wide(item) + reserved <= columns {
            used += wide(item);
        } else if rows.len() < lines {
            rows.push(Vec::new());
            used = 1 + wide(item);
        } else {
            continue;
        }
        if let Some(row) = rows.last_mut() {
            row.push(item);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_keys_are_always_there() {
        let items: Vec<Item> = (0..20).map(|n| (n.to_string(), "does this".to_owned())).collect();
        for (columns, lines) in [(60, 1), (80, 1), (100, 2), (200, 2)] {
            let rows = wrapped(&items, columns, lines);
            assert!(rows.len() <= lines);
            let last: Vec<&str> = rows
                .iter()
                .flatten()
                .rev()
                .take(2)
                .map(|item| item.0.as_str())
                .collect();
            assert_eq!(last, ["19", "18"], "{columns}");
        }
    }
}
