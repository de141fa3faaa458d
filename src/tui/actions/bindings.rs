use super::{ACTIONS, Action};
use crate::config::{Config, ConfigError, Placed};
use crate::tui::keys::{Bindings, Press};

/// Each action with the keys of the table.
pub fn unchanged() -> Bindings {
    let keys = |action: &Action| (action.name, action.keys.to_vec());
    Bindings::new(ACTIONS.iter().map(keys).collect())
}

/// Each action with the keys that `[keys]` gives it, else with those of the table.
///
/// # Errors
/// When `[keys]` names no action or no key, or a key has two actions that can be meant at once.
pub fn bound(config: &Config) -> Result<Bindings, ConfigError> {
    let mut changed: Vec<(&Action, Vec<(Press, &Placed)>)> = Vec::new();
    for setting in &config.keys {
        let action = named(&setting.action.text).map_err(|why| config.error(&setting.action, why))?;
        let read = |key| read(key).map_err(|why| config.error(key, why));
        let keys = setting.keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() && action.name == "quit" {
            let why = "`quit` needs a key: without one nobody would get out of the screen";
            return Err(config.error(&setting.action, why));
        }
        changed.push((action, keys));
    }
    for (index, (action, keys)) in changed.iter().enumerate() {
        for (press, at) in keys {
            if let Some(why) = clash(action, *press, &changed, index) {
                return Err(config.error(at, why));
            }
        }
    }
    let keys = |action: &'static Action| {
        let given = changed.iter().find(|(other, _)| other.name == action.name);
        let keys = match given {
            Some((_, keys)) => keys.iter().map(|(press, _)| *press).collect(),
            None => action.keys.to_vec(),
        };
        (action.name, keys)
    };
    Ok(Bindings::new(ACTIONS.iter().map(keys).collect()))
}

/// Whether both can be meant by one key. The demo's own actions are there only where there is no `[keys]`.
fn can_meet(one: &Action, other: &Action) -> bool {
    one.name != other.name && one.when.can_meet(other.when)
}

/// Who else has this key, in words.
fn clash(
    action: &Action,
    press: Press,
    changed: &[(&Action, Vec<(Press, &Placed)>)],
    index: usize,
) -> Option<String> {
    let earlier = changed[..index].iter().find_map(|(other, keys)| {
        let (_, at) = keys.iter().find(|(key, _)| *key == press)?;
        can_meet(action, other).then_some((other.name, at.place.0))
    });
    if let Some((other, line)) = earlier {
        return Some(format!(
            "{press} is a key of `{other}` already (line {line}): a key has one action"
        ));
    }
    let is_changed = |other: &Action| changed.iter().any(|(known, _)| known.name == other.name);
    let other = ACTIONS
        .iter()
        .find(|other| can_meet(action, other) && !is_changed(other) && other.keys.contains(&press))?;
    Some(format!(
        "{press} is a key of `{0}` already: give that one another here (\"{0}\" = …, or [] for none)",
        other.name
    ))
}

/// The action of this name, or which one may have been meant. Quotes nothing of the config.
fn named(name: &str) -> Result<&'static Action, String> {
    if let Some(action) = super::named_action(name) {
        return Ok(action);
    }
    let likeness = |action: &&Action| strsim::jaro_winkler(action.name, &name.to_lowercase());
    let nearest = ACTIONS
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let nearest = nearest.map_or_else(String::new, |action| {
        format!(": the nearest is \"{}\"", action.name)
    });
    Err(format!(
        "no action has this name{nearest}; on the screen, ? lists all of them"
    ))
}

