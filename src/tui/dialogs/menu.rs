use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;

use super::{Pressed, draw_box, listing};
use crate::key::{KeyMode, PublishableKey};
use crate::text::pad;
use crate::tui::columns::COLUMNS;
use crate::tui::list::Sort;
use crate::tui::model::Model;

/// A list of which one is chosen.
#[derive(Debug)]
pub struct Menu {
    title: String,
    rows: Vec<Row>,
    cursor: usize,
}

#[derive(Debug)]
struct Row {
    text: String,
    does: Does,
}

/// What comes of a choice.
#[derive(Debug)]
enum Does {
    /// Shows what this filter lets through.
    Filter(String),
    Sort(Sort),
}

impl Menu {
    /// By what sites can be sorted.
    pub fn sort(model: &Model) -> Self {
        let now = model.list.sort();
        let attention = Row {
            text: "what needs attention first".to_owned(),
            does: Does::Sort(Sort::default()),
        };
        let columns = COLUMNS.iter().map(|column| Row {
            text: column.head.to_owned(),
            does: Does::Sort(Sort {
                column: Some(column.head),
                by: column.sort,
                turned: false,
            }),
        });
        let rows: Vec<Row> = std::iter::once(attention).chain(columns).collect();
        let is_now = |row: &Row| matches!(row.does, Does::Sort(sort) if sort.column == now.column);
        Self {
            title: format!(
                "sort by  (Enter chooses, {} turns the order)",
                model.key_of("turn the order")
            ),
            cursor: rows.iter().position(is_now).unwrap_or_default(),
            rows,
        }
    }

    /// Which key how many sites serve.
    pub fn served(model: &Model) -> Self {
        /// The bar of all sites, in columns.
        const BAR: usize = 20;

        let sites = model.sites.len().max(1);
        let row = |what: &str, count: usize, filter: String| {
            let filled = (count * BAR).div_ceil(sites).min(BAR);
            let bar = model.glyph("█", "#").repeat(filled) + &model.glyph("░", ".").repeat(BAR - filled);
            Row {
                text: format!("{} {count:>6}  {bar}", pad(what, 28)),
                does: Does::Filter(filter),
            }
        };
        let served = model.tally.serves();
        let keys = served.iter().map(|(key, count)| {
            let mode = match key.mode() {
                KeyMode::Live => "LIVE",
                KeyMode::Test => "TEST",
            };
            let what = format!("{mode} {}", model.mask(key));
            // Its end, as the mask shows it, unless that may mean another key too.
            let mask = key.mask();
            let end = mask.rsplit('…').next().unwrap_or_default().to_lowercase();
            let means = |other: &PublishableKey| {
                other.as_str().to_lowercase().ends_with(&end) || other.fingerprint().starts_with(&end)
            };
            let alone = end.len() >= 4 && served.iter().all(|(other, _)| *other == *key || !means(other));
            let filter = if alone {
                format!("key:{}", mask.rsplit('…').next().unwrap_or_default())
            } else {
                format!("key:{}", key.fingerprint())
            };
            row(&what, *count, filter)
        });
        let mut rows: Vec<Row> = keys.collect();
        for (count, what, word) in [
            (model.tally.serves_secret(), "A SECRET KEY", "secret"),
            (model.tally.serves_none(), "no key", "none"),
            (model.tally.unseen(), "not seen yet", "unknown"),
        ] {
            if count > 0 {
                rows.push(row(what, count, format!("key:{word}")));
            }
        }
        Self {
            title: "keys served  (Enter shows only those sites)".to_owned(),
            rows,
            cursor: 0,
        }
    }

    pub(super) fn press(&mut self, model: &mut Model, press: KeyEvent) -> Pressed {
        let last = self.rows.len().saturating_sub(1);
        self.cursor = match press.code {
            KeyCode::Char('j') | KeyCode::Down | KeyCode::Tab => (self.cursor + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up | KeyCode::BackTab => self.cursor.saturating_sub(1),
            KeyCode::Char('g') | KeyCode::Home | KeyCode::PageUp => 0,
            KeyCode::Char('G') | KeyCode::End | KeyCode::PageDown => last,
            KeyCode::Esc | KeyCode::Char('q') => return Pressed::Closes(Vec::new()),
            KeyCode::Enter => {
                match self.rows.get(self.cursor).map(|row| &row.does) {
                    Some(Does::Filter(text)) => model.show_only(text),
                    Some(Does::Sort(sort)) => model.order_by(*sort),
                    None => {}
                }
                return Pressed::Closes(Vec::new());
            }
            _ => return Pressed::Stays,
        };
        Pressed::Stays
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let room = usize::from(model.size.1.saturating_sub(6)).max(3);
        let rows: Vec<String> = self.rows.iter().map(|row| row.text.clone()).collect();
        let lines = listing(model, rows, self.cursor, room);
        draw_box(model, frame, &self.title, lines, 0);
    }
}
