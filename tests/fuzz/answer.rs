use proptest::prelude::*;

use super::bodies::answer::{Answered, MARKS, judge};

/// The words of a site, in which secrets may stand.
fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z ]{0,20}",
        2 => prop::sample::select(MARKS.to_vec()).prop_map(|mark| mark.to_string()),
        1 => "[ -~]{0,30}",
        1 => any::<String>(),
        1 => prop::sample::select(vec![
            "invalid_api_key", "Valeur manquante", "\u{1b}]0;x\u{7}", "\u{202e}", "\u{0}", "a\nb", "\u{200b}", "&amp;", "%00",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => words().prop_map(|words| serde_json::to_string(&words).unwrap()),
        // So that a mark stays one: it is no part of JSON's text but what it stands for.
        3 => words().prop_map(|words| format!("\"{}\"", words.replace(['"', '\\', '\n', '\0'], " "))),
        3 => prop::sample::select(vec![
            "true", "false", "null", "0", "1e999", "[]", "{\"a\": [\"\u{1}\"]}", "\"true\"", "\"no_publishable_key\"",
            "\"invalid_publishable_format\"", "\"Missing value\"", "\"pk_live_51Abc\"", "\" pk_live_51Abc \"",
            "\"pk_test_\\u0035\"", "\"sk_live_51Abc\"", "\"\\u0073k_live_51Abc\"",
        ])
        .prop_map(str::to_owned),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "success",
        "ok",
        "error",
        "message",
        "publishable_key",
        "key",
        "\u{1}",
        "\u{2}",
    ]);
    prop::collection::vec((name, value()), 0..5).prop_map(|fields| {
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        format!("{{{}}}", fields.join(", "))
    })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => json(),
        1 => words(),
        2 => words().prop_map(|title| format!("<!doctype html><title>{title}</title><p>{title}")),
        1 => Just("[".repeat(5000)),
    ]
}

/// Longer than what is read of a body, with the end of that in the midst of something.
fn long_body() -> impl Strategy<Value = String> {
    let filling = prop::sample::select(vec![" ", "\u{200b}", "x"]);
    (json(), 65_440_usize..65_536, filling)
        .prop_map(|(json, length, filling)| format!("{}{json}", filling.repeat(length / filling.len())))
}

fn status() -> impl Strategy<Value = u16> {
    let known = vec![
        200, 201, 204, 301, 302, 400, 401, 403, 404, 405, 408, 429, 500, 503,
    ];
    prop_oneof![8 => prop::sample::select(known), 1 => 0_u16..1000]
}

fn retry_after() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,30}",
        "[-+]?[0-9]{1,12}(\\.[0-9])?",
        "(Mon|Sun), [0-9]{2} (Jan|Feb|Mar) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "[ -~]{0,40}",
    ]
}

fn location() -> impl Strategy<Value = String> {
    prop_oneof![
        words(),
        (words(), words()).prop_map(|(path, query)| format!("https://b.example/{path}?{query}#x"))
    ]
}

prop_compose! {
    fn answered(bodies: BoxedStrategy<String>)(
        status in status(),
        location in prop::option::of(location()),
        headers in words(),
        body in bodies,
        cut in prop_oneof![3 => Just(0), 2 => 0_usize..120],
        retry_after in retry_after(),
        date in prop::option::of(retry_after()),
    ) -> Answered {
        Answered { status, location, headers, body, cut, retry_after, date }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_site_answers_it_means_no_more_than_it_says_and_tells_no_secret(answered in answered(body().boxed())) {
        judge(&answered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn where_a_long_body_is_cut_no_part_of_a_secret_is_left(answered in answered(long_body().boxed())) {
        judge(&answered);
    }
}
