use ::csv::{QuoteStyle, Terminator, WriterBuilder};

use super::{Told, cause, clock_set, reason, title, utc, who};
use crate::report::UNSEEN;
use crate::store::RunSite;

/// What is known of a site, then what is known of the run, the same in each row: rows of several runs can stand
/// in one file.
const HEADS: [&str; 26] = [
    "site",
    "url",
    "group",
    "push",
    "reason",
    "verify",
    "cause",
    "http",
    "puts",
    "key",
    "before",
    "now",
    "old_key",
    "at",
    "note",
    "run",
    "run_key",
    "by",
    "began",
    "ended",
    "state",
    "clock_set",
    "old_keys_may_expire",
    "old_keys",
    "judged_by",
    "not_seen_from_here",
];

/// One row a site, behind a row of names: RFC 4180, in UTF-8 without a mark, times in UTC.
///
/// A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula: such a cell
/// gets an apostrophe in front of it ([`inert`]).
pub(super) fn render(told: &Told<'_>) -> String {
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing into memory cannot fail, nor have the rows different lengths.
    let _written = writer.write_record(HEADS);
    let of_run = of_run(told).map(|cell| inert(&cell));
    for (place, site) in told.export.sites.iter().enumerate() {
        let of_site = of_site(told, place, site).map(|cell| inert(&cell));
        let _written = writer.write_record(of_site.iter().chain(&of_run));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn of_site(told: &Told<'_>, place: usize, site: &RunSite) -> [String; 15] {
    let planned = &site.planned;
    [
        planned.name.to_string(),
        planned.site.to_string(),
        planned
            .group
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        site.push.look().word.to_owned(),
        reason(site).map_or("", |reason| reason.word()).to_owned(),
        site.verify.look().word.to_owned(),
        cause(site).unwrap_or_default().to_owned(),
        site.http.map(|status| status.to_string()).unwrap_or_default(),
        site.puts.to_string(),
        told.mask(&planned.key),
        told.served_word(&site.before).unwrap_or_default(),
        told.served_word(&site.now).unwrap_or_default(),
        told.old_keys.states[place].word().to_owned(),
        site.at.map(utc).unwrap_or_default(),
        site.note.to_string(),
    ]
}

fn of_run(told: &Told<'_>) -> [String; 11] {
    let run = told.export.run;
    let state = match (run.ended, run.closed, run.live) {
        (Some(_), true, _) => "closed",
        (Some(_), false, _) => "ended",
        (None, _, true) => "goes_on",
        (None, _, false) => "left_open",
    };
    [
        title(run),
        told.mask(&run.key),
        who(&run.by),
        utc(run.began.wall),
        run.ended.map(|ended| utc(ended.wall)).unwrap_or_default(),
        state.to_owned(),
        clock_set(run).unwrap_or_default(),
        told.old_keys.is_safe().to_string(),
        told.verdict(),
        super::BASIS.to_owned(),
        UNSEEN.to_owned(),
    ]
}

/// A cell that no spreadsheet takes for a formula: an apostrophe in front says "text" to each of them.
///
/// Where the comma is the decimal sign, a spreadsheet that opens this file parts its cells at semicolons: what
/// stands behind one is a beginning too. The wide forms of the signs are the same to some.
fn inert(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len() + 1);
    let mut at_begin = true;
    for character in cell.chars() {
        let begins_formula = matches!(
            character,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'
        );
        if at_begin && begins_formula {
            text.push('\'');
        }
        text.push(character);
        at_begin = character == ';' || (at_begin && character == ' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, inert_cell) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("＝1", "'＝1"),
            (" =1", " '=1"),
            ("a; =1;b;+2", "a; '=1;b;'+2"),
            ("a=b", "a=b"),
            ("a - b", "a - b"),
            ("", ""),
        ] {
            assert_eq!(inert(cell), inert_cell, "{cell:?}");
        }
    }
}
