use proptest::prelude::*;

use super::bodies::key_field::{Deed, KEYS, parse, play};

/// A key, or what somebody takes for one.
fn text() -> impl Strategy<Value = String> {
    let others = prop::sample::select(vec![
        "pk_",
        "PK_LIVE_",
        "sk_live_",
        "SK_test_",
        "rk_live_",
        "whsec_",
        "ek_test_",
        "",
        "\"pk_live_",
        "KEY=pk_test_",
        "\u{feff}pk_live_",
        "s\u{200b}k_live_",
    ]);
    let prefix = prop_oneof![prop::sample::select(vec!["pk_live_", "pk_test_"]), others];
    let tail = prop_oneof![
        6 => "[A-Za-z0-9]{0,110}",
        2 => "[A-Za-z0-9_-]{200,300}",
        2 => "[ -~]{0,40}",
        3 => "[A-Za-z0-9]{1,40}[./=+:~é\u{200b}][A-Za-z0-9]{0,9}",
        1 => any::<String>(),
        1 => "[A-Za-z0-9]{1,20}(pk|sk|rk|whsec)_(live|test)?_?[A-Za-z0-9]{1,9}",
    ];
    let around = || prop::sample::select(vec!["", "", "", " ", "\n", "\r\nP\r", "\u{a0}"]);
    (around(), prefix, tail, around())
        .prop_map(|(before, prefix, tail, after)| format!("{before}{prefix}{tail}{after}"))
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => text().prop_map(Deed::Types),
        4 => text().prop_map(Deed::Pastes),
        4 => prop::sample::select(KEYS.to_vec()).prop_map(Deed::Presses),
        3 => prop::char::range('a', 'z').prop_map(Deed::Controls),
        3 => Just(Deed::Controls('r')),
        1 => Just(Deed::Edits),
        3 => any::<u8>().prop_map(Deed::Waits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_what_the_contract_says(text in text()) {
        parse(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_in_the_field_no_more_than_the_mask_is_seen(deeds in prop::collection::vec(deed(), 1..14)) {
        play(&deeds);
    }
}
