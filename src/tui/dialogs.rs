use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Margin, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use unicode_segmentation::UnicodeSegmentation;

use super::Effect;
use super::model::Model;
use super::theme::Part;
use crate::engine::Level;
use crate::engine::RunInfo;
use crate::rules::status::Role;
use crate::site::SiteId;

/// Sites that are known to be bad.
mod acknowledge;
/// A line of text that is typed.
mod line;
/// The address of a site that is to be added.
mod add;
/// Runs on record.
mod history;
/// A few answers to one question.
mod choice;
/// What of a site goes to the clipboard.
mod copy;
/// All that is known of a site.
mod detail;
/// A list of which one is chosen.
mod menu;
/// How a page is scrolled.
mod scroll;
/// What of the table of actions can be done in a dialog.
mod offered;
/// Text that hangs behind its head.
mod hanging;
/// What a push would meet, site by site.
mod preflight;
/// The sites that are owed a key.
mod owed;
/// All messages.
mod messages;
/// All keys.
mod help;
/// Actions by name.
mod palette;
/// The plan of a push, and the phrase that confirms it.
mod plan;
/// A config that is wrong.
mod wrong;

pub use acknowledge::Acknowledge;
pub use add::AddSite;
pub use choice::{Choice, OLD_RUN, again};
pub use copy::Copying;
pub use detail::Detail;
pub use help::{Help, HelpLine};
pub use history::History;
pub use menu::Menu;
pub use messages::Messages;
pub use owed::Owed;
pub use palette::{Entry, Palette};
pub use plan::PlanDialog;
pub use preflight::Preflight;
pub use wrong::{WrongConfig, wrong_lines};

/// What stands before the table and takes the keys.
#[derive(Debug)]
pub enum Dialog {
    /// A plan to be confirmed.
    Plan(Box<PlanDialog>),
    /// A question.
    Choice(Choice),
    /// All that is known of a site.
    Detail(Box<Detail>),
    /// What is copied?
    Copy(Copying),
    /// The sites that are owed a key.
    Owed(Owed),
    /// All messages.
    Messages(Messages),
    /// All keys.
    Help(Help),
    /// Actions by name.
    Palette(Box<Palette>),
    /// Runs on record.
    History(Box<History>),
    /// The address of a site that is to be added.
    AddSite(AddSite),
    /// Sites that are known to be bad.
    Acknowledge(Acknowledge),
    /// A config that was read again and is wrong.
    WrongConfig(WrongConfig),
    /// A list of which one is chosen.
    Menu(Menu),
    /// What a push would meet.
    Preflight(Box<Preflight>),
}

/// What can be done to one site or to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Plan a push.
    Push,
    /// Repeat what failed.
    Retry,
    /// Look at what they serve.
    Look,
    /// Plan to put back what they had.
    RollBack,
    /// Try what a push would meet.
    Check,
    /// Say that they are known to be bad.
    Acknowledge,
}

impl Deed {
    /// The word for what was done.
    pub fn done(self) -> &'static str {
        match self {
            Self::Push => "pushed",
            Self::Retry => "retried",
            Self::Look => "verified",
            Self::RollBack => "rolled back",
            Self::Check => "checked",
            Self::Acknowledge => "acknowledged",
        }
    }
}

impl Dialog {
    /// Whether what it says is not true any more, now that `run` is what is told of it: a pause that is over, a run left
    /// unfinished that somebody takes up, a plan beside which another run begins.
    pub fn is_outlived_by(&self, model: &Model, run: &RunInfo) -> bool {
        let known = model.run.as_ref();
        match self {
            Self::Choice(choice) if choice.is_about_a_pause() => {
                !run.phase.is_held() && known.is_some_and(|known| known.phase != run.phase)
            }
            Self::Choice(choice) => choice.is_about_left(run.id),
            Self::Plan(plan) => {
                plan.sends() && run.phase.is_sending() && known.is_none_or(|known| known.id != run.id)
            }
            _ => false,
        }
    }

    /// Which it is, as told apart from any other that may take its place.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plan(_) => "plan",
            Self::Choice(choice) => choice.title(),
            Self::Detail(_) => "detail",
            Self::Copy(_) => "copy",
            Self::Owed(_) => "owed",
            Self::Messages(_) => "messages",
            Self::Help(_) => "help",
            Self::Palette(_) => "palette",
            Self::History(_) => "history",
            Self::Menu(_) => "menu",
            Self::Preflight(_) => "preflight",
            Self::AddSite(_) => "add a site",
            Self::Acknowledge(_) => "acknowledge",
            Self::WrongConfig(_) => "wrong config",
        }
    }

    /// Whether it takes words, so that each letter is text.
    pub fn takes_text(&self) -> bool {
        match self {
            Self::Plan(plan) => plan.asks_for_words(),
            Self::History(history) => history.takes_text(),
            Self::AddSite(_) | Self::Acknowledge(_) | Self::Palette(_) => true,
            Self::Choice(_)
            | Self::Detail(_)
            | Self::Copy(_)
            | Self::Owed(_)
            | Self::Messages(_)
            | Self::Help(_)
            | Self::Menu(_)
            | Self::Preflight(_)
            | Self::WrongConfig(_) => false,
        }
    }
}

