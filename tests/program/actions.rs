//! Every action of the table, by each of its keys, in the real program in a pseudo-terminal. A new action needs a row
//! in [`TRIALS`]; until it has one, a test fails.

use std::collections::BTreeSet;

use pty::{Pty, Run};
use stage::Stage;
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::tui::actions::{ACTIONS, Action};

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

/// Where an action is tried: what is on the screen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Sites that were looked at once, and a key in the field.
    Calm,
    /// The same, on a screen that has a page of fifteen sites, sorted by name, the cursor on the first.
    Paged,
    /// A run that was just confirmed.
    Running,
    /// A run that is over, some of its sites failed.
    Settled,
    /// The demo.
    Demo,
    /// The screen that a shell has started.
    InAShell,
    /// No config.
    Bare,
    /// A program for each key: it ends with the trial.
    Ends,
}

/// How an action is tried.
struct Trial {
    /// The action's name.
    action: &'static str,
    scene: Scene,
    /// Presses the key that it is given, sees what comes of it, and leaves the scene as it was.
    sees: fn(&mut Ground, key: &str),
}

/// What a trial plays on.
struct Ground {
    pty: Pty,
    stage: Stage,
    /// The sites by name.
    names: Vec<String>,
}

const fn trial(action: &'static str, scene: Scene, sees: fn(&mut Ground, &str)) -> Trial {
    Trial { action, scene, sees }
}

