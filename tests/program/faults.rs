//! Every fault that a site can have, against the real program: what the operator sees, whether it is asked again, how
//! long it may take and how many bytes; and that it costs no other site its turn. docs/faults.md is made of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use stage::Stage;
use stripe_propagate::demo::asked::{AskedFault, Share};
use stripe_propagate::demo::faults::{FAULTS, Fault};
use stripe_propagate::demo::{FleetOptions, FleetSite};
use table::{ROWS, Row};

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;
#[path = "faults/hostile.rs"]
mod hostile;
#[path = "faults/table.rs"]
mod table;

/// The config's.
const TIMEOUT: Duration = Duration::from_millis(2_500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How late a machine may notice that a time is over, beside [`how_late`]. A fault that goes on for ever goes on for longer.
const SLACK: Duration = Duration::from_secs(2);
/// Fewer than sites that hang: more of them than slots are under way at once.
const SLOTS: usize = 4;
/// Sites that are well, beside one of each fault.
const WELL: usize = 12;
const HANG: [Fault; 6] = [
    Fault::NeverAnswers,
    Fault::DripsHeaders,
    Fault::DripsBody,
    Fault::TlsHangs,
    Fault::StoredLate,
    Fault::Asleep,
];

/// One site of each, and of those that share a server two.
fn one_each() -> Vec<AskedFault> {
    let odd = FAULTS.iter().filter(|row| row.fault != Fault::Healthy);
    odd.map(|row| AskedFault {
        fault: row.fault,
        share: Share::Sites(row.names.len().max(1)),
    })
    .collect()
}

impl Stage {
    fn of_faults(faults: Vec<AskedFault>, well: usize) -> Self {
        let odd = faults.iter().map(|asked| match asked.share {
            Share::Sites(sites) => sites,
            Share::Percent(_) => 0,
        });
        let stage = Self::with(FleetOptions {
            sites: odd.sum::<usize>() + well,
            faults,
            ..FleetOptions::default()
        });
        let path = stage.path("config.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (usual, here) in [
            (
                "\ntimeout = \"3s\"",
                format!("\ntimeout = \"{}ms\"\nconcurrency = {SLOTS}", TIMEOUT.as_millis()),
            ),
            (
                "connect_timeout = \"1s\"",
                format!("connect_timeout = \"{}s\"", CONNECT_TIMEOUT.as_secs()),
            ),
            ("attempts = 3", "attempts = 2".to_owned()),
            ("settle = \"8s\"", "settle = \"1s\"".to_owned()),
        ] {
            assert!(text.contains(usual), "{usual}");
            text = text.replacen(usual, &here, 1);
        }
        std::fs::write(path, text).unwrap();
        stage
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stripe-propagate"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir(self.folder.path())
            .args(["--config", "config.toml"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(stage::schema::line).collect()
}

/// The last word on each site, by its name.
fn results(lines: &[Value]) -> BTreeMap<&str, &Value> {
    let results = lines.iter().filter(|line| line["event"] == "result");
    results
        .map(|line| (line["site"].as_str().unwrap(), line))
        .collect()
}

fn row(fault: Fault) -> &'static Row {
    ROWS.iter().find(|row| row.fault == fault).unwrap()
}

#[test]
fn each_fault_has_its_row() {
    let listed: Vec<Fault> = ROWS.iter().map(|row| row.fault).collect();
    let all: Vec<Fault> = FAULTS.iter().map(|row| row.fault).collect();
    assert_eq!(listed, all, "in the order of FAULTS");
}

#[test]
fn each_fault_is_told_as_it_is_and_costs_no_other_site_its_turn() {
    let stage = Stage::of_faults(one_each(), WELL);
    let pushed = stage.run(&[
        "push",
        "--key-file",
        "key.txt",
        "--yes",
        "--json",
        "--allow-unrecognised",
        "-vv",
    ]);
    assert_eq!(
        pushed.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&pushed.stderr)
    );
    let lines = events(&pushed);
    is_told_as_it_is(&stage, &lines);
    is_bounded(&stage, &lines);
    costs_no_turn(&stage);
    let looked = stage.run(&["verify", "--json"]);
    let lines = events(&looked);
    let results = results(&lines);
    let certain = |site: &&FleetSite| !row(site.fault).by_chance;
    for site in stage.fleet.sites().iter().filter(certain) {
        assert_eq!(
            results[site.name.as_str()]["verify"],
            row(site.fault).looked,
            "{}",
            site.name
        );
    }
    hostile::nothing_comes_through(&stage, &pushed, &looked);
    assert_eq!(stage.fleet.record().to_redirect_target, 0, "nobody follows");
    is_mended(&stage);
}

/// All that is sick is well when it is mended.
fn is_mended(stage: &Stage) {
    stage.heal();
    let sick = stage.fleet.sites().iter().filter(|site| site.fault.row().sick);
    let mut arguments = vec!["push", "--key-file", "key.txt", "--yes", "--json"];
    arguments.extend(sick.clone().flat_map(|site| ["--site", site.name.as_str()]));
    let pushed = stage.run(&arguments);
    let lines = events(&pushed);
    let results = results(&lines);
    assert_eq!(results.len(), sick.clone().count());
    for site in sick {
        assert_eq!(results[site.name.as_str()]["verify"], "verified", "{}", site.name);
    }
}

fn is_told_as_it_is(stage: &Stage, lines: &[Value]) {
    let results = results(lines);
    let record = stage.fleet.record();
    let mut wrong = Vec::new();
    for (index, site) in stage.fleet.sites().iter().enumerate() {
        let (row, result) = (row(site.fault), results[site.name.as_str()]);
        let puts = usize::try_from(result["attempts"].as_u64().unwrap()).unwrap();
        let note = result["note"].as_str().unwrap();
        let cause = result["cause"].as_str().unwrap_or_default();
        // Where the machine stands still for so long, the limit of the whole is over with that of connecting, and nobody
        // knows whether the PUT went.
        let stood_still = row.fault == Fault::TlsHangs && result["push"] == "unknown";
        let is_right = (stood_still || result["push"] == row.push)
            && (stood_still || result["verify"] == row.verify || row.by_chance)
            && cause == row.cause
            && note.contains(row.note)
            && (note.is_empty() == row.note.is_empty() || row.by_chance)
            && row.puts.contains(&puts);
        // What hangs may be on its way still.
        let arrived = record.puts(index).len();
        if !is_right || arrived > puts {
            wrong.push(format!(
                "{}: {arrived} PUTs of {puts} arrived: {result}",
                site.name
            ));
        }
        if row.handshake {
            let told = lines
                .iter()
                .filter(|line| line["event"] == "attempt" && line["site"] == site.name.as_str());
            assert_eq!(
                record.accepted[index],
                told.count(),
                "{}: one connection a request",
                site.name
            );
            assert!(
                record.requests.iter().all(|request| request.site != index),
                "{}",
                site.name
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How long the slowest request took of those to sites that are well: so slow is the machine just now.
fn how_late(stage: &Stage, lines: &[Value]) -> Duration {
    let well = stage.fleet.sites().iter();
    let well: BTreeSet<&str> = well
        .filter(|site| site.fault == Fault::Healthy)
        .map(|site| site.name.as_str())
        .collect();
    let attempts = lines.iter().filter(|line| line["event"] == "attempt");
    let of_well = attempts.filter(|line| well.contains(line["site"].as_str().unwrap()));
    of_well.map(took).max().unwrap()
}

fn took(attempt: &Value) -> Duration {
    Duration::from_millis(attempt["ms"].as_u64().unwrap())
}

/// No request takes longer than its row says, and no site gets rid of more bytes.
fn is_bounded(stage: &Stage, lines: &[Value]) {
    let late = SLACK + 2 * how_late(stage, lines);
    let record = stage.fleet.record();
    let mut wrong = Vec::new();
    for (index, site) in stage.fleet.sites().iter().enumerate() {
        let row = row(site.fault);
        let attempts = lines
            .iter()
            .filter(|line| line["event"] == "attempt" && line["site"] == site.name.as_str());
        let slowest = attempts.map(took).max().unwrap();
        let wrote = record.wrote[index];
        if slowest > row.takes + late || wrote > row.bytes {
            wrong.push(format!(
                "{}: {slowest:?} (and {late:?}), {wrote} bytes",
                site.name
            ));
        }
        // More than is read of it was there.
        if matches!(
            site.fault,
            Fault::EndlessBody | Fault::EndlessContinue | Fault::TenGigabytes | Fault::LongLineInBody
        ) {
            assert!(wrote > 64 * 1024, "{}: {wrote}", site.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// More sites hang than there are slots, and each site that is well is pushed once, and before any that hangs is tried for
/// the second time: none had to wait until those were through.
fn costs_no_turn(stage: &Stage) {
    let record = stage.fleet.record();
    let sites = stage.fleet.sites();
    let of = |fault: fn(Fault) -> bool| (0..sites.len()).filter(move |index| fault(sites[*index].fault));
    let hanging = of(|fault| HANG.contains(&fault));
    assert!(hanging.clone().count() > SLOTS);
    let again = hanging.filter_map(|index| record.puts(index).get(1).map(|put| put.at));
    let again = again.min().unwrap();
    let pushed: Vec<_> = of(|fault| fault == Fault::Healthy)
        .map(|index| record.puts(index))
        .collect();
    assert_eq!(pushed.len(), WELL);
    for puts in pushed {
        assert_eq!(puts.len(), 1);
        assert!(puts[0].at < again, "{:?}, {again:?}", puts[0]);
    }
}

fn demo(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_stripe-propagate"))
        .env_clear()
        .env("HOME", folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_demo_plays_what_it_is_asked_for() {
    let played = demo(&[
        "demo",
        "--headless",
        "--sites",
        "3",
        "--seed",
        "1",
        "--fault",
        "refused=100%",
    ]);
    assert_eq!(played.status.code(), Some(1), "{played:?}");
    let said = String::from_utf8(played.stdout).unwrap();
    assert!(
        ["phare-eteint", "phare-eteint-2", "phare-eteint-3"]
            .iter()
            .all(|name| said.contains(name)),
        "{said}"
    );
    let mistyped = demo(&["demo", "--headless", "--fault", "endles-body=1"]);
    assert_eq!(mistyped.status.code(), Some(2), "{mistyped:?}");
    let said = String::from_utf8(mistyped.stderr).unwrap();
    assert!(
        said.contains("no such fault: did you mean endless-body?") && said.contains("tls-hangs"),
        "{said}"
    );
    let too_many = demo(&["demo", "--headless", "--sites", "3", "--fault", "asleep=4"]);
    assert_eq!(too_many.status.code(), Some(2), "{too_many:?}");
    let said = String::from_utf8(too_many.stderr).unwrap();
    assert!(said.contains("the faults need 4 sites and there are 3"), "{said}");
}

fn in_kib(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        bytes if bytes >= 1024 * 1024 => format!("{} MiB", bytes / 1024 / 1024),
        bytes => format!("{} KiB", bytes / 1024),
    }
}

/// docs/faults.md, from both tables.
fn page() -> String {
    let mut page = "# Faults that the demo's sites can have\n\n\
        `stripe-propagate demo --fault NAME=SHARE` plays them: on a number of sites (`never-answers=3`) or on a part of \
        them\n(`never-answers=10%`), as many as you like, while all other sites are well. It works with `--serve` and \
        `--headless`, too.\n\n\
        What the operator sees in the end is proven by the test that this page is made of (`tests/program/faults.rs`): a \
        push with\n`attempts = 2` and `--allow-unrecognised`, without which a site that answers something else than this \
        API is `skipped`.\n`PUTs` says how often the key was sent: more than once where the request is tried again.\n\
        `seconds` is what one request takes at most, as far as the machine keeps time (`timeout` is 2.5 s there, and \
        `connect_timeout` 2 s), and\n`bytes` what the site gets rid of at most on one connection: what is read of its answer, \
        and what the buffers of both systems hold.\n\n\
        | name | such a site | PUSH | VERIFY | cause | PUTs | seconds | bytes | note |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (fault, row) in FAULTS.iter().zip(ROWS) {
        let (least, most) = (row.puts.start(), row.puts.end());
        let puts = if least == most {
            most.to_string()
        } else {
            format!("{least} or {most}")
        };
        let cells = [
            format!("`{}`", fault.word),
            fault.sentence.to_owned(),
            format!("`{}`", row.push),
            format!("`{}`", row.verify),
            if row.cause.is_empty() {
                String::new()
            } else {
                format!("`{}`", row.cause)
            },
            puts,
            row.takes.as_secs_f64().to_string(),
            in_kib(row.bytes),
            row.note.to_owned(),
        ];
        page.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    page
}

#[test]
fn the_page_says_what_is_proven() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if std::env::var_os("UPDATE_FAULTS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let told = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        told == page(),
        "docs/faults.md is old: make it anew with UPDATE_FAULTS=1 cargo test --test program faults"
    );
}
