use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::dialogs;
use super::model::{Model, SMALLEST};
use super::screen::Screen;
use super::theme::Part;
use crate::text::width;

/// Header, serving strip and key field.
mod head;
/// The filter, in the line above the table.
mod filter;
/// The table of sites.
mod table;
/// What stands in its place when there are no sites.
mod empty;
/// What stands in the place of everything when the config cannot be used.
mod wrong;
/// How many sites are in which state.
mod counters;
/// When all is sent and proven, and how fast that goes.
mod times;
/// The known keys, below the field.
mod offers;
/// Message line, gauge and footer.
mod foot;
/// The newest failure, and how long requests take.
mod live;

/// Draws the screen:
///
/// ```text
/// header        who, where, how many sites, which run
/// serving       which key how many sites serve, and whether the old one may expire
/// key           the field and what is said of it
/// ─────────
/// table
/// ─────────
/// message       the newest one
/// failure       the newest that is not mended, on a tall screen
/// gauge         how far the run is
/// latency       how long requests take, on a tall screen
/// footer        the keys that do something now
/// ```
pub fn draw(screen: &Screen, frame: &mut Frame) {
    let model = &screen.model;
    let area = frame.area();
    if model.is_too_small() {
        return too_small(model, frame);
    }
    let live = model.live_height() / 2;
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(live),
        Constraint::Length(1),
        Constraint::Length(live),
        Constraint::Length(model.footer_height()),
    ]);
    let [
        header,
        serving,
        key,
        upper,
        table,
        lower,
        message,
        failure,
        gauge,
        latency,
        footer,
    ] = rows.areas(area);
    head::header(model, frame, header);
    if let Some(wrong) = &model.setup.wrong {
        rule(model, frame, serving);
        wrong::draw(model, wrong, frame, key.union(table));
    } else {
        head::serving(model, frame, serving);
        head::key(screen, frame, key);
        if model.filter.is_shown() {
            filter::draw(screen, frame, upper);
        } else {
            rule(model, frame, upper);
        }
        if model.sites.is_empty() {
            empty::draw(model, frame, table);
        } else {
            table::draw(model, frame, table);
        }
        live::failure(model, frame, failure);
        foot::gauge(model, frame, gauge);
        live::latency(model, frame, latency);
    }
    noted(model, frame, lower);
    foot::message(model, frame, message);
    foot::footer(screen, frame, footer);
    offers::draw(model, frame, key);
    if let Some(dialog) = &screen.dialog {
        dialogs::draw(dialog, model, frame);
    }
}

fn too_small(model: &Model, frame: &mut Frame) {
    let (columns, rows) = SMALLEST;
    let run = match model.run.as_ref().map(|run| run.phase) {
        _ if !model.is_run_open() => String::new(),
        Some(phase) if phase.is_held() => format!("; the run is {}", phase.word()),
        _ => "; the run goes on".to_owned(),
    };
    let text = format!("needs {columns} x {rows}{run}");
    let text = Paragraph::new(text).wrap(Wrap { trim: true });
    frame.render_widget(text, frame.area());
}

fn rule(model: &Model, frame: &mut Frame, area: Rect) {
    let line = model.glyph("─", "-").repeat(area.width.into());
    frame.render_widget(Line::styled(line, model.options.theme.style(Part::Rule)), area);
}

/// What the table has no room for stands in the line below it, of the site under the cursor.
fn noted(model: &Model, frame: &mut Frame, area: Rect) {
    rule(model, frame, area);
    if model.setup.wrong.is_some() {
        return;
    }
    let Some((name, note)) = table::cut_off(model, area.width) else {
        return;
    };
    let theme = model.options.theme;
    let room = usize::from(area.width).saturating_sub(4);
    let name = model.fit_name(&name, room);
    let mut spans = vec![
        Span::raw(" "),
        Span::styled(name.clone(), theme.style(Part::Header)),
    ];
    if !note.is_empty() {
        let note = model.fit(&format!("  {note}"), room - width(&name));
        spans.push(Span::raw(note));
    }
    spans.push(Span::raw(" "));
    let columns: usize = spans.iter().map(|span| width(&span.content)).sum();
    let columns = u16::try_from(columns).unwrap_or(u16::MAX);
    let area = Rect::new(area.x + 1, area.y, columns, area.height).intersection(area);
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// A line of which each part is cut where the line ends.
struct Strip<'a> {
    model: &'a Model,
    left: usize,
    spans: Vec<Span<'static>>,
}

impl<'a> Strip<'a> {
    fn new(model: &'a Model, columns: u16) -> Self {
        Self {
            model,
            left: columns.into(),
            spans: Vec::new(),
        }
    }

    fn push(&mut self, text: &str, part: Part) {
        if self.left == 0 && !text.trim().is_empty() {
            return self.mark_cut();
        }
        // Blanks at its end are not cut off: they end with the line.
        let end = if width(text) > self.left {
            text.trim_end()
        } else {
            text
        };
        let text = self.model.fit(end, self.left);
        self.left -= width(&text);
        self.spans
            .push(Span::styled(text, self.model.options.theme.style(part)));
    }

    /// Something more should stand here.
    fn mark_cut(&mut self) {
        if let Some(last) = self.spans.iter_mut().rev().find(|span| !span.content.is_empty()) {
            let mut text = last.content.to_string();
            text.pop();
            text.push_str(self.model.glyph("…", "~"));
            last.content = text.into();
        }
    }

    /// Blanks up to where `columns` are left.
    fn pad_to(&mut self, columns: usize) {
        let blanks = self.left.saturating_sub(columns);
        self.push(&" ".repeat(blanks), Part::Text);
    }

    fn draw(self, frame: &mut Frame, area: Rect) {
        // A line of its own would step on by what `unicode-width` says of a whole span: less than is drawn, where
        // letters have a ligature.
        frame.render_widget(Paragraph::new(Line::from(self.spans)), area);
    }
}
