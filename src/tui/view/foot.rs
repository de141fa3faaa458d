use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span, Text};

use super::Strip;
use super::head::bar;
use crate::engine::Level;
use crate::rules::status::Role;
use crate::text::width;
use crate::tui::actions::ACTIONS;
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

/// The words of the gauge that have a colour, in their order: what needs attention first.
const WORDS: [(&str, Part); 12] = [
    ("exposed_secret", Part::Status(Role::Alarm)),
    ("failed", Part::Status(Role::Bad)),
    ("unknown", Part::Status(Role::Bad)),
    ("mismatch", Part::Status(Role::Bad)),
    ("drifted", Part::Status(Role::Bad)),
    ("no_key", Part::Status(Role::Warning)),
    ("skipped", Part::Status(Role::Warning)),
    ("retrying", Part::Status(Role::Warning)),
    ("settling", Part::Status(Role::Busy)),
    ("serving", Part::Status(Role::Hopeful)),
    ("verified", Part::Status(Role::Good)),
    ("seen", Part::Text),
];

/// ` ███████████████░  done 237/240  failed 3  settling 5  serving 229  verified 2  queued 1  proof ~14:07`
pub(super) fn gauge(model: &Model, frame: &mut Frame, area: Rect) {
    /// The bar of a wide screen, in columns.
    const BAR: usize = 30;

    let mut strip = Strip::new(model, area.width);
    strip.push(" ", Part::Text);
    let wide = area.width >= WIDE;
    if let Some(run) = &model.run {
        // Not "sent": a site that was held back had its turn, too.
        let done = model.done();
        if wide {
            let filled = (done * BAR).checked_div(run.puts).unwrap_or(BAR).min(BAR);
            bar(model, &mut strip, filled, BAR);
            strip.push("  ", Part::Text);
        }
        strip.push(&format!("done {done}/{}", run.puts), Part::Text);
    }
    // Together they are all sites.
    let mut words: Vec<(&str, usize)> = model.tally.words().collect();
    words.sort_by_key(|(word, _)| {
        let place = WORDS.iter().position(|known| known.0 == *word);
        // Where not all of them have room, the proven ones are not to be missed.
        (wide || *word != "verified", place.unwrap_or(WORDS.len()))
    });
    for (word, count) in words {
        let part = WORDS.iter().find(|known| known.0 == word);
        strip.push(
            &format!("  {word} {count}"),
            part.map_or(Part::Text, |known| known.1),
        );
    }
    if let Some(rate) = model.rate().filter(|_| wide) {
        strip.push(&format!("  {rate}/s"), Part::Label);
    }
    if let Some(until) = model.proof_at() {
        strip.push(&format!("  proof ~{}", model.clock(until)), Part::Label);
    }
    strip.draw(frame, area);
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

/// `push: verify: cause:`: the fields that a filter can name.
fn filter_fields() -> String {
    FIELDS
        .iter()
        .map(|field| format!("{}:", field.name))
        .collect::<Vec<_>>()
        .join(" ")
}

fn items(screen: &Screen) -> Vec<Item> {
    let model = &screen.model;
    let item = |key: &str, label: &str| (model.text(key), label.to_owned());
    if screen.dialog.is_some() {
        return vec![item("Esc", "closes")];
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
            item("", &filter_fields()),
            item("!", "in front: not"),
            item("Enter", "keep it"),
            item("Esc", "all sites"),
        ];
    }
    let shown = ACTIONS.iter().filter(|action| (action.when)(model));
    shown
        .filter_map(|action| Some(item(&action.first_key(), &(action.footer)(model)?)))
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
