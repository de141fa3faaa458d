//! The tables that a store has in a file and in a database alike, for what moves one into the other.

/// What is in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Number,
    /// A text.
    Text,
    /// Yes or no; in a file 1 or 0.
    Flag,
    /// The number of a machine's start, by which the store knows it: each store has its own.
    Boot,
}

/// A table, without what a store has for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// What its rows are, for the operator.
    pub(super) what: &'static str,
    /// The columns that say which row it is; in their order rows are moved.
    pub(super) key: &'static [&'static str],
    /// All that are moved.
    pub(super) columns: &'static [(&'static str, Kind)],
}

/// The values of a column, row by row.
#[derive(Debug)]
pub(super) enum Cells {
    /// Of numbers and of starts.
    Numbers(Vec<Option<i64>>),
    /// Of texts.
    Texts(Vec<Option<String>>),
    /// Of flags.
    Flags(Vec<Option<bool>>),
}

impl Cells {
    /// None yet, of a column with this in it.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Number | Boot => Self::Numbers(Vec::new()),
            Text => Self::Texts(Vec::new()),
            Flag => Self::Flags(Vec::new()),
        }
    }
}

use Kind::{Boot, Flag, Number, Text};

/// The tables, those first that others name.
pub(super) const TABLES: [Table; 9] = [
    Table {
        name: "runs",
        what: "runs",
        key: &["id"],
        columns: &[
            ("id", Number),
            ("kind", Text),
            ("parent", Number),
            ("key", Text),
            ("allow", Text),
            ("began_by", Text),
            ("began_ns", Number),
            ("began_wall", Number),
            ("began_boot", Boot),
            ("sent_ns", Number),
            ("sent_wall", Number),
            ("sent_boot", Boot),
            ("ended_ns", Number),
            ("ended_wall", Number),
            ("ended_boot", Boot),
            ("closed", Flag),
            ("counts", Text),
        ],
    },
    Table {
        name: "sites",
        what: "sites",
        key: &["id"],
        columns: &[
            ("id", Number),
            ("url", Text),
            ("version", Number),
            ("run", Number),
            ("state", Text),
            ("boot", Boot),
        ],
    },
    Table {
        name: "run_sites",
        what: "sites of runs",
        key: &["run", "site"],
        columns: &[
            ("run", Number),
            ("site", Number),
            ("position", Number),
            ("name", Text),
            ("part_of", Text),
            ("left_out", Text),
            ("key", Text),
            ("serves", Text),
            ("push", Text),
            ("verify", Text),
            ("http", Number),
            ("puts", Number),
            ("before", Text),
            ("now", Text),
            ("note", Text),
            ("at_ns", Number),
            ("at_wall", Number),
            ("at_boot", Boot),
            ("open", Flag),
            ("left", Text),
            ("open_put", Flag),
        ],
    },
    Table {
        name: "attempts",
        what: "attempts",
        key: &["id"],
        columns: &[
            ("id", Number),
            ("run", Number),
            ("site", Number),
            ("request", Text),
            ("number", Number),
            ("key", Text),
            ("at", Number),
            ("ended", Flag),
            ("ms", Number),
            ("http", Number),
            ("cause", Text),
            ("note", Text),
        ],
    },
    Table {
        name: "seen",
        what: "keys seen at sites",
        key: &["id"],
        columns: &[
            ("id", Number),
            ("site", Number),
            ("served", Text),
            ("first", Number),
            ("last", Number),
            ("pushed_by", Number),
        ],
    },
    Table {
        name: "standings",
        what: "words of Stripe on keys",
        key: &["key"],
        columns: &[("key", Text), ("standing", Text), ("at", Number)],
    },
    Table {
        name: "acknowledgements",
        what: "acknowledgements",
        key: &["url"],
        columns: &[("url", Text), ("acknowledgement", Text)],
    },
    Table {
        name: "notices",
        what: "notices of watches",
        key: &["about", "finding"],
        columns: &[("about", Text), ("finding", Text), ("told", Number)],
    },
    Table {
        name: "lists",
        what: "lists of sites",
        key: &["name"],
        columns: &[("name", Text), ("sites", Text)],
    },
];
