//! Text that is written to harm who shows it: nothing of it is left but letters, wherever the program writes.

use std::path::Path;
use std::process::Output;

use stripe_propagate::demo::asked::{AskedFault, Share};
use stripe_propagate::demo::faults::{FAULTS, Fault};
use stripe_propagate::text::is_hidden;

use super::pty::Run;
use super::stage::Stage;

/// Stands in each of these texts.
const MARK: &str = "DEMO-HOSTILE";
/// What a line of theirs begins with.
const FAKED: &str = "2001-02-03T04:05:06Z";
/// What would be obeyed, turned around, or cut. Where the bytes are not text, this is looked for.
const HARMS: [&str; 12] = [
    "\u{1b}[31m\u{1b}[2JDEMO",
    "\u{1b}]0;DEMO",
    "\u{1b}]52;",
    "\u{1b}]8;;https://demo",
    "\u{1b}[6n",
    "\u{9b}31m",
    "\u{9d}52",
    "\u{202e}",
    "\u{2066}",
    "\u{feff}",
    "\0behind\0it",
    "\n2001-02-03T04:05:06Z",
];

fn has(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

/// What is looked for of the master key: a part of it is too much.
const TELLS: usize = 18;

/// The beginning of the master key in the spellings that the fleet echoes it in.
fn spellings(key: &str) -> [String; 3] {
    let key = &key[..TELLS];
    let each = |write: fn(u32) -> String| {
        key.chars()
            .map(|letter| write(u32::from(letter)))
            .collect::<String>()
    };
    [
        key.to_owned(),
        each(|code| format!("\\u{code:04x}")),
        each(|code| format!("%{code:02X}")),
    ]
}

#[track_caller]
fn is_harmless(name: &str, bytes: &[u8], master_key: &str) {
    for harm in HARMS {
        assert!(!has(bytes, harm), "{name} has {harm:?}");
    }
    for key in spellings(master_key) {
        assert!(!has(bytes, &key), "{name} has the master key");
    }
}

/// Text that can be shown: no character that is not seen, and no line that begins as a site has it.
#[track_caller]
fn is_clean(name: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let hidden = text
        .chars()
        .find(|letter| is_hidden(*letter) && !"\r\n\t".contains(*letter));
    assert_eq!(hidden, None, "{name}");
    assert!(text.lines().all(|line| !line.starts_with(FAKED)), "{name}");
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    // A socket cannot be read.
    let here = files.iter().filter(|path| path.is_file());
    here.map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .chain(below)
        .collect()
}

/// What was printed, what is in the log and in the store, and each form of a report.
pub(super) fn nothing_comes_through(stage: &Stage, pushed: &Output, looked: &Output) {
    let master_key = stage.fleet.master_key();
    for output in [pushed, looked] {
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            is_clean(name, bytes);
            is_harmless(name, bytes, master_key);
        }
    }
    assert!(has(&pushed.stdout, MARK), "what it says is told");
    for output in [&looked.stdout, &looked.stderr] {
        assert!(!has(output, MARK), "a look without the master key keeps no words");
    }
    for name in ["run.csv", "run.html", "run.json", "run.md"] {
        let exported = stage.run(&["export", name]);
        assert_eq!(exported.status.code(), Some(0), "{exported:?}");
        let bytes = std::fs::read(stage.path(name)).unwrap();
        is_clean(name, &bytes);
        is_harmless(name, &bytes, master_key);
        assert!(has(&bytes, MARK), "{name}");
    }
    let kept = files(&stage.path("state"));
    for end in [".log", "store.db"] {
        let told = kept
            .iter()
            .any(|(name, bytes)| name.contains(end) && has(bytes, MARK));
        assert!(told, "{end} has nothing of it: nothing was looked for");
    }
    for (name, bytes) in kept {
        is_harmless(&name, &bytes, master_key);
        if name.contains(".log") {
            is_clean(&name, &bytes);
        }
    }
}

/// Whether such a site writes such text.
fn is_hostile(fault: Fault) -> bool {
    let word = fault.row().word;
    ["escapes", "bidi", "nul", "long-line", "faked-log"]
        .iter()
        .any(|begin| word.starts_with(begin))
}

#[test]
fn nothing_of_it_reaches_the_terminal() {
    let faults = FAULTS.iter().filter(|row| is_hostile(row.fault));
    let faults: Vec<AskedFault> = faults
        .map(|row| AskedFault {
            fault: row.fault,
            share: Share::Sites(1),
        })
        .collect();
    assert_eq!(faults.len(), 10);
    let stage = Stage::of_faults(faults, 2);
    let mut pty = Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
        .arg("--config")
        .arg(stage.path("config.toml"))
        .size(200, 40)
        .start();
    // No master key is read yet, without which no words are kept.
    pty.sees(" seen")
        .sees_no("checking")
        .sees("is broken just now (500)");
    pty.sees_no(MARK);
    pty.key("e").sees("paste or type").type_(stage.key());
    pty.sees(" test publishable key")
        .key("Enter")
        .sees("P reviews and pushes");
    pty.key("P")
        .sees("type 12 to push")
        .type_("12")
        .sees("> 12_")
        .key("Enter");
    pty.sees("run 1: settled").sees(MARK);
    pty.key("m")
        .sees("messages, newest first")
        .key("Esc")
        .sees("q quit");
    assert_eq!(pty.key("q").wait_exit(), 0);
    pty.is_restored();
    let bytes = pty.received_so_far();
    assert!(!bytes.contains(&0), "NUL");
    for harm in HARMS {
        assert!(!has(&bytes, harm), "{harm:?}");
    }
    for sequence in ["\u{1b}]52", "\u{1b}]8;", "\u{9b}", "\u{9d}"] {
        assert!(
            !has(&bytes, sequence),
            "{sequence:?}: the program has none of its own"
        );
    }
}