/// Each action with its trial, in the order of the table. Within a scene they are tried in this order.
const TRIALS: &[Trial] = &[
    trial("push all", Scene::Calm, |ground, key| {
        ground.opens(key, "type 24 to push");
    }),
    trial("dry run", Scene::Calm, |ground, key| {
        ground.opens(key, "dry run: what P would do");
    }),
    trial("pause", Scene::Running, |ground, key| {
        ground.pty.key(key).sees("Nothing new is sent.").sees("  paused");
        ground.pty.key("g").sees_no("Nothing new is sent.").sees(OVER);
    }),
    trial("watch", Scene::Calm, |ground, key| {
        ground
            .pty
            .key(key)
            .sees("watch: next look ")
            .key(key)
            .sees("the watch is off");
        ground.pty.sees_no("watch: next look ").sees_no("checking");
    }),
    trial("retry all failed", Scene::Settled, |ground, key| {
        ground
            .pty
            .key(key)
            .sees("held back: push all the same?")
            .key("Esc");
        ground.pty.sees_no("held back: push all the same?").sees(OVER);
    }),
    trial("edit key", Scene::Calm, |ground, key| {
        ground.opens(key, "Enter done");
    }),
    trial("verify all", Scene::Calm, Ground::looks_again),
    trial("detail", Scene::Calm, |ground, key| {
        ground.opens(key, "attempts, newest first");
    }),
    trial("copy", Scene::Calm, |ground, key| {
        ground.opens(key, "copies nothing");
    }),
    trial("messages", Scene::Calm, |ground, key| {
        ground.opens(key, "messages, newest first");
    }),
    trial("owed", Scene::Calm, |ground, key| {
        ground.opens(key, "none: each site serves what was last pushed to it");
    }),
    trial("filter", Scene::Calm, |ground, key| {
        ground.pty.key(key).sees(FILTER).type_("galerie");
        ground
            .pty
            .sees(" filter   galerie")
            .sees("1 of 24 sites")
            .key("Esc");
        ground.pty.sees_no(FILTER).sees("  24 sites");
    }),
    trial("clear filter", Scene::Calm, |ground, key| {
        ground.shows_only("galerie");
        ground.pty.key(key).sees_no(FILTER).sees("  24 sites");
    }),
    trial("mark", Scene::Calm, |ground, key| {
        ground.pty.key("g").key(key).sees("24 sites, 1 marked");
        ground.pty.key("g").key(key).sees_no(" marked");
    }),
    trial("mark all", Scene::Calm, |ground, key| {
        ground.pty.key(key).sees("24 sites, 24 marked");
    }),
    trial("mark failed", Scene::Settled, |ground, key| {
        let failed = ground.failed();
        ground.pty.key(key).sees(&format!("24 sites, {failed} marked"));
        ground.pty.key("A").sees_no(" marked");
    }),
    trial("unmark all", Scene::Calm, |ground, key| {
        ground.pty.sees("24 sites, 24 marked").key(key).sees_no(" marked");
    }),
    trial("next failed", Scene::Settled, |ground, key| {
        // Sorted by name none of the first two failed.
        ground.sorts_by_name();
        ground
            .pty
            .reverses(" atelier-nord ")
            .key(key)
            .reverses("\u{2717} failed");
        ground
            .pty
            .key("s")
            .sees("sort by")
            .key("g")
            .key("Enter")
            .sees_no("sort by");
    }),
    trial("keys served", Scene::Calm, |ground, key| {
        ground.opens(key, "keys served  (");
    }),
    trial("sort", Scene::Calm, |ground, key| {
        ground.opens(key, "sort by  (Enter chooses");
    }),
    trial("turn the order", Scene::Calm, |ground, key| {
        ground.sorts_by_name();
        ground
            .pty
            .key(key)
            .sees("SITE\u{25b2}")
            .key(key)
            .sees("SITE\u{25bc}");
    }),
    trial("history", Scene::Calm, |ground, key| {
        ground.opens(key, "no run yet: e takes a key");
    }),
    trial("roll back", Scene::Settled, |ground, key| {
        ground.shows_only("galerie-sud");
        ground.opens(key, "plan: rollback of run 1");
        ground.pty.key("Esc").sees("  24 sites");
    }),
    trial("push", Scene::Calm, |ground, key| {
        ground.opens(key, "press y to push");
    }),
    trial("retry", Scene::Settled, |ground, key| {
        ground.shows_only("phare-eteint");
        ground.pty.key(key).sees("retries 1 site of run 1").sees(OVER);
        ground.pty.key("Esc").sees("  24 sites");
    }),
    trial("verify", Scene::Calm, |ground, key| {
        let slow = ground.slow();
        ground.shows_only(&slow);
        ground.looks_again(key);
        ground.pty.key("Esc").sees("  24 sites");
    }),
    trial("preflight", Scene::Calm, |ground, key| {
        ground.opens(key, "preflight of ");
    }),
    trial("acknowledge", Scene::Settled, |ground, key| {
        ground.shows_only("phare-eteint");
        ground.pty.key(key).sees("acknowledge phare-eteint").key("Enter");
        ground
            .pty
            .sees("a reason is needed")
            .type_("moves house")
            .key("Enter");
        ground.pty.sees("> 7 days").key("Enter");
        ground.pty.sees("phare-eteint acknowledged until ");
        ground.pty.key("Esc").sees("  24 sites");
        ground.shows_only("is:acknowledged");
        ground.pty.sees("1 of 24 sites").key(key);
        ground
            .pty
            .sees("^X takes back")
            .key("^x")
            .sees("acknowledged no more");
        ground.pty.sees("0 of 24 sites").key("Esc").sees("  24 sites");
    }),
    trial("show key", Scene::Calm, |ground, key| {
        // The mask has its last four letters.
        let key_of_stage = ground.stage.key().to_owned();
        let hidden = &key_of_stage[key_of_stage.len() - 20..];
        ground.pty.sees_no(hidden).key(key).sees(hidden);
        ground.pty.key(key).sees_no(hidden);
    }),
    trial("heal", Scene::Demo, |ground, key| {
        ground.pty.key(key).sees("mended: V looks again");
    }),
    trial("write a config", Scene::Bare, |ground, key| {
        ground.pty.key(key).sees("A commented config is written");
    }),
    trial("add a site", Scene::Calm, |ground, key| {
        ground.opens(key, "The site's address");
    }),
    trial("demo", Scene::Bare, |ground, key| {
        ground
            .pty
            .key(key)
            .sees("24 sites")
            .sees("P reviews and pushes 24");
    }),
    trial("reload", Scene::Ends, |ground, key| {
        ground.pty.sees_no("read again: ").key(key).sees("read again: ");
        assert_eq!(ground.pty.key("q").wait_exit(), 0);
    }),
    trial("palette", Scene::Calm, |ground, key| ground.opens(key, "> _")),
    trial("help", Scene::Calm, |ground, key| {
        ground.opens(key, "Esc is always harmless");
    }),
    trial("quit", Scene::Ends, |ground, key| {
        assert_eq!(ground.pty.key(key).wait_exit(), 0);
        ground.pty.is_restored();
    }),
    trial("down", Scene::Paged, |ground, key| ground.goes(0, key, 1)),
    trial("up", Scene::Paged, |ground, key| ground.goes(23, key, 22)),
    trial("half page down", Scene::Paged, |ground, key| {
        ground.goes(0, key, 7);
    }),
    trial("half page up", Scene::Paged, |ground, key| {
        ground.goes(23, key, 16);
    }),
    trial("page down", Scene::Paged, |ground, key| ground.goes(0, key, 15)),
    trial("page up", Scene::Paged, |ground, key| ground.goes(23, key, 8)),
    trial("first", Scene::Paged, |ground, key| ground.goes(23, key, 0)),
    trial("last", Scene::Paged, |ground, key| ground.goes(0, key, 23)),
    trial("redraw", Scene::Calm, |ground, key| {
        let garbage = "\u{1b}[12;1Hgarbage of another program";
        ground
            .pty
            .scribble(garbage, "garbage of another program")
            .key(key);
        ground.pty.sees_no("garbage");
    }),
    trial("suspend", Scene::InAShell, |ground, key| {
        ground.pty.key(key).sees("Stopped").is_restored();
        // It is the shell that has the terminal now.
        ground
            .pty
            .type_("echo shell$((41+1))\r")
            .sees("shell42")
            .type_("fg\r");
        ground.pty.sees("q quit").sees_no("shell42");
        // It may be drawn twice: once when it goes on, once for the signal that tells so.
        ground
            .pty
            .key("?")
            .sees("Esc is always harmless")
            .sees("Esc closes");
        ground.pty.key("Esc").sees("q quit");
    }),
];

