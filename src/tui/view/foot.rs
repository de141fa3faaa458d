use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span, Text};

use super::Strip;
use super::counters::{counters, left_out, room, shrink};
use super::head::bar;
use super::times::{fitting, times_of};
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
    // What is cut is told in full by a key.
    let whole = width(&model.text(&message.text)) <= strip.left;
    let key = if whole {
        String::new()
    } else {
        format!("  {}", model.key_of("messages"))
    };
    let text = model.fit(&message.text, strip.left.saturating_sub(width(&key)));
    strip.push(&text, part);
    strip.push(&key, Part::Key);
    strip.draw(frame, area);
}

/// ` ███████████████░  done 237/240  sending  ✗ failed 3  ◌ settling 5  ◍ serving 229  ends ~14:02:30  31/s`
pub(super) fn gauge(model: &Model, frame: &mut Frame, area: Rect) {
    let mut strip = Strip::new(model, area.width);
    let mut counters = counters(model);
    let times = times_of(model, area.width);
    strip.push(" ", Part::Text);
    if let Some(run) = &model.run {
        // Not "sent": a site that was held back had its turn, too.
        let done = model.done();
        let mut text = format!("done {done}/{}", run.puts);
        if run.phase != RunPhase::Sending {
            text = format!("{text}  {}", run.phase.word());
        }
        if area.width >= WIDE {
            let others = times.iter().map(|time| width(&time.text)).sum::<usize>() + room(&counters, model);
            let columns = bar_columns(strip.left, width(&text) + others);
            let filled = (done * columns).checked_div(run.puts).unwrap_or(columns);
            bar(model, &mut strip, filled.min(columns), columns);
            strip.push("  ", Part::Text);
        }
        strip.push(&text, Part::Text);
    }
    let (times, left) = fitting(times, &counters, strip.left, model);
    shrink(&mut counters, left, model);
    for counter in &counters {
        strip.push(&counter.text(model), counter.part());
    }
    let told: usize = times.iter().map(|time| width(&time.text)).sum();
    let room = strip.left.saturating_sub(told);
    let left_out = left_out(&counters, room);
    if width(&left_out) <= room {
        strip.push(&left_out, Part::Text);
    }
    for time in times {
        strip.push(&time.text, Part::Label);
    }
    strip.draw(frame, area);
}

/// The bar of a wide screen is shorter where the words beside it need the room. Two lengths and no more: it is not
/// to jump about.
fn bar_columns(left: usize, others: usize) -> usize {
    const LONG: usize = 20;
    const SHORT: usize = 10;

    if others + LONG + 2 <= left { LONG } else { SHORT }
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
    let mut actions: Vec<&Action> = known(model).collect();
    if model.list.marks() > 0 {
        // Whoever has marked sites means to do something to them.
        actions.sort_by_key(|action| action.place_with_marks());
    }
    let shown = actions
        .into_iter()
        .filter_map(|action| Some(item(&first_key(action)?, &action.in_footer(model)?)));
    shown.collect()
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
