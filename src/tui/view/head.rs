use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::Strip;
use crate::key::{KeyMode, PublishableKey};
use crate::rules::crew::Crew;
use crate::rules::expiry::Expiry;
use crate::rules::status::Role;
use crate::text::{Count, width};
use crate::tui::model::Model;
use crate::tui::screen::Screen;
use crate::tui::theme::Part;

/// Where the content of the lines below the header begins, in columns.
const LABEL: usize = 10;
/// What the key needs at least, in columns: some dots, and its last characters.
const KEY_ROOM: usize = 8;

/// ` stripe-propagate  ops@bastion  shops.toml  240 sites          run 12  LIVE pk_live_…AbCd  sending`
pub(super) fn header(model: &Model, frame: &mut Frame, area: Rect) {
    let mut strip = Strip::new(model, area.width);
    let right = right_words(model);
    let room: usize = right.iter().map(|(text, _)| width(&model.text(text))).sum();
    // What matters most stands at the right and is never cut off by names. A blank ends the line.
    let left = strip.left.saturating_sub(room + 1);
    let (name, rest) = left_words(model, left.saturating_sub(2));
    strip.push(&name, Part::Header);
    strip.push(&rest, Part::Text);
    strip.pad_to(room + 1);
    for (text, part) in right {
        strip.push(&text, part);
    }
    strip.draw(frame, area);
}

/// The program's name, and who, where and how many sites, in at most `room` columns: what has none goes, the operator
/// first.
fn left_words(model: &Model, room: usize) -> (String, String) {
    let name = " stripe-propagate";
    let (shown, marks) = (model.visible_in_words(), model.list.marks());
    let sites = if model.filter.is_empty() {
        Count(model.sites.len(), "site").to_string()
    } else {
        format!("{shown} sites")
    };
    let marked = match marks {
        0 => String::new(),
        marks => format!(", {}", model.marks_in_words(marks)),
    };
    let few = match marks {
        0 => String::new(),
        marks => format!(", {marks} marked"),
    };
    let (operator, config) = (&model.operator, &model.config);
    // That there is none stands at the right.
    let crew = model.crew.as_ref().filter(|crew| !crew.is_empty());
    let crew = crew
        .map(|crew| format!("  {}", crew.in_short()))
        .unwrap_or_default();
    let ways = [
        (name, format!("  {operator}  {config}  {sites}{marked}{crew}")),
        (name, format!("  {config}  {sites}{marked}{crew}")),
        (name, format!("  {sites}{marked}{crew}")),
        (name, format!("  {sites}{marked}")),
        (name, format!("  {sites}{few}")),
        (name, format!("  {shown}{few}")),
        ("", format!(" {sites}{few}")),
        ("", format!(" {shown}{few}")),
    ];
    let fitting = ways
        .iter()
        .find(|(name, rest)| width(name) + width(&model.text(rest)) <= room);
    let (name, rest) = fitting.unwrap_or(&ways[ways.len() - 1]);
    (
        (*name).to_owned(),
        model.fit(rest, room.saturating_sub(width(name))),
    )
}

/// What stands at the right: that the store is away, which runs of others go on, and the run of this screen.
fn right_words(model: &Model) -> Vec<(String, Part)> {
    /// Columns that stay for what stands at the left, and for the run.
    const BESIDE: usize = 70;

    let mut words = Vec::new();
    if model.others.store_is_away {
        words.push(("NO STORE  ".to_owned(), Part::Status(Role::Bad)));
    }
    if model.crew.as_ref().is_some_and(Crew::is_empty) {
        words.push(("NO WORKER  ".to_owned(), Part::Status(Role::Warning)));
    }
    let room = usize::from(model.size.0).saturating_sub(BESIDE);
    if let Some(others) = model.others_in_words(room) {
        words.push((format!("{others}  "), Part::Status(Role::Busy)));
    }
    words.extend(run_words(model));
    words
}

