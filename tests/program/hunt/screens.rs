use std::time::Duration;

use stripe_propagate::tui::actions::ACTIONS;

use super::canaries::{self, without_sequences};
use super::echo::ECHOES;
use super::ground::Ground;
use super::pty::Pty;

/// So long nothing is drawn any more when all that was typed is read.
const REST: Duration = Duration::from_millis(300);
/// Dialogs and what is seen of them, behind a run. What each action does is tried in actions.rs, which searches its screens,
/// too.
const OPENS: &[(&str, &str)] = &[
    ("push all", "to push"),
    ("dry run", "dry run: what P would do"),
    ("messages", "messages, newest first"),
    ("keys served", "keys served  ("),
    ("sort", "sort by  (Enter chooses"),
    ("preflight", "preflight of "),
    ("palette", "> _"),
    ("help", "Esc is always harmless"),
];

fn key_of(action: &str) -> String {
    let action = ACTIONS.iter().find(|known| known.name == action).unwrap();
    action.keys[0].to_string()
}

impl Ground {
    #[track_caller]
    fn shows_nothing(&self, pty: &Pty) {
        let bytes = pty.received_so_far();
        self.says_nothing("what the terminal got", &bytes);
        self.says_nothing("its text", &without_sequences(&bytes));
        self.says_nothing("the screen", pty.screen().as_bytes());
    }
}

/// Into the key field, and wherever else a text is typed.
fn secrets_are_typed(pty: &mut Pty) {
    const EDITS: &str = "Enter done";
    const REFUSED: &str = "it must never leave";

    for secret in canaries::GIVEN {
        pty.key("e").sees(EDITS).paste(secret).sees(REFUSED).key("Esc");
        pty.sees_no(EDITS).key("e").sees(EDITS).type_(secret);
        pty.sees(REFUSED).key("Esc").sees_no(EDITS);
    }
    let secret = canaries::GIVEN[0];
    for (action, opens, dropped) in [
        ("filter", " filter   ", "refused and wiped: a SECRET key"),
        ("palette", "> _", "typed and dropped: a SECRET key"),
        (
            "add a site",
            "The site's address",
            "typed as an address and dropped",
        ),
        ("acknowledge", "> _", "typed as a reason and dropped"),
    ] {
        pty.key(&key_of(action))
            .sees(opens)
            .type_(secret)
            .sees(dropped)
            .key("Esc")
            .sees_no(opens);
        // Mostly it is closed already: an Esc that is read with what follows would be another key.
        pty.comes_to_rest(REST);
    }
    pty.paste(secret)
        .sees("pasted and dropped: a SECRET key")
        .key("Esc")
        .comes_to_rest(REST);
}

fn pushes(ground: &Ground, pty: &mut Pty) {
    pty.key("e").sees("paste or type").paste(ground.stage.key());
    pty.sees("\u{2713} test publishable key")
        .key("Enter")
        .sees("P reviews and pushes");
    let sites = 24 + ECHOES.len();
    pty.key("P")
        .sees(&format!("type {sites} to push"))
        .type_(&sites.to_string());
    pty.sees(&format!("> {sites}_"))
        .key("Enter")
        .sees("run 1: settled; ");
}

#[test]
fn no_screen_shows_a_secret_or_leaves_one_behind() {
    let ground = Ground::new();
    let mut pty = ground.screen("config.toml", &[]).start();
    pty.sees(&format!("{} sites", 24 + ECHOES.len()))
        .sees("seen")
        .sees_no("checking");
    secrets_are_typed(&mut pty);
    pushes(&ground, &mut pty);
    for pid in family(pty.pid()) {
        ground.process_shows_nothing(pid);
    }
    for (name, _) in ECHOES {
        pty.key("/")
            .sees(" filter   ")
            .type_(name)
            .sees(&format!(" filter   {name}"))
            .key("Enter")
            .sees_no("Enter keep it");
        pty.key("Enter")
            .sees("attempts, newest first")
            .key("Esc")
            .sees_no("attempts, newest first");
        // What is wrong with it; nothing is with one of them.
        let copied = if *name == "drifts" { "u" } else { "e" };
        pty.key("y").sees("copies nothing").key(copied);
        pty.sees_no("copies nothing");
        pty.key("Esc").sees(&format!("  {} sites", 24 + ECHOES.len()));
    }
    for (action, text) in OPENS {
        pty.key(&key_of(action)).sees(text).key("Esc").sees_no(text);
    }
    pty.key("o")
        .sees("owed a key  (")
        .key("Esc")
        .sees_no("owed a key  (");
    pty.key("Esc").sees_no(" filter   is:owed");
    exports(&ground, &mut pty);
    ground.shows_nothing(&pty);
    ground.echo.serves_clean_keys();
    pty.key("F5").sees("read again: ").sees_no("checking");
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
    ground.shows_nothing(&pty);
    ground.files_hold_nothing();
    ground.children_saw_nothing(&["secret", "listing"]);
}

/// A secret as the name of a file, and a real one.
fn exports(ground: &Ground, pty: &mut Pty) {
    pty.key("h")
        .sees(" push  pk_test")
        .key("e")
        .sees("write it to a file");
    pty.type_(canaries::GIVEN[0])
        .sees("typed as a file name and dropped")
        .key("Esc");
    pty.sees_no("history  (").comes_to_rest(REST);
    let file = ground.path("work/run.html");
    pty.key("h")
        .sees(" push  pk_test")
        .key("e")
        .sees("write it to a file")
        .key("^u")
        .type_(&file);
    pty.sees("run.html_")
        .key("Enter")
        .sees("run.html")
        .sees_no("run.html_")
        .key("Esc");
    pty.sees_no("history  (").comes_to_rest(REST);
    assert!(ground.stage.path("work/run.html").exists());
}

#[test]
fn a_wrong_config_is_shown_without_its_secrets() {
    let ground = Ground::new();
    for wrong in [
        "[master_key]\nvalu = \"SECRET\"\n",
        "[push]\nSECRET = 1\n",
        "[keys]\n\"SECRET\" = \"P\"\n",
    ] {
        ground.write("wrong.toml", &wrong.replace("SECRET", canaries::MISPLACED));
        let mut pty = ground.screen("wrong.toml", &[]).start();
        pty.sees("The config cannot be used").key("q");
        pty.wait_exit();
        ground.shows_nothing(&pty);
    }
    ground.files_hold_nothing();
}

/// A process, and all that it has started.
fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        // A thread may have ended by now.
        let children = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
        all.extend(
            children
                .split_whitespace()
                .flat_map(|child| family(child.parse().unwrap())),
        );
    }
    all
}
