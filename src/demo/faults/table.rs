use std::time::Duration;

use super::Arrives::{PutsLate, WhenAwake};
use super::Plays::{Answers, Refuses, Shakes, Speaks};
use super::{Fault, FaultRow, Handshake, answers, row, shops, spoken};

/// Longer than a site of the demo may take to answer.
const LATE: Duration = Duration::from_secs(4);
/// How long a site takes to awake.
const ASLEEP: Duration = Duration::from_secs(5);

/// Every fault, in the order of the enum.
pub static FAULTS: &[FaultRow] = &[
    row(
        Fault::Healthy,
        "healthy",
        Answers(shops::healthy),
        "stores and serves the key",
    ),
    row(
        Fault::Slow,
        "slow",
        Answers(shops::slow),
        "takes a second and a half for each answer",
    )
    .of(&["escargot-d-or"]),
    row(
        Fault::NeedsTwoRetries,
        "needs-two-retries",
        Answers(shops::needs_two_retries),
        "fails twice with a database error, then works",
    )
    .of(&["port-ouest"]),
    row(
        Fault::AsksToSlowDown,
        "asks-to-slow-down",
        Answers(shops::asks_to_slow_down),
        "answers 429 with Retry-After once, then works",
    )
    .of(&["marche-lent"]),
    row(
        Fault::OtherMasterKey,
        "other-master-key",
        Answers(shops::other_master_key),
        "takes another master key: 401",
    )
    .of(&["coffre-gris"])
    .sick(),
    row(Fault::Dead, "refused", Refuses, "refuses the connection")
        .of(&["phare-eteint"])
        .sick(),
    row(
        Fault::CachingProcesses,
        "caching-processes",
        Answers(shops::healthy),
        "has four processes that keep what they read for 5 seconds",
    )
    .of(&["galerie-sud"]),
    row(
        Fault::OtherTenant,
        "other-tenant",
        Answers(shops::other_tenant),
        "stores the key under another tenant and serves a third one",
    )
    .of(&["double-fond"])
    .sick(),
    row(
        Fault::StoresNothing,
        "stores-nothing",
        Answers(shops::stores_nothing),
        "answers success and stores nothing",
    )
    .of(&["panier-perce"])
    .sick(),
    row(
        Fault::SaysNotStored,
        "says-not-stored",
        Answers(shops::says_not_stored),
        "answers 200 with success: false",
    )
    .of(&["moulin-a-vent"])
    .sick(),
    row(
        Fault::HtmlPage,
        "html-page",
        Answers(shops::html_page),
        "is a parked domain: a page, whatever is asked",
    )
    .of(&["terrain-vague"])
    .sick(),
    row(
        Fault::Redirects,
        "redirects",
        Answers(shops::redirects),
        "redirects to another address",
    )
    .of(&["poste-restante"])
    .sick(),
    row(
        Fault::ExposesSecret,
        "exposes-secret",
        Answers(shops::exposes_secret),
        "shows an sk_ value to the public",
    )
    .of(&["maison-de-verre"])
    .sick(),
    row(
        Fault::OldVersion,
        "old-version",
        Answers(shops::old_version),
        "answers {\"ok\": true}, as older versions do",
    )
    .of(&["vieille-enseigne"]),
    row(
        Fault::NoKeyYet,
        "no-key-yet",
        Answers(shops::healthy),
        "has no key until it gets its first",
    )
    .of(&["page-blanche"]),
    row(
        Fault::SharedBackend,
        "shared-backend",
        Answers(shops::shared_backend),
        "shares a server that fails above two calls at once",
    )
    .of(&["jumeau-un", "jumeau-deux"]),
    row(
        Fault::Created,
        "created",
        Answers(answers::created),
        "answers 201, and stores and serves the key",
    )
    .sick(),
    row(
        Fault::NoContent,
        "no-content",
        Answers(answers::no_content),
        "answers 204, without a body",
    )
    .sick(),
    row(
        Fault::EmptyBody,
        "empty-body",
        Answers(answers::empty_body),
        "answers 200 without a body",
    )
    .sick(),
    row(
        Fault::InvalidUtf8,
        "invalid-utf8",
        Answers(answers::invalid_utf8),
        "answers bytes that are no UTF-8",
    )
    .sick(),
    row(
        Fault::InvalidJson,
        "invalid-json",
        Answers(answers::invalid_json),
        "answers JSON that is broken",
    )
    .sick(),
    row(
        Fault::DeepJson,
        "deep-json",
        Answers(answers::deep_json),
        "answers JSON of 10,000 levels",
    )
    .sick(),
    row(
        Fault::WrongTypes,
        "wrong-types",
        Answers(answers::wrong_types),
        "answers the right JSON with wrong types",
    )
    .sick(),
    row(
        Fault::GzipBomb,
        "gzip-bomb",
        Answers(answers::gzip_bomb),
        "answers a megabyte of gzip that unpacks to a gigabyte",
    )
    .sick(),
    row(
        Fault::RedirectLoop,
        "redirect-loop",
        Answers(answers::redirect_loop),
        "redirects to itself",
    )
    .sick(),
    row(
        Fault::RedirectToHttp,
        "redirect-to-http",
        Answers(answers::redirect_to_http),
        "redirects to an address without TLS",
    )
    .sick(),
    row(
        Fault::RedirectToOtherHost,
        "redirect-to-other-host",
        Answers(answers::redirect_to_other_host),
        "redirects to another host",
    )
    .sick(),
    row(
        Fault::RedirectToLoopback,
        "redirect-to-loopback",
        Answers(answers::redirect_to_loopback),
        "redirects to the machine of the one who asks",
    )
    .sick(),
    row(
        Fault::RetryAfterYear,
        "retry-after-year",
        Answers(answers::retry_after_year),
        "answers a PUT 429 with a Retry-After of a year",
    )
    .sick(),
    row(
        Fault::RetryAfterNegative,
        "retry-after-negative",
        Answers(answers::retry_after_negative),
        "answers a PUT 503 with a negative Retry-After",
    )
    .sick(),
    row(
        Fault::RetryAfterGarbage,
        "retry-after-garbage",
        Answers(answers::retry_after_garbage),
        "answers 503 with a Retry-After that is no time",
    )
    .sick(),
    row(
        Fault::ClockHourOff,
        "clock-hour-off",
        Answers(answers::clock_hour_off),
        "has a clock that is an hour ahead, and asks to wait once by it",
    )
    .sick(),
    row(
        Fault::EscapesInBody,
        "escapes-in-body",
        Answers(answers::escapes_in_body),
        "answers 500 with ANSI and OSC escapes",
    )
    .sick(),
    row(
        Fault::BidiInBody,
        "bidi-in-body",
        Answers(answers::bidi_in_body),
        "answers 500 with marks that turn the direction of text",
    )
    .sick(),
    row(
        Fault::NulInBody,
        "nul-in-body",
        Answers(answers::nul_in_body),
        "answers 500 with NUL",
    )
    .sick(),
    row(
        Fault::LongLineInBody,
        "long-line-in-body",
        Answers(answers::long_line_in_body),
        "answers 500 with a line of a megabyte",
    )
    .sick(),
    row(
        Fault::FakedLogInBody,
        "faked-log-in-body",
        Answers(answers::faked_log_in_body),
        "answers 500 with lines that look like the log's",
    )
    .sick(),
    row(
        Fault::EchoesKey,
        "echoes-key",
        Answers(answers::echoes_key),
        "answers a PUT 500 with the headers of the request",
    )
    .sick(),
    row(
        Fault::EchoesKeyEscaped,
        "echoes-key-escaped",
        Answers(answers::echoes_key_escaped),
        "answers a PUT 500 with the headers of the request, each letter escaped",
    )
    .sick(),
    row(
        Fault::EchoesKeyEncoded,
        "echoes-key-encoded",
        Answers(answers::echoes_key_encoded),
        "answers a PUT 500 with the headers of the request as in an address",
    )
    .sick(),
    row(
        Fault::EchoesKeyInHeader,
        "echoes-key-in-header",
        Answers(answers::echoes_key_in_header),
        "answers a PUT 500 with the headers of the request in a header",
    )
    .sick(),
    row(
        Fault::EchoesKeyAtCut,
        "echoes-key-at-cut",
        Answers(answers::echoes_key_at_cut),
        "answers a PUT 500 with the headers of the request so far behind that they are cut",
    )
    .sick(),
    row(
        Fault::StoredLate,
        "stored-late",
        Answers(shops::healthy),
        "stores the key four seconds late",
    )
    .sick()
    .arrives(PutsLate(LATE)),
    row(
        Fault::Asleep,
        "asleep",
        Answers(shops::healthy),
        "sleeps, and is awake five seconds after it was first asked",
    )
    .sick()
    .arrives(WhenAwake(ASLEEP)),
    row(
        Fault::NeverAnswers,
        "never-answers",
        Speaks(spoken::never_answers),
        "takes a request and never answers",
    )
    .sick(),
    row(
        Fault::ResetBeforeAnswer,
        "reset-before-answer",
        Speaks(spoken::reset_before_answer),
        "resets the connection where its answer would be",
    )
    .sick(),
    row(
        Fault::ResetBeforeBody,
        "reset-before-body",
        Speaks(spoken::reset_before_body),
        "resets the connection behind the headers",
    )
    .sick(),
    row(
        Fault::ResetInBody,
        "reset-in-body",
        Speaks(spoken::reset_in_body),
        "resets the connection within the body",
    )
    .sick(),
    row(
        Fault::ResetAfterBody,
        "reset-after-body",
        Speaks(spoken::reset_after_body),
        "resets the connection behind each answer",
    )
    .sick(),
    row(
        Fault::DripsHeaders,
        "drips-headers",
        Speaks(spoken::drips_headers),
        "sends its headers a byte a second",
    )
    .sick(),
    row(
        Fault::DripsBody,
        "drips-body",
        Speaks(spoken::drips_body),
        "sends its body a byte a second",
    )
    .sick(),
    row(
        Fault::EndlessHeaders,
        "endless-headers",
        Speaks(spoken::endless_headers),
        "sends headers without end",
    )
    .sick(),
    row(
        Fault::EndlessBody,
        "endless-body",
        Speaks(spoken::endless_body),
        "sends a body without end",
    )
    .sick(),
    row(
        Fault::EndlessContinue,
        "endless-continue",
        Speaks(spoken::endless_continue),
        "says without end that its answer is still to come",
    )
    .sick(),
    row(
        Fault::SwitchesProtocols,
        "switches-protocols",
        Speaks(spoken::switches_protocols),
        "wants to speak another protocol from now on",
    )
    .sick(),
    row(
        Fault::TenGigabytes,
        "ten-gigabytes",
        Speaks(spoken::ten_gigabytes),
        "announces a body of 10 GB, and sends it",
    )
    .sick(),
    row(
        Fault::LengthTooLong,
        "length-too-long",
        Speaks(spoken::length_too_long),
        "announces a longer body than it sends",
    )
    .sick(),
    row(
        Fault::LengthTooShort,
        "length-too-short",
        Speaks(spoken::length_too_short),
        "announces a shorter body than it sends",
    )
    .sick(),
    row(
        Fault::Http10,
        "http-1-0",
        Speaks(spoken::http_1_0),
        "speaks HTTP/1.0",
    )
    .sick(),
    row(
        Fault::StoredAnswerCut,
        "stored-answer-cut",
        Speaks(spoken::stored_answer_cut),
        "stores the key, and its answer is cut",
    )
    .sick(),
    row(
        Fault::EscapesInHeaders,
        "escapes-in-headers",
        Speaks(spoken::escapes_in_headers),
        "sends ANSI and OSC escapes in its headers",
    )
    .sick(),
    row(
        Fault::BidiInHeaders,
        "bidi-in-headers",
        Speaks(spoken::bidi_in_headers),
        "sends marks that turn the direction of text in its headers",
    )
    .sick(),
    row(
        Fault::NulInHeaders,
        "nul-in-headers",
        Speaks(spoken::nul_in_headers),
        "sends NUL in its headers",
    )
    .sick(),
    row(
        Fault::LongLineInHeaders,
        "long-line-in-headers",
        Speaks(spoken::long_line_in_headers),
        "sends a header of a megabyte",
    )
    .sick(),
    row(
        Fault::FakedLogInHeaders,
        "faked-log-in-headers",
        Speaks(spoken::faked_log_in_headers),
        "sends headers that look like lines of the log",
    )
    .sick(),
    row(
        Fault::ResetAtConnect,
        "reset-at-connect",
        Shakes(Handshake::Reset),
        "resets the connection before the handshake",
    )
    .sick(),
    row(
        Fault::TlsExpired,
        "tls-expired",
        Shakes(Handshake::Expired),
        "has a certificate that has expired",
    )
    .sick(),
    row(
        Fault::TlsOtherHost,
        "tls-other-host",
        Shakes(Handshake::OtherHost),
        "has the certificate of another host",
    )
    .sick(),
    row(
        Fault::TlsUnknownAuthority,
        "tls-unknown-authority",
        Shakes(Handshake::UnknownAuthority),
        "has a certificate of an unknown authority",
    )
    .sick(),
    row(
        Fault::TlsOldVersion,
        "tls-old-version",
        Shakes(Handshake::OldVersion),
        "speaks TLS 1.0",
    )
    .sick(),
    row(
        Fault::TlsHangs,
        "tls-hangs",
        Shakes(Handshake::Hangs),
        "takes the connection and never answers the handshake",
    )
    .sick(),
];
