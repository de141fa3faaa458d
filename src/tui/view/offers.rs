use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::text::{Count, pad};
use crate::tui::columns::WIDE;
use crate::tui::dialogs::frame_at;
use crate::tui::model::Model;
use crate::tui::offers::{Offer, Offers};
use crate::tui::theme::Part;

/// Where the list begins on a wide screen, in columns; it has as many at the right.
const MARGIN: u16 = 9;
/// The room that the whole of a line has inside.
const WHOLE: u16 = 72;

/// The known keys, below the field:
///
/// ```text
///  ┌ known keys: Enter takes one  (7 more are known) ──────────────────────┐
///  │ pk_live_…9zQe  LIVE  #3f2a91  served by 231 sites; run 11, 2026-10-02 │
///  └───────────────────────────────────────────────────────────────────────┘
/// ```
pub(super) fn draw(model: &Model, frame: &mut Frame, key: Rect) {
    let Some(offers) = model.field.offers() else {
        return;
    };
    let margin = if key.width >= WIDE { MARGIN } else { 0 };
    let columns = key.width - 2 * margin;
    let wide = columns >= WHOLE + 4;
    let below = key.bottom();
    // The footer, which tells the keys, is still seen.
    let most = frame
        .area()
        .bottom()
        .saturating_sub(below + model.footer_height());
    let lines = lines(
        model,
        offers,
        columns.saturating_sub(4).into(),
        most.saturating_sub(2).into(),
        wide,
    );
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(most);
    let space = Rect::new(key.x + margin, below, columns, height);
    let inside = frame_at(model, frame, &title(offers), space);
    frame.render_widget(Paragraph::new(lines), inside);
}

fn title(offers: &Offers) -> String {
    let more = match (offers.waits(), offers.left_out()) {
        (true, _) => "  (history is being read)".to_owned(),
        (false, 0) => String::new(),
        (false, more) => format!("  ({more} more are known)"),
    };
    format!("known keys: Enter takes one{more}")
}

fn lines(model: &Model, offers: &Offers, columns: usize, room: usize, wide: bool) -> Vec<Line<'static>> {
    let first = (offers.cursor() + 1).saturating_sub(room);
    let shown = offers.list().iter().enumerate().skip(first).take(room);
    let line = |(place, offer): (usize, &Offer)| {
        let part = if place == offers.cursor() {
            Part::Cursor
        } else {
            Part::Text
        };
        let text = pad(&model.fit(&words(model, offer, wide), columns), columns);
        Line::styled(text, model.options.theme.style(part))
    };
    let mut lines: Vec<Line<'static>> = shown.map(line).collect();
    if lines.is_empty() {
        lines.push(Line::raw("none of the sites, as far as seen"));
    }
    lines
}

/// Its mask, its mode, its fingerprint, and where it is known from.
fn words(model: &Model, offer: &Offer, wide: bool) -> String {
    let run = offer
        .run
        .map(|(run, began)| format!("run {}, {}", run.0, model.date(began)));
    let by = if wide { "served by " } else { "" };
    let sites = (offer.sites > 0).then(|| format!("{by}{}", Count(offer.sites, "site")));
    let places: Vec<String> = sites.into_iter().chain(run).collect();
    // Where there is little room, the mask tells the mode.
    let mode = if wide {
        format!("  {}", offer.key.mode().word().to_uppercase())
    } else {
        String::new()
    };
    format!(
        "{}{mode}  #{}  {}",
        pad(&offer.key.mask(), 13),
        offer.key.fingerprint(),
        places.join("; ")
    )
}
