use super::*;
use proptest::prelude::*;

fn raw(status: u16, body: &str) -> Raw<'_> {
    Raw {
        status,
        asked: "https://shop.example.com",
        location: None,
        headers: "",
        body: body.as_bytes(),
    }
}

#[test]
fn each_row_of_the_contract_for_the_put() {
    use Problem::{
        NoEndpoint, NotThisApi, OtherStatus, RateLimited, RedirectInPlace, RefusedFormat, RefusedKey,
    };
    use Problem::{RefusedRequest, SaysNotStored, ServerError, StrangeJson, Unavailable};
    for (status, body, problem) in [
        (200, r#"{"success": true, "message": "ok"}"#, None),
        (200, r#"{"ok": true, "key": "stripe_publishable_key"}"#, None),
        (200, r#"{"success": false}"#, Some(SaysNotStored)),
        (200, r#"{"ok": false}"#, Some(SaysNotStored)),
        (200, r#"{"success": true, "ok": false}"#, Some(SaysNotStored)),
        (200, "<html>parked</html>", Some(NotThisApi)),
        (200, "", Some(NotThisApi)),
        (204, "", Some(NotThisApi)),
        (200, "[true]", Some(NotThisApi)),
        (200, r#"{"success": "yes"}"#, Some(StrangeJson)),
        (
            400,
            r#"{"success": false, "error": "invalid_publishable_format"}"#,
            Some(RefusedFormat),
        ),
        (400, r#"{"error": "Missing value"}"#, Some(RefusedRequest)),
        (401, r#"{"error": "invalid_api_key"}"#, Some(RefusedKey)),
        (403, r#"{"error": "Clé API invalide"}"#, Some(RefusedKey)),
        (404, "", Some(NoEndpoint)),
        (405, "", Some(NoEndpoint)),
        (301, r#"{"success": true}"#, Some(RedirectInPlace)),
        (429, "", Some(RateLimited)),
        (503, "", Some(Unavailable)),
        (500, r#"{"success": true}"#, Some(ServerError)),
        (599, "", Some(OtherStatus)),
    ] {
        let expected = problem.map_or(PutVerdict::Stored, PutVerdict::Problem);
        assert_eq!(put(raw(status, body), None).verdict, expected, "{status} {body}");
    }
}

#[test]
fn each_row_of_the_contract_for_the_get() {
    let serves = |key| LookVerdict::Serves(PublishableKey::parse(key).unwrap());
    let problem = LookVerdict::Problem;
    for (status, body, expected) in [
        (
            200,
            r#"{"success": true, "publishable_key": "pk_test_abc"}"#,
            serves("pk_test_abc"),
        ),
        (
            404,
            r#"{"success": false, "message": "no_publishable_key"}"#,
            LookVerdict::NoKey,
        ),
        (404, r#"{"error": "not found"}"#, problem(Problem::NoEndpoint)),
        (404, "<html>", problem(Problem::NoEndpoint)),
        (
            200,
            r#"{"success": true, "publishable_key": "sk_live_abc"}"#,
            LookVerdict::ExposedSecret,
        ),
        (
            200,
            r#"{"success": true, "publishable_key": "rk_x"}"#,
            LookVerdict::ExposedSecret,
        ),
        (
            200,
            r#"{"success": true, "publishable_key": "pk_test_abc", "k": "\u0073k_live_abc"}"#,
            LookVerdict::ExposedSecret,
        ),
        (500, "trace: sk_test_abcdefgh", LookVerdict::ExposedSecret),
        (
            200,
            r#"{"success": true, "publishable_key": 5}"#,
            problem(Problem::StrangeJson),
        ),
        (
            200,
            r#"{"success": false, "publishable_key": "pk_test_abc"}"#,
            problem(Problem::StrangeJson),
        ),
        (200, "<title>Parked</title>", problem(Problem::NotThisApi)),
        (302, "", problem(Problem::RedirectInPlace)),
        (401, "", problem(Problem::LoginAsked)),
        (503, "", problem(Problem::Unavailable)),
    ] {
        assert_eq!(look(raw(status, body), None).verdict, expected, "{status} {body}");
    }
}

#[test]
fn the_words_of_an_answer_are_short_and_clean() {
    let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
    let said = |status, body: &str| put(raw(status, body), Some(&key)).detail.to_string();
    assert_eq!(
        said(500, "{\"error\": \"Erreur\\n  SQL\\u001b[31m: INSERT\"}"),
        "Erreur SQL[31m: INSERT"
    );
    assert_eq!(
        said(200, "<html><TITLE>Parked domain</TITLE>"),
        "a page “Parked domain”: parked, resold or a login page?"
    );
    assert_eq!(said(502, "bad gateway\r\nnginx"), "bad gateway nginx");
    let redirect = Raw {
        status: 301,
        asked: "https://shop.example.com",
        location: Some("https://www.shop.example.com/x?token=1"),
        headers: "",
        body: b"",
    };
    assert_eq!(
        put(redirect, Some(&key)).detail.as_str(),
        "to https://www.shop.example.com/x"
    );
}

#[test]
fn what_is_no_answer_of_this_api_is_told_as_what_it_is() {
    let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
    let endless = "a".repeat(BODY_LIMIT);
    for (body, known, unknown) in [
        ("", "an empty answer", "an empty answer"),
        (" \n", "an empty answer", "an empty answer"),
        (
            "<html>",
            "a page: parked, resold or a login page?",
            "a page: parked, resold or a login page?",
        ),
        (
            "<title>Sold</title>",
            "a page “Sold”: parked, resold or a login page?",
            "a page: parked, resold or a login page?",
        ),
        ("{\"success\": tr", "broken JSON: {\"success\": tr", "broken JSON"),
        (
            "[true]",
            "JSON that is no object: [true]",
            "JSON that is no object",
        ),
        ("hello", "a text that is no JSON: hello", "a text that is no JSON"),
        (&endless, "more than 64 KiB", "more than 64 KiB"),
    ] {
        let said = |key| put(raw(200, body), key).detail.to_string();
        assert_eq!((&*said(Some(&key)), &*said(None)), (known, unknown), "{body:.20}");
    }
}

#[test]
fn without_the_master_key_no_words_of_a_site_are_kept() {
    for body in [
        r#"{"error": "bad header m4ster-key"}"#,
        "<title>m4ster-key</title>",
        "m4ster-key",
    ] {
        for status in [200, 404, 500] {
            let meaning = look(raw(status, body), None);
            assert!(!meaning.detail.as_str().contains("m4ster-key"), "{meaning:?}");
        }
    }
    for (target, told) in [
        (
            Some("https://www.shop.example.com/m4ster-key?m4ster-key"),
            "to https://www.shop.example.com",
        ),
        (
            Some("https://ops:m4ster-key@shop.example.com:8443/"),
            "to https://shop.example.com:8443",
        ),
        (Some("/m4ster-key"), "to another path"),
        (Some("mailto:m4ster-key"), "to no web address"),
        (None, "without a target"),
    ] {
        let redirect = Raw {
            location: target,
            ..raw(301, "m4ster-key")
        };
        assert_eq!(look(redirect, None).detail.as_str(), told);
    }
}

#[test]
fn a_redirect_is_told_by_where_it_leads() {
    use Problem::{Redirect, RedirectInPlace, RedirectToHttp, RedirectToLoopback};
    for (target, problem) in [
        (Some("https://evil.example.net/api"), Redirect),
        (Some("//evil.example.net/api"), Redirect),
        (Some("https://shop.example.com:8443/"), Redirect),
        (Some("mailto:ops@example.com"), Redirect),
        (Some("https://"), Redirect),
        (Some("http://evil.example.net/api"), RedirectToHttp),
        (Some("http://shop.example.com/api"), RedirectToHttp),
        (Some("http://127.0.0.1/admin"), RedirectToLoopback),
        (Some("https://localhost/"), RedirectToLoopback),
        (Some("https://SHOP.example.com:443/login"), RedirectInPlace),
        (Some("/login"), RedirectInPlace),
        (None, RedirectInPlace),
    ] {
        let redirect = Raw {
            location: target,
            ..raw(302, "")
        };
        let put = put(redirect, None).verdict;
        assert_eq!(put, PutVerdict::Problem(problem), "{target:?}");
    }
}

#[test]
fn an_echo_of_the_master_key_is_masked_and_an_alarm() {
    let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
    let meaning = put(
        raw(500, r#"{"error": "bad header X-API-Key: m4ster-key"}"#),
        Some(&key),
    );
    assert_eq!(meaning.detail.as_str(), "bad header X-API-Key: [master key]");
    assert_eq!(meaning.alarm, Some(Leak::MasterKey));
    let stored = put(raw(200, r#"{"success": true, "echo": "m4ster-key"}"#), Some(&key));
    assert_eq!(
        (stored.verdict, stored.alarm),
        (PutVerdict::Stored, Some(Leak::MasterKey))
    );
}

#[test]
fn a_secret_that_is_written_with_escapes_or_stands_in_a_header_is_kept_out() {
    let key = MasterKey::parse("master-key-1".to_owned()).unwrap();
    for body in [
        r#"{"detail": "a\nsk_live_0123"}"#,
        r#"{"detail": "\u0073k_live_0123"}"#,
        r#"{"detail": "\u006daster-key-1"}"#,
        "trace='a\\nsk_live_0123'",
    ] {
        let meaning = put(raw(500, body), Some(&key));
        assert!(meaning.alarm.is_some(), "{body}");
        assert!(
            !meaning.detail.as_str().contains("0123"),
            "{body}: {}",
            meaning.detail
        );
        assert!(
            !meaning.detail.as_str().contains("aster-key-1"),
            "{body}: {}",
            meaning.detail
        );
    }
    let echoed = Raw {
        headers: "text/html\nmaster-key-1",
        ..raw(200, r#"{"success": true}"#)
    };
    assert_eq!(put(echoed, Some(&key)).alarm, Some(Leak::MasterKey));
    let both = Raw {
        headers: "k=sk_live_0123",
        ..raw(500, "master-key-1")
    };
    assert_eq!(put(both, Some(&key)).alarm, Some(Leak::Both));
    let of_stripe = raw(500, "sk_live_0123abcdefgh");
    assert_eq!(put(of_stripe, Some(&key)).alarm, Some(Leak::Stripe));
    let exposed = Raw {
        headers: "k=sk_live_0123",
        ..raw(302, "")
    };
    assert_eq!(look(exposed, None).verdict, LookVerdict::ExposedSecret);
}

#[test]
fn a_key_that_is_made_of_the_master_key_is_none() {
    let key = MasterKey::parse("Zq7rT0vXw93LmNb2".to_owned()).unwrap();
    let body = |served: &str| format!("{{\"success\": true, \"publishable_key\": \"{served}\"}}");
    let made = look(raw(200, &body("pk_live_Zq7rT0vXw93LmNb2")), Some(&key));
    assert_eq!(made.verdict, LookVerdict::Problem(Problem::StrangeJson));
    assert!(
        made.alarm.is_some() && !made.detail.as_str().contains("Zq7"),
        "{}",
        made.detail
    );
    let beside = body("pk_live_abc").replace('}', ", \"k\": \"Zq7rT0vXw93LmNb2\"}");
    let beside = look(raw(200, &beside), Some(&key));
    assert!(beside.alarm.is_some() && matches!(beside.verdict, LookVerdict::Serves(_)));
}

#[test]
fn a_site_that_misses_the_value_has_accepted_the_master_key() {
    let problem = AuthVerdict::Problem;
    for (status, body, verdict) in [
        (400, r#"{"error": "Missing value"}"#, AuthVerdict::Accepted),
        (
            400,
            r#"{"success": false, "error": "Valeur manquante"}"#,
            AuthVerdict::Accepted,
        ),
        (
            400,
            r#"{"error": "bad request"}"#,
            problem(Problem::RefusedRequest),
        ),
        (
            422,
            r#"{"error": "Missing value"}"#,
            problem(Problem::RefusedRequest),
        ),
        (
            401,
            r#"{"error": "API key manquante"}"#,
            problem(Problem::RefusedKey),
        ),
        (403, r#"{"error": "Missing value"}"#, problem(Problem::RefusedKey)),
        (404, "Not Found", problem(Problem::NoEndpoint)),
        (200, r#"{"success": true}"#, problem(Problem::StrangeJson)),
        (
            200,
            r#"{"error": "Missing value"}"#,
            problem(Problem::StrangeJson),
        ),
        (200, "<html>", problem(Problem::NotThisApi)),
        (302, "", problem(Problem::RedirectInPlace)),
    ] {
        assert_eq!(auth(raw(status, body), None).verdict, verdict, "{status} {body}");
    }
    let key = MasterKey::parse("m4ster-key".to_owned()).unwrap();
    let echoed = auth(
        raw(400, r#"{"error": "Missing value", "key": "m4ster-key"}"#),
        Some(&key),
    );
    assert_eq!(echoed.alarm, Some(Leak::MasterKey));
}

#[test]
fn retry_after_as_seconds_date_and_nonsense() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let later = "Sun, 06 Nov 1994 08:49:57 GMT";
    let now = SystemTime::now();
    assert_eq!(retry_after("7", None, now), Some(Duration::from_secs(7)));
    assert_eq!(retry_after(later, Some(date), now), Some(Duration::from_secs(20)));
    assert_eq!(retry_after(date, None, now), Some(Duration::ZERO));
    assert_eq!(
        retry_after("99999999999999999999999", None, now),
        Some(LONGEST_WAIT)
    );
    for nonsense in ["", "-5", "soon", "1.5"] {
        assert_eq!(retry_after(nonsense, None, now), None, "{nonsense}");
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_meaning(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let raw = Raw { status, asked: "", location: None, headers: "", body: &body };
        let key = MasterKey::parse("Zq7rT0vXw93LmNb2Pf8c".to_owned()).unwrap();
        for key in [None, Some(&key)] {
            prop_assert!(put(raw, key).detail.as_str().chars().count() <= 300);
            prop_assert!(look(raw, key).detail.as_str().chars().count() <= 300);
        }
    }

    /// Only then may the strings of a JSON without a backslash be left unread.
    #[test]
    fn what_is_a_secret_in_a_string_is_one_in_the_json_around_it(
        around in "[ -!#-\\[\\]-~\u{a0}-\u{17f}\u{200b}]{0,12}",
        secret in prop::sample::select(vec![
            "Zq7rT0vXw93LmNb2Pf8c",
            "vXw93LmNb2Pf8c",
            "zQ7Rt0VxW93lMnB2pF8C",
            "Zq7rT0vXw93LmNb2Pf%38c",
            "Zq7rT0vXw93LmNb2Pf&#56;c",
            "WnE3clQwdlh3OTNMbU5iMlBmOGM",
            "5a713772543076587739334c6d4e",
            "sk_live_51Never",
            "sk_l\u{200b}ive_51Never",
            "rk%5Ftest_51",
            "whsec_0123456789",
        ]),
        after in "[ -!#-\\[\\]-~\u{a0}-\u{17f}\u{200b}]{0,12}",
    ) {
        let key = MasterKey::parse("Zq7rT0vXw93LmNb2Pf8c".to_owned()).unwrap();
        let string = format!("{around}{secret}{after}");
        for json in [
            format!("{{\"message\": \"{string}\"}}"),
            format!("{{\"{string}\":[1,\"x\"]}}"),
        ] {
            let inner = wash(&string, Some(&key));
            let whole = wash(&json, Some(&key));
            prop_assert!(whole.masked || !inner.masked, "{json}");
            prop_assert!(whole.master_key || !inner.master_key, "{json}");
            prop_assert!(whole.stripe_secret || !inner.stripe_secret, "{json}");
        }
    }
}
