use std::net::{Ipv4Addr, Ipv6Addr};

use glob::{MatchOptions, Pattern};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};

const NO_HOST: &str =
    "allow_hosts holds hosts such as \"shop.example.com\" or \"*.example.com\": no scheme, no port, no path";
const TOO_WIDE: &str = "this admits hosts of strangers: the last two parts of a name must stand there without * and ?, as in \
                        \"*.example.com\" (\"*\" alone admits any host)";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInventory {
    allow_hosts: Vec<Spanned<String>>,
}

/// `[inventory]`: what any source may add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InventorySettings {
    /// Hosts must be one of these; all may be, where there are none.
    allow_hosts: Vec<HostPattern>,
}

/// Hosts of one kind: a pattern of addresses such as `10.0.0.*` would else admit `10.0.0.evil.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Address(Pattern),
    Name(Pattern),
}

impl InventorySettings {
    /// Whether a source may list a site on this host, which is in its ASCII form.
    pub fn allows(&self, host: &str) -> bool {
        self.allow_hosts.is_empty() || self.allow_hosts.iter().any(|pattern| pattern.matches(host))
    }
}

pub(super) fn resolve(raw: &RawInventory, at: &Places<'_>) -> Result<InventorySettings, ConfigError> {
    let pattern = |raw: &Spanned<String>| {
        HostPattern::parse(raw.get_ref()).map_err(|refusal| at.error(Some(raw.span()), refusal))
    };
    let allow_hosts: Result<Vec<HostPattern>, ConfigError> = raw.allow_hosts.iter().map(pattern).collect();
    Ok(InventorySettings {
        allow_hosts: allow_hosts?,
    })
}

impl HostPattern {
    /// In the form in which hosts are compared: ASCII, in small letters.
    ///
    /// # Errors
    /// Why it is none, and what to write.
    fn parse(raw: &str) -> Result<Self, &'static str> {
        let raw = raw.trim().trim_end_matches('.');
        if raw == "*" {
            return Ok(Self::Any);
        }
        let inside = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']'));
        if let Some(inside) = inside {
            return Self::of_ipv6(inside).ok_or(NO_HOST);
        }
        let ascii = idna::domain_to_ascii(raw).map_err(|_| NO_HOST)?;
        let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*?".contains(&byte);
        if ascii.is_empty() || !ascii.bytes().all(is_of_a_host) {
            return Err(NO_HOST);
        }
        let pattern = Pattern::new(&ascii).map_err(|_| NO_HOST)?;
        let is_of_an_address = |byte: u8| byte.is_ascii_digit() || b".*?".contains(&byte);
        if ascii.bytes().all(is_of_an_address) && ascii.bytes().any(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Address(pattern));
        }
        if ascii.rsplit('.').take(2).any(|part| part.contains(['*', '?'])) {
            return Err(TOO_WIDE);
        }
        Ok(Self::Name(pattern))
    }

    /// What stands between the brackets of an IPv6 address, which mean something else in a pattern.
    fn of_ipv6(inside: &str) -> Option<Self> {
        let inside = match inside.parse::<Ipv6Addr>() {
            Ok(address) => address.to_string(),
            Err(_) if inside.contains(['*', '?']) => inside.to_ascii_lowercase(),
            Err(_) => return None,
        };
        let is_of_an_address = |byte: u8| byte.is_ascii_hexdigit() || b":.*?".contains(&byte);
        if !inside.contains(':') || !inside.bytes().all(is_of_an_address) {
            return None;
        }
        Pattern::new(&format!("[[]{inside}[]]")).ok().map(Self::Address)
    }

    fn matches(&self, host: &str) -> bool {
        let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        let matches = |pattern: &Pattern| pattern.matches_with(host, MatchOptions::new());
        match self {
            Self::Any => true,
            Self::Address(pattern) => is_address && matches(pattern),
            Self::Name(pattern) => !is_address && matches(pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(patterns: &[&str]) -> InventorySettings {
        InventorySettings {
            allow_hosts: patterns
                .iter()
                .map(|raw| HostPattern::parse(raw).unwrap())
                .collect(),
        }
    }

    #[test]
    fn hosts_are_compared_in_their_ascii_form() {
        let allowed = allowing(&["*.Example.com", "*.bücher.example", "[::1]", "127.0.0.*"]);
        for host in [
            "shop.example.com",
            "a.b.example.com",
            "x.xn--bcher-kva.example",
            "[::1]",
            "127.0.0.7",
        ] {
            assert!(allowed.allows(host), "{host}");
        }
        for host in [
            "example.com",
            "shop.example.com.evil.example",
            "shopexample.com",
            "bücher.example",
            "127.0.1.7",
            ":",
        ] {
            assert!(!allowed.allows(host), "{host}");
        }
        assert!(allowing(&[]).allows("anything.example"));
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for raw in [
            "",
            ".",
            "https://a.example",
            "a.example/x",
            "a.example:443",
            "a b",
            "[a-z].example",
            "[shop]",
            "[::1",
        ] {
            assert_eq!(HostPattern::parse(raw), Err(NO_HOST), "{raw}");
        }
    }

    #[test]
    fn addresses_admit_no_names_and_names_no_addresses() {
        let allowed = allowing(&["10.0.0.*", "[2001:DB8:*]", "[0:0::1]"]);
        for host in ["10.0.0.7", "[2001:db8::7]", "[::1]"] {
            assert!(allowed.allows(host), "{host}");
        }
        for host in ["10.0.0.evil.example", "10.0.0.7.evil.example", "[2001:db9::7]"] {
            assert!(!allowed.allows(host), "{host}");
        }
        for host in ["10.0.0.7", "[::1]", "evil.example"] {
            assert!(allowing(&["*"]).allows(host), "{host}");
        }
    }

    #[test]
    fn a_name_is_wild_before_its_last_two_parts_alone() {
        for raw in [
            "*.com",
            "*.*",
            "?.?.?.?",
            "**",
            "shop*",
            "shop.example*",
            "shop.*.com",
        ] {
            assert_eq!(HostPattern::parse(raw), Err(TOO_WIDE), "{raw}");
        }
        assert!(allowing(&["shop-?.example.com", "*.*.example.com"]).allows("shop-1.example.com"));
    }
}
