//! A site: its address, its identity, and what the operator says about it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use unicode_security::MixedScript;
use url::{Host, Url};

use crate::key::KeyMode;
use crate::text::CleanText;

/// What a list of sites can say of one.
mod field;
pub use field::{FIELDS, Field};

/// Where a key is stored on a site (contract.md).
const PUT_PATH: &str = "api/export/settings/stripe_publishable_key";
/// Where a site tells which key its pages use (contract.md).
const LOOK_PATH: &str = "api/stripe-pk";
/// The longest address that is taken, in bytes.
const MAX_URL: usize = 2000;

/// The address of a site: https, or http to a loopback address; no user, query or fragment. A path prefix
/// is kept. Two spellings of one site are equal.
///
/// It is the text of the address in the one form that it has, with a slash at its end. Who clones it shares it: a
/// hundred thousand of them are kept in several places.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteUrl(Arc<str>);

impl serde::Serialize for SiteUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SiteUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        Self::parse(&raw).map_err(serde::de::Error::custom)
    }
}

/// Why a text is no site address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteUrlRefusal {
    /// Not an absolute URL.
    #[error("no web address ({0}): write https://shop.example.com")]
    Unreadable(String),
    /// No scheme stands before it.
    #[error("begin with https://, as in https://shop.example.com")]
    NoScheme,
    /// http to somewhere else than this machine.
    #[error(
        "http:// would send the master key unencrypted: write https:// (http is taken for loopback addresses only)"
    )]
    Insecure,
    /// Neither https nor http.
    #[error("begin with https://: nothing else is taken")]
    Scheme,
    /// `user:password@`.
    #[error("a user name or password in the address: take it out")]
    UserInfo,
    /// `?…` or `#…`.
    #[error("a query (?) or fragment (#) in the address: take it out")]
    QueryOrFragment,
    /// Too long.
    #[error("longer than {MAX_URL} bytes")]
    TooLong,
}

impl SiteUrl {
    /// Parses an address as it stands in a config or a list.
    ///
    /// # Errors
    /// [`SiteUrlRefusal`], with words for the operator. It quotes no part of the address.
    pub fn parse(raw: &str) -> Result<Self, SiteUrlRefusal> {
        let raw = raw.trim();
        if raw.len() > MAX_URL {
            return Err(SiteUrlRefusal::TooLong);
        }
        if let Some(plain) = plain(raw) {
            return Ok(Self(plain));
        }
        let mut url = Url::parse(raw).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => SiteUrlRefusal::NoScheme,
            other => SiteUrlRefusal::Unreadable(other.to_string()),
        })?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(SiteUrlRefusal::Insecure),
            _ => return Err(SiteUrlRefusal::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SiteUrlRefusal::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(SiteUrlRefusal::QueryOrFragment);
        }
        // `shop.example.com.` (a trailing root dot) is the same host.
        if let Some(Host::Domain(domain)) = url.host()
            && let Some(bare) = domain.strip_suffix('.').map(str::to_owned)
        {
            if bare.is_empty() || bare.ends_with('.') {
                return Err(SiteUrlRefusal::Unreadable(
                    "a part of the host's name is empty".to_owned(),
                ));
            }
            url.set_host(Some(&bare))
                .map_err(|error| SiteUrlRefusal::Unreadable(error.to_string()))?;
        }
        let segments: Vec<&str> = url
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let path = segments
            .iter()
            .fold(String::from("/"), |path, segment| path + segment + "/");
        url.set_path(&path);
        Ok(Self(url.as_str().into()))
    }

    /// Its text, without the slash at the end.
    pub fn as_str(&self) -> &str {
        self.0.trim_end_matches('/')
    }

    /// Where the key is PUT.
    pub fn put_url(&self) -> Url {
        self.endpoint(PUT_PATH)
    }

    /// Where the site tells its key.
    pub fn look_url(&self) -> Url {
        self.endpoint(LOOK_PATH)
    }

    /// The path of [`SiteUrl::put_url`].
    pub(crate) fn put_path(&self) -> String {
        format!("{}{PUT_PATH}", self.path())
    }

    /// The path of [`SiteUrl::look_url`].
    pub(crate) fn look_path(&self) -> String {
        format!("{}{LOOK_PATH}", self.path())
    }

    /// Whether it is reached by TLS: all but those on this machine itself are.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.scheme() == "https"
    }

    fn endpoint(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.0))
            .unwrap_or_else(|_| unreachable!("what was parsed once is an address with a longer path too"))
    }

    /// What stands between the scheme and the path: host and port, without the port where it is the scheme's own.
    pub(crate) fn authority(&self) -> &str {
        let behind_scheme = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        behind_scheme.split('/').next().unwrap_or_default()
    }

    /// The path, with a slash at each end.
    fn path(&self) -> &str {
        let before = self.scheme().len() + "://".len() + self.authority().len();
        self.0.get(before..).unwrap_or_default()
    }

    fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The host, in its ASCII form; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match (authority.find(']'), authority.rfind(':')) {
            (Some(end), _) => &authority[..=end],
            (None, Some(colon)) => &authority[..colon],
            (None, None) => authority,
        }
    }

    /// Whether a part of the host is of another script than ASCII's.
    fn is_in_another_script(&self) -> bool {
        self.host().split('.').any(|part| part.starts_with("xn--"))
    }

    /// The host as it is written in its own script, where its ASCII form is another. It is for reading: two hosts may
    /// look the same in it.
    pub fn readable_host(&self) -> Option<CleanText> {
        if !self.is_in_another_script() {
            return None;
        }
        let (readable, valid) = idna::domain_to_unicode(self.host());
        let readable = CleanText::new(&readable, MAX_URL);
        (valid.is_ok() && readable.as_str() != self.host()).then_some(readable)
    }

    /// Whether a part of the host is written in more than one script (Unicode TS 39), so that it may only look like
    /// another host.
    pub fn mixes_scripts(&self) -> bool {
        if !self.is_in_another_script() {
            return false;
        }
        let (readable, _) = idna::domain_to_unicode(self.host());
        !readable.split('.').all(MixedScript::is_single_script)
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        let port = &self.authority()[self.host().len()..];
        let own = if self.scheme() == "http" { 80 } else { 443 };
        port.strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .unwrap_or(own)
    }

    /// Host and port: sites that share them share a server, unless the config says otherwise.
    pub fn backend(&self) -> String {
        format!("{}:{}", self.host(), self.port())
    }

    /// A name made of the address: host, the port if it is not 443, the path prefix.
    pub fn default_name(&self) -> CleanText {
        let port = if self.port() == 443 {
            String::new()
        } else {
            format!(":{}", self.port())
        };
        let path = self.path().trim_end_matches('/');
        CleanText::new(&format!("{}{port}{path}", self.host()), NAME_LIMIT)
    }
}

