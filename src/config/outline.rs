use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::EXAMPLE;

/// Lines that are shown before and behind the one with the error.
const BESIDE: usize = 2;

/// A line of a config, as far as it may be shown: the names that every config has, and of a value no more than
/// that there is one. Any value can be a secret that was put in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine {
    /// Counted from 1.
    pub number: usize,
    /// What may be shown of it.
    pub text: String,
}

/// The names that stand in the example, commented or not: all that a config knows.
static NAMES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let bare = EXAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    bare.filter_map(|line| {
        let head = line.strip_prefix("[[").or(line.strip_prefix('['));
        let name = match head {
            Some(head) => head.trim_end_matches(']'),
            None => line.split_once(" = ")?.0,
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
    })
    .collect()
});

/// The line `number` of `text` and those beside it.
pub(super) fn around(text: &str, number: usize) -> Vec<ConfigLine> {
    let first = number.saturating_sub(BESIDE).max(1);
    let lines = text
        .lines()
        .enumerate()
        .skip(first - 1)
        .take(number + BESIDE + 1 - first);
    lines
        .map(|(index, line)| ConfigLine {
            number: index + 1,
            text: shown(line.trim()),
        })
        .collect()
}

fn shown(line: &str) -> String {
    let known = |name: &str| {
        if NAMES.contains(name) {
            name.to_owned()
        } else {
            "…".to_owned()
        }
    };
    if line.is_empty() {
        return String::new();
    }
    if line.starts_with('#') {
        return "# …".to_owned();
    }
    for opens in ["[[", "["] {
        if let Some(rest) = line.strip_prefix(opens) {
            // With the brackets that it has: a missing one may be what is wrong.
            let (name, rest) = rest.split_at(rest.find(']').unwrap_or(rest.len()));
            let behind = rest.trim_start_matches(']');
            let closes = &rest[..rest.len() - behind.len()];
            let more = if behind.trim().is_empty() { "" } else { " …" };
            return format!("{opens}{}{closes}{more}", known(name.trim()));
        }
    }
    match line.split_once('=') {
        Some((name, value)) if value.trim().is_empty() => format!("{} =", known(name.trim())),
        Some((name, _)) => format!("{} = …", known(name.trim())),
        None => match line.split_once(char::is_whitespace) {
            Some((name, _)) if NAMES.contains(name) => format!("{name} …"),
            _ => known(line),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_without_their_values() {
        let text = "# sk_live_x\n[master_key]\nvalue = \"topsecret\"\n\n[[sites]]\ntopsecret = 3\n  url=\"https://u:topsecret@a.example\"\ntopsecret\n[topsecret]";
        let all: Vec<String> = (1..=9)
            .map(|number| {
                let around = around(text, number);
                let line = around.iter().find(|line| line.number == number).unwrap();
                line.text.clone()
            })
            .collect();
        assert_eq!(
            all,
            [
                "# …",
                "[master_key]",
                "value = …",
                "",
                "[[sites]]",
                "… = …",
                "url = …",
                "…",
                "[…]"
            ]
        );
    }

    #[test]
    fn a_broken_line_is_shown_as_it_stands() {
        for (line, as_shown) in [
            ("[master_key", "[master_key"),
            ("[[sites", "[[sites"),
            ("[[sites]", "[[sites]"),
            ("[push]]  # topsecret", "[push]] …"),
            ("[topsecret", "[…"),
            ("[push topsecret", "[…"),
            ("concurrency 3", "concurrency …"),
            ("topsecret 3", "…"),
            ("url", "url"),
            ("url =", "url ="),
            ("= topsecret", "… = …"),
        ] {
            assert_eq!(shown(line), as_shown, "{line}");
        }
    }

    #[test]
    fn beside_the_line_stand_two_on_each_side() {
        let numbers = |text: &str, number| -> Vec<usize> {
            around(text, number).iter().map(|line| line.number).collect()
        };
        assert_eq!(numbers("\n\n\n\n\n\n\n", 4), [2, 3, 4, 5, 6]);
        assert_eq!(numbers("a\nb", 1), [1, 2]);
        assert_eq!(numbers("", 1), Vec::<usize>::new());
    }
}
