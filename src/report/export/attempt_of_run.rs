use super::{AttemptOfRun, time, utc};
use crate::report::rows::{Column, or_dash, or_empty};
use crate::rules::outcome::Cause;

/// What is told of an attempt of a run.
pub(super) fn columns<'a>() -> [Column<AttemptOfRun<'a>>; 10] {
    [
        Column::each(
            "at",
            |row| time(row.attempt.at, row.zone),
            |row| utc(row.attempt.at),
        ),
        Column::each(
            "site",
            |row| {
                row.site
                    .map_or_else(|| row.attempt.site.to_string(), str::to_owned)
            },
            |row| or_empty(row.site),
        ),
        Column::for_programs("url", |row| row.attempt.site.to_string()),
        Column::each(
            "request",
            |row| row.attempt.request.word().to_owned(),
            |row| row.attempt.request.word().to_lowercase(),
        ),
        Column::new("number", |row| row.attempt.number.to_string()),
        Column::for_programs("ended", |row| row.attempt.ended.to_string()),
        Column::each(
            "http",
            |row| or_dash(row.attempt.http),
            |row| or_empty(row.attempt.http),
        ),
        Column::each(
            "ms",
            |row| or_dash(row.attempt.ms),
            |row| or_empty(row.attempt.ms),
        ),
        Column::for_programs("cause", |row| or_empty(row.attempt.cause.map(Cause::word))),
        Column::each("note", note, |row| row.attempt.note.to_string()),
    ]
}

fn note(row: &AttemptOfRun<'_>) -> String {
    if row.attempt.ended {
        row.attempt.note.to_string()
    } else {
        "sent; what came of it is not on record".to_owned()
    }
}