/// An address that has its one form already, as most in a list do: https, a host of small letters, no port and no path.
/// It needs no parser, which matters where there are many. A property holds it to what the parser makes of it.
fn plain(raw: &str) -> Option<Arc<str>> {
    let host = raw.strip_prefix("https://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_plain = |label: &str| {
        let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        label.bytes().all(is_inside)
            && (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            // What is written in another script, or could be taken for it.
            && label.get(2..4) != Some("--")
    };
    // A host that ends in a number is an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_name = last.starts_with(|first: char| first.is_ascii_lowercase());
    (is_name && host.len() <= 253 && host.split('.').all(is_plain)).then(|| format!("https://{host}/").into())
}

/// The longest name of a site, in characters.
pub const NAME_LIMIT: usize = 120;

/// Whether an address leads to this machine by its own word.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

impl fmt::Display for SiteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for SiteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SiteUrl({self})")
    }
}

/// Which keys a site may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteMode {
    /// Live keys only.
    Live,
    /// Test keys only.
    Test,
    /// Either.
    #[default]
    Any,
}

impl SiteMode {
    /// Whether a key of `mode` may be put on the site.
    pub fn allows(self, mode: KeyMode) -> bool {
        match self {
            Self::Live => mode == KeyMode::Live,
            Self::Test => mode == KeyMode::Test,
            Self::Any => true,
        }
    }
}

/// A site's place in the list of one process. Stable until the list is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct SiteId(pub u32);

impl SiteId {
    /// The site at this index of the list. A list longer than four thousand million has no such site.
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// As an index into the list of sites.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which master key a site takes: an index into the secrets of the config, the global one being first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MasterKeyId(pub u32);

/// One site, as config and sources describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Unique in the list.
    pub name: CleanText,
    /// Unique in the list.
    pub url: SiteUrl,
    /// For selecting and filtering.
    pub group: Option<CleanText>,
    /// Which keys it may be given.
    pub mode: SiteMode,
    /// Sites with the same backend share its few database connections (contract.md, "Limits of a site").
    pub backend: Arc<str>,
    /// Which master key it takes.
    pub master_key: MasterKeyId,
    /// A disabled site is listed and never sent a key.
    pub enabled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(raw: &str) -> SiteUrl {
        SiteUrl::parse(raw).unwrap()
    }

