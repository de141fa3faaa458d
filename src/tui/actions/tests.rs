use super::*;
use crate::rules::moment::Moment;
use crate::site::{MasterKeyId, Site, SiteMode, SiteUrl};
use crate::text::CleanText;
use crate::tui::model::{Options, Start};
use crate::tui::setup::{Setup, Wrong};
use crate::tui::theme::Theme;

/// A screen on so many sites, of the demo or not, with a config that can be used or not.
fn model(sites: usize, demo: bool, is_wrong: bool) -> Model {
    let site = |number: usize| {
        let url = SiteUrl::parse(&format!("https://shop-{number}.example.com")).unwrap();
        Site {
            name: CleanText::note(url.host()),
            backend: url.backend().into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    };
    let wrong = Wrong::unusable("config.toml".as_ref(), "is wrong");
    let start = Start {
        sites: (0..sites).map(site).collect(),
        states: Vec::new(),
        operator: String::new(),
        config: String::new(),
        searched: Vec::new(),
        run: None,
        key: None,
        setup: Setup {
            wrong: is_wrong.then_some(wrong),
            ..Setup::default()
        },
        options: Options {
            ascii: false,
            theme: Theme::Colour,
            demo,
            read_only: false,
            clipboard: true,
            zone: jiff::tz::TimeZone::UTC,
        },
        size: (80, 24),
    };
    let now = Moment {
        since_start: std::time::Duration::ZERO,
        wall: jiff::Timestamp::UNIX_EPOCH,
    };
    Model::new(start, now)
}

#[test]
fn no_key_does_two_things_and_each_action_tells_what_it_does() {
    for model in [
        model(0, false, false),
        model(0, false, true),
        model(3, false, false),
        model(3, true, false),
    ] {
        let there = ACTIONS.iter().filter(|action| (action.when)(&model));
        let keys: Vec<&Press> = there.flat_map(|action| action.keys).collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key:?}");
        }
    }
    for action in ACTIONS {
        assert!(!action.help.is_empty() && !action.name.is_empty() && !action.keys.is_empty());
        assert_eq!(
            ACTIONS.iter().filter(|other| other.name == action.name).count(),
            1
        );
    }
}
