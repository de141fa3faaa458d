use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::CertificateError;

use super::bounded::Endless;
use crate::rules::outcome::Problem;
use crate::text::CleanText;

/// What a request to a site died of before its answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// There was no connection: nothing was sent.
    #[error("no connection")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// There was none within the limit.
    #[error("no connection within the limit")]
    ConnectTimeout,
    /// This process stood still for longer than the limit: nothing was sent.
    #[error("not begun within the limit")]
    Late,
    /// The connection ended: the request may have been sent.
    #[error("the connection was lost")]
    Lost(#[source] hyper::Error),
    /// No answer within the limit: the request may have been sent.
    #[error("no answer within the limit")]
    Timeout,
}

/// What a request that brought no answer died of, and in a few words how.
pub(super) fn classify(broken: &Broken) -> (Problem, CleanText) {
    match broken {
        Broken::Connect(error) => no_connection(&Causes::of(error.as_ref())),
        Broken::ConnectTimeout => (Problem::ConnectTimeout, CleanText::default()),
        Broken::Late => {
            let words = "this machine stood still meanwhile, and nothing was sent";
            (Problem::ConnectTimeout, CleanText::note(words))
        }
        Broken::Timeout => (Problem::Timeout, CleanText::default()),
        Broken::Lost(error) => lost(&Causes::of(error)),
    }
}

fn no_connection(causes: &Causes) -> (Problem, CleanText) {
    let (problem, words) = if let Some(proxy) = &causes.proxy {
        // Nothing of the site's own stands behind it.
        (
            Problem::Connect,
            format!("at the proxy: {}", causes.of_proxy(proxy)),
        )
    } else if let Some(certificate) = causes.certificate() {
        (Problem::Certificate, certificate)
    } else if causes.dns {
        (Problem::Dns, "host name not found".to_owned())
    } else if causes.kind == Some(ErrorKind::TimedOut) {
        (Problem::ConnectTimeout, String::new())
    } else {
        (Problem::Connect, causes.words())
    };
    (problem, CleanText::note(&words))
}

/// From here on the request may have been sent.
fn lost(causes: &Causes) -> (Problem, CleanText) {
    if causes.no_http {
        return (Problem::NotHttp, CleanText::default());
    }
    (Problem::ConnectionLost, CleanText::note(&causes.words()))
}

/// As [`classify`], of a request to another place than a site. Names no URL.
fn classify_elsewhere(error: &reqwest::Error) -> (Problem, CleanText) {
    let causes = Causes::of(error);
    if error.is_connect() && error.is_timeout() {
        (Problem::ConnectTimeout, CleanText::default())
    } else if error.is_connect() {
        no_connection(&causes)
    } else if error.is_timeout() {
        (Problem::Timeout, CleanText::default())
    } else {
        lost(&causes)
    }
}

/// What a connection that was not made, or its handshake, died of, and in a few words how.
pub(super) fn classify_connection(error: &io::Error) -> (Problem, CleanText) {
    no_connection(&Causes::of(error))
}

/// Why a request to another place than a site brought no answer, in one sentence. Names no URL.
pub fn words_of(error: &reqwest::Error) -> String {
    let (problem, words) = classify_elsewhere(error);
    let sentence = problem.row().sentence;
    if words.is_empty() {
        sentence.to_owned()
    } else {
        format!("{sentence} ({words})")
    }
}

/// What stands behind an error, all the way down.
#[derive(Default)]
struct Causes {
    tls: Option<rustls::Error>,
    kind: Option<ErrorKind>,
    dns: bool,
    /// What the proxy said, or did.
    proxy: Option<String>,
    no_http: bool,
}

impl Causes {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut causes = Self::default();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = next {
            causes.take_in(cause);
            // `io::Error` hides its inner error from `source()`.
            let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = inner
                .map(|inner| inner as &(dyn Error + 'static))
                .or_else(|| cause.source());
        }
        causes
    }

    fn take_in(&mut self, cause: &(dyn Error + 'static)) {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            if io.kind() != ErrorKind::Other {
                self.kind = Some(io.kind());
            }
        } else if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            self.tls = Some(tls.clone());
        } else if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            self.no_http |= hyper.is_parse();
        } else if cause.is::<Endless>() {
            self.no_http = true;
        }
        // These errors of hyper-util have no types that could be asked for.
        let words = cause.to_string();
        self.dns |= words.starts_with("dns error");
        let of_proxy = |start| words.strip_prefix(start).map(str::to_owned);
        self.proxy = self
            .proxy
            .take()
            .or_else(|| of_proxy("tunnel error: ").or_else(|| of_proxy("SOCKS error: ")));
    }

    /// Why the proxy brought no connection.
    fn of_proxy(&self, said: &str) -> String {
        if let Some(certificate) = self.certificate() {
            return format!("its certificate cannot be trusted: {certificate}");
        }
        if self.dns {
            return "its host name was not found".to_owned();
        }
        let words = self.words();
        if words.is_empty() { said.to_owned() } else { words }
    }

    fn certificate(&self) -> Option<String> {
        let Some(rustls::Error::InvalidCertificate(error)) = &self.tls else {
            return None;
        };
        let words = match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is another host's"
            }
            CertificateError::UnknownIssuer => "its authority is unknown",
            CertificateError::Revoked => "it was revoked",
            _ => "it is not valid",
        };
        Some(words.to_owned())
    }

    fn words(&self) -> String {
        use rustls::{AlertDescription, Error};

        match self.tls {
            Some(Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
                return "it speaks no TLS that is safe: 1.2 or 1.3 is needed".to_owned();
            }
            Some(_) => return "the TLS handshake failed".to_owned(),
            None => {}
        }
        self.kind.map(|kind| kind.to_string()).unwrap_or_default()
    }
}
