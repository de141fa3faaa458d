use std::fmt;

use url::Url;

/// A proxy between here and the sites. A password may stand in its address, so that only its host can be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

/// A text is no address of a proxy. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("proxy must be a web address such as \"http://proxy.example.com:3128\"")]
pub struct ProxyRefusal;

impl ProxyUrl {
    /// Parses an address: http, https, socks5 or socks5h.
    ///
    /// # Errors
    /// [`ProxyRefusal`], with words for the operator.
    pub fn parse(raw: &str) -> Result<Self, ProxyRefusal> {
        let url = Url::parse(raw).map_err(|_| ProxyRefusal)?;
        let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
        if known && url.has_host() {
            Ok(Self(url))
        } else {
            Err(ProxyRefusal)
        }
    }

    /// Its host, which may be told.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The whole address, for the library that needs it. It must not be kept or told.
    pub(crate) fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ProxyUrl({})", self.host())
    }
}
