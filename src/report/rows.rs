//! Rows for people and for spreadsheets, from one table of columns: aligned text, CSV, Markdown.

use std::fmt::Write;

use csv::{QuoteStyle, Terminator, WriterBuilder};

use super::aligned;

/// A column: its name, and what stands in it, for people and for programs.
#[derive(Debug, Clone, Copy)]
pub struct Column<Row> {
    name: &'static str,
    /// What people see above it, where that is another word.
    head: Option<&'static str>,
    people: Option<fn(&Row) -> String>,
    programs: Option<fn(&Row) -> String>,
}

impl<Row> Column<Row> {
    /// The same for both.
    pub const fn new(name: &'static str, cell: fn(&Row) -> String) -> Self {
        Self::of(name, Some(cell), Some(cell))
    }

    /// People read something else than programs: a time of day for the one in UTC, a dash for nothing.
    pub const fn each(name: &'static str, people: fn(&Row) -> String, programs: fn(&Row) -> String) -> Self {
        Self::of(name, Some(people), Some(programs))
    }

    /// Only programs see it: what has no room on a page.
    pub const fn for_programs(name: &'static str, cell: fn(&Row) -> String) -> Self {
        Self::of(name, None, Some(cell))
    }

    /// Only people see it: programs have its parts.
    pub const fn for_people(name: &'static str, cell: fn(&Row) -> String) -> Self {
        Self::of(name, Some(cell), None)
    }

    const fn of(
        name: &'static str,
        people: Option<fn(&Row) -> String>,
        programs: Option<fn(&Row) -> String>,
    ) -> Self {
        Self {
            name,
            head: None,
            people,
            programs,
        }
    }

    /// What people see above it.
    #[must_use]
    pub const fn headed(mut self, head: &'static str) -> Self {
        self.head = Some(head);
        self
    }

    fn head(&self) -> String {
        match self.head {
            Some(head) => head.to_owned(),
            None => self.name.to_uppercase().replace('_', " "),
        }
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Aligned text, as wide as it is.
    Table,
    /// RFC 4180 in UTF-8 without a mark, the columns' names first; times in UTC.
    Csv,
    /// GitHub's Markdown.
    Markdown,
}

/// The rows, below the names of their columns.
pub fn render<Row>(layout: Layout, columns: &[Column<Row>], rows: impl IntoIterator<Item = Row>) -> String {
    match layout {
        Layout::Table => {
            let cells = rows.into_iter().map(|row| for_people(columns, &row));
            aligned(&heads(columns), cells)
        }
        Layout::Markdown => {
            let cells = rows.into_iter().map(|row| for_people(columns, &row));
            markdown(&heads(columns), cells)
        }
        Layout::Csv => {
            let cells = rows.into_iter().map(|row| for_programs(columns, &row));
            csv(&names(columns), cells)
        }
    }
}

/// What people read where there may be nothing.
pub(super) fn or_dash(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), |cell| cell.to_string())
}

/// What programs read where there may be nothing.
pub(super) fn or_empty(cell: Option<impl ToString>) -> String {
    cell.map(|cell| cell.to_string()).unwrap_or_default()
}

/// What people see above the columns.
pub(super) fn heads<Row>(columns: &[Column<Row>]) -> Vec<String> {
    let shown = columns.iter().filter(|column| column.people.is_some());
    shown.map(Column::head).collect()
}

/// What people see of a row.
pub(super) fn for_people<Row>(columns: &[Column<Row>], row: &Row) -> Vec<String> {
    let cells = columns.iter().filter_map(|column| column.people);
    cells.map(|cell| cell(row)).collect()
}

/// The names of the columns that programs see.
pub(super) fn names<Row>(columns: &[Column<Row>]) -> Vec<&'static str> {
    let shown = columns.iter().filter(|column| column.programs.is_some());
    shown.map(|column| column.name).collect()
}

/// What programs see of a row.
pub(super) fn for_programs<Row>(columns: &[Column<Row>], row: &Row) -> Vec<String> {
    let cells = columns.iter().filter_map(|column| column.programs);
    cells.map(|cell| cell(row)).collect()
}

/// One row a line, behind a row of names.
///
/// A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula: such a cell
/// gets an apostrophe in front of it ([`inert`]).
pub(super) fn csv(names: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing into memory cannot fail, nor have the rows different lengths.
    let _written = writer.write_record(names);
    for row in rows {
        let _written = writer.write_record(row.iter().map(|cell| inert(cell)));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// A table of GitHub's Markdown.
pub(super) fn markdown(heads: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    // Writing into a string cannot fail.
    let mut text = String::new();
    let _written = writeln!(text, "| {} |", heads.join(" | "));
    let _written = writeln!(text, "|{}", " --- |".repeat(heads.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|raw| markdown_cell(raw)).collect();
        let _written = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
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

/// Text that stays text wherever it is pasted: no markup, no HTML, no end of a cell, and nobody is called by
/// an `@` in it.
pub(super) fn markdown_cell(raw: &str) -> String {
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
            assert_eq!(markdown_cell(raw), escaped);
        }
    }

    #[test]
    fn each_layout_has_the_columns_that_are_meant_for_it() {
        let columns = [
            Column::new("site", |row: &(&str, u32)| row.0.to_owned()),
            Column::each("looked_at", |_| "10:00".to_owned(), |row| row.1.to_string()),
            Column::for_programs("url", |_| "https://a.example".to_owned()),
            Column::for_people("who", |_| "=1|x".to_owned()).headed("BY"),
        ];
        let rows = [("-a", 5)];
        assert_eq!(
            render(Layout::Table, &columns, rows),
            "SITE  LOOKED AT  BY\n-a    10:00      =1|x\n"
        );
        assert_eq!(
            render(Layout::Csv, &columns, rows),
            "site,looked_at,url\r\n'-a,5,https://a.example\r\n"
        );
        assert_eq!(
            render(Layout::Markdown, &columns, rows),
            "| SITE | LOOKED AT | BY |\n| --- | --- | --- |\n| -a | 10:00 | =1\\|x |\n"
        );
    }
}
