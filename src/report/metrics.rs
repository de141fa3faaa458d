//! Numbers for a monitoring system: text that is valid both as OpenMetrics 1.0 and as the format of Prometheus that
//! `node_exporter`'s textfile collector reads. For that all of them are gauges (`info` and `stateset` are unknown
//! there), none has a time of its own (the collector refuses the whole file for one), and no line is empty (OpenMetrics
//! has none).
//!
//! No label holds a name, an address or a key: who reads metrics is not who may read the list of sites.

use std::fmt::Write;

use jiff::Timestamp;

use super::Results;
use super::export::{STATES, state_word};
use crate::rules::status::{push_looks, verify_looks};
use crate::rules::tally::Ending;
use crate::store::RunRecord;

/// The numbers of what is known of the sites, and of the newest run, if there is one.
pub fn text(results: &Results<'_>, newest: Option<&RunRecord>) -> String {
    let mut text = Text(String::new());
    of_sites(&mut text, results);
    of_old_keys(&mut text, results);
    of_looks(&mut text, results);
    if let Some(run) = newest {
        of_run(&mut text, run);
    }
    text.0.push_str("# EOF\n");
    text.0
}

fn of_sites(text: &mut Text, results: &Results<'_>) {
    let tally = results.tally();
    let count = |count: usize| Value::Count(count);
    // Each word, those that no site has too: a number that vanishes is not zero to an alert.
    text.family(
        "sites",
        None,
        "Sites by what the looks at them said.",
        verify_looks().map(|look| (Some(("verify", look.word)), count(tally.verify(look.word)))),
    );
    text.family(
        "sites_by_push",
        None,
        "Sites by what became of their PUT in the last run that had them in its plan.",
        push_looks().map(|look| (Some(("push", look.word)), count(tally.push(look.word)))),
    );
    let owed = results.rows().filter(|(_, state)| state.is_owed()).count();
    text.number(
        "sites_owed",
        "Sites that are not known to serve the key that is expected of them.",
        count(owed),
    );
    let acknowledged = results
        .rows()
        .filter(|(site, _)| results.acknowledgement(site).is_some());
    text.number(
        "sites_acknowledged",
        "Sites that the operator knows to be bad.",
        count(acknowledged.count()),
    );
    text.number(
        "sites_bad",
        "Sites that count as failed in the exit status: those that are acknowledged do not.",
        count(tally.ending(Ending::Bad)),
    );
    text.number(
        "sources_failed",
        "Sources of sites that could not be read: the sites that only stand there are in none of these numbers.",
        count(results.missing_sources.len()),
    );
}

fn of_old_keys(text: &mut Text, results: &Results<'_>) {
    let old_keys = results.replaced_keys();
    let may = old_keys
        .keys
        .iter()
        .filter(|old| old_keys.may_expire(old))
        .count();
    let counts = [("true", may), ("false", old_keys.keys.len() - may)];
    text.family(
        "old_keys",
        None,
        "Keys that runs have replaced, by whether they may expire as far as is known of all sites.",
        counts.map(|(word, count)| (Some(("may_expire", word)), Value::Count(count))),
    );
}

/// The point in time is what an alert should use: it goes on telling the truth when nobody writes this file any more.
/// The age is for who reads the file.
fn of_looks(text: &mut Text, results: &Results<'_>) {
    let looks = || results.rows().filter_map(|(_, state)| state.looked_at);
    let never = results
        .rows()
        .filter(|(_, state)| state.looked_at.is_none())
        .count();
    text.number(
        "sites_never_looked_at",
        "Sites of which no look has shown what they serve.",
        Value::Count(never),
    );
    let (Some(oldest), Some(newest)) = (looks().min(), looks().max()) else {
        return;
    };
    let looks = [("oldest", oldest), ("newest", newest)];
    text.family(
        "last_look_timestamp_seconds",
        Some("seconds"),
        "When the site whose last look is the oldest (or the newest) last showed what it serves.",
        looks.map(|(which, look)| (Some(("look", which)), Value::Time(look.wall))),
    );
    text.family(
        "last_look_age_seconds",
        Some("seconds"),
        "How long ago that was when this was written.",
        looks.map(|(which, look)| {
            let age = results.now.since(look).as_secs();
            (Some(("look", which)), Value::Seconds(age))
        }),
    );
}

fn of_run(text: &mut Text, run: &RunRecord) {
    text.number("last_run_number", "The newest run.", Value::Seconds(run.id.0));
    text.family(
        "last_run_state",
        None,
        "1 at the state of the newest run: closed with something left to send, ended, worked on, or left by its process.",
        STATES.map(|state| {
            let is = usize::from(state_word(run) == state);
            (Some(("state", state)), Value::Count(is))
        }),
    );
    let times = [
        (
            "last_run_began_timestamp_seconds",
            "When the newest run began.",
            Some(run.began),
        ),
        (
            "last_run_sent_timestamp_seconds",
            "When nothing of it was left to send.",
            run.sent,
        ),
        ("last_run_ended_timestamp_seconds", "When it ended.", run.ended),
    ];
    for (name, help, moment) in times {
        if let Some(moment) = moment {
            text.family(name, Some("seconds"), help, [(None, Value::Time(moment.wall))]);
        }
    }
}

/// A number.
#[derive(Debug, Clone, Copy)]
enum Value {
    Count(usize),
    Seconds(u64),
    Time(Timestamp),
}

/// A label's name and its value: words of ours, which need no escapes.
type Label = (&'static str, &'static str);

struct Text(String);

impl Text {
    fn number(&mut self, name: &str, help: &str, value: Value) {
        self.family(name, None, help, [(None, value)]);
    }

    /// A metric with all of its numbers. `unit` is the end of its name, as `OpenMetrics` wants it.
    fn family(
        &mut self,
        name: &str,
        unit: Option<&str>,
        help: &str,
        samples: impl IntoIterator<Item = (Option<Label>, Value)>,
    ) {
        let text = &mut self.0;
        let name = format!("stripe_propagate_{name}");
        // Writing into a string cannot fail.
        let _written = writeln!(text, "# TYPE {name} gauge");
        if let Some(unit) = unit {
            let _written = writeln!(text, "# UNIT {name} {unit}");
        }
        let _written = writeln!(text, "# HELP {name} {help}");
        for (label, value) in samples {
            let label = label.map_or_else(String::new, |(label, word)| format!("{{{label}=\"{word}\"}}"));
            let _written = match value {
                Value::Count(count) => writeln!(text, "{name}{label} {count}"),
                Value::Seconds(seconds) => writeln!(text, "{name}{label} {seconds}"),
                Value::Time(time) => writeln!(text, "{name}{label} {}", time.as_second()),
            };
        }
    }
}
