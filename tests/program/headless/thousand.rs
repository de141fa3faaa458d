//! As many sites as an operator has.

use std::collections::BTreeMap;

use super::*;

#[test]
fn a_thousand_sites_are_as_sure_as_three() {
    let stage = Stage::of(1000);
    let ended = stage.run(&["push", "--key-stdin", "--yes", "--json"], stage.key());
    assert_eq!(ended.code, Some(1), "some sites fail by design: {}", ended.err);
    let results = ended.events("result");
    let names: Vec<&str> = results
        .iter()
        .map(|line| line["site"].as_str().unwrap())
        .collect();
    let all = stage.fleet.sites().iter().map(|site| site.name.as_str());
    assert!(
        names.iter().copied().eq(all),
        "each site has one result, in the order of the list"
    );
    let record = stage.fleet.record();
    let mut puts = vec![0; 1000];
    for put in record.requests.iter().filter(|request| request.method == "PUT") {
        puts[put.site] += 1;
    }
    let mut serving = 0;
    for (index, result) in results.iter().enumerate() {
        let (site, name) = (&stage.fleet.sites()[index], names[index]);
        if site.fault == Fault::Healthy {
            assert_eq!(result["verify"], "verified", "{name}");
        }
        if site.fault != Fault::Dead {
            assert_eq!(result["attempts"].as_u64(), Some(puts[index]), "{name}");
        }
        let serves = stage.fleet.serves_now(index);
        serving += u64::from(serves.iter().all(|served| served.as_deref() == Some(stage.key())));
    }
    summary_is_what_the_fleet_saw(&ended, &results, serving);
    let concurrency = config::load(&stage.path("config.toml")).unwrap().push.concurrency;
    let most = stage.fleet.record().most_connections;
    assert!(most <= concurrency, "{most} connections at once");
}

/// Each line is one of a run, and its summary counts what the results say and the fleet serves.
fn summary_is_what_the_fleet_saw(ended: &Ended, results: &[Value], serving: u64) {
    for line in ended.json() {
        assert_eq!((&line["v"], line["at"].is_string()), (&1.into(), true), "{line}");
        let event = line["event"].as_str().unwrap();
        assert!(
            ["run_started", "attempt", "alarm", "halted", "result", "summary"].contains(&event),
            "{line}"
        );
    }
    let summary = ended.events("summary").remove(0);
    for state in ["push", "verify"] {
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for result in results {
            *counted.entry(result[state].as_str().unwrap()).or_default() += 1;
        }
        let told = summary[state].as_object().unwrap();
        let told: BTreeMap<&str, u64> = told
            .iter()
            .map(|(word, count)| (word.as_str(), count.as_u64().unwrap()))
            .collect();
        assert_eq!(told, counted);
    }
    assert_eq!(
        summary["verify"]["verified"].as_u64(),
        Some(serving),
        "what the fleet serves"
    );
    assert_eq!(summary["exit"], 1);
}
