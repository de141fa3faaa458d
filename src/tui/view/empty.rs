use ratatui::Frame;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Wrap};

use crate::tui::model::Model;
use crate::tui::setup::shown;
use crate::tui::theme::Part;

/// Says where sites were looked for and what to do next.
pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect) {
    let mut lines = vec![Line::raw("")];
    lines.extend(what_there_is(model));
    lines.push(Line::raw(""));
    lines.extend(what_to_press(model));
    lines.push(Line::raw(""));
    lines.extend(what_it_needs(model));
    let text = Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false });
    frame.render_widget(text, area.inner(Margin::new(3, 0)));
}

fn what_there_is(model: &Model) -> Vec<Line<'static>> {
    let path = |path: &str| {
        let label = model.options.theme.style(Part::Label);
        Line::styled(model.text(&format!("  {path}")), label)
    };
    if let Some(file) = &model.setup.file {
        return vec![
            Line::raw("There is a config, and it lists no sites:"),
            path(&shown(file)),
        ];
    }
    if let Some(example) = &model.setup.example {
        let reload = model.key_of("reload");
        let text = format!("A commented config is written. Put your sites' addresses in it, then {reload}:");
        return vec![Line::raw(text), path(&shown(example))];
    }
    let mut lines = vec![Line::raw("There is no config yet. Looked for:")];
    lines.extend(model.searched.iter().map(|searched| path(&shown(searched))));
    lines
}

/// The keys of a beginning, each with what it does.
fn what_to_press(model: &Model) -> Vec<Line<'static>> {
    let line = |action: &str, text: &str| {
        let key = Span::styled(
            format!("  {:<3} ", model.key_of(action)),
            model.options.theme.style(Part::Key),
        );
        Line::from(vec![key, Span::raw(model.text(text))])
    };
    let mut lines = Vec::new();
    let is_bare = model.setup.file.is_none() && model.setup.example.is_none();
    if is_bare && !model.options.read_only {
        lines.push(line(
            "write a config",
            "write a commented config, for you alone to read, and begin with it",
        ));
    }
    lines.push(line("add a site", "add a site by its address, for this session"));
    lines.push(line(
        "demo",
        "try it first, on shops inside this machine that fail in every way",
    ));
    lines.push(line("reload", "read the config again"));
    lines
}

fn what_it_needs(model: &Model) -> Vec<Line<'static>> {
    let code = |text: &'static str| Line::styled(text, model.options.theme.style(Part::Key));
    vec![
        Line::raw("A config needs this for each site, and can also be named with --config:"),
        Line::raw(""),
        code("  [[sites]]"),
        code("  url = \"https://shop.example.com\""),
        Line::raw(""),
        Line::raw("and, to push, a master key: $TEMPLATE_MASTER_API_KEY or [master_key]."),
    ]
}
