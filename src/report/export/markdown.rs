use std::fmt::Write;

use super::old_keys::OldKeyState;
use super::site_of_run::columns;
use super::{BASIS, Told, clock_set};
use crate::report::UNSEEN;
use crate::report::rows::{self, Layout, markdown_cell as cell};
use crate::text::{Count, some_names};

/// A heading, the answer, the facts and a table of the sites, what needs a look first. GitHub's Markdown.
pub(super) fn render(told: &Told<'_>) -> String {
    // Writing into a string cannot fail.
    let mut text = String::new();
    let run = told.export.run;
    let _written = writeln!(
        text,
        "# stripe-propagate: run {} of {}\n",
        run.id.0,
        cell(&told.mask(&run.key))
    );
    answer(told, &mut text);
    let _written = writeln!(text, "\n| | |\n| --- | --- |");
    for (name, fact) in told.facts() {
        let _written = writeln!(text, "| {name} | {} |", cell(&fact));
    }
    if let Some(clock_set) = clock_set(run) {
        let _written = writeln!(text, "| clock | {} |", cell(&clock_set));
    }
    let counts = told.counts();
    let counts = counts
        .iter()
        .map(|(look, count)| format!("{count} {}", look.word));
    let counts: Vec<String> = counts.collect();
    let sites = Count(told.export.sites.len(), "site");
    let _written = writeln!(text, "\n{sites}: {}\n", cell(&counts.join(", ")));
    if !told.export.sites.is_empty() {
        let rows = told.worst_first().into_iter().map(|place| told.site(place));
        text.push_str(&rows::render(Layout::Markdown, &columns(), rows));
    }
    text
}

fn answer(told: &Told<'_>, text: &mut String) {
    let _written = writeln!(
        text,
        "**May the old key expire?** {}\n\n{}",
        cell(&told.verdict()),
        cell(BASIS)
    );
    let _written = writeln!(text);
    let (first, more) = told.old_keys.named();
    for old in first {
        let key = cell(&told.mask(&old.key));
        for (places, when) in [(&old.now, "served by"), (&old.before, "served before by")] {
            if !places.is_empty() {
                let names = cell(&some_names(&told.names(places)));
                let count = Count(places.len(), "site");
                let _written = writeln!(text, "- {key} {when} {count}: {names}");
            }
        }
    }
    if more > 0 {
        let _written = writeln!(text, "- {}: see the table", Count(more, "more old key"));
    }
    for state in [OldKeyState::Unseen, OldKeyState::Unproven] {
        let places = told.old_keys.places(state);
        if !places.is_empty() {
            let names = cell(&some_names(&told.names(&places)));
            let count = Count(places.len(), "site");
            let _written = writeln!(text, "- {count} {}: {names}", state.sentence());
        }
    }
    let _written = writeln!(text, "- {}", cell(UNSEEN));
}
