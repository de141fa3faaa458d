//! Two screens on one database of PostgreSQL, as of two users on two machines: each sees what the other does, live, and
//! a site is held by one run at a time, which both are told.

use std::time::{Duration, Instant};

use pty::{Pty, Run};
use stage::Stage;

use super::sql::servers::{Kind, PASSWORD, PASSWORD_IN_URL, new_database, own_postgres, run};

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

/// A fleet that is well, and a config whose store is this database.
fn stage(sites: usize, url: &str) -> Stage {
    let stage = Stage::of(sites);
    stage.heal();
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    let config = config
        .replace("settle = \"8s\"", "settle = \"1s\"")
        .replace("timeout = \"3s\"", "timeout = \"30s\"");
    let config = format!("[store]\nurl = {{ file = \"url\" }}\n\n{config}");
    std::fs::write(stage.path("config.toml"), config).unwrap();
    // The file has the modes of another secret.
    std::fs::copy(stage.path("master.key"), stage.path("url")).unwrap();
    std::fs::write(stage.path("url"), url).unwrap();
    stage
}

/// A screen with a home of its own, on a machine of this name where the test may give it one. What it can be told by.
fn screen(stage: &Stage, host: &str) -> (Pty, String) {
    let (run, on) = starts(stage, host);
    let mut pty = run.start();
    pty.sees("\u{2022} seen").sees_no("checking");
    (pty, on)
}

fn starts(stage: &Stage, host: &str) -> (Run, String) {
    let program = env!("CARGO_BIN_EXE_stripe-propagate");
    let config = stage.path("config.toml").display().to_string();
    let is_root = rustix::process::getuid().is_root();
    let run = if is_root {
        let named = format!("echo {host} > /proc/sys/kernel/hostname && exec \"$@\"");
        ["--uts", "sh", "-c", &named, "sh", program]
            .into_iter()
            .fold(Run::of("/usr/bin/unshare"), Run::arg)
    } else {
        Run::of(program)
    };
    let on = if is_root {
        format!(" on {host} ")
    } else {
        String::new()
    };
    (run.arg("--config").arg(config), on)
}

fn takes_key(pty: &mut Pty, key: &str) {
    pty.key("e").sees("paste or type a publishable key").type_(key);
    pty.sees("\u{2713} test publishable key")
        .key("Enter")
        .sees("P reviews and pushes");
}

fn pushes(pty: &mut Pty) {
    pty.key("P")
        .sees("press y to push")
        .key("y")
        .sees_no("press y to push");
}

/// How long it takes until this is seen.
fn until_seen(pty: &mut Pty, text: &str) -> Duration {
    let begin = Instant::now();
    pty.sees(text);
    begin.elapsed()
}

fn leaves(mut pty: Pty) {
    pty.never_saw(PASSWORD).never_saw(PASSWORD_IN_URL);
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
}

#[test]
fn two_screens_on_one_database_see_each_others_runs_and_push_to_a_site_one_at_a_time() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let stage = stage(3, &url);
    let ((mut one, on_one), (mut two, on_two)) = (screen(&stage, "ops-1"), screen(&stage, "ops-2"));
    takes_key(&mut one, stage.key());
    takes_key(&mut two, stage.key());
    stage.fleet.hold_next_put(2);
    pushes(&mut one);
    one.sees("run 1  TEST").sees("sending");
    let first = until_seen(&mut two, "run 1 of ");
    two.sees(&on_one).sees("held by run");
    // What it has done elsewhere is seen while it goes on.
    two.sees("\u{2713} stored").sees("serving");
    // Both want the same sites: who comes second is refused, and told by whom.
    pushes(&mut two);
    two.sees("nothing of yours was sent")
        .sees("is sending to some of these sites")
        .key("Esc");
    stage.fleet.let_go(2);
    one.sees("settled");
    two.sees("sends nothing more").sees_no("held by run");
    two.sees("verified 3");
    // A run of its own hides nothing: the other way round, of a key that is served already.
    stage.fleet.hold_next_put(0);
    two.key("P").sees("serve it already");
    two.sees("press y to push").key("y").sees_no("press y to push");
    two.sees("run 2  TEST").sees("sending");
    let second = until_seen(&mut one, "run 2 of ");
    one.sees(&on_two).sees("held by run");
    stage.fleet.let_go(0);
    two.sees("settled");
    // A busy machine may be late once.
    let least = first.min(second);
    assert!(least < Duration::from_secs(1), "{first:?}, {second:?}");
    leaves(one);
    leaves(two);
}

