use std::fmt::Write;

use super::old_keys::OldKeyState;
use super::{BASIS, Told, clock_set, reason};
use crate::report::{UNSEEN, some_names};
use crate::store::RunSite;
use crate::text::Count;

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
        let _written = writeln!(text, "| {} |", HEADS.join(" | "));
        let _written = writeln!(text, "|{}", " --- |".repeat(HEADS.len()));
    }
    for place in told.worst_first() {
        let row = row(told, &told.export.sites[place]).map(|one| cell(&one));
        let _written = writeln!(text, "| {} |", row.join(" | "));
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

const HEADS: [&str; 9] = [
    "SITE", "URL", "BEFORE", "NOW", "PUSH", "VERIFY", "HTTP", "TRY", "NOTE",
];

fn row(told: &Told<'_>, site: &RunSite) -> [String; 9] {
    let push = site.push.look().word;
    [
        site.planned.name.to_string(),
        site.planned.site.to_string(),
        told.served(&site.before),
        told.served(&site.now),
        reason(site).map_or_else(|| push.to_owned(), |reason| format!("{push} ({})", reason.word())),
        site.verify.look().word.to_owned(),
        site.http.map_or("-".to_owned(), |status| status.to_string()),
        site.puts.to_string(),
        site.note.to_string(),
    ]
}

/// Text that stays text wherever it is pasted: no markup, no HTML, no end of a cell, and nobody is called by
/// an `@` in it.
fn cell(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' | '!' => {
                text.push('\\');
                text.push(character);
            }
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            // An empty character behind it, since the sign is looked for in what is shown.
            '@' => text.push_str("@&#8203;"),
            character if character.is_control() => text.push(' '),
            character => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        for (raw, escaped) in [
            ("a|b", "a\\|b"),
            ("a\\|b", "a\\\\\\|b"),
            ("`x`", "\\`x\\`"),
            ("<script>&lt;", "&lt;script&gt;&amp;lt;"),
            ("![a](b)", "\\!\\[a\\](b)"),
            ("@team", "@&#8203;team"),
            ("a\nb", "a b"),
            ("not_started", "not\\_started"),
        ] {
            assert_eq!(cell(raw), escaped);
        }
    }
}
