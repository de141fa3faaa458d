use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::Strip;
use crate::key::{KeyMode, PublishableKey};
use crate::rules::status::Role;
use crate::text::{Count, width};
use crate::tui::model::Model;
use crate::tui::screen::Screen;
use crate::tui::theme::Part;

/// Where the content of the lines below the header begins, in columns.
const LABEL: usize = 10;

/// ` stripe-propagate  ops@bastion  shops.toml  240 sites          run 12  LIVE pk_live_…AbCd  sending`
pub(super) fn header(model: &Model, frame: &mut Frame, area: Rect) {
    let mut strip = Strip::new(model, area.width);
    let right = run_words(model);
    let room = right
        .iter()
        .map(|(text, _)| width(&model.text(text)))
        .sum::<usize>()
        + 1;
    let mut sites = if model.filter.is_empty() {
        Count(model.sites.len(), "site").to_string()
    } else {
        format!("{} sites", model.visible_in_words())
    };
    if model.list.marks() > 0 {
        sites = format!("{sites}, {}", model.marks_in_words(model.list.marks()));
    }
    strip.push(" stripe-propagate", Part::Header);
    // What matters most stands at the right and is never cut off by names.
    let sites = format!("  {sites}");
    let free = strip.left.saturating_sub(room + 1 + width(&sites));
    let names = format!("  {}  {}", model.operator, model.config);
    strip.push(&model.fit(&names, free), Part::Text);
    strip.push(&sites, Part::Text);
    strip.pad_to(room);
    for (text, part) in right {
        strip.push(&text, part);
    }
    strip.draw(frame, area);
}

fn run_words(model: &Model) -> Vec<(String, Part)> {
    let Some(run) = &model.run else {
        let watches = if model.options.read_only { "watches  " } else { "" };
        let text = match model.left.last() {
            Some(left) => format!("{watches}run {} unfinished", left.id.0),
            None => format!("{watches}no run goes on"),
        };
        return vec![(text, Part::Label)];
    };
    let mode = match run.key.mode() {
        KeyMode::Live => ("LIVE ".to_owned(), Part::Live),
        KeyMode::Test => ("TEST ".to_owned(), Part::Label),
    };
    let whose = match (&model.attached, model.options.read_only) {
        (_, true) => "watches  ",
        (Some(_), false) => "attached  ",
        (None, false) => "",
    };
    vec![
        (whose.to_owned(), Part::Label),
        (format!("run {}  ", run.id.0), Part::Text),
        mode,
        (format!("{}  ", model.mask(&run.key)), Part::Header),
        (run.phase.word().to_owned(), Part::Text),
    ]
}

/// ` serving  pk_live_…AbCd 231 ██████████████░  pk_test_…0000 1 TEST   do not expire …9zQe yet: until 14:07`
pub(super) fn serving(model: &Model, frame: &mut Frame, area: Rect) {
    let mut strip = Strip::new(model, area.width);
    strip.push(&format!("{:<LABEL$}", " serving"), Part::Label);
    let served = model.tally.serves();
    let mixed = served.iter().any(|(key, _)| key.mode() == KeyMode::Live)
        && served.iter().any(|(key, _)| key.mode() == KeyMode::Test);
    let secrets = model.tally.serves_secret();
    if secrets > 0 {
        strip.push(&format!("A SECRET KEY {secrets}"), Part::Status(Role::Alarm));
        strip.push("  ", Part::Text);
    }
    if served.is_empty() {
        strip.push("no key seen yet  ", Part::Label);
    }
    // The answer to "may the old key expire?" goes before the rarer keys, on a narrow screen before all.
    let first = if area_is_wide(model) { 2 } else { 0 };
    let mut places = served.iter().enumerate();
    for (place, (key, count)) in places.by_ref().take(first) {
        serves(model, &mut strip, key, *count, place == 0, mixed);
    }
    may_expire(model, &mut strip);
    for (place, (key, count)) in places {
        serves(model, &mut strip, key, *count, place == 0, mixed);
    }
    for (count, what) in [
        (model.tally.serves_none(), "no key"),
        (model.tally.unseen(), "not seen"),
    ] {
        if count > 0 {
            strip.push(&format!("{what} {count}  "), Part::Label);
        }
    }
    strip.draw(frame, area);
}