    #[test]
    fn spellings_of_one_site_are_one() {
        let plain = url("https://shop.example.com");
        for other in [
            "https://SHOP.example.com/",
            "https://shop.example.com:443",
            " https://shop.example.com.//",
            "HTTPS://shop.example.com",
        ] {
            assert_eq!(url(other), plain, "{other}");
        }
        assert_eq!(
            url("https://bücher.example"),
            url("https://xn--bcher-kva.example/")
        );
        assert_eq!(url("https://a.example/x//y/"), url("https://a.example/x/y"));
        assert_ne!(url("https://a.example/x"), url("https://a.example/y"));
    }

    #[test]
    fn what_could_leak_the_master_key_is_refused() {
        let refuse = |raw: &str| SiteUrl::parse(raw).unwrap_err();
        assert_eq!(refuse("http://shop.example.com"), SiteUrlRefusal::Insecure);
        assert_eq!(refuse("http://127.0.0.1.example.com"), SiteUrlRefusal::Insecure);
        assert_eq!(refuse("ftp://shop.example.com"), SiteUrlRefusal::Scheme);
        assert_eq!(refuse("https://u:p@shop.example.com"), SiteUrlRefusal::UserInfo);
        assert_eq!(
            refuse("https://shop.example.com/?a"),
            SiteUrlRefusal::QueryOrFragment
        );
        assert_eq!(
            refuse("https://shop.example.com/#a"),
            SiteUrlRefusal::QueryOrFragment
        );
        assert_eq!(refuse("shop.example.com"), SiteUrlRefusal::NoScheme);
        assert_eq!(refuse("shop.example.com:8443"), SiteUrlRefusal::Scheme);
        assert!(matches!(refuse("https://"), SiteUrlRefusal::Unreadable(_)));
    }

    #[test]
    fn http_is_taken_for_loopback() {
        for raw in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:9"] {
            assert!(SiteUrl::parse(raw).is_ok(), "{raw}");
        }
    }

    #[test]
    fn a_host_of_another_script_can_be_read() {
        let read = |raw| url(raw).readable_host().map(|host| host.to_string());
        assert_eq!(
            read("https://xn--bcher-kva.example"),
            Some("bücher.example".to_owned())
        );
        assert_eq!(read("https://shop.example.com"), None);
        assert_eq!(read("http://127.0.0.1:8080"), None);
        assert_eq!(read("http://[::1]:9"), None);
    }

    #[test]
    fn a_host_that_mixes_scripts_is_told_apart() {
        // A Cyrillic a among Latin letters; a name that is all Greek below a Latin one is none.
        assert!(url("https://sh\u{43e}p.example.com").mixes_scripts());
        for plain in [
            "https://shop-24.example.com",
            "https://bücher.example",
            "https://αβγ.example.com",
            "https://ショップ東京.example",
            "http://127.0.0.1:8080",
            "http://[::1]:9",
        ] {
            assert!(!url(plain).mixes_scripts(), "{plain}");
        }
    }

    #[test]
    fn endpoints_keep_the_path_prefix() {
        let site = url("https://a.example:8443/shops/x");
        assert_eq!(
            site.look_url().as_str(),
            "https://a.example:8443/shops/x/api/stripe-pk"
        );
        assert_eq!(
            site.put_url().path(),
            "/shops/x/api/export/settings/stripe_publishable_key"
        );
        assert_eq!(site.default_name().as_str(), "a.example:8443/shops/x");
        assert_eq!(site.to_string(), "https://a.example:8443/shops/x");
    }

    #[test]
    fn a_host_of_dots_is_none() {
        for raw in ["https://..", "https://.", "https://shop.example.com.."] {
            assert!(SiteUrl::parse(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn an_address_that_is_not_parsed_is_what_the_parser_makes_of_it(
            raw in "https://[a-z0-9x.-]{0,12}(\\.[a-z0-9-]{0,6}){0,2}/?"
        ) {
            if let Some(plain) = plain(&raw) {
                let parsed = Url::parse(&raw).unwrap();
                prop_assert_eq!(&*plain, parsed.as_str());
                prop_assert!(matches!(parsed.host(), Some(Host::Domain(_))));
            }
        }

        #[test]
        fn whatever_parses_is_safe_and_stable(raw in "(https?://)?[a-z0-9.:/@?#\\[\\]-]{0,40}") {
            if let Ok(site) = SiteUrl::parse(&raw) {
                prop_assert_eq!(SiteUrl::parse(&site.to_string()).unwrap(), site.clone());
                prop_assert!(site.put_url().scheme() == "https" || is_loopback(&site.put_url()));
                prop_assert!(site.put_url().username().is_empty());
            }
        }
    }
}
