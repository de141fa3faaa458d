use super::site_of_run::columns;
use super::{Told, clock_set, state_word, title, utc, who};
use crate::report::{UNSEEN, rows};

/// What is known of the run, the same in each row: rows of several runs can stand in one file.
const OF_RUN: [&str; 11] = [
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

/// One row a site: what is known of it, then of the run.
pub(super) fn render(told: &Told<'_>) -> String {
    let columns = columns();
    let names = [rows::names(&columns), OF_RUN.to_vec()].concat();
    let of_run = of_run(told);
    let sites = (0..told.export.sites.len()).map(|place| {
        let mut row = rows::for_programs(&columns, &told.site(place));
        row.extend_from_slice(&of_run);
        row
    });
    rows::csv(&names, sites)
}

fn of_run(told: &Told<'_>) -> [String; 11] {
    let run = told.export.run;
    [
        title(run),
        told.mask(&run.key),
        who(&run.by),
        utc(run.began.wall),
        run.ended.map(|ended| utc(ended.wall)).unwrap_or_default(),
        state_word(run).to_owned(),
        clock_set(run).unwrap_or_default(),
        told.old_keys.is_safe().to_string(),
        told.verdict(),
        super::BASIS.to_owned(),
        UNSEEN.to_owned(),
    ]
}
