use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{Stage, bare, err, out};

#[test]
fn init_writes_a_config_that_works_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = bare(arguments);
        command.env("HOME", folder.path()).current_dir(folder.path());
        command.output().unwrap()
    };
    let own = folder.path().join(".config/stripe-propagate/config.toml");
    let told = out(&run(&["init"]));
    assert!(
        told.contains(own.to_str().unwrap()) && told.contains("check --auth"),
        "{told}"
    );
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&["init"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(err(&again).contains("stays as it is"), "{}", err(&again));

    let told = out(&run(&["init", "here.toml"]));
    assert!(told.contains("--config here.toml check"), "{told}");
    out(&run(&["--config", "there.toml", "init"]));
    assert!(folder.path().join("there.toml").is_file());
    let known = out(&run(&["--config", "there.toml", "info"]));
    assert!(known.contains("config.sites"), "{known}");
}

#[test]
fn info_tells_where_all_is_and_reads_no_secret() {
    let stage = Stage::of(2);
    let path = stage.path("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let master = stage.fleet.master_key().to_owned();
    let config = config.replace("file = \"master.key\"", "env = \"MASTER\"");
    fs::write(&path, config).unwrap();
    let info = |master: Option<&str>| -> Value {
        let mut command = stage.command(&["info", "--format", "json"]);
        command.envs(master.map(|master| ("MASTER", master)));
        let text = out(&command.output().unwrap());
        assert!(!text.contains(stage.fleet.master_key()), "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let told = info(Some(&master));
    assert_eq!(
        told["master_key"]["global"],
        "the environment variable MASTER (set)"
    );
    assert_eq!(told["config"]["file"], path.to_str().unwrap());
    assert_eq!(told["config"]["sites"], 2);
    assert_eq!(
        told["store"]["bytes"],
        Value::Null,
        "there is none yet, and none is made"
    );
    assert!(!stage.path("state/stripe-propagate/store.db").exists());
    assert_eq!(told["push"]["concurrency"], 64);
    assert_eq!(told["policy"]["file"], "/etc/stripe-propagate/policy.toml");
    stage.push();
    let told = info(None);
    assert_eq!(
        told["master_key"]["global"],
        "the environment variable MASTER (not set)"
    );
    assert_eq!(told["store"]["version"], told["store"]["newest_version"]);
    assert!(told["store"]["bytes"].as_u64().unwrap() > 0);
    let table = out(&stage.run(&["info"]));
    assert!(table.contains("push.timeout"), "{table}");
}

#[test]
fn info_works_without_a_config_and_with_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = bare(arguments);
        command.env("HOME", folder.path()).current_dir(folder.path());
        command.output().unwrap()
    };
    let told = out(&run(&["info"]));
    assert!(
        told.contains("config.looked_for") && told.contains("verify.settle"),
        "{told}"
    );
    fs::write(folder.path().join("wrong.toml"), "[push]\nattempts = 0\n").unwrap();
    let wrong = run(&["--config", "wrong.toml", "info"]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = String::from_utf8(wrong.stdout).unwrap();
    assert!(
        told.contains("wrong.toml:2:") && told.contains("store.file"),
        "{told}"
    );
    assert!(!folder.path().join(".local").exists(), "it makes nothing");
}

#[test]
fn completions_and_manual_pages_need_no_config() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = bare(arguments);
        command
            .env("HOME", folder.path())
            .env("STRIPE_PROPAGATE_CONFIG", "/nowhere/config.toml")
            .current_dir(folder.path());
        command.output().unwrap()
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = out(&run(&["completions", shell]));
        assert!(
            script.contains("acknowledge") && script.contains("attempts"),
            "{shell}"
        );
    }
    let page = out(&run(&["man"]));
    for head in [
        "NAME",
        "SYNOPSIS",
        "OPTIONS",
        "EXAMPLES",
        "EXIT STATUS",
        "FILES",
        "ENVIRONMENT",
    ] {
        let (plain, quoted) = (format!("\n.SH {head}\n"), format!("\n.SH \"{head}\"\n"));
        assert!(page.contains(&plain) || page.contains(&quoted), "{head}: {page}");
    }
    assert!(page.contains(".TP\n130\ninterrupted\n"), "{page}");

    out(&run(&["man", "--output", "pages"]));
    let of_all = fs::read_to_string(folder.path().join("pages/stripe-propagate.1")).unwrap();
    assert_eq!(of_all, page);
    for command in stripe_propagate::cli::command().get_subcommands() {
        let path = folder
            .path()
            .join(format!("pages/stripe-propagate-{}.1", command.get_name()));
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            page.contains("EXAMPLES") && page.contains("EXIT STATUS"),
            "{page}"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }
}

#[cfg(not(feature = "cluster"))]
#[test]
fn a_build_without_workers_says_so_and_how_to_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let text = "[store]\nurl = { env = \"URL\" }\n[cluster]\nenabled = true\n";
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    for arguments in [&["worker"][..], &["--config", config, "sites"]] {
        let told = bare(arguments).env("HOME", folder.path()).output().unwrap();
        assert_eq!(told.status.code(), Some(2));
        assert!(err(&told).contains("--features cluster"), "{}", err(&told));
    }
}
