use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::Effect;
use super::model::Model;
use super::theme::Part;

/// A few answers to one question.
mod choice;
/// Text that is scrolled: detail, messages, help.
mod pager;
/// The plan of a push, and the phrase that confirms it.
mod plan;

pub use choice::Choice;
pub use pager::Pager;
pub use plan::PlanDialog;

/// What stands before the table and takes the keys.
#[derive(Debug)]
pub enum Dialog {
    /// A plan to be confirmed.
    Plan(PlanDialog),
    /// A question.
    Choice(Choice),
    /// Something to read.
    Pager(Pager),
}

impl Dialog {
    /// Whether it takes words, so that each letter is text.
    pub fn takes_text(&self) -> bool {
        matches!(self, Self::Plan(_))
    }
}

/// Gives a key press to the dialog that is open.
pub fn press(model: &mut Model, press: KeyEvent) -> Vec<Effect> {
    match &model.dialog {
        Some(Dialog::Plan(_)) => plan::press(model, press),
        Some(Dialog::Choice(_)) => choice::press(model, press),
        Some(Dialog::Pager(_)) => pager::press(model, press),
        None => Vec::new(),
    }
}

/// Draws the dialog that is open.
pub fn draw(model: &Model, frame: &mut Frame) {
    match &model.dialog {
        Some(Dialog::Plan(dialog)) => plan::draw(dialog, model, frame),
        Some(Dialog::Choice(dialog)) => choice::draw(dialog, model, frame),
        Some(Dialog::Pager(dialog)) => pager::draw(dialog, model, frame),
        None => {}
    }
}

/// Draws a box in the middle with `lines` in it, as high as they need; returns the space inside.
fn draw_box(model: &Model, frame: &mut Frame, title: &str, lines: Vec<Line<'static>>, scroll: usize) -> Rect {
    let area = frame.area();
    let width = area.width.saturating_sub(6).clamp(20, 92).min(area.width);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    let height = u16::try_from(text.line_count(width.saturating_sub(4)))
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let height = height
        .clamp(3, area.height.saturating_sub(2).max(3))
        .min(area.height);
    let [row] = Layout::vertical([Constraint::Length(height)])
        .flex(Flex::Center)
        .areas(area);
    let [space] = Layout::horizontal([Constraint::Length(width)])
        .flex(Flex::Center)
        .areas(row);
    let style = model.options.theme.style(Part::Dialog);
    let mut block = Block::bordered()
        .title(format!(" {} ", model.text(title)))
        .border_style(style);
    if model.options.ascii {
        block = block.border_set(ASCII_BORDER);
    }
    let inside = block.inner(space).inner(ratatui::layout::Margin::new(1, 0));
    frame.render_widget(Clear, space);
    frame.render_widget(block, space);
    let scroll = u16::try_from(scroll).unwrap_or(u16::MAX);
    frame.render_widget(text.scroll((scroll, 0)), inside);
    inside
}

/// Borders for terminals without line drawing.
const ASCII_BORDER: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};
