use crate::cli::Globals;
use crate::cli::setup::Setup;
use crate::config::{Config, TabSettings, UiSettings};
use crate::tui::model::Clipboard;
use crate::tui::run::NO_TAB;

/// Whether it is a terminal of DEC's, or something that passes for one: it has neither Unicode nor colours, and takes
/// the numbers of a colour for other attributes, such as blinking.
pub(super) fn is_terminal_of_dec(kind: Option<std::ffi::OsString>) -> bool {
    let kind = kind.unwrap_or_default();
    let digits = |kind: &str| kind.starts_with(|letter: char| letter.is_ascii_digit());
    // Not `vte`.
    kind.to_string_lossy().strip_prefix("vt").is_some_and(digits)
}

/// Whether the terminal shows ASCII only: the Linux console, one of DEC's, or a locale without UTF-8.
pub(super) fn needs_ascii(ui: &UiSettings, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    if let Some(ascii) = ui.ascii {
        return ascii;
    }
    let kind = variable("TERM");
    let console = kind.as_ref().is_some_and(|kind| kind == "linux") || is_terminal_of_dec(kind);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(&variable);
    let utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    console || !utf8
}

/// What of it this kind of terminal can show. One that does not know these sequences would print them: only those
/// that do are sent any. All know the bell.
fn tab(settings: TabSettings, kind: &str) -> TabSettings {
    const KNOW: [&str; 15] = [
        "alacritty",
        "contour",
        "foot",
        "ghostty",
        "gnome",
        "iterm",
        "konsole",
        "mintty",
        "rxvt",
        "screen",
        "st-",
        "tmux",
        "vte",
        "wezterm",
        "xterm",
    ];

    let knows = KNOW.iter().any(|known| kind.starts_with(known));
    TabSettings {
        title: settings.title && knows,
        progress: settings.progress && knows,
        bell: settings.bell,
    }
}

/// What of `config` this terminal can show.
pub(super) fn tab_here(config: &Config) -> TabSettings {
    tab(config.ui.tab, &std::env::var("TERM").unwrap_or_default())
}

/// What a screen on the operator's config shows outside of itself, or one on the demo (none). While a config is wrong,
/// nothing.
pub(in crate::cli) fn tab_of(globals: Option<&Globals>) -> TabSettings {
    match globals.map(|globals| Setup::of(globals).config()) {
        None => tab_here(&Config::empty()),
        Some(Ok(config)) => tab_here(&config),
        Some(Err(_)) => NO_TAB,
    }
}

/// Whether the terminal may know OSC 52: the Linux console and DEC's terminals do not. What a terminal makes of it is
/// its own matter, and asking it would bring answers that look like key presses.
pub(super) fn clipboard(kind: Option<std::ffi::OsString>, tmux: bool) -> Clipboard {
    let kind = kind.unwrap_or_default();
    let kind = kind.to_string_lossy();
    if kind == "linux" || kind.starts_with("vt") {
        Clipboard::Lacks
    } else if tmux {
        Clipboard::Tmux
    } else {
        Clipboard::Takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_knows_titles_is_sent_any() {
        let all = TabSettings {
            title: true,
            progress: true,
            bell: true,
        };
        for kind in ["xterm-256color", "tmux-256color", "screen", "foot", "st-256color"] {
            assert_eq!(tab(all, kind), all, "{kind}");
        }
        for kind in ["linux", "vt100", "vt220", "ansi", "cons25", ""] {
            let plain = tab(all, kind);
            assert!(!plain.title && !plain.progress && plain.bell, "{kind}");
        }
    }

    #[test]
    fn a_console_takes_nothing_into_a_clipboard() {
        for (kind, tmux, takes) in [
            ("linux", false, Clipboard::Lacks),
            ("vt100", true, Clipboard::Lacks),
            ("vt220", false, Clipboard::Lacks),
            ("xterm", false, Clipboard::Takes),
            ("tmux-256color", true, Clipboard::Tmux),
        ] {
            assert_eq!(clipboard(Some(kind.into()), tmux), takes, "{kind}");
        }
    }

    #[test]
    fn the_locale_and_the_console_decide_on_ascii() {
        let judge = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            needs_ascii(&UiSettings::default(), |name| {
                pairs
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.into())
            })
        };
        assert!(!judge(&[("TERM", "screen"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("TERM", "linux"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("TERM", "vt100"), ("LANG", "fr_FR.UTF-8")]));
        assert!(!judge(&[("TERM", "vte-256color"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("LC_ALL", "C"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("TERM", "xterm")]));
        assert!(!judge(&[("LC_CTYPE", "C.utf8")]));
    }
}
