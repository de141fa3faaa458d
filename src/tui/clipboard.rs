use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What asks a terminal to put `text` into its clipboard (OSC 52). The operator's terminal does so at the other end of
/// the line, also through tmux with `set-clipboard on`; one that does not know or allow it shows nothing.
pub(super) fn osc52(text: &str) -> Vec<u8> {
    format!("\x1b]52;c;{}\x1b\\", STANDARD.encode(text)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_out_as_base64() {
        assert_eq!(osc52("café\x1b"), b"\x1b]52;c;Y2Fmw6kb\x1b\\");
    }
}