fn run_words(model: &Model) -> Vec<(String, Part)> {
    let Some(run) = &model.run else {
        let watches = if model.options.read_only { "watches  " } else { "" };
        let text = match model.left.last() {
            Some(left) => format!("{watches}run {} unfinished", left.id.0),
            // That of others stands before it.
            None if model.has_others() => watches.trim_end().to_owned(),
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
        match run.halt.filter(|halt| halt.is_bad()) {
            Some(halt) => {
                let text = format!("{}: {}", run.phase.word(), halt.word());
                (text, Part::Status(Role::Bad))
            }
            None => (run.phase.word().to_owned(), Part::Text),
        },
    ]
}

/// ` serving  pk_live_…AbCd 231 ██████████████░  do not expire …9zQe yet: until 14:07  pk_test_…0000 1 TEST`
pub(super) fn serving(model: &Model, frame: &mut Frame, area: Rect) {
    let mut strip = Strip::new(model, area.width);
    strip.push(&format!("{:<LABEL$}", " serving"), Part::Label);
    let served = first_the_runs(model);
    let secrets = model.tally.serves_secret();
    if secrets > 0 {
        strip.push(&format!("A SECRET KEY {secrets}"), Part::Status(Role::Alarm));
        strip.push("  ", Part::Text);
    }
    let is_mixed = call_out_mixed(&served, &mut strip);
    if served.is_empty() {
        strip.push("no key seen yet  ", Part::Label);
    }
    // How many serve the run's key, then the answer to "may the old key expire?", go before the other keys.
    let expiry = model.expiry();
    let mut rest = Vec::new();
    for (place, (key, count)) in served.iter().enumerate() {
        let bar = place == 0 && area_is_wide(model);
        let parts = serves(model, key, *count, bar, is_mixed);
        let answer = expiry.as_ref().filter(|_| place == 0);
        let answer = answer.map_or(0, |expiry| width(&short_answer(model, expiry)));
        if place > 0 {
            rest.push(parts);
        } else if columns(&parts) + answer <= strip.left {
            push_all(&mut strip, parts);
        } else {
            strip.push(&model.tail(key), Part::Header);
            strip.push(&format!(" {count}  "), Part::Text);
        }
    }
    if let Some(expiry) = expiry {
        may_expire(model, &expiry, &mut strip);
    }
    for (count, what) in [
        (model.tally.serves_none(), "no key"),
        (model.tally.unseen(), "not seen"),
    ] {
        if count > 0 {
            rest.push(vec![(format!("{what} {count}  "), Part::Label)]);
        }
    }
    as_many_as_fit(&mut strip, rest);
    strip.draw(frame, area);
}

/// The keys that sites serve, each with how many: the run's first, also where none serves it yet, then the most served.
fn first_the_runs(model: &Model) -> Vec<(&PublishableKey, usize)> {
    let mut served = model.tally.serves();
    let Some(run) = &model.run else {
        return served;
    };
    let place = served.iter().position(|(key, _)| **key == run.key);
    let of_run = place.map_or((&run.key, 0), |place| served.remove(place));
    served.insert(0, of_run);
    served
}

/// Draws of these what has room, none of them cut, and how many more there are.
fn as_many_as_fit(strip: &mut Strip, all: Vec<Parts>) {
    let count = all.len();
    for (place, parts) in all.into_iter().enumerate() {
        let left = count - place;
        let more = format!("+{left} more");
        // The blanks at its end need no room there, and the last one leaves no more.
        let behind = if left > 1 { 2 + width(&more) } else { 0 };
        if columns(&parts).saturating_sub(2) + behind > strip.left {
            if width(&more) <= strip.left {
                strip.push(&more, Part::Label);
            }
            return;
        }
        push_all(strip, parts);
    }
}

/// Says how many sites serve live keys and how many test keys, if there are both. Whether there are.
fn call_out_mixed(served: &[(&PublishableKey, usize)], strip: &mut Strip) -> bool {
    let of_mode = |mode| -> usize {
        let keys = served.iter().filter(|(key, _)| key.mode() == mode);
        keys.map(|(_, count)| count).sum()
    };
    let (live, test) = (of_mode(KeyMode::Live), of_mode(KeyMode::Test));
    let is_mixed = live > 0 && test > 0;
    if is_mixed {
        let called_out = format!("MIXED: {live} live, {test} test");
        strip.push(&called_out, Part::Status(Role::Warning));
        strip.push("  ", Part::Text);
    }
    is_mixed
}

/// Whether the old keys may expire: with its reasons if there is room for all of them.
fn may_expire(model: &Model, expiry: &Expiry, strip: &mut Strip) {
    let role = if expiry.is_safe() {
        Role::Good
    } else {
        Role::Warning
    };
    let ways = [
        model.expiry_sentence(expiry),
        short_answer(model, expiry),
        expiry.shortest_sentence().to_owned(),
    ];
    let fitting = ways.iter().find(|sentence| width(sentence) <= strip.left);
    let sentence = fitting.unwrap_or(&ways[2]);
    strip.push(&format!("{sentence}  "), Part::Status(role));
}

fn short_answer(model: &Model, expiry: &Expiry) -> String {
    expiry.short_sentence(&|key| model.tail(key))
}

type Parts = Vec<(String, Part)>;

fn columns(parts: &Parts) -> usize {
    parts.iter().map(|(text, _)| width(text)).sum()
}

fn push_all(strip: &mut Strip, parts: Parts) {
    for (text, part) in parts {
        strip.push(&text, part);
    }
}

/// A key and how many sites serve it. Its mode stands in its mask; among live ones a test key is called out.
fn serves(model: &Model, key: &PublishableKey, count: usize, has_bar: bool, is_mixed: bool) -> Parts {
    /// The bar of the key that most sites serve, in columns.
    const BAR: usize = 10;

    let expected = model.run.as_ref().is_some_and(|run| run.key == *key);
    let name = if expected { Part::Header } else { Part::Text };
    let mut parts = vec![(model.mask(key), name), (format!(" {count}"), Part::Text)];
    if is_mixed && key.mode() == KeyMode::Test {
        parts.push((" TEST".to_owned(), Part::Label));
    }
    if has_bar {
        let filled = (count * BAR).div_ceil(model.sites.len().max(1)).min(BAR);
        parts.push((" ".to_owned(), Part::Text));
        parts.extend(bar_parts(model, filled, BAR));
    }
    parts.push(("  ".to_owned(), Part::Text));
    parts
}

fn area_is_wide(model: &Model) -> bool {
    model.size.0 >= crate::tui::columns::WIDE
}

/// A bar of `columns`, of which `filled` are full.
pub(super) fn bar(model: &Model, strip: &mut Strip, filled: usize, columns: usize) {
    push_all(strip, bar_parts(model, filled, columns).into());
}

fn bar_parts(model: &Model, filled: usize, columns: usize) -> [(String, Part); 2] {
    [
        (model.glyph("█", "#").repeat(filled), Part::Status(Role::Good)),
        (model.glyph("░", ".").repeat(columns - filled), Part::Rule),
    ]
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
    // A key of today has 107 characters: where it is to be read, all of them fit into 120 columns.
    let margin = if field.is_shown() { 1 } else { 4 };
    let (verdict, part) = verdict(model);
    let said = said(model).filter(|_| !field.is_shown());
    let all = usize::from(area.width).saturating_sub(LABEL + margin);
    let verdict = model.text(&verdict);
    let (verdict, room) = said
        .as_ref()
        .map_or((&*verdict, all), |said| said.beside(&verdict, all));
    let shown = field.shown(model.glyph("•", "*"), room);
    let cursor = LABEL + field.cursor_column().min(width(&shown));
    strip.push(&shown, Part::Text);
    if !shown.is_empty() || field.is_editing() {
        strip.push("  ", Part::Text);
    }
    // A key that is to be compared has the whole line.
    if !field.is_shown() || field.key().is_none() {
        push_verdicts(&mut strip, (verdict, part), said);
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

/// What Stripe says of the key in the field.
struct Said {
    text: String,
    part: Part,
}

impl Said {
    /// What of the other verdict stands before it, and the dots that have room before both, of `all`: they make way, then
    /// the other verdict does, for this one must be read.
    fn beside<'a>(&self, verdict: &'a str, all: usize) -> (&'a str, usize) {
        let without = all.saturating_sub(width(&self.text) + 2);
        let in_short = verdict.split(',').next().unwrap_or_default();
        for verdict in [verdict, in_short] {
            let room = without.saturating_sub(width(verdict) + 2);
            if room >= KEY_ROOM {
                return (verdict, room);
            }
        }
        ("", without.max(KEY_ROOM).min(all))
    }
}

fn said(model: &Model) -> Option<Said> {
    let key = model.field.entered()?;
    let (text, role) = match model.stripe.asked(&key)? {
        Ok(standing) if standing.is_dead() => (standing.verdict().to_owned(), Role::Bad),
        Ok(standing) => (standing.verdict().to_owned(), Role::Good),
        // Why not stands in the messages, and in the plan.
        Err(_) => ("Stripe could not be asked".to_owned(), Role::Warning),
    };
    Some(Said {
        text: model.text(&text),
        part: Part::Status(role),
    })
}

/// What is said of the key: what it looks like, and what Stripe says.
fn push_verdicts(strip: &mut Strip, (verdict, part): (&str, Part), said: Option<Said>) {
    strip.push(verdict, part);
    if let Some(said) = said {
        if !verdict.is_empty() {
            strip.push("  ", Part::Text);
        }
        strip.push(&said.text, said.part);
    }
}

fn verdict(model: &Model) -> (String, Part) {
    match model.field.verdict() {
        None if model.field.is_editing() => (
            "paste or type a publishable key: pk_live_… or pk_test_…".to_owned(),
            Part::Label,
        ),
        None if model.options.read_only => (
            format!("none: {} takes one for a dry run", model.key_of("edit key")),
            Part::Label,
        ),
        None => (
            format!("none: {} takes it", model.key_of("edit key")),
            Part::Label,
        ),
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