impl Dialog {
    /// What the footer says of its keys.
    pub fn keys(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::AddSite(_) => &[("Enter", "adds it"), ("^U", "wipes it"), ("Esc", "closes")],
            Self::Acknowledge(_) => &[
                ("Enter", "goes on"),
                ("Tab", "the other field"),
                ("Esc", "closes"),
            ],
            _ => &[("Esc", "closes")],
        }
    }
}

/// What a key press in a dialog came to.
#[derive(Debug)]
pub enum Pressed {
    /// The dialog stays.
    Stays,
    /// It stays, and this is to be done.
    StaysAnd(Vec<Effect>),
    /// It closes, and this is to be done.
    Closes(Vec<Effect>),
    /// It stays, and this is done to this site.
    Orders(Deed, SiteId),
    /// It closes, and this is done to these sites.
    Does(Deed, Vec<SiteId>),
    /// Another one takes its place.
    Becomes(Box<Dialog>),
    /// It closes, and the action of this name is done as if its key had been pressed.
    Runs(&'static str),
}

/// Gives a key press to a dialog.
pub fn press(dialog: &mut Dialog, model: &mut Model, press: KeyEvent) -> Pressed {
    match dialog {
        Dialog::Plan(dialog) => dialog.press(model, press),
        Dialog::Choice(dialog) => dialog.press(model, press),
        Dialog::Detail(dialog) => dialog.press(model, press),
        Dialog::Copy(dialog) => dialog.press(model, press),
        Dialog::Owed(dialog) => dialog.press(model, press),
        Dialog::Messages(dialog) => dialog.press(model, press),
        Dialog::Help(dialog) => dialog.press(model, press),
        Dialog::Palette(dialog) => dialog.press(model, press),
        Dialog::History(dialog) => dialog.press(model, press),
        Dialog::AddSite(dialog) => dialog.press(model, press),
        Dialog::Acknowledge(dialog) => dialog.press(model, press),
        Dialog::WrongConfig(_) => WrongConfig::press(model, press),
        Dialog::Menu(dialog) => dialog.press(model, press),
        Dialog::Preflight(dialog) => dialog.press(model, press),
    }
}

/// Draws a dialog before what is behind it.
pub fn draw(dialog: &Dialog, model: &Model, frame: &mut Frame) {
    match dialog {
        Dialog::Plan(dialog) => plan::draw(dialog, model, frame),
        Dialog::Choice(dialog) => dialog.draw(model, frame),
        Dialog::Detail(dialog) => dialog.draw(model, frame),
        Dialog::Copy(dialog) => dialog.draw(model, frame),
        Dialog::Owed(dialog) => dialog.draw(model, frame),
        Dialog::Messages(dialog) => dialog.draw(model, frame),
        Dialog::Help(dialog) => dialog.draw(model, frame),
        Dialog::Palette(dialog) => dialog.draw(model, frame),
        Dialog::History(dialog) => dialog.draw(model, frame),
        Dialog::AddSite(dialog) => dialog.draw(model, frame),
        Dialog::Acknowledge(dialog) => dialog.draw(model, frame),
        Dialog::WrongConfig(dialog) => dialog.draw(model, frame),
        Dialog::Menu(dialog) => dialog.draw(model, frame),
        Dialog::Preflight(dialog) => dialog.draw(model, frame),
    }
}

fn box_width(model: &Model) -> u16 {
    let columns = model.size.0;
    columns.saturating_sub(6).clamp(20, 92).min(columns)
}

/// The columns of a line in a box.
fn inner_width(model: &Model) -> usize {
    usize::from(box_width(model).saturating_sub(4))
}

/// The size that a box with `text` has on this screen, its borders included.
fn box_size(model: &Model, text: &Paragraph<'_>) -> (u16, u16) {
    let (_, rows) = model.size;
    let width = box_width(model);
    let height = u16::try_from(text.line_count(width.saturating_sub(4)))
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let most = rows.saturating_sub(2).max(3);
    (width, height.clamp(3, most).min(rows))
}

/// How far text in a box can be scrolled: until its last line is seen.
fn last_scroll(model: &Model, lines: Vec<Line<'static>>) -> usize {
    let text = wrapped(lines);
    let (width, height) = box_size(model, &text);
    let all = text.line_count(width.saturating_sub(4));
    all.saturating_sub(usize::from(height.saturating_sub(2)))
}

fn wrapped(lines: Vec<Line<'static>>) -> Paragraph<'static> {
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

/// Rows of which one is under the cursor: as many as there is room for, each on one line.
fn listing(model: &Model, rows: Vec<String>, cursor: usize, room: usize) -> Vec<Line<'static>> {
    let columns = inner_width(model);
    let first = cursor.saturating_sub(room.saturating_sub(1));
    let more = rows.len().saturating_sub(first + room);
    let draw = |(index, row): (usize, String)| {
        let part = if index == cursor { Part::Cursor } else { Part::Text };
        Line::styled(model.fit(&row, columns), model.options.theme.style(part))
    };
    let shown = rows.into_iter().enumerate().skip(first).take(room);
    let mut lines: Vec<Line<'static>> = shown.map(draw).collect();
    if more > 0 {
        let label = model.options.theme.style(Part::Label);
        lines.push(Line::styled(format!("{more} more below"), label));
    }
    lines
}

/// Columns and rows that the largest box has inside.
fn inside(model: &Model) -> (u16, usize) {
    let (width, _) = box_size(model, &wrapped(Vec::new()));
    let rows = usize::from(model.size.1.saturating_sub(2).max(3));
    (width.saturating_sub(4), rows - 2)
}

/// Draws a box in the middle with `lines` in it, as high as they need.
fn draw_box(model: &Model, frame: &mut Frame, title: &str, lines: Vec<Line<'static>>, scroll: usize) {
    let text = wrapped(lines);
    let (_, height) = box_size(model, &text);
    let inside = open_box(model, frame, title, usize::from(height.saturating_sub(2)));
    let scroll = u16::try_from(scroll).unwrap_or(u16::MAX);
    frame.render_widget(text.scroll((scroll, 0)), inside);
}

/// Draws an empty box in the middle, with so many rows inside as far as the screen has them; where these are.
fn open_box(model: &Model, frame: &mut Frame, title: &str, rows: usize) -> Rect {
    let (width, _) = box_size(model, &wrapped(Vec::new()));
    let most = usize::from(model.size.1.saturating_sub(2).max(3)).min(model.size.1.into());
    let height = u16::try_from((rows + 2).clamp(3, most.max(3))).unwrap_or(u16::MAX);
    let [row] = Layout::vertical([Constraint::Length(height)])
        .flex(Flex::Center)
        .areas(frame.area());
    let [space] = Layout::horizontal([Constraint::Length(width)])
        .flex(Flex::Center)
        .areas(row);
    let inside = frame_at(model, frame, title, space);
    tell(model, frame, space);
    inside
}

/// What is said while a box hides the line of messages is said in its lower border.
fn tell(model: &Model, frame: &mut Frame, space: Rect) {
    let Some(said) = model.line.as_ref().filter(|line| line.at >= model.behind_since) else {
        return;
    };
    if !(space.top()..space.bottom()).contains(&model.message_row()) {
        return;
    }
    let room = usize::from(space.width).saturating_sub(6);
    let text = in_clusters(&format!(" {} ", model.fit(&said.text, room)));
    let border = Rect::new(
        space.x + 2,
        space.bottom().saturating_sub(1),
        space.width.saturating_sub(4),
        1,
    );
    let part = match said.level {
        Level::Info => Part::Dialog,
        Level::Warning => Part::Status(Role::Warning),
        Level::Error => Part::Status(Role::Bad),
    };
    let style = model.options.theme.style(part);
    frame.render_widget(text.style(style), border.intersection(frame.area()));
}

/// Draws an empty box there; the room inside.
pub(super) fn frame_at(model: &Model, frame: &mut Frame, title: &str, space: Rect) -> Rect {
    let style = model.options.theme.style(Part::Dialog);
    let mut block = Block::bordered()
        .title(in_clusters(&format!(" {} ", model.text(title))))
        .border_style(style);
    if model.options.ascii {
        block = block.border_set(ASCII_BORDER);
    }
    let inside = block.inner(space).inner(Margin::new(1, 0));
    frame.render_widget(Clear, space);
    frame.render_widget(block, space);
    inside
}

/// A title is as wide as `unicode-width` says of its spans: less than is drawn, where letters have a ligature. A
/// cluster has none.
fn in_clusters(text: &str) -> Line<'static> {
    let clusters = text.graphemes(true);
    clusters.map(|cluster| Span::raw(cluster.to_owned())).collect()
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
