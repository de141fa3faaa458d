use rustix::process::{Pid, Signal, kill_process};

use super::canaries::{self, MISPLACED};
use super::ground::Ground;

/// Configs with a secret where none belongs; `SECRET` is it.
const WRONG: &[&str] = &[
    "master_key = \"SECRET\"",
    "[master_key]\nvalu = \"SECRET\"",
    "[master_key]\nvalue = SECRET",
    "[master_key]\nvalue = \"SECRET",
    "[master_key]\nvalue = \"SECRET\"\nfile = \"SECRET\"",
    "[master_key]\nenv = \"SECRET \"",
    "[master_key]\ncredential = \"a/SECRET\"",
    "[master_key]\ncommand = \"SECRET\"",
    "[SECRET]",
    "SECRET = 1",
    "SECRET",
    "[[sites]]\nurl = \"https://ops:SECRET@shop.example.com\"",
    "[[sites]]\nurl = \"https://shop.example.com/?key=SECRET\"",
    "[[sites]]\nurl = \"SECRET\"",
    "[[sites]]\nurl = \"https://shop.example.com\"\nmode = \"SECRET\"",
    "[[sites]]\nurl = \"https://shop.example.com\"\napi_key = \"SECRET\"",
    "[[sites]]\nurl = \"https://shop.example.com\"\nmaster_key = \"SECRET\"",
    "[[sites]]\nurl = \"https://shop.example.com\"\nenabled = \"SECRET\"",
    "[groups.prod]\nmaster_key = \"SECRET\"",
    "[[sources]]\nkind = \"SECRET\"",
    "[[sources]]\nkind = \"sql\"\nurl = \"postgres://ops:SECRET@db/shops\"\nquery = \"select 1\"",
    "[[sources]]\nkind = \"http\"\nurl = \"https://ops:SECRET@shops.example.com\"",
    "[[sources]]\nkind = \"http\"\nurl = \"https://shops.example.com\"\nheader = \"SECRET\"",
    "[[sources]]\nkind = \"http\"\nurl = \"https://shops.example.com\"\nheader = { name = \"Authorization\", value = \"SECRET\" }",
    "[notify]\nwebhook = \"https://hooks.example.com/SECRET\"",
    "[stripe]\napi = \"https://SECRET@api.example.com\"",
    "[stripe]\napi = \"SECRET\"",
    "[push]\nproxy = \"SECRET\"",
    "[push]\nproxy = \"ftp://ops:SECRET@proxy.example.com\"",
    "[push]\ntimeout = \"SECRET\"",
    "[push]\nattempts = \"SECRET\"",
    "[rollout]\ncanary = \"SECRET\"",
    "[rollout]\nstop_after = \"SECRET\"",
    "[keys]\n\"SECRET\" = \"P\"",
    "[keys]\nhistory = \"SECRET\"",
    "[ui]\ntheme = \"SECRET\"",
    "[store]\nretention = \"SECRET\"",
    "[log]\nlevel = \"SECRET\"",
    "[inventory]\nallow_hosts = [\"[SECRET\"]",
];

/// Configs that are right, and whose secrets cannot be read.
fn unreadable(ground: &Ground) -> Vec<String> {
    let site = "[[sites]]\nurl = \"http://127.0.0.1:1\"\n";
    let fails = |script: &str| format!("{site}[master_key]\ncommand = [\"sh\", \"-c\", \"{script}\"]");
    let file = |name: &str, text: &str| {
        ground.write(name, text);
        format!("{site}[master_key]\nfile = \"{}\"", ground.path(name))
    };
    vec![
        fails(&format!("set -x; echo {MISPLACED}; exit 1")),
        fails(&format!("echo {MISPLACED}; echo got {MISPLACED} >&2; kill -9 $$")),
        fails(&format!("echo {MISPLACED}; echo {} >&2; false", canaries::SHOWN)),
        fails(&format!("echo {MISPLACED}; echo second {MISPLACED}")),
        fails(&format!("echo {}", canaries::SHOWN)),
        format!("{site}[master_key]\nenv = \"{MISPLACED}\""),
        format!(
            "{site}[master_key]\nenv = [\"NOT_SET\", \"{}\"]",
            canaries::GIVEN[0]
        ),
        file("secrets/of-stripe", canaries::SHOWN),
        file("secrets/two-lines", &format!("{MISPLACED}\n{MISPLACED}")),
        file("secrets/no-ascii", &format!("{MISPLACED}\u{e9}")),
        format!(
            "{site}[[sources]]\nkind = \"sql\"\nurl = {{ file = \"{}\" }}\nquery = \"select 1\"",
            ground.path("secrets/password")
        ),
        format!(
            "{site}[push]\nproxy = \"http://ops:{MISPLACED}@127.0.0.1:1\"\n[[sources]]\nkind = \"http\"\nurl = \"https://127.0.0.1:1/{MISPLACED}\""
        ),
    ]
}

