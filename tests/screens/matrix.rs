//! Every screen and dialog, at each size, in Unicode and in ASCII, in colours and without. A file a screen: first
//! the four pictures, then what of them is styled, in colours and without.

use std::collections::{BTreeMap, BTreeSet};

use crossterm::event::KeyCode;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Color;
use stripe_propagate::engine::Event;
use stripe_propagate::rules::crew::Crew;
use stripe_propagate::rules::run::{RunId, RunPhase};
use stripe_propagate::text;
use stripe_propagate::tui::dialogs::Dialog;
use stripe_propagate::tui::theme::Theme;
use stripe_propagate::tui::{Message, OthersRun};

use super::stories::{amid_a_run, holder, many, others, run, with_latencies};
use super::trial::{Display, NAMES, SIZES, Trial, key, new_key, style_name};
use super::{
    detail, dialogs, find, history, keys, known_bad, live, preflight, questions, setup, steering, stripe,
};

/// The style of plain text, in colours and without.
const PLAIN: &str = "-/-";

/// How one comes to a screen.
type Story = fn(Display) -> Trial;

fn after(mut screen: Trial, keys: &str) -> Trial {
    screen.types(keys);
    screen
}

fn crew(machines: &[&str]) -> Crew {
    Crew::of(machines.iter().map(|machine| text::CleanText::note(machine)))
}

fn fresh(display: Display) -> Trial {
    Trial::new(&NAMES, display, |_| {})
}

/// Every screen and dialog.
const SCREENS: &[(&str, Story)] = &[
    ("start", fresh),
    ("run", |display| amid_a_run(display)),
    ("latencies", |display| with_latencies(display)),
    ("halted", |display| {
        let mut screen = amid_a_run(display);
        screen.tell(Message::Engine(Event::Run(run(RunPhase::Halted))));
        screen
    }),
    ("attached", |display| {
        let mut screen = amid_a_run(display);
        screen.tell(Message::Attached(Some(holder())));
        screen
    }),
    ("others", |display| {
        let mut screen = amid_a_run(display);
        screen.tell(Message::Others(vec![others()]));
        screen.tell(Message::Engine(Event::Store {
            reached: false,
            note: "waits for the store: nothing is sent until it is back (it does not answer)".to_owned(),
        }));
        screen
    }),
    ("others_two", |display| {
        let mut screen = fresh(display);
        let waits = OthersRun {
            run: RunId(6),
            sends: false,
            ..others()
        };
        screen.tell(Message::Others(vec![waits, others()]));
        screen
    }),
    ("workers", |display| {
        let mut screen = amid_a_run(display);
        screen.tell(Message::Crew(crew(&["shops-a", "shops-b", "shops-c"])));
        screen
    }),
    ("plan_workers", |display| {
        let mut screen = dialogs::plan(display);
        screen.tell(Message::Crew(crew(&["shops-a", "shops-b", "shops-b"])));
        screen
    }),
    ("plan_no_worker", |display| {
        let mut screen = dialogs::plan(display);
        screen.tell(Message::Crew(crew(&[])));
        screen
    }),
    ("others_detail", |display| {
        let mut screen = fresh(display);
        screen.tell(Message::Others(vec![others()]));
        screen.press(KeyCode::Enter);
        screen
    }),
    ("read_only", |display| {
        Trial::new(&NAMES, display, |start| start.options.read_only = true)
    }),
    ("empty", |display| {
        Trial::new(&[], display, |start| {
            start.searched = vec![
                "./config.toml".into(),
                "~/Réglages/stripe-propagate/config.toml".into(),
            ];
        })
    }),
    ("no_sites", |display| Trial::new(&[], display, |_| {})),
    ("wrong_config", setup::wrong_config),
    ("wrong_reload", setup::wrong_reload),
    ("add_site", setup::add_site),
    ("keep_site", setup::keep_site),
    ("too_small", |display| {
        amid_a_run(Display {
            size: (59, 14),
            ..display
        })
    }),
    ("key_field", |display| after(fresh(display), "e")),
    ("key_shown", |display| {
        let mut screen = after(fresh(display), "e");
        screen.types(new_key().as_str()).control('r');
        screen
    }),
    ("key_refused", |display| {
        after(fresh(display), "esk_live_51ThisMustNeverShow")
    }),
    ("key_dead", stripe::unknown),
    ("offered_keys", |display| keys::offered(display)),
    ("filter", |display| {
        after(amid_a_run(display), "/key:9zqe !push:stored")
    }),
    ("marks", |display| {
        let mut screen = after(amid_a_run(display), "  ");
        screen.types("sj").press(KeyCode::Enter);
        screen
    }),
    ("hidden_marks", find::hidden_marks),
    ("served", |display| {
        let mut screen = amid_a_run(display);
        screen.press(KeyCode::Tab);
        screen
    }),
    ("sort", |display| after(amid_a_run(display), "s")),
    ("plan", dialogs::plan),
    ("plan_wrong_word", |display| {
        let mut screen = dialogs::plan(display);
        screen.press(KeyCode::Enter);
        screen
    }),
    ("plan_dead", stripe::dead_plan),
    ("plan_many", dialogs::plan_of_many),
    ("plan_small", |display| {
        let start = |start: &mut stripe_propagate::tui::model::Start| start.key = Some(key("test", "New1"));
        after(Trial::new(&NAMES[..3], display, start), "P")
    }),
    ("dry_run", |display| after(many(display), "d")),
    ("rollback", history::rollback),
    ("held_back", questions::held_back_sites),
    ("cancelled", questions::cancelled_sites),
    ("watch", known_bad::watch),
    ("acknowledge", known_bad::asked),
    ("acknowledged", known_bad::acknowledged),
    ("acknowledged_changed", known_bad::changed),
    ("detail", |display| detail::detail(display)),
    ("detail_end", |display| after(detail::detail(display), "G")),
    ("copy", |display| {
        let mut screen = amid_a_run(display);
        screen.picture();
        after(screen, "jy")
    }),
    ("copy_in_the_detail", |display| {
        after(detail::detail(display), "y")
    }),
    ("preflight", preflight::midway),
    ("preflight_done", preflight::done),
    ("preflight_page", preflight::page),
    ("preflight_one", preflight::one),
    ("messages", dialogs::messages),
    ("meanwhile", |display| live::meanwhile(display)),
    ("owed", |display| after(amid_a_run(display), "o")),
    ("owed_none", |display| after(fresh(display), "o")),
    ("help", |display| after(amid_a_run(display), "?")),
    ("help_end", |display| after(amid_a_run(display), "?G")),
    ("palette", |display| after(amid_a_run(display), ":retry")),
    ("palette_all", |display| after(amid_a_run(display), ":")),
    ("history_being_read", history::being_read),
    ("history_none", history::none),
    ("history", history::list),
    ("history_run", history::open),
    ("history_failed", history::failed),
    ("history_attempts", history::attempts),
    ("export", history::export),
    ("export_replaces", history::replace),
    ("pause", questions::pause),
    ("quit", questions::quit),
    ("quit_paused", questions::quit_a_paused_run),
    ("quit_settling", questions::quit_before_the_proofs),
    ("quit_demo", |display| {
        steering::quits(display, RunPhase::Sending, true)
    }),
    ("watching", steering::watching),
    ("which_key", questions::which_key),
    ("unfinished", questions::unfinished),
    ("old_run", questions::old_run),
];

