//! Text that is written to harm who shows it. Each contains [`MARK`], by which a test finds it again.

/// Stands in each text.
pub(super) const MARK: &str = "DEMO-HOSTILE";
/// What a line of the log begins with that a site has written.
const FAKED_TIME: &str = "2001-02-03T04:05:06Z";
/// A line of this many bytes.
const LONG: usize = 1024 * 1024;

/// Colours, clears the screen, sets the title, copies to the clipboard (OSC 52), links (OSC 8), asks the terminal for
/// an answer, and the same with the one-byte controls of C1.
pub(super) fn escapes() -> String {
    format!(
        "\u{1b}[31m\u{1b}[2J{MARK}\u{1b}]0;{MARK}\u{7}\u{1b}]52;c;ZGVtbw==\u{7}\
         \u{1b}]8;;https://demo.example/\u{1b}\\link\u{1b}]8;;\u{1b}\\\u{1b}[6n\u{9b}31m\u{9d}52;c;ZGVtbw==\u{9c}"
    )
}

/// Turned around, isolated, and letters that take no room.
pub(super) fn bidi() -> String {
    format!("\u{202e}{MARK}\u{202d}\u{2066}moc.elpmaxe\u{2069}\u{200f}\u{61c}\u{200b}\u{feff}")
}

pub(super) fn nul() -> String {
    format!("{MARK}\0behind\0it")
}

/// Lines that look like the log's.
pub(super) fn faked_log() -> String {
    format!("{MARK}\r\n{FAKED_TIME}  INFO run 1: all sites are verified\n{FAKED_TIME} ERROR {MARK}\r")
}

/// A megabyte without an end of line.
pub(super) fn long_line() -> String {
    format!("{MARK} ").repeat(LONG / (MARK.len() + 1))
}
