//! A rough time for the screen: terminals of little learning, sizes that change all the time, and a megabyte that is
//! pasted where nothing is to be pasted.

use std::time::Duration;

use pty::{Pty, Run};
use stage::Stage;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

const PROGRAM: &str = env!("CARGO_BIN_EXE_stripe-propagate");

fn screen(stage: &Stage) -> Run {
    Run::of(PROGRAM).arg("--config").arg(stage.path("config.toml"))
}

/// The screen, when it has looked at each site once.
fn looked_at(run: Run) -> Pty {
    let mut pty = run.start();
    // The alarm is the last that a start tells, and takes the message line: what is told later stays there.
    pty.sees("ALARM").sees_no("checking");
    pty
}

fn puts(stage: &Stage) -> usize {
    let requests = stage.fleet.record().requests;
    requests.iter().filter(|request| request.method == "PUT").count()
}

fn pushes_all(pty: &mut Pty, stage: &Stage) {
    let sites = stage.fleet.sites().len();
    pty.key("e").sees("paste or type").type_(stage.key());
    pty.sees(" test publishable key")
        .key("Enter")
        .sees("P reviews and pushes");
    pty.key("P")
        .sees(&format!("type {sites} to push"))
        .type_(&sites.to_string());
    pty.sees(&format!("> {sites}_")).key("Enter").sees("run 1");
}

fn lines(pty: &Pty) -> Vec<String> {
    let screen = pty.screen();
    screen.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn a_storm_of_sizes_in_mid_run_loses_nothing() {
    let stage = Stage::of(24);
    let mut pty = looked_at(screen(&stage));
    pushes_all(&mut pty, &stage);
    let mut dice = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let (columns, rows) = match round % 20 {
            0 => (1, 1),
            10 => (300, 100),
            _ => (dice.u16(1..=300), dice.u16(1..=100)),
        };
        pty.resize(columns, rows);
    }
    pty.resize(120, 40).sees("run 1: settled").sees("verified 16");
    // Each row is where it belongs, and nothing is left of other sizes.
    pty.sees("q quit").sees("   SITE              NOW");
    let after_the_storm = lines(&pty);
    pty.key("^L").key("?").sees("Esc is always harmless").key("Esc");
    pty.sees_no("Esc is always harmless");
    assert_eq!(lines(&pty), after_the_storm);
    assert_eq!(pty.key("q").wait_exit(), 0);
    pty.is_restored();
}

/// Text whose letters would all be commands. Behind what a field may hold there is a word that is to be seen nowhere.
fn megabyte() -> String {
    const FIELD: usize = 64 * 1024;
    const MEGABYTE: usize = 1024 * 1024;

    let (begin, rest) = (
        "PVRdq24 live 24 py8xgceHq ",
        "PVRdq24 live 24\rpy8xgceHq: NEVERSEEN\r\n",
    );
    begin.repeat(FIELD / begin.len()) + &rest.repeat((MEGABYTE - FIELD) / rest.len() + 1)
}

/// What is pressed while the rest of a paste is still on its way belongs to it and is dropped: one presses again.
#[track_caller]
fn presses_until(pty: &mut Pty, key: &str, text: &str) {
    for _ in 0..30 {
        pty.key(key);
        if pty.sees_within(Duration::from_secs(1), text) {
            return;
        }
    }
    panic!("{key} does nothing: {}", pty.screen());
}

/// Pastes a megabyte at this place, in each way that terminals have: then the program still answers a key, nothing of
/// it was drawn but what a field may hold, and nothing was sent.
fn takes_a_megabyte(opens: impl Fn(&mut Pty, &Stage)) {
    let stage = Stage::of(24);
    for paste in [Pty::paste, Pty::raw_paste] {
        let mut pty = looked_at(screen(&stage));
        opens(&mut pty, &stage);
        paste(&mut pty, &megabyte());
        presses_until(&mut pty, "Esc", "q quit");
        presses_until(&mut pty, "m", "messages, newest first");
        presses_until(&mut pty, "Esc", "q quit");
        pty.never_saw("NEVERSEEN");
        assert_eq!(pty.key("q").wait_exit(), 0);
        pty.is_restored();
    }
    assert_eq!(puts(&stage), 0);
}

