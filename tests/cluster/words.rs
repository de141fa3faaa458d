//! What operators are told of workers, on either side.

use super::ground::{Ground, sharing};
use super::servers::{Kind, new_database};

const AT_ONCE: &str = "canary = 0\nstop_after = \"never\"";

fn ground(sites: usize) -> Option<Ground> {
    let (_, url) = new_database(Kind::Postgres)?;
    Some(Ground::of(sharing(sites, 10), url, AT_ONCE))
}

#[test]
fn whose_master_key_is_refused_stands_in_the_halt_in_the_notes_and_on_the_terminal_of_that_worker() {
    let Some(ground) = ground(20) else { return };
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let config = config.replace("master.key", "other.key");
    std::fs::write(ground.stage.path("elsewhere.toml"), config).unwrap();
    // The file has the modes of another secret.
    std::fs::copy(ground.stage.path("master.key"), ground.stage.path("other.key")).unwrap();
    std::fs::write(ground.stage.path("other.key"), "of-another-fleet-0123456789").unwrap();
    let (worker, host) = ground.worker_elsewhere("shops-b", "elsewhere.toml");
    let ended = ground.follows(ground.push());
    worker.says("run 1: push of pk_test_");
    worker.says("run 1: two sites refused a master key that this worker has");
    let halted = ended.has(4).events("halted").remove(0);
    let by = format!("(asked by the worker on {host})");
    assert!(halted["note"].as_str().unwrap().ends_with(&by), "{halted}");
    let results = ended.events("result");
    let mut notes = results.iter().map(|result| result["note"].as_str().unwrap());
    let asked = format!("the worker on {host} asked");
    let tells = |note: &str| note.starts_with("refuses the master key") && note.contains(&asked);
    assert!(notes.any(tells), "{}", ended.out);
}

#[test]
fn sites_that_a_worker_does_not_know_make_one_line_on_either_side_and_say_so_in_their_notes() {
    let Some(ground) = ground(10) else { return };
    let config = std::fs::read_to_string(ground.stage.path("config.toml")).unwrap();
    let mut parts: Vec<&str> = config.split("\n[[sites]]").collect();
    assert_eq!(parts.len(), 11);
    let names: Vec<String> = ground.stage.fleet.sites()[5..]
        .iter()
        .map(|site| site.name.clone())
        .collect();
    parts.truncate(6);
    std::fs::write(ground.stage.path("elsewhere.toml"), parts.join("\n[[sites]]")).unwrap();
    let (worker, host) = ground.worker_elsewhere("shops-b", "elsewhere.toml");
    let key = ground.stage.path("key.txt").display().to_string();
    let push = ground.start("pushes", &["push", "--key-file", &key, "--yes"]);
    let ended = ground.follows(push);
    worker.says("run 1: this worker's config does not know 5 sites of it: ");
    let told = format!("run 1: the worker on {host} does not know 5 sites of it: ");
    let lines: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| line.contains("does not know"))
        .collect();
    assert!(matches!(lines[..], [line] if line.contains(&told)), "{lines:?}");
    assert!(names.iter().all(|name| lines[0].contains(name)), "{lines:?}");
    let note = format!("not in the config of the worker that was to do so: the worker on {host}");
    assert_eq!(ended.out.matches(&note).count(), 5, "{}", ended.out);
    assert!(!ended.out.contains("master key"), "{}", ended.out);
}