fn shown(story: Story, size: (u16, u16), ascii: bool, theme: Theme) -> Trial {
    story(Display { size, ascii, theme })
}

fn picture(story: Story, size: (u16, u16), ascii: bool) -> String {
    let picture = shown(story, size, ascii, Theme::DEFAULT).picture();
    picture.trim_end().to_owned()
}

fn buffer(story: Story, size: (u16, u16), ascii: bool, theme: Theme) -> Buffer {
    let mut screen = shown(story, size, ascii, theme);
    screen.terminal().backend().buffer().clone()
}

#[test]
fn each_screen_on_each_terminal() {
    for (name, story) in SCREENS {
        let mut parts = Vec::new();
        for ascii in [false, true] {
            for size in SIZES {
                parts.push(format!(
                    "== {}\n{}",
                    words(size, ascii),
                    picture(*story, size, ascii)
                ));
            }
        }
        for size in SIZES {
            let styles = styles(*story, size, false);
            parts.push(format!(
                "== {}: styles in colours / without\n{styles}",
                words(size, false)
            ));
        }
        insta::assert_snapshot!(*name, parts.join("\n\n"));
    }
}

fn words((columns, rows): (u16, u16), ascii: bool) -> String {
    format!("{columns}x{rows} {}", if ascii { "ASCII" } else { "Unicode" })
}

/// For each row, what stands in a style of its own: the text, then how it looks in colours and without.
fn styles(story: Story, size: (u16, u16), ascii: bool) -> String {
    let colours = buffer(story, size, ascii, Theme::DEFAULT);
    let without = buffer(story, size, ascii, Theme::MONOCHROME);
    let columns = usize::from(colours.area.width);
    let rows = colours
        .content
        .chunks(columns)
        .zip(without.content.chunks(columns));
    let line = |(row, (colours, without))| {
        // Pieces that look alike stand together, whatever plain text is between them.
        let mut alike: Vec<(String, String)> = Vec::new();
        for (text, style) in runs(colours, without) {
            let text = shortened(text.trim());
            match alike.last_mut() {
                _ if style == PLAIN || text.is_empty() => {}
                Some((texts, last)) if *last == style => texts.extend([" | ", &text]),
                _ => alike.push((text, style)),
            }
        }
        let alike: Vec<String> = alike
            .into_iter()
            .map(|(texts, style)| format!("{texts} <{style}>"))
            .collect();
        (!alike.is_empty()).then(|| format!("{row:>3} {}", alike.join("  ")))
    };
    let lines: Vec<String> = (1..).zip(rows).filter_map(line).collect();
    lines.join("\n")
}

