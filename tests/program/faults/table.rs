use std::ops::RangeInclusive;
use std::time::Duration;

use stripe_propagate::demo::faults::Fault;

use super::{CONNECT_TIMEOUT, TIMEOUT};

/// What a fault comes to, in a push and in a look behind it.
pub(super) struct Row {
    pub(super) fault: Fault,
    pub(super) push: &'static str,
    pub(super) verify: &'static str,
    pub(super) cause: &'static str,
    /// A part of it; empty where there is none.
    pub(super) note: &'static str,
    /// How often the key was sent.
    pub(super) puts: RangeInclusive<usize>,
    /// What `verify` says of it then.
    pub(super) looked: &'static str,
    /// Whether chance decides what a look shows: which process answers, where the settle time is shorter than a cache.
    pub(super) by_chance: bool,
    /// Whether no request ever reaches it, though it takes connections.
    pub(super) handshake: bool,
    /// So many bytes it gets rid of on one connection, at most, of what it says: what is read of it, and what is in the
    /// buffers of both systems.
    pub(super) bytes: u64,
    /// So long one request to it takes, at most.
    pub(super) takes: Duration,
}

const KIB: u64 = 1024;
/// A few short answers.
const SHORT: u64 = 8 * KIB;
/// What is longer than is read of it, and may stand in buffers as a whole.
const LONG: u64 = 2 * KIB * KIB;
/// What has no end: the buffers that systems grow to.
const ENDLESS: u64 = 8 * KIB * KIB;
/// The time of a request whose answer nobody keeps back.
const AT_ONCE: Duration = Duration::from_secs(1);