fn read(key: &Placed) -> Result<(Press, &Placed), String> {
    let press = Press::parse(&key.text).map_err(|why| why.to_string())?;
    Ok((press, key))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::When;
    use super::*;
    use crate::config::{Place, parse};

    fn config(text: &str) -> Config {
        let place = Place {
            path: Path::new("c.toml"),
            home: None,
            owner_only: false,
        };
        parse(text, place).unwrap()
    }

    fn complaint(keys: &str) -> String {
        bound(&config(&format!("[keys]\n{keys}")))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn in_the_table_no_key_does_two_things() {
        for action in ACTIONS {
            for other in ACTIONS.iter().filter(|other| can_meet(action, other)) {
                assert!(
                    action.keys.iter().all(|key| !other.keys.contains(key)),
                    "{}",
                    action.name
                );
            }
        }
    }

    /// The words in backquotes.
    fn quoted(text: &str) -> impl Iterator<Item = &str> {
        text.split('`').skip(1).step_by(2)
    }

    #[test]
    fn the_readme_has_the_first_key_of_each_action_and_no_other_key() {
        let readme = include_str!("../../../README.md");
        let section = readme.split("\n## Keys\n").nth(1).unwrap();
        let table = section
            .split("\n## ")
            .next()
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("| `"));
        let told: Vec<&str> = table
            .flat_map(|line| quoted(line.split('|').nth(1).unwrap()))
            .collect();
        for action in ACTIONS.iter().filter(|action| action.when != When::InDemo) {
            let first = action.keys[0].to_string();
            assert!(told.contains(&first.as_str()), "{} ({first})", action.name);
        }
        for key in told {
            let is_key = |action: &Action| action.keys.iter().any(|press| press.to_string() == key);
            assert!(ACTIONS.iter().any(is_key), "{key}");
        }
    }

    #[test]
    fn sentences_name_actions_that_there_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui");
        let mut named = 0;
        for file in files(&folder) {
            let text = std::fs::read_to_string(file).unwrap();
            let call = concat!("key_", "of(\"");
            for rest in text.split(call).skip(1) {
                let name = rest.split('"').next().unwrap();
                assert!(super::super::named_action(name).is_some(), "{name}");
                named += 1;
            }
        }
        assert!(named > 10);
    }

    fn files(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let below = folders.iter().flat_map(|folder| self::files(folder));
        files.into_iter().chain(below).collect()
    }

    #[test]
    fn without_a_table_of_keys_each_action_has_its_own() {
        assert_eq!(bound(&config("")), Ok(unchanged()));
        assert_eq!(unchanged().words("quit"), "q ^C");
    }

    #[test]
    fn a_config_gives_keys_takes_them_and_swaps_them() {
        let keys = "\"push all\" = [\"F9\", \"P\"]\nheal = \"v\"\nowed = []\nretry = \"v\"\nverify = \"r\"\n";
        let bindings = bound(&config(&format!("[keys]\n{keys}"))).unwrap();
        let words = ["push all", "owed", "retry", "verify", "quit"].map(|name| bindings.words(name));
        assert_eq!(words, ["F9 P", "", "v", "r", "q ^C"]);
        assert_eq!(bindings.word("push all"), "F9");
        assert_eq!(bindings.word("owed"), ":owed");
    }

    #[test]
    fn what_is_wrong_with_keys_is_told_with_its_place() {
        for (keys, expected) in [
            (
                "\"push al\" = \"F9\"",
                "c.toml:2:1: no action has this name: the nearest is \"push all\"",
            ),
            (
                "detail = \"PP\"",
                "c.toml:2:10: this is no key: write a character",
            ),
            ("detail = [\"x\", \"Esc\"]", "c.toml:2:16: Esc is always harmless"),
            (
                "detail = \"ctrl-i\"",
                "c.toml:2:10: a terminal sends the same for this as for Tab",
            ),
            (
                "detail = \"P\"",
                "c.toml:2:10: P is a key of `push all` already: give that one another here",
            ),
            (
                "owed = \"F9\"\ndetail = \"F9\"",
                "c.toml:3:10: F9 is a key of `owed` already (line 2)",
            ),
            ("quit = []", "c.toml:2:1: `quit` needs a key"),
        ] {
            let said = complaint(keys);
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn no_complaint_quotes_what_could_be_a_secret() {
        for keys in [
            "zqsecretzq = \"F9\"",
            "detail = \"zqsecretzq\"",
            "detail = [\"x\", \"zqsecretzq\"]",
        ] {
            assert!(!complaint(keys).contains("zqsecret"), "{}", complaint(keys));
        }
    }
}