/// What a site of the fleet shows to the public, without its prefix.
const SHOWN: &str = "51DemoThisMustNeverBeShown0000";
/// The line of the filter; the footer has one blank less behind the word.
const FILTER: &str = " filter   ";
/// The message at the end of a run.
const OVER: &str = "run 1: settled; ";

const PROGRAM: &str = env!("CARGO_BIN_EXE_stripe-propagate");

impl Ground {
    fn begin(scene: Scene) -> Self {
        let stage = Stage::of(24);
        let config = stage.path("config.toml");
        let run = match scene {
            Scene::Demo => Run::of(PROGRAM).arg("demo").arg("--seed").arg("1"),
            Scene::Bare => Run::of(PROGRAM),
            Scene::InAShell => Run::of("/bin/sh").arg("-i").env("PS1", "ready> "),
            _ => Run::of(PROGRAM).arg("--config").arg(&config),
        };
        let run = match scene {
            Scene::Paged => run.size(80, 24),
            _ => run,
        };
        let mut names: Vec<String> = stage.fleet.sites().iter().map(|site| site.name.clone()).collect();
        names.sort();
        let mut ground = Self {
            pty: run.start(),
            stage,
            names,
        };
        if scene == Scene::InAShell {
            let line = format!("{PROGRAM} --config {}\r", config.display());
            ground.pty.sees("ready> ").type_(&line);
        }
        if scene == Scene::Bare {
            ground.pty.sees("There is no config yet");
            return ground;
        }
        // All looks are out before the first of them is answered.
        ground
            .pty
            .sees("24 sites")
            .sees("\u{2022} seen")
            .sees_no("checking");
        match scene {
            Scene::Calm => ground.enters_the_key(),
            Scene::Paged => ground.sorts_by_name(),
            Scene::Running => ground.runs(),
            Scene::Settled => {
                ground.runs();
                ground.pty.sees(OVER).sees("verified 16");
            }
            Scene::Demo | Scene::InAShell | Scene::Bare | Scene::Ends => {}
        }
        ground
    }

    fn enters_the_key(&mut self) {
        let key = self.stage.key();
        self.pty.key("e").sees("paste or type").type_(key);
        self.pty.sees("\u{2713} test publishable key").key("Enter");
        self.pty.sees("P reviews and pushes 24");
    }

    fn runs(&mut self) {
        self.enters_the_key();
        self.pty
            .key("P")
            .sees("type 24 to push")
            .type_("24")
            .sees("> 24_");
        self.pty.key("Enter").sees_no("> 24_").sees("run 1");
    }

    /// Presses the key of something that opens and shows `text`; Esc closes it.
    #[track_caller]
    fn opens(&mut self, key: &str, text: &str) {
        self.pty
            .sees_no(text)
            .key(key)
            .sees(text)
            .key("Esc")
            .sees_no(text);
    }

    #[track_caller]
    fn shows_only(&mut self, text: &str) {
        self.pty.key("/").sees(FILTER).type_(text);
        self.pty
            .sees("1 of 24 sites")
            .key("Enter")
            .sees_no("Enter keep it");
    }

    fn sorts_by_name(&mut self) {
        self.pty.key("s").sees("sort by").key("g").key("j").key("Enter");
        self.pty.sees_no("sort by").sees("SITE\u{25bc}").key("g");
        self.pty.reverses(&start_of(&self.names[0]));
    }