#[test]
fn a_screen_in_which_nothing_goes_on_says_that_its_store_is_away_and_reads_on_when_it_is_back() {
    let Some((server, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let stage = stage(3, &url);
    let (mut pty, _) = screen(&stage, "ops-1");
    let database = url.rsplit('/').next().unwrap();
    let lets_in = |lets: bool| {
        let statements = format!(
            "ALTER DATABASE {database} ALLOW_CONNECTIONS {lets}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        );
        run(
            Kind::Postgres,
            &Kind::Postgres.url(server.port, "postgres"),
            &statements,
        )
        .unwrap();
    };
    lets_in(false);
    pty.sees("NO STORE").sees("waits for the store");
    lets_in(true);
    pty.sees("the store is back").sees_no("NO STORE");
    leaves(pty);
}

#[test]
fn a_screen_that_looks_on_while_others_send_says_soon_that_its_store_is_away() {
    let Some(server) = own_postgres() else { return };
    let stage = stage(200, &Kind::Postgres.url(server.port, "postgres"));
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    let config = config.replace("[push]\n", "[push]\nconcurrency = 1\n");
    std::fs::write(stage.path("config.toml"), config).unwrap();
    let (mut pty, _) = screen(&stage, "ops-2");
    let key = stage.path("key.txt").display().to_string();
    let (push, _) = starts(&stage, "ops-1");
    let push = ["push", "--yes", "--key-file", &key]
        .into_iter()
        .fold(push, Run::arg);
    let mut push = push.start();
    push.sees("run 1:");
    // Something is written all the time.
    pty.sees("run 1 of ").sees("\u{2713} stored");
    drop(server);
    // Whether others have written may take ten seconds to ask.
    let late = until_seen(&mut pty, "NO STORE");
    assert!(late < Duration::from_secs(7), "{late:?}");
}

/// Pushes to the sites with this in their name alone.
fn pushes_to(pty: &mut Pty, name: &str) {
    pty.key("/").sees(" filter   ").type_(name);
    pty.sees("1 of 3 sites").key("Enter").sees_no("Enter keep it");
    pushes(pty);
    pty.sees("sending").key("Esc").sees_no("1 of 3 sites");
}

#[test]
fn a_run_of_ones_own_hides_no_run_of_others() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let stage = stage(3, &url);
    let name = |index: usize| stage.fleet.sites()[index].name.clone();
    let ((mut one, _), (mut two, on_two)) = (screen(&stage, "ops-1"), screen(&stage, "ops-2"));
    takes_key(&mut one, stage.key());
    takes_key(&mut two, stage.key());
    stage.fleet.hold_next_put(0);
    stage.fleet.hold_next_put(1);
    pushes_to(&mut one, &name(0));
    pushes_to(&mut two, &name(1));
    sees_both(&mut one, &on_two);
    stage.fleet.let_go(1);
    sees_it_stored(&mut one);
    stage.fleet.let_go(0);
    for mut pty in [one, two] {
        pty.sees("verified 2").sees("4qGu  settled");
        leaves(pty);
    }
}

#[test]
fn a_screen_that_is_attached_to_a_run_sees_those_of_others_too() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let stage = stage(3, &url);
    let name = |index: usize| stage.fleet.sites()[index].name.clone();
    let (mut two, on_two) = screen(&stage, "ops-2");
    takes_key(&mut two, stage.key());
    stage.fleet.hold_next_put(0);
    stage.fleet.hold_next_put(1);
    // A process without a screen, which reads nothing while it sends.
    let key = stage.path("key.txt").display().to_string();
    let (push, _) = starts(&stage, "ops-1");
    let push = ["push", "--yes", "--key-file", &key, "--site", &name(0)]
        .into_iter()
        .fold(push, Run::arg);
    let mut push = push.start();
    push.sees("run 1:");
    // Who has the same state folder attaches to its run.
    let folder = push.home().join(".local/state").display().to_string();
    let (attached, _) = starts(&stage, "ops-1");
    let mut attached = attached.env("XDG_STATE_HOME", &folder).start();
    attached.sees("attached").sees("run 1  TEST");
    pushes_to(&mut two, &name(1));
    sees_both(&mut attached, &on_two);
    stage.fleet.let_go(1);
    sees_it_stored(&mut attached);
    stage.fleet.let_go(0);
    assert_eq!(push.wait_exit(), 0);
    two.sees("verified 2").sees("4qGu  settled");
    leaves(two);
    leaves(attached);
}

/// It shows run 1, and sees run 2.
fn sees_both(pty: &mut Pty, on_two: &str) {
    let theirs = format!("run 2 of root{on_two}");
    pty.sees(theirs.trim_end())
        .sees("held by run 2")
        .sees("run 1  TEST");
}

/// The site of run 2 is live, too.
fn sees_it_stored(pty: &mut Pty) {
    pty.sees("sends nothing more").sees_no("held by run 2");
    pty.sees("\u{2713} stored").sees("run 1  TEST");
}
