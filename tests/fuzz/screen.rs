use proptest::prelude::*;

use super::bodies::screen::{KINDS, Opened, Step, play};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9 ]{0,12}",
        2 => prop::sample::select(vec![
            "live 3", "live 12", "y", "12", "P", "rrr", "/shop", ":push", "https://new.example", "pk_live_51Other0000000000",
            "h", "jjjj", "verify:failed", "7 days",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => prop::sample::select(vec!["日本語の店", "👩\u{200d}👩\u{200d}👧", "\u{202e}evil", "\u{1b}[2J", "\u{301}", "سلام"])
            .prop_map(str::to_owned),
    ]
}

/// Mostly a key that does something.
fn step() -> impl Strategy<Value = Step> {
    let actions: Vec<u16> = "eptPvVrRrdhuocwxyax/ns? :mHi+jkgGfA"
        .bytes()
        .map(|key| u16::from(key - b' '))
        .collect();
    let acts = (Just(0), prop::sample::select(actions), Just(String::new()));
    prop_oneof![2 => acts, 5 => (0..KINDS, any::<u16>(), text())].prop_map(|(kind, number, text)| Step {
        kind,
        number,
        text,
    })
}

prop_compose! {
    fn opened()(sites in 0_u8..26, read_only in prop::bool::weighted(0.2), ascii in any::<bool>(), demo in any::<bool>()) -> Opened {
        Opened { sites, read_only, ascii, demo }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_screen_is_drawn_and_shows_and_sends_nothing_unasked(
        opened in opened(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        play(opened, &steps);
    }
}
