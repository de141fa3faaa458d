use std::time::Duration;

use crate::key::PublishableKey;
use crate::text::CleanText;

/// Why something failed, in the words of screen, JSON and history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The site refuses the master key.
    RefusedKey,
    /// The site has no such call.
    NoEndpoint,
    /// The site sends elsewhere, which is never followed.
    Redirect,
    /// The site's certificate cannot be trusted.
    Certificate,
    /// The host's name has no address.
    Dns,
    /// No connection could be made.
    Connect,
    /// No answer within the time limit.
    Timeout,
    /// The connection ended before the answer did.
    ConnectionLost,
    /// The site asks to slow down.
    RateLimited,
    /// The site is broken just now.
    ServerError,
    /// An answer, but not one of this API.
    BadAnswer,
    /// The site's own rule refuses the key's form.
    RefusedFormat,
    /// The worker that was to ask the site does not know it.
    UnknownSite,
}

impl Cause {
    /// Whether a PUT that failed for it may have been stored all the same.
    pub fn may_be_stored(self) -> bool {
        PROBLEMS
            .iter()
            .any(|row| row.cause == self && row.problem.may_be_stored())
    }

    /// Whether it can pass by itself: the request goes again.
    pub fn passes(self) -> bool {
        PROBLEMS.iter().any(|row| row.cause == self && row.retried)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::RefusedKey => "refused_key",
            Self::NoEndpoint => "no_endpoint",
            Self::Redirect => "redirect",
            Self::Certificate => "certificate",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::BadAnswer => "bad_answer",
            Self::RefusedFormat => "refused_format",
            Self::UnknownSite => "unknown_site",
        }
    }
}

/// What was wrong with one request or its answer. Each has a row in [`PROBLEMS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// No master key could be read for this site; nothing was sent.
    NoMasterKey,
    /// 401 or 403 to a PUT.
    RefusedKey,
    /// Two other sites refuse the master key that this one takes too, and none has taken it: nothing was sent.
    RefusedElsewhere,
    /// 401 or 403 to a GET, which carries no key.
    LoginAsked,
    /// 404 or 405.
    NoEndpoint,
    /// 3xx to another address, never followed: the master key would travel with it.
    Redirect,
    /// 3xx to its own address, or to none.
    RedirectInPlace,
    /// 3xx to an address without TLS.
    RedirectToHttp,
    /// 3xx to the machine of the one who asks.
    RedirectToLoopback,
    /// 400 `invalid_publishable_format`.
    RefusedFormat,
    /// Another 4xx.
    RefusedRequest,
    /// 429.
    RateLimited,
    /// 503.
    Unavailable,
    /// 500, 502, 504.
    ServerError,
    /// 408 or 425.
    TryAgain,
    /// Another 5xx, or a status outside HTTP's classes.
    OtherStatus,
    /// 2xx with `"success": false` or `"ok": false`.
    SaysNotStored,
    /// 2xx with HTML, nothing, or anything else that is no JSON object. What it was is said in the answer's words.
    NotThisApi,
    /// 2xx with JSON of another shape.
    StrangeJson,
    /// The certificate is expired, of another host, or of an unknown authority.
    Certificate,
    /// The name has no address.
    Dns,
    /// Refused, reset, unreachable, before the request was sent.
    Connect,
    /// No connection within the limit; the request was not sent.
    ConnectTimeout,
    /// The request was sent and no answer came within the limit.
    Timeout,
    /// The request was sent and the connection ended before the answer did.
    ConnectionLost,
    /// What came back is no HTTP.
    NotHttp,
    /// The config of the worker that was to ask the site does not know it: nothing was sent.
    UnknownToWorker,
}

/// What one problem means.
#[derive(Debug)]
pub struct ProblemRow {
    /// Which one.
    pub problem: Problem,
    /// The statuses that lead to it; those that need a look at request or body have none here.
    pub statuses: &'static [u16],
    /// Its word.
    pub cause: Cause,
    /// Whether the request goes again by itself.
    pub retried: bool,
    /// Whether a PUT that ended so may have been stored all the same.
    pub doubtful: bool,
    /// Whether what answers is something else than this API: a reason to hold a PUT back.
    pub not_this_api: bool,
    /// What happened and what to do, for the operator.
    pub sentence: &'static str,
}

const fn row(problem: Problem, statuses: &'static [u16], cause: Cause, sentence: &'static str) -> ProblemRow {
    ProblemRow {
        problem,
        statuses,
        cause,
        retried: false,
        doubtful: false,
        not_this_api: false,
        sentence,
    }
}

impl ProblemRow {
    const fn retried(mut self) -> Self {
        self.retried = true;
        self
    }

    const fn doubtful(mut self) -> Self {
        self.doubtful = true;
        self
    }

    const fn not_this_api(mut self) -> Self {
        self.not_this_api = true;
        self
    }
}

