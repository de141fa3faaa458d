use std::collections::HashSet;
use std::path::Path;

use stripe_propagate::config::{Config, ConfigError, Place, parse};
use stripe_propagate::text::is_hidden;

use super::sites::leads_to_its_host;

/// The bytes are a config's text.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for owner_only in [true, false] {
        let _read = read(&text, owner_only);
    }
    is_read_the_same_in_pieces(&text);
}

/// Beyond this length, in bytes, a config is read in pieces.
const LONG: usize = 32 * 1024;

fn place(owner_only: bool) -> Place<'static> {
    Place {
        path: Path::new("/etc/shops.toml"),
        home: Some(Path::new("/home/ops")),
        owner_only,
    }
}

/// A long config is read in pieces: it says what it says as a short one.
pub(crate) fn is_read_the_same_in_pieces(text: &str) {
    // A mark of the order of bytes counts only where it is first, and a long text is read in pieces in any case.
    if text.starts_with('\u{feff}') || text.len() > LONG / 2 {
        return;
    }
    let place = place(true);
    let behind_a_remark = |length| parse(&format!("#{}\n{text}", " ".repeat(length)), place);
    let (short, long) = (behind_a_remark(0), behind_a_remark(LONG));
    assert_eq!(format!("{short:?}"), format!("{long:?}"));
    if short.is_err() {
        return;
    }
    let with = |more: usize| {
        let more = (0..more).map(|number| format!("\n[[sites]]\nurl = \"https://more-{number}.example\"\n"));
        parse(&(text.to_owned() + &more.collect::<String>()), place)
    };
    match (with(1), with(LONG / 32)) {
        (Ok(one), Ok(many)) => {
            assert_eq!(many.sites.len(), one.sites.len() - 1 + LONG / 32);
            let beginning = &many.sites[..one.sites.len()];
            assert_eq!(format!("{:?}", &one.sites[..]), format!("{beginning:?}"));
        }
        (Err(one), Err(many)) => assert_eq!(one.message, many.message),
        (one, many) => panic!("with one more site {one:?}, with many {many:?}"),
    }
}

/// Reads a config, and holds what comes of it to its laws.
pub(crate) fn read(text: &str, owner_only: bool) -> Result<Config, ConfigError> {
    let read = parse(text, place(owner_only));
    match &read {
        Ok(config) => is_sound(config),
        Err(error) => quotes_nothing(error, text),
    }
    read
}

fn is_sound(config: &Config) {
    let push = &config.push;
    assert!(push.timeout > push.connect_timeout, "{push:?}");
    assert!((1..=20).contains(&push.attempts) && push.concurrency >= 1 && push.per_backend >= 1);
    assert!(!config.master_keys.is_empty());
    for site in config.sites.iter() {
        leads_to_its_host(&site.url.to_string());
        assert!(!site.name.as_str().chars().any(is_hidden), "{:?}", site.name);
    }
    let urls: HashSet<_> = config.sites.iter().map(|site| &site.url).collect();
    assert_eq!(urls.len(), config.sites.len(), "a site stands in the list twice");
    // These must come to an end, whatever they say.
    let _names = config.secret_variables();
    let _policy = config.policy();
    let _canary = config.check_canary();
}

/// Any value of a config may be a secret in the wrong place: a complaint has no word of it.
fn quotes_nothing(error: &ConfigError, text: &str) {
    let words: HashSet<&str> = words(text).collect();
    let shown = error.around.iter().map(|line| line.text.as_str());
    for told in shown.chain([error.message.as_str()]) {
        let quoted = self::words(told).find(|word| words.contains(word));
        assert_eq!(quoted, None, "{told}");
    }
    if let Some((line, column)) = error.place {
        assert!(line >= 1 && line <= text.matches('\n').count() + 1, "line {line}");
        assert!(column >= 1, "column {column}");
    }
}

/// Words as no name of a config and no sentence of ours has: long, and with a digit.
fn words(text: &str) -> impl Iterator<Item = &str> {
    const LONG: usize = 8;

    text.split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| word.len() >= LONG && word.bytes().any(|byte| byte.is_ascii_digit()))
}