    /// The one that takes long enough to answer that it is seen to be asked.
    fn slow(&self) -> String {
        let mut sites = self.stage.fleet.sites().iter();
        sites.find(|site| site.fault == Fault::Slow).unwrap().name.clone()
    }

    #[track_caller]
    fn looks_again(&mut self, key: &str) {
        let looks = self.stage.fleet.record().requests.len();
        self.pty
            .sees_no("checking")
            .key(key)
            .sees("checking")
            .sees_no("checking");
        assert!(self.stage.fleet.record().requests.len() > looks);
    }

    /// From the site at one place by name to that at another.
    #[track_caller]
    fn goes(&mut self, from: usize, key: &str, to: usize) {
        let end = if from == 0 { "g" } else { "G" };
        let names = [from, to].map(|place| start_of(&self.names[place]));
        self.pty.key(end).reverses(&names[0]).key(key).reverses(&names[1]);
    }

    /// How many sites the footer offers to retry, held back or not.
    fn failed(&self) -> usize {
        let screen = self.pty.screen();
        let (_, behind) = screen.split_once("R retry ").unwrap();
        let line = behind.split("  ").next().unwrap();
        let numbers = line.split(|letter: char| !letter.is_ascii_digit());
        numbers.filter_map(|number| number.parse::<usize>().ok()).sum()
    }
}

/// As much of a name as a narrow screen shows.
fn start_of(name: &str) -> String {
    format!(" {name:.12}")
}

fn action(name: &str) -> &'static Action {
    ACTIONS.iter().find(|action| action.name == name).unwrap()
}

/// Tries all that has its trial in this scene, by each of its keys, in one program.
fn plays(scene: Scene) {
    let mut ground = Ground::begin(scene);
    for (trial, key) in trials(scene) {
        (trial.sees)(&mut ground, &key);
    }
    if scene == Scene::InAShell {
        ground.pty.key("q").sees("ready> ").is_restored();
        ground.pty.type_("exit\r");
    } else {
        ground.pty.key("q");
    }
    assert_eq!(ground.pty.wait_exit(), 0);
    ground.pty.is_restored();
    // Of all actions: a part of the hunt for secrets (hunt.rs). The demo's key has the same beginning in each fleet.
    for secret in [ground.stage.fleet.master_key(), "demo-master-", SHOWN] {
        ground.pty.never_saw(secret).never_wrote(secret);
    }
}

fn trials(scene: Scene) -> impl Iterator<Item = (&'static Trial, String)> {
    let of_scene = TRIALS.iter().filter(move |trial| trial.scene == scene);
    of_scene.flat_map(|trial| {
        let keys = action(trial.action).keys;
        keys.iter().map(move |key| (trial, key.to_string()))
    })
}

#[test]
fn each_action_has_a_trial_a_key_a_name_and_help() {
    let actions: BTreeSet<&str> = ACTIONS.iter().map(|action| action.name).collect();
    let tried: BTreeSet<&str> = TRIALS.iter().map(|trial| trial.action).collect();
    let untried: Vec<&&str> = actions.difference(&tried).collect();
    let unknown: Vec<&&str> = tried.difference(&actions).collect();
    assert!(untried.is_empty(), "without a row in TRIALS: {untried:?}");
    assert!(unknown.is_empty(), "tried, and not in ACTIONS: {unknown:?}");
    assert_eq!((actions.len(), tried.len()), (ACTIONS.len(), TRIALS.len()));
    for action in ACTIONS {
        assert!(!action.name.trim().is_empty());
        assert!(!action.help.trim().is_empty(), "{} has no help", action.name);
        assert!(!action.keys.is_empty(), "{} has no key", action.name);
    }
}

#[test]
fn what_is_done_before_a_run() {
    plays(Scene::Calm);
}

#[test]
fn what_moves_the_cursor() {
    plays(Scene::Paged);
}

#[test]
fn what_is_done_in_mid_run() {
    plays(Scene::Running);
}

#[test]
fn what_is_done_behind_a_run() {
    plays(Scene::Settled);
}

#[test]
fn what_is_done_in_the_demo() {
    plays(Scene::Demo);
}

#[test]
fn what_is_done_without_a_config() {
    plays(Scene::Bare);
}

#[test]
fn what_gives_the_terminal_to_the_shell_and_comes_back() {
    plays(Scene::InAShell);
}

#[test]
fn what_ends_the_program() {
    for (trial, key) in trials(Scene::Ends) {
        (trial.sees)(&mut Ground::begin(Scene::Ends), &key);
    }
}