/// Every problem (contract.md has the answers, design.md what is retried).
pub static PROBLEMS: [ProblemRow; 27] = [
    row(
        Problem::NoMasterKey,
        &[],
        Cause::RefusedKey,
        "no master key for this site was read: nothing sent",
    ),
    row(
        Problem::RefusedKey,
        &[],
        Cause::RefusedKey,
        "refuses the master key: check master_key of this site",
    ),
    row(
        Problem::RefusedElsewhere,
        &[],
        Cause::RefusedKey,
        "not asked: two other sites refuse the master key, and none has taken it",
    ),
    row(
        Problem::LoginAsked,
        &[],
        Cause::BadAnswer,
        "asks for a login: something stands before the site",
    ),
    row(
        Problem::NoEndpoint,
        &[404, 405],
        Cause::NoEndpoint,
        "has no such call: too old, or no template site",
    ),
    row(
        Problem::Redirect,
        &[],
        Cause::Redirect,
        // Not advice to take it: whoever has taken the shop over would name where the master key goes.
        "redirects elsewhere: put that address in the config only if you know it as the site's own",
    )
    .not_this_api(),
    row(
        Problem::RedirectInPlace,
        &[],
        Cause::Redirect,
        "redirects in place of an answer: its server's settings are wrong, or something stands before the site",
    )
    .not_this_api(),
    row(
        Problem::RedirectToHttp,
        &[],
        Cause::Redirect,
        "redirects to http, where anybody can read along: its server's settings are wrong",
    )
    .not_this_api(),
    row(
        Problem::RedirectToLoopback,
        &[],
        Cause::Redirect,
        "redirects to this machine: its server's settings are wrong",
    )
    .not_this_api(),
    row(
        Problem::RefusedFormat,
        &[],
        Cause::RefusedFormat,
        "refuses the key's form: its version may allow no _ or - in it",
    ),
    row(
        Problem::RefusedRequest,
        &[],
        Cause::BadAnswer,
        "refuses the request: another version of the API?",
    ),
    row(
        Problem::RateLimited,
        &[429],
        Cause::RateLimited,
        "asks to slow down",
    )
    .retried(),
    row(
        Problem::Unavailable,
        &[503],
        Cause::ServerError,
        "is not available just now",
    )
    .retried(),
    row(
        Problem::ServerError,
        &[500, 502, 504],
        Cause::ServerError,
        "is broken just now",
    )
    .retried(),
    row(
        Problem::TryAgain,
        &[408, 425],
        Cause::Timeout,
        "asks to try again",
    )
    .retried(),
    row(
        Problem::OtherStatus,
        &[],
        Cause::ServerError,
        "answers a status that this API does not have",
    ),
    row(
        Problem::SaysNotStored,
        &[],
        Cause::BadAnswer,
        "says that it did not store the key",
    ),
    row(
        Problem::NotThisApi,
        &[],
        Cause::BadAnswer,
        "answers something else than this API",
    )
    .not_this_api(),
    row(
        Problem::StrangeJson,
        &[],
        Cause::BadAnswer,
        "answers JSON that is not this API's",
    ),
    row(
        Problem::Certificate,
        &[],
        Cause::Certificate,
        "has a certificate that cannot be trusted",
    ),
    row(
        Problem::Dns,
        &[],
        Cause::Dns,
        "has a name without an address: check the address in the config",
    )
    .retried(),
    row(Problem::Connect, &[], Cause::Connect, "refuses the connection").retried(),
    row(
        Problem::ConnectTimeout,
        &[],
        Cause::Connect,
        "takes no connection within the limit",
    )
    .retried(),
    row(
        Problem::Timeout,
        &[],
        Cause::Timeout,
        "did not answer within the limit",
    )
    .retried()
    .doubtful(),
    row(
        Problem::ConnectionLost,
        &[],
        Cause::ConnectionLost,
        "dropped the connection before its answer was whole",
    )
    .retried()
    .doubtful(),
    row(
        Problem::NotHttp,
        &[],
        Cause::BadAnswer,
        "answers something that is no HTTP",
    )
    .doubtful(),
    row(
        Problem::UnknownToWorker,
        &[],
        Cause::UnknownSite,
        "was not asked: it is not in the config of the worker that was to do so",
    ),
];

impl Problem {
    /// Its row in [`PROBLEMS`].
    pub fn row(self) -> &'static ProblemRow {
        let row = &PROBLEMS[self as usize];
        debug_assert_eq!(row.problem, self, "PROBLEMS is in the order of the enum");
        row
    }

    /// The problem that `status` alone tells (2xx tells none), for the answer to a PUT or (`put` false) a GET.
    pub fn from_status(status: u16, put: bool) -> Option<Self> {
        if let Some(row) = PROBLEMS.iter().find(|row| row.statuses.contains(&status)) {
            return Some(row.problem);
        }
        match status {
            200..300 => None,
            300..400 => Some(Self::Redirect),
            401 | 403 if put => Some(Self::RefusedKey),
            401 | 403 => Some(Self::LoginAsked),
            400..500 => Some(Self::RefusedRequest),
            _ => Some(Self::OtherStatus),
        }
    }

    /// Its word.
    pub fn cause(self) -> Cause {
        self.row().cause
    }

    /// Whether another machine may meet something else: it has its own master keys, names, ways and trust.
    pub fn depends_on_who_asks(self) -> bool {
        let has_own_way = matches!(
            self,
            Self::Certificate | Self::Dns | Self::Connect | Self::ConnectTimeout
        );
        has_own_way || matches!(self, Self::NoMasterKey | Self::RefusedKey)
    }

    /// Whether a PUT that came to this may have been stored: what passed on its answer, or broke behind it, is
    /// no proof of the contrary.
    pub fn may_be_stored(self) -> bool {
        let broken = [
            Self::ServerError,
            Self::Unavailable,
            Self::TryAgain,
            Self::OtherStatus,
            Self::StrangeJson,
        ];
        self.row().doubtful || broken.contains(&self)
    }
}

