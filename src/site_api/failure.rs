use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::CertificateError;

use crate::rules::outcome::Problem;
use crate::text::CleanText;

/// What a request that brought no answer died of, and in a few words how. Names no URL.
pub(super) fn classify(error: &reqwest::Error) -> (Problem, CleanText) {
    let causes = Causes::of(error);
    let (problem, words) = if let Some(certificate) = causes.certificate() {
        (Problem::Certificate, certificate)
    } else if causes.is_dns() {
        (Problem::Dns, "host name not found".to_owned())
    } else if error.is_connect() && (error.is_timeout() || causes.kind == Some(ErrorKind::TimedOut)) {
        (Problem::ConnectTimeout, String::new())
    } else if error.is_connect() {
        (Problem::Connect, causes.words())
    } else if error.is_timeout() {
        (Problem::Timeout, String::new())
    } else if causes.no_http {
        (Problem::NotHttp, String::new())
    } else {
        // From here on the request may have been sent.
        (Problem::ConnectionLost, causes.words())
    };
    (problem, CleanText::note(&words))
}

/// What a connection that was not made, or its handshake, died of, and in a few words how.
pub(super) fn classify_connection(error: &io::Error) -> (Problem, CleanText) {
    let causes = Causes::of(error);
    let (problem, words) = match causes.certificate() {
        Some(certificate) => (Problem::Certificate, certificate),
        None if causes.kind == Some(ErrorKind::TimedOut) => (Problem::ConnectTimeout, String::new()),
        None => (Problem::Connect, causes.words()),
    };
    (problem, CleanText::note(&words))
}

/// Why a request to another place than a site brought no answer, in one sentence. Names no URL.
pub fn words_of(error: &reqwest::Error) -> String {
    let (problem, words) = classify(error);
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
        }
        // hyper-util's resolver error has no type of its own that could be asked for.
        self.dns |= cause.to_string().starts_with("dns error");
    }

    fn is_dns(&self) -> bool {
        self.dns
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