/// Whether the old keys may expire: with its reasons if there is room for all of them.
fn may_expire(model: &Model, strip: &mut Strip) {
    let Some(expiry) = model.expiry() else { return };
    let role = if expiry.is_safe() {
        Role::Good
    } else {
        Role::Warning
    };
    let whole = model.expiry_sentence(&expiry);
    let sentence = if width(&whole) <= strip.left {
        whole
    } else {
        expiry.short_sentence(&|key| model.tail(key))
    };
    strip.push(&format!("{sentence}  "), Part::Status(role));
}

fn serves(model: &Model, strip: &mut Strip, key: &PublishableKey, count: usize, first: bool, mixed: bool) {
    /// The bar of the key that most sites serve, in columns.
    const BAR: usize = 10;

    let expected = model.run.as_ref().is_some_and(|run| run.key == *key);
    strip.push(&model.mask(key), if expected { Part::Header } else { Part::Text });
    strip.push(&format!(" {count}"), Part::Text);
    if mixed {
        let part = if key.mode() == KeyMode::Live {
            Part::Live
        } else {
            Part::Label
        };
        strip.push(&format!(" {}", key.mode().word().to_uppercase()), part);
    }
    if first && area_is_wide(model) {
        let filled = (count * BAR).div_ceil(model.sites.len().max(1)).min(BAR);
        strip.push(" ", Part::Text);
        bar(model, strip, filled, BAR);
    }
    strip.push("  ", Part::Text);
}

fn area_is_wide(model: &Model) -> bool {
    model.size.0 >= crate::tui::columns::WIDE
}

/// A bar of `columns`, of which `filled` are full.
pub(super) fn bar(model: &Model, strip: &mut Strip, filled: usize, columns: usize) {
    strip.push(&model.glyph("█", "#").repeat(filled), Part::Status(Role::Good));
    strip.push(&model.glyph("░", ".").repeat(columns - filled), Part::Rule);
}

/// ` key      ••••••••••••••••••••••••••••••••••••AbCd   ✓ live publishable key, 107 characters`
pub(super) fn key(screen: &Screen, frame: &mut Frame, area: Rect) {
    let model = &screen.model;
    let mut strip = Strip::new(model, area.width);
    let field = &model.field;
    let part = if field.is_editing() {
        Part::Key
    } else {
        Part::Label
    };
    strip.push(&format!("{:<LABEL$}", " key"), part);
    let room = usize::from(area.width).saturating_sub(LABEL + 4);
    let shown = field.shown(model.glyph("•", "*"), room);
    let cursor = LABEL + field.cursor_column().min(width(&shown));
    strip.push(&shown, Part::Text);
    if !shown.is_empty() || field.is_editing() {
        strip.push("  ", Part::Text);
    }
    let (verdict, part) = verdict(model);
    // A key that is to be compared has the whole line.
    if !field.is_shown() || field.key().is_none() {
        strip.push(&verdict, part);
    }
    strip.draw(frame, area);
    if field.is_editing() && screen.dialog.is_none() {
        let column = area.x
            + u16::try_from(cursor)
                .unwrap_or(u16::MAX)
                .min(area.width.saturating_sub(1));
        frame.set_cursor_position(Position::new(column, area.y));
    }
}

fn verdict(model: &Model) -> (String, Part) {
    match model.field.verdict() {
        None if model.field.is_editing() => (
            "paste or type a publishable key: pk_live_… or pk_test_…".to_owned(),
            Part::Label,
        ),
        None => ("none: e takes it".to_owned(), Part::Label),
        Some(Ok(key)) => {
            let mode = key.mode().word();
            let length = key.length();
            if let Some(odd) = key.odd_length() {
                let text = format!("? {mode} publishable key, {odd}");
                return (text, Part::Status(Role::Warning));
            }
            let part = if key.mode() == KeyMode::Live {
                Part::Live
            } else {
                Part::Status(Role::Good)
            };
            (format!("✓ {mode} publishable key, {length} characters"), part)
        }
        Some(Err(refusal)) => {
            let role = if refusal.is_secret() {
                Role::Alarm
            } else {
                Role::Bad
            };
            (format!("✗ {refusal}"), Part::Status(role))
        }
    }
}