/// What a PUT came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutVerdict {
    /// The site answered success.
    Stored,
    /// It did not, or nobody knows.
    Problem(Problem),
}

/// What a PUT without a value came to, which stores nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthVerdict {
    /// The site misses the value: the master key is right, for authentication comes first.
    Accepted,
    /// It does not accept the master key, or nobody knows.
    Problem(Problem),
}

/// What a GET showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookVerdict {
    /// The key that the site's pages use.
    Serves(PublishableKey),
    /// 404 `no_publishable_key`.
    NoKey,
    /// A secret in the place of the key, or anywhere in the answer; the value was dropped unread.
    ExposedSecret,
    /// No answer to judge by.
    Problem(Problem),
}

/// Which secret stood in an answer. None of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leak {
    /// One of Stripe's.
    Stripe,
    /// The site's master key.
    MasterKey,
    /// Both of them.
    Both,
}

impl Leak {
    /// Of what was found.
    pub fn of(stripe: bool, master_key: bool) -> Option<Self> {
        match (stripe, master_key) {
            (false, false) => None,
            (true, false) => Some(Self::Stripe),
            (false, true) => Some(Self::MasterKey),
            (true, true) => Some(Self::Both),
        }
    }

    /// What another answer held besides.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }

    /// What it is.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Stripe => "a Stripe secret",
            Self::MasterKey => "the master key",
            Self::Both => "the master key and a Stripe secret",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Stripe => "have it rolled in Stripe",
            Self::MasterKey => "change the master key of this site",
            Self::Both => "change the master key of this site, and have the other rolled in Stripe",
        }
    }

    /// All of it, for a site's row. Of an answer from before kinds were kept it is not known which it was.
    pub fn sentence(leak: Option<Self>) -> String {
        match leak {
            Some(leak) => format!(
                "ALARM: {} stood in its answer (not kept): {}",
                leak.noun(),
                leak.remedy()
            ),
            None => "ALARM: a secret stood in its answer (not kept)".to_owned(),
        }
    }
}

/// What an answer came to, of either call.
pub trait Verdict {
    /// What was wrong with it, if anything.
    fn problem(&self) -> Option<Problem>;
}

impl Verdict for PutVerdict {
    fn problem(&self) -> Option<Problem> {
        match self {
            Self::Problem(problem) => Some(*problem),
            Self::Stored => None,
        }
    }
}

impl Verdict for LookVerdict {
    fn problem(&self) -> Option<Problem> {
        match self {
            Self::Problem(problem) => Some(*problem),
            Self::Serves(_) | Self::NoKey | Self::ExposedSecret => None,
        }
    }
}

/// One answer, bounded, cleaned and cleared of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<Verdict> {
    /// What it came to.
    pub verdict: Verdict,
    /// The HTTP status, if one came.
    pub http: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// How long the site asks to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The site's own words, or what the network said; the target of a redirect.
    pub detail: CleanText,
    /// Which secret stood in the answer, if one did: an alarm.
    pub alarm: Option<Leak>,
}

impl<Verdict> Answer<Verdict> {
    /// Where no answer came, and no time was spent on one: `detail` says why, in words of ours.
    pub fn none(verdict: Verdict, detail: CleanText) -> Self {
        Self {
            verdict,
            http: None,
            took: Duration::ZERO,
            retry_after: None,
            detail,
            alarm: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_its_row_and_its_own_sentence() {
        for (index, row) in PROBLEMS.iter().enumerate() {
            assert_eq!(row.problem as usize, index);
            assert!(!row.sentence.is_empty());
            let twins = PROBLEMS
                .iter()
                .filter(|other| other.sentence == row.sentence)
                .count();
            assert_eq!(twins, 1, "{:?}", row.problem);
        }
    }

    #[test]
    fn what_is_retried_is_what_the_design_says() {
        let retried =
            |status| Problem::from_status(status, true).is_some_and(|problem| problem.row().retried);
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(retried(status), "{status}");
        }
        for status in [
            200, 204, 301, 308, 400, 401, 403, 404, 405, 410, 422, 501, 505, 999,
        ] {
            assert!(!retried(status), "{status}");
        }
        assert!(!Problem::Certificate.row().retried);
    }

    #[test]
    fn a_status_is_in_one_row_only() {
        for status in 100..600 {
            assert!(
                PROBLEMS
                    .iter()
                    .filter(|row| row.statuses.contains(&status))
                    .count()
                    <= 1,
                "{status}"
            );
        }
    }
}
