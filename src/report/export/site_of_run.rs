use super::{SiteOfRun, cause, reason, utc};
use crate::report::rows::{Column, or_dash, or_empty};
use crate::rules::status::SkipReason;

/// What is told of a site of a run.
pub(super) fn columns<'a>() -> [Column<SiteOfRun<'a>>; 15] {
    [
        Column::new("site", |row| row.site.planned.name.to_string()),
        Column::new("url", |row| row.site.planned.site.to_string()),
        Column::for_programs("group", |row| or_empty(row.site.planned.group.as_ref())),
        Column::each("push", push, |row| row.site.push.look().word.to_owned()),
        Column::for_programs("reason", |row| or_empty(reason(row.site).map(SkipReason::word))),
        Column::new("verify", |row| row.site.verify.look().word.to_owned()),
        Column::for_programs("cause", |row| or_empty(cause(row.site))),
        Column::each(
            "http",
            |row| or_dash(row.site.http),
            |row| or_empty(row.site.http),
        ),
        Column::new("puts", |row: &SiteOfRun<'a>| row.site.puts.to_string()).headed("TRY"),
        Column::for_programs("key", |row| row.told.mask(&row.site.planned.key)),
        Column::each(
            "before",
            |row| row.told.served(&row.site.before),
            |row| or_empty(row.told.served_word(&row.site.before)),
        ),
        Column::each(
            "now",
            |row| row.told.served(&row.site.now),
            |row| or_empty(row.told.served_word(&row.site.now)),
        ),
        Column::for_programs("old_key", |row| {
            row.told.old_keys.states[row.place].word().to_owned()
        }),
        Column::for_programs("at", |row| or_empty(row.site.at.map(utc))),
        Column::new("note", |row| row.site.note.to_string()),
    ]
}

/// What became of its PUT, and why, where it was left out.
fn push(row: &SiteOfRun<'_>) -> String {
    let push = row.site.push.look().word;
    match reason(row.site) {
        Some(reason) => format!("{push} ({})", reason.word()),
        None => push.to_owned(),
    }
}
