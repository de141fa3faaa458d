//! Every fault that a site can have, against the real program: what the operator sees, whether it is asked again, how
//! long it may take and how many bytes; and that it costs no other site its turn. docs/faults.md is made of the table.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

/// The config's, in milliseconds.
const TIMEOUT: u64 = 2_500;
/// How late a busy machine may notice that the time is over, in milliseconds. A fault that goes on for ever goes on for
/// longer.
const SLACK: u64 = 6_000;
/// What a site can get rid of on one connection: what is read of a body, and the buffers of both systems. In bytes.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
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
                format!("\ntimeout = \"{TIMEOUT}ms\"\nconcurrency = {SLOTS}"),
            ),
            ("connect_timeout = \"1s\"", "connect_timeout = \"2s\"".to_owned()),
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
    hostile::nothing_comes_through(&stage, &[pushed, looked]);
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

/// No request takes longer than its limit, and no site gets rid of more than is read.
fn is_bounded(stage: &Stage, lines: &[Value]) {
    for line in lines.iter().filter(|line| line["event"] == "attempt") {
        assert!(line["ms"].as_u64().unwrap() <= TIMEOUT + SLACK, "{line}");
    }
    let record = stage.fleet.record();
    let mut without_end = 0;
    for spoken in &record.spoken {
        let site = &stage.fleet.sites()[spoken.site];
        assert!(spoken.bytes <= MOST_BYTES, "{}: {}", site.name, spoken.bytes);
        if matches!(site.fault, Fault::EndlessBody | Fault::TenGigabytes) {
            without_end += 1;
            assert!(spoken.bytes > 32 * 1024, "{}: {}", site.name, spoken.bytes);
        }
    }
    assert!(without_end >= 4);
}

/// More sites hang than there are slots, and each site that is well is pushed once, and before the last request to one
/// that hangs: none had to wait until those were through.
fn costs_no_turn(stage: &Stage) {
    let record = stage.fleet.record();
    let sites = stage.fleet.sites();
    let hangs = |index: usize| HANG.contains(&sites[index].fault);
    assert!((0..sites.len()).filter(|index| hangs(*index)).count() > SLOTS);
    let of_hanging = record.requests.iter().filter(|request| hangs(request.site));
    let last = of_hanging.map(|request| request.at).max().unwrap();
    let well = (0..sites.len()).filter(|index| sites[*index].fault == Fault::Healthy);
    let pushed: Vec<_> = well.map(|index| record.puts(index)).collect();
    assert_eq!(pushed.len(), WELL);
    for puts in pushed {
        assert_eq!(puts.len(), 1);
        assert!(puts[0].at < last, "{:?}, {last:?}", puts[0]);
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
        said.contains("no such fault: endless-body?") && said.contains("tls-hangs"),
        "{said}"
    );
    let too_many = demo(&["demo", "--headless", "--sites", "3", "--fault", "asleep=4"]);
    assert_eq!(too_many.status.code(), Some(2), "{too_many:?}");
    let said = String::from_utf8(too_many.stderr).unwrap();
    assert!(said.contains("the faults need 4 sites and there are 3"), "{said}");
}

/// docs/faults.md, from both tables.
fn page() -> String {
    let mut page = "# Faults that the demo's sites can have\n\n\
        `stripe-propagate demo --fault NAME=SHARE` plays them: on a number of sites (`never-answers=3`) or on a part of \
        them\n(`never-answers=10%`), as many as you like, while all other sites are well. It works with `--serve` and \
        `--headless`, too.\n\n\
        What the operator sees in the end is proven by the test that this page is made of (`tests/program/faults.rs`): a \
        push with\n`attempts = 2` and `--allow-unrecognised`, without which a site that answers something else than this \
        API is `skipped`.\n`PUTs` says how often the key was sent: more than once where the request is tried again. No \
        request took longer than\n`timeout`, as far as the machine keeps time, and no site that\nis played byte by byte got rid of more than 8 MiB.\n\n\
        | name | such a site | PUSH | VERIFY | cause | PUTs | note |\n| --- | --- | --- | --- | --- | --- | --- |\n"
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
