use super::{SiteOfRun, cause, reason, utc};
use crate::report::rows::Column;

/// What is told of a site of a run.
pub(super) fn columns<'a>() -> [Column<SiteOfRun<'a>>; 15] {
    [
        Column::new("site", |row| row.site.planned.name.to_string()),
        Column::new("url", |row| row.site.planned.site.to_string()),
        Column::for_programs("group", |row| {
            let group = row.site.planned.group.as_ref();
            group.map(ToString::to_string).unwrap_or_default()
        }),
        Column::each("push", push, |row| row.site.push.look().word.to_owned()),
        Column::for_programs("reason", |row| {
            reason(row.site).map_or("", |reason| reason.word()).to_owned()
        }),
        Column::new("verify", |row| row.site.verify.look().word.to_owned()),
        Column::for_programs("cause", |row| cause(row.site).unwrap_or_default().to_owned()),
        Column::each(
            "http",
            |row| row.site.http.map_or("-".to_owned(), |status| status.to_string()),
            |row| row.site.http.map(|status| status.to_string()).unwrap_or_default(),
        ),
        Column::new("puts", |row: &SiteOfRun<'a>| row.site.puts.to_string()).headed("TRY"),
        Column::for_programs("key", |row| row.told.mask(&row.site.planned.key)),
        Column::each(
            "before",
            |row| row.told.served(&row.site.before),
            |row| row.told.served_word(&row.site.before).unwrap_or_default(),
        ),
        Column::each(
            "now",
            |row| row.told.served(&row.site.now),
            |row| row.told.served_word(&row.site.now).unwrap_or_default(),
        ),
        Column::for_programs("old_key", |row| {
            row.told.old_keys.states[row.place].word().to_owned()
        }),
        Column::for_programs("at", |row| row.site.at.map(utc).unwrap_or_default()),
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
