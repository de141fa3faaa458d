use glob::{MatchOptions, Pattern};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInventory {
    allow_hosts: Vec<Spanned<String>>,
}

/// `[inventory]`: what any source may add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InventorySettings {
    /// Hosts must be one of these; all may be, where there are none.
    allow_hosts: Vec<Pattern>,
}

impl InventorySettings {
    /// Whether a source may list a site on this host, which is in its ASCII form.
    pub fn allows(&self, host: &str) -> bool {
        let exactly = MatchOptions::new();
        self.allow_hosts.is_empty()
            || self
                .allow_hosts
                .iter()
                .any(|pattern| pattern.matches_with(host, exactly))
    }
}

pub(super) fn resolve(raw: &RawInventory, at: &Places<'_>) -> Result<InventorySettings, ConfigError> {
    let pattern = |raw: &Spanned<String>| {
        host_pattern(raw.get_ref()).ok_or_else(|| {
            at.error(
                Some(raw.span()),
                "allow_hosts holds hosts such as \"shop.example.com\" or \"*.example.com\": no scheme, no port, no path",
            )
        })
    };
    let allow_hosts: Result<Vec<Pattern>, ConfigError> = raw.allow_hosts.iter().map(pattern).collect();
    Ok(InventorySettings {
        allow_hosts: allow_hosts?,
    })
}

/// In the form in which hosts are compared: ASCII, in small letters.
fn host_pattern(raw: &str) -> Option<Pattern> {
    let raw = raw.trim().trim_end_matches('.');
    // The brackets of an IPv6 address are none of a pattern.
    if raw.starts_with('[') && raw.ends_with(']') && raw.contains(':') {
        return Pattern::new(&Pattern::escape(&raw.to_ascii_lowercase())).ok();
    }
    let ascii = idna::domain_to_ascii(raw).ok()?;
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*?".contains(&byte);
    if ascii.is_empty() || !ascii.bytes().all(is_of_a_host) {
        return None;
    }
    Pattern::new(&ascii).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(patterns: &[&str]) -> InventorySettings {
        InventorySettings {
            allow_hosts: patterns.iter().map(|raw| host_pattern(raw).unwrap()).collect(),
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
        ] {
            assert!(host_pattern(raw).is_none(), "{raw}");
        }
    }
}