/// The text of each run of cells that look alike, and how.
fn runs(colours: &[Cell], without: &[Cell]) -> Vec<(String, String)> {
    let mut runs: Vec<(String, String)> = Vec::new();
    let mut covered = 0;
    for (cell, plain) in colours.iter().zip(without) {
        if covered == 0 {
            let style = format!("{}/{}", style_name(cell.style()), style_name(plain.style()));
            match runs.last_mut() {
                Some((text, last)) if *last == style => text.push_str(cell.symbol()),
                _ => runs.push((cell.symbol().to_owned(), style)),
            }
            covered = text::width(cell.symbol());
        }
        covered = covered.saturating_sub(1);
    }
    runs
}

/// A character that is repeated many times is there once, with how often.
fn shortened(text: &str) -> String {
    const MANY: usize = 8;

    let mut short = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind = rest.trim_start_matches(first);
        let times = (rest.len() - behind.len()) / first.len_utf8();
        match times {
            4.. if first == ' ' => short.push_str("   "),
            MANY.. => short.extend([first.to_string(), format!("*{times}")]),
            _ => short.push_str(&rest[..rest.len() - behind.len()]),
        }
        rest = behind;
    }
    short
}

#[test]
fn in_ascii_each_picture_is_ascii() {
    for (name, story) in SCREENS {
        for size in SIZES {
            let picture = picture(*story, size, true);
            let foreign: BTreeSet<char> = picture.chars().filter(|letter| !letter.is_ascii()).collect();
            assert!(foreign.is_empty(), "{name}: {foreign:?} in\n{picture}");
        }
    }
}

#[test]
fn without_colours_no_cell_has_one_and_the_text_is_the_same() {
    for (name, story) in SCREENS {
        for size in SIZES {
            for ascii in [false, true] {
                let colours = buffer(*story, size, ascii, Theme::DEFAULT);
                let without = buffer(*story, size, ascii, Theme::MONOCHROME);
                for (place, (cell, plain)) in colours.content.iter().zip(&without.content).enumerate() {
                    assert_eq!(cell.symbol(), plain.symbol(), "{name} {size:?} at {place}");
                    assert_eq!((plain.fg, plain.bg), (Color::Reset, Color::Reset), "{name}");
                }
            }
        }
    }
}

/// How it looks does not depend on the glyphs: where a row is the same but for them, it has the same styles.
#[test]
fn in_ascii_the_styles_are_those_of_unicode() {
    let kinds = |story: Story, size, ascii| {
        let colours = buffer(story, size, ascii, Theme::DEFAULT);
        let without = buffer(story, size, ascii, Theme::MONOCHROME);
        let styles = runs(&colours.content, &without.content);
        let kinds: BTreeSet<String> = styles.into_iter().map(|(_, style)| style).collect();
        kinds
    };
    for (name, story) in SCREENS {
        for size in SIZES {
            assert_eq!(
                kinds(*story, size, true),
                kinds(*story, size, false),
                "{name} {size:?}"
            );
        }
    }
}

/// Which kind of dialog it is. A new kind has to be named here, and then to be among the screens.
fn kind(dialog: &Dialog) -> &'static str {
    match dialog {
        Dialog::Plan(_) => "plan",
        Dialog::Choice(_) => "choice",
        Dialog::Detail(_) => "detail",
        Dialog::Copy(_) => "copy",
        Dialog::Owed(_) => "owed",
        Dialog::Messages(_) => "messages",
        Dialog::Help(_) => "help",
        Dialog::Palette(_) => "palette",
        Dialog::History(_) => "history",
        Dialog::Menu(_) => "menu",
        Dialog::AddSite(_) => "add site",
        Dialog::Acknowledge(_) => "acknowledge",
        Dialog::WrongConfig(_) => "wrong config",
        Dialog::Preflight(_) => "preflight",
    }
}

#[test]
fn each_kind_of_dialog_has_a_picture() {
    let all: BTreeSet<&str> = [
        "plan",
        "choice",
        "detail",
        "copy",
        "owed",
        "messages",
        "help",
        "palette",
        "history",
        "menu",
        "add site",
        "acknowledge",
        "wrong config",
        "preflight",
    ]
    .into();
    let dialogs = SCREENS.iter().filter_map(|(_, story)| {
        let screen = shown(*story, (120, 40), false, Theme::DEFAULT).screen;
        screen.dialog().map(kind)
    });
    assert_eq!(dialogs.collect::<BTreeSet<_>>(), all);
}

#[test]
fn no_two_screens_have_the_same_name_or_picture() {
    let mut names = BTreeSet::new();
    let mut pictures = BTreeMap::new();
    for (name, story) in SCREENS {
        assert!(names.insert(name), "{name} twice");
        let same = pictures.insert(picture(*story, (120, 40), false), name);
        assert_eq!(same, None, "{name} has the same picture");
    }
}
