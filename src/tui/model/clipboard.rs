/// What a terminal makes of text for its clipboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clipboard {
    /// It may take it: asking would bring answers that look like key presses.
    Takes,
    /// It is tmux, which passes it on where it is told to.
    Tmux,
    /// Its kind has none.
    Lacks,
}