#[test]
fn a_megabyte_into_the_table_is_no_command() {
    takes_a_megabyte(|_, _| {});
}

#[test]
fn a_megabyte_into_the_key_field_is_refused() {
    takes_a_megabyte(|pty, _| {
        pty.key("e").sees("paste or type");
    });
}

#[test]
fn a_megabyte_into_the_filter_is_cut() {
    takes_a_megabyte(|pty, _| {
        pty.key("/").sees("Enter keep it");
    });
}

#[test]
fn a_megabyte_into_the_plan_confirms_nothing() {
    takes_a_megabyte(|pty, stage| {
        pty.key("e").sees("paste or type").type_(stage.key());
        pty.sees(" test publishable key")
            .key("Enter")
            .sees("P reviews and pushes");
        pty.key("P").sees("type 24 to push");
    });
}

#[test]
fn a_megabyte_into_the_palette_does_nothing() {
    takes_a_megabyte(|pty, _| {
        pty.key(":").sees("> _");
    });
}

#[test]
fn an_own_run_is_not_suspended() {
    let stage = Stage::of(24);
    let mut pty = looked_at(screen(&stage));
    pushes_all(&mut pty, &stage);
    pty.key("^Z").sees("it would stop the run: q, then l,");
    assert!(pty.is_raw());
    pty.sees("run 1: settled");
    assert_eq!(pty.key("q").wait_exit(), 0);
}

/// What of these bytes is text, and the control sequences.
fn parts(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
    let (mut text, mut sequences) = (Vec::new(), Vec::new());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != 0x1b {
            text.push(byte);
            continue;
        }
        let kind = rest.next().unwrap_or_default();
        let mut sequence = char::from(kind).to_string();
        if kind == b'[' {
            for byte in rest.by_ref() {
                sequence.push(char::from(byte));
                if (0x40..=0x7e).contains(&byte) {
                    break;
                }
            }
        }
        sequences.push(sequence);
    }
    (text, sequences)
}

#[test]
fn terminals_of_little_learning_get_ascii_and_sequences_that_they_know() {
    for kind in ["linux", "vt100"] {
        let stage = Stage::of(24);
        let mut pty = looked_at(screen(&stage).env("TERM", kind).size(80, 24));
        pushes_all(&mut pty, &stage);
        pty.sees("run 1: settled")
            .key("?")
            .sees("Esc closes")
            .key("Esc")
            .sees("q quit");
        pty.key("y")
            .sees("copies nothing")
            .key("u")
            .sees("was not copied");
        assert_eq!(pty.key("q").wait_exit(), 0);
        pty.is_restored();
        let (text, sequences) = parts(&pty.received_so_far());
        let foreign: String = String::from_utf8_lossy(&text)
            .chars()
            .filter(|letter| !letter.is_ascii())
            .collect();
        assert_eq!(foreign, "", "{kind}");
        let odd: Vec<&u8> = text
            .iter()
            .filter(|byte| byte.is_ascii_control() && !b"\r\n\x07".contains(byte))
            .collect();
        assert!(odd.is_empty(), "{kind}: {odd:?}");
        for sequence in sequences {
            // Cursor, erase, attributes; and private modes, which those that do not know them leave alone.
            let known = sequence.starts_with('[')
                && (sequence.ends_with(['H', 'J', 'K', 'm'])
                    || sequence.starts_with("[?") && sequence.ends_with(['h', 'l']));
            assert!(known, "{kind}: {sequence}");
            let colour = sequence.ends_with('m') && (sequence.contains("38;") || sequence.contains("48;"));
            assert!(!(kind == "vt100" && colour), "{kind}: {sequence}");
        }
    }
}