const fn row(
    fault: Fault,
    [push, verify, looked]: [&'static str; 3],
    puts: RangeInclusive<usize>,
    cause: &'static str,
    note: &'static str,
) -> Row {
    Row {
        fault,
        push,
        verify,
        cause,
        note,
        puts,
        looked,
        by_chance: false,
        handshake: false,
        bytes: SHORT,
        takes: AT_ONCE,
    }
}

impl Row {
    const fn by_chance(mut self) -> Self {
        self.by_chance = true;
        self
    }

    const fn handshake(mut self) -> Self {
        self.handshake = true;
        self.bytes = 0;
        self
    }

    const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    const fn takes(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }
}

/// A row for each of FAULTS, in its order.
pub(super) const ROWS: &[Row] = &[
    row(Fault::Healthy, ["stored", "verified", "verified"], 1..=1, "", ""),
    row(Fault::Slow, ["stored", "verified", "verified"], 1..=2, "", "").takes(TIMEOUT),
    row(
        Fault::NeedsTwoRetries,
        ["failed", "unchecked", "mismatch"],
        2..=2,
        "server_error",
        "is broken just now (500): (psycopg2.OperationalError)",
    ),
    row(
        Fault::AsksToSlowDown,
        ["stored", "verified", "verified"],
        2..=2,
        "",
        "",
    ),
    row(
        Fault::OtherMasterKey,
        ["failed", "unchecked", "mismatch"],
        1..=1,
        "refused_key",
        "refuses the master key: check master_key of this site (401): invalid_api_key",
    ),
    row(
        Fault::Dead,
        ["failed", "unchecked", "failed"],
        2..=2,
        "connect",
        "refuses the connection: connection refused",
    ).bytes(0),
    row(
        Fault::CachingProcesses,
        ["stored", "verified", "verified"],
        1..=1,
        "",
        "",
    )
    .by_chance(),
    row(
        Fault::OtherTenant,
        ["stored", "mismatch", "mismatch"],
        1..=1,
        "",
        "stored, but serves another key: another tenant, or a fallback from its environment?",
    ),
    row(
        Fault::StoresNothing,
        ["stored", "no_key", "no_key"],
        1..=1,
        "",
        "answered success and stored nothing: set a first key by hand, its version is too old",
    ),
    row(
        Fault::SaysNotStored,
        ["failed", "unchecked", "mismatch"],
        1..=1,
        "bad_answer",
        "says that it did not store the key (200): la base de données est en lecture seule",
    ),
    row(
        Fault::HtmlPage,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): a page “This domain is parked”: parked, resold or a login page?",
    ),
    row(
        Fault::Redirects,
        ["failed", "unchecked", "failed"],
        1..=1,
        "redirect",
        "redirects elsewhere: put that address in the config only if you know it as the site's own (301): to https://",
    ),
    row(
        Fault::ExposesSecret,
        ["stored", "exposed_secret", "exposed_secret"],
        1..=1,
        "",
        "ALARM: shows a SECRET key to the public: have it rolled in Stripe now",
    ),
    row(
        Fault::OldVersion,
        ["stored", "verified", "verified"],
        1..=1,
        "",
        "",
    ),
    row(Fault::NoKeyYet, ["stored", "verified", "verified"], 1..=1, "", ""),
    row(
        Fault::SharedBackend,
        ["stored", "verified", "verified"],
        1..=1,
        "",
        "",
    ),
    row(Fault::Created, ["stored", "verified", "verified"], 1..=1, "", ""),
    row(
        Fault::NoContent,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (204): an empty answer",
    ),
    row(
        Fault::EmptyBody,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): an empty answer",
    ),
    row(
        Fault::InvalidUtf8,
        ["stored", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answers JSON that is not this API's (200)",
    ),
    row(
        Fault::InvalidJson,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): broken JSON",
    ),
    row(
        Fault::DeepJson,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): more than 64 KiB",
    ).bytes(256 * KIB),
    row(
        Fault::WrongTypes,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers JSON that is not this API's (200)",
    ),
    row(
        Fault::GzipBomb,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): more than 64 KiB",
    ).bytes(LONG),
    row(
        Fault::RedirectLoop,
        ["failed", "unchecked", "failed"],
        1..=1,
        "redirect",
        "redirects in place of an answer: its server's settings are wrong, or something stands before the site (307): to /api/export/settings/stripe_publishable_key",
    ),
    row(
        Fault::RedirectToHttp,
        ["failed", "unchecked", "failed"],
        1..=1,
        "redirect",
        "redirects to http, where anybody can read along: its server's settings are wrong (308): to http://",
    ),
    row(
        Fault::RedirectToOtherHost,
        ["failed", "unchecked", "failed"],
        1..=1,
        "redirect",
        "redirects elsewhere: put that address in the config only if you know it as the site's own (302): to https://localhost:",
    ),
    row(
        Fault::RedirectToLoopback,
        ["failed", "unchecked", "failed"],
        1..=1,
        "redirect",
        "redirects to http, where anybody can read along: its server's settings are wrong (301): to http://127.0.0.1:",
    ),
    row(
        Fault::RetryAfterYear,
        ["failed", "unchecked", "mismatch"],
        1..=1,
        "rate_limited",
        "asks to slow down (429): too many requests; asks to wait until ",
    ),
    row(
        Fault::RetryAfterNegative,
        ["failed", "unchecked", "mismatch"],
        2..=2,
        "server_error",
        "is not available just now (503): maintenance",
    ),
    row(
        Fault::RetryAfterGarbage,
        ["failed", "unchecked", "failed"],
        2..=2,
        "server_error",
        "is not available just now (503): maintenance",
    ),
    row(
        Fault::ClockHourOff,
        ["stored", "verified", "verified"],
        2..=2,
        "",
        "",
    ),
    row(
        Fault::EscapesInBody,
        ["failed", "unchecked", "failed"],
        2..=2,
        "server_error",
        "is broken just now (500): [31m[2JDEMO-HOSTILE]0;DEMO-HOSTILE]52;c;ZGVtbw==]8;;",
    ),
    row(
        Fault::BidiInBody,
        ["failed", "unchecked", "failed"],
        2..=2,
        "server_error",
        "is broken just now (500): DEMO-HOSTILEmoc.elpmaxe",
    ),
    row(
        Fault::NulInBody,
        ["failed", "unchecked", "failed"],
        2..=2,
        "server_error",
        "is broken just now (500): DEMO-HOSTILEbehindit",
    ),
    row(
        Fault::LongLineInBody,
        ["failed", "unchecked", "failed"],
        2..=2,
        "server_error",
        "is broken just now (500)",
    ).bytes(LONG),
    row(
        Fault::FakedLogInBody,
        ["failed", "unchecked", "failed"],
        2..=2,
        "server_error",
        "is broken just now (500): DEMO-HOSTILE 2001-02-03T04:05:06Z INFO run 1: all sites are verified",
    ),
    row(
        Fault::EchoesKey,
        ["failed", "unchecked", "mismatch"],
        2..=2,
        "server_error",
        "ALARM: the master key stood in its answer (not kept): change the master key of this site. is broken just now (500): request failed: X-API-Key: [master key]",
    ),
    row(
        Fault::EchoesKeyEscaped,
        ["failed", "unchecked", "mismatch"],
        2..=2,
        "server_error",
        "ALARM: the master key stood in its answer (not kept): change the master key of this site. is broken just now (500): request failed: [master key]",
    ),
    row(
        Fault::EchoesKeyEncoded,
        ["failed", "unchecked", "mismatch"],
        2..=2,
        "server_error",
        "ALARM: the master key stood in its answer (not kept): change the master key of this site. is broken just now (500): request failed: /login?key=[master key]",
    ),
    row(
        Fault::EchoesKeyInHeader,
        ["failed", "unchecked", "mismatch"],
        1..=1,
        "redirect",
        "ALARM: the master key stood in its answer (not kept): change the master key of this site. redirects in place of an answer: its server's settings are wrong, or something stands before the site (302): to /login/[master key]",
    ),
    row(
        Fault::EchoesKeyAtCut,
        ["failed", "unchecked", "mismatch"],
        2..=2,
        "server_error",
        "ALARM: the master key stood in its answer (not kept): change the master key of this site. is broken just now (500): request failed: [master key]",
    ).bytes(256 * KIB),
    row(
        Fault::StoredLate,
        ["stored", "verified", "verified"],
        2..=2,
        "",
        "",
    ).takes(TIMEOUT),
    row(Fault::Asleep, ["stored", "verified", "verified"], 1..=2, "", "").takes(TIMEOUT),
    row(
        Fault::NeverAnswers,
        ["unknown", "failed", "failed"],
        2..=2,
        "timeout",
        "answer to the PUT never seen; did not answer within the limit",
    ).takes(TIMEOUT),
    row(
        Fault::ResetBeforeAnswer,
        ["unknown", "failed", "failed"],
        2..=2,
        "connection_lost",
        "answer to the PUT never seen; dropped the connection before its answer was whole: connection reset",
    ),
    row(
        Fault::ResetBeforeBody,
        ["unknown", "failed", "failed"],
        2..=2,
        "connection_lost",
        "answer to the PUT never seen; dropped the connection before its answer was whole (200)",
    ),
    row(
        Fault::ResetInBody,
        ["unknown", "failed", "failed"],
        2..=2,
        "connection_lost",
        "answer to the PUT never seen; dropped the connection before its answer was whole (200)",
    ),
    row(
        Fault::ResetAfterBody,
        ["stored", "verified", "verified"],
        1..=1,
        "",
        "",
    ),
    row(
        Fault::DripsHeaders,
        ["unknown", "failed", "failed"],
        2..=2,
        "timeout",
        "answer to the PUT never seen; did not answer within the limit",
    ).takes(TIMEOUT),
    row(
        Fault::DripsBody,
        ["unknown", "failed", "failed"],
        2..=2,
        "timeout",
        "answer to the PUT never seen; did not answer within the limit (200)",
    ).takes(TIMEOUT),
    row(
        Fault::EndlessHeaders,
        ["unknown", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answer to the PUT never seen; answers something that is no HTTP",
    ).bytes(ENDLESS),
    row(
        Fault::EndlessBody,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): more than 64 KiB",
    ).bytes(ENDLESS),
    row(
        Fault::EndlessContinue,
        ["unknown", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answer to the PUT never seen; answers something that is no HTTP",
    ).bytes(ENDLESS),
    row(
        Fault::SwitchesProtocols,
        ["failed", "unchecked", "failed"],
        1..=1,
        "server_error",
        "answers a status that this API does not have (101)",
    ),
    row(
        Fault::TenGigabytes,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): more than 64 KiB",
    ).bytes(ENDLESS),
    row(
        Fault::LengthTooLong,
        ["unknown", "failed", "failed"],
        2..=2,
        "connection_lost",
        "answer to the PUT never seen; dropped the connection before its answer was whole (200)",
    ),
    row(
        Fault::LengthTooShort,
        ["failed", "unchecked", "failed"],
        1..=1,
        "bad_answer",
        "answers something else than this API (200): broken JSON",
    ),
    row(Fault::Http10, ["stored", "verified", "verified"], 1..=1, "", ""),
    row(
        Fault::StoredAnswerCut,
        ["stored", "verified", "verified"],
        2..=2,
        "",
        "",
    ),
    row(
        Fault::EscapesInHeaders,
        ["unknown", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answer to the PUT never seen; answers something that is no HTTP",
    ),
    row(
        Fault::BidiInHeaders,
        ["failed", "unchecked", "failed"],
        1..=1,
        "redirect",
        "redirects in place of an answer: its server's settings are wrong, or something stands before the site (302): without a target",
    ),
    row(
        Fault::NulInHeaders,
        ["unknown", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answer to the PUT never seen; answers something that is no HTTP",
    ),
    row(
        Fault::LongLineInHeaders,
        ["unknown", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answer to the PUT never seen; answers something that is no HTTP",
    ).bytes(2 * LONG),
    row(
        Fault::FakedLogInHeaders,
        ["unknown", "failed", "failed"],
        1..=1,
        "bad_answer",
        "answer to the PUT never seen; answers something that is no HTTP",
    ),
    row(
        Fault::ResetAtConnect,
        ["failed", "unchecked", "failed"],
        2..=2,
        "connect",
        "refuses the connection: connection reset",
    )
    .handshake(),
    row(
        Fault::TlsExpired,
        ["failed", "unchecked", "failed"],
        1..=1,
        "certificate",
        "has a certificate that cannot be trusted: it has expired",
    )
    .handshake(),
    row(
        Fault::TlsOtherHost,
        ["failed", "unchecked", "failed"],
        1..=1,
        "certificate",
        "has a certificate that cannot be trusted: it is another host's",
    )
    .handshake(),
    row(
        Fault::TlsUnknownAuthority,
        ["failed", "unchecked", "failed"],
        1..=1,
        "certificate",
        "has a certificate that cannot be trusted: its authority is unknown",
    )
    .handshake(),
    row(
        Fault::TlsOldVersion,
        ["failed", "unchecked", "failed"],
        2..=2,
        "connect",
        "refuses the connection: it speaks no TLS that is safe: 1.2 or 1.3 is needed",
    )
    .handshake(),
    row(
        Fault::TlsHangs,
        ["failed", "unchecked", "failed"],
        2..=2,
        "connect",
        "takes no connection within the limit",
    ).takes(CONNECT_TIMEOUT)
    .handshake(),
];