#[test]
fn what_fails_tells_no_secret() {
    let ground = Ground::new();
    let key = ground.path("key.txt");
    for (place, wrong) in WRONG.iter().enumerate() {
        ground.write("wrong.toml", &wrong.replace("SECRET", MISPLACED));
        let ended = ground.run("wrong.toml", &["sites"], "");
        assert_eq!(ended.status.code(), Some(2), "{place}: {wrong}: {ended:?}");
    }
    for config in unreadable(&ground) {
        ground.write("unreadable.toml", &config);
        for arguments in [
            &["push", "--yes", "--key-file", &key, "--allow-list-change"][..],
            &["sites"],
            &["info"],
        ] {
            ground.run("unreadable.toml", arguments, "");
        }
    }
    ground.files_hold_nothing();
}

#[test]
fn a_secret_that_is_given_as_the_key_is_not_repeated() {
    let ground = Ground::new();
    for (place, secret) in canaries::GIVEN.into_iter().enumerate() {
        let file = ground.path(&format!("secrets/given-{place}"));
        for (arguments, input) in [
            (&["push", "--yes", "--key-stdin"][..], secret),
            (&["push", "--yes", "--json", "--key-file", &file], ""),
            (&["verify", "--key-stdin"], secret),
            (&["push", "--yes", "--key-env", secret], ""),
            (&["push", "--yes", secret], ""),
            (&["acknowledge", "--site", "plain", "--reason", secret], ""),
        ] {
            let ended = ground.run("config.toml", arguments, input);
            assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        }
    }
    let mut command = ground.command("config.toml", &["push", "--yes", "--key-env", "THE_KEY"]);
    let ended = command.env("THE_KEY", canaries::GIVEN[0]).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    ground.says_nothing("push --key-env", &[ended.stdout, ended.stderr].concat());
    // A publishable key is no secret, so that its variable is not kept from commands: they saw this one.
    std::fs::remove_file(ground.path("children/listing")).unwrap();
    // Asked for on the terminal.
    let mut pty = ground.screen("config.toml", &["push", "--yes"]).start();
    pty.sees("publishable key (hidden):")
        .type_(canaries::GIVEN[0])
        .key("Enter");
    assert_eq!(pty.wait_exit(), 2);
    ground.says_nothing("the terminal", &pty.received_so_far());
    ground.files_hold_nothing();
    assert!(ground.stage.fleet.record().requests.is_empty());
}

#[test]
fn a_program_that_is_killed_leaves_no_secret_behind() {
    let ground = Ground::new();
    let key = ground.path("key.txt");
    let arguments = [
        "push",
        "--yes",
        "--key-file",
        &key,
        "--allow-unrecognised",
        "--allow-list-change",
    ];
    for signal in [Signal::ABORT, Signal::SEGV] {
        let seen = ground.stage.fleet.record().requests.len();
        let mut child = ground.command("config.toml", &arguments).spawn().unwrap();
        // By the time that a site has heard of it the program is well beyond its beginning.
        while ground.stage.fleet.record().requests.len() == seen {
            assert!(child.try_wait().unwrap().is_none(), "it ended without a request");
            std::thread::yield_now();
        }
        ground.process_shows_nothing(child.id().try_into().unwrap());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        ground.says_nothing("a push that is killed", &[ended.stdout, ended.stderr].concat());
        // What was not written to the store yet stands in its log.
        ground.files_hold_nothing();
    }
}

/// The fleet's config, with more behind a table's head.
fn with(ground: &Ground, table: &str, line: &str) -> String {
    let text = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    if text.contains(table) {
        text.replacen(table, &format!("{table}\n{line}"), 1)
    } else {
        format!("{text}\n{table}\n{line}\n")
    }
}

#[test]
fn a_proxy_or_a_store_that_fails_tells_no_secret() {
    let ground = Ground::new();
    let key = ground.path("key.txt");
    ground.echo.serves_clean_keys();
    let proxy = ground.echo.address.replace("http://", "");
    let proxy = format!("proxy = \"http://ops:{}@{proxy}\"", canaries::PROXY);
    ground.write("proxied.toml", &with(&ground, "[push]", &proxy));
    let url = format!("postgres://ops:{}@127.0.0.1:1/keys", canaries::STORE);
    ground.write("secrets/store", &url);
    let file = format!("url = {{ file = \"{}\" }}", ground.path("secrets/store"));
    ground.write("far.toml", &with(&ground, "[store]", &file));
    let value = format!("url = {{ value = \"{url}\" }}");
    ground.write("far-too.toml", &with(&ground, "[store]", &value));
    for config in ["proxied.toml", "far.toml", "far-too.toml"] {
        for arguments in [
            &[
                "push",
                "--json",
                "--yes",
                "--key-file",
                &key,
                "--allow-list-change",
                "--allow-unrecognised",
            ][..],
            &["push", "--dry-run", "--key-file", &key],
            &["status", "--json"],
            &["verify", "--json"],
            &["check", "--auth"],
            &["history"],
            &["sites"],
            &["info"],
            &["info", "--format", "json"],
        ] {
            ground.run(config, arguments, "");
        }
        let mut pty = ground.screen(config, &[]).start();
        if config == "proxied.toml" {
            pty.sees(" failed").key("q");
        } else {
            pty.receives("the store in PostgreSQL");
        }
        pty.wait_exit();
        ground.says_nothing("the terminal", &pty.received_so_far());
        ground.files_hold_nothing();
    }
    assert!(ground.echo.was_proxy(), "the proxy was asked");
    assert_eq!(ground.echo.bare(), Vec::<String>::new());
}
