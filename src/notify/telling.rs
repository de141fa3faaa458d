use serde::Serialize;

use crate::rules::watch::Notice;
use crate::text::Count;

/// Notices that stand in one posting at most; their number is told in any case.
const LISTED: usize = 100;

/// What is told at once.
pub(super) enum Telling<'a> {
    /// A notice.
    One(&'a Notice),
    /// All that a look has found.
    Many(&'a [Notice]),
}

#[derive(Serialize)]
struct Posted<'a> {
    v: u8,
    event: &'static str,
    /// RFC 3339, in UTC, to the millisecond.
    at: String,
    /// One sentence: what some chats show.
    text: String,
    count: usize,
    finding: Option<&'static str>,
    over: Option<bool>,
    site: Option<&'a str>,
    url: Option<&'a str>,
    group: Option<&'a str>,
    now: Option<&'a str>,
    expected: Option<&'a str>,
    note: Option<&'a str>,
    /// Where they are many: each in a sentence.
    notices: Vec<String>,
}

impl Telling<'_> {
    fn one(&self) -> Option<&Notice> {
        match self {
            Self::One(notice) => Some(notice),
            Self::Many(_) => None,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(notices) => notices.len(),
        }
    }

    fn at(&self) -> String {
        let newest = match self {
            Self::One(notice) => Some(notice.at),
            Self::Many(notices) => notices.iter().map(|notice| notice.at).max(),
        };
        newest.map_or_else(String::new, |at| format!("{at:.3}"))
    }

    /// In a sentence.
    fn sentence(&self) -> String {
        match self {
            Self::One(notice) => notice.sentence(),
            Self::Many(notices) => {
                let first: Vec<String> = notices.iter().take(3).map(Notice::sentence).collect();
                format!(
                    "{} at once, the first: {}",
                    Count(notices.len(), "notice"),
                    first.join("; ")
                )
            }
        }
    }

    /// As the environment variables of a command.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let one = self.one();
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        let of = |part: fn(&Notice) -> &Option<String>| text(one.and_then(|notice| part(notice).as_ref()));
        vec![
            (
                "STRIPE_PROPAGATE_EVENT",
                one.map_or("several", |notice| notice.finding.word()).to_owned(),
            ),
            (
                "STRIPE_PROPAGATE_OVER",
                one.is_some_and(|notice| notice.over).to_string(),
            ),
            ("STRIPE_PROPAGATE_AT", self.at()),
            ("STRIPE_PROPAGATE_COUNT", self.count().to_string()),
            ("STRIPE_PROPAGATE_TEXT", self.sentence()),
            ("STRIPE_PROPAGATE_SITE", of(|notice| &notice.site)),
            ("STRIPE_PROPAGATE_URL", of(|notice| &notice.url)),
            ("STRIPE_PROPAGATE_GROUP", of(|notice| &notice.group)),
            ("STRIPE_PROPAGATE_NOW", of(|notice| &notice.now)),
            ("STRIPE_PROPAGATE_EXPECTED", of(|notice| &notice.expected)),
            (
                "STRIPE_PROPAGATE_NOTE",
                one.map(|notice| notice.note.clone()).unwrap_or_default(),
            ),
        ]
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        let one = self.one();
        let notices = match self {
            Self::One(_) => Vec::new(),
            Self::Many(notices) => notices.iter().take(LISTED).map(Notice::sentence).collect(),
        };
        let posted = Posted {
            v: 1,
            event: "notice",
            at: self.at(),
            text: self.sentence(),
            count: self.count(),
            finding: one.map(|notice| notice.finding.word()),
            over: one.map(|notice| notice.over),
            site: one.and_then(|notice| notice.site.as_deref()),
            url: one.and_then(|notice| notice.url.as_deref()),
            group: one.and_then(|notice| notice.group.as_deref()),
            now: one.and_then(|notice| notice.now.as_deref()),
            expected: one.and_then(|notice| notice.expected.as_deref()),
            note: one.map(|notice| notice.note.as_str()),
            notices,
        };
        // Text and numbers: serializing them cannot fail.
        serde_json::to_string(&posted).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::rules::watch::Finding;

    fn notice(site: &str) -> Notice {
        Notice {
            finding: Finding::Drifted,
            over: false,
            at: Timestamp::UNIX_EPOCH,
            site: Some(site.to_owned()),
            url: Some(format!("https://{site}.example.com/")),
            group: None,
            now: Some("pk_live_…9zQe".to_owned()),
            expected: Some("pk_live_…AbCd".to_owned()),
            note: "changed by someone else?".to_owned(),
        }
    }

    #[test]
    fn one_notice_is_told_with_its_facts() {
        let notice = notice("maison-est");
        let telling = Telling::One(&notice);
        let variables: HashMap<&str, String> = telling.variables().into_iter().collect();
        for (name, value) in [
            ("EVENT", "drifted"),
            ("OVER", "false"),
            ("SITE", "maison-est"),
            ("URL", "https://maison-est.example.com/"),
            ("GROUP", ""),
            ("NOW", "pk_live_…9zQe"),
            ("EXPECTED", "pk_live_…AbCd"),
            ("NOTE", "changed by someone else?"),
            ("AT", "1970-01-01T00:00:00.000Z"),
            ("COUNT", "1"),
            ("TEXT", "maison-est drifted: changed by someone else?"),
        ] {
            assert_eq!(variables[&*format!("STRIPE_PROPAGATE_{name}")], value, "{name}");
        }
        let json: Value = serde_json::from_str(&telling.json()).unwrap();
        assert_eq!(
            (&json["v"], &json["event"], &json["finding"]),
            (&1.into(), &"notice".into(), &"drifted".into())
        );
        assert_eq!((&json["group"], &json["over"]), (&Value::Null, &false.into()));
    }

    #[test]
    fn many_notices_are_told_in_one_of_bounded_length() {
        let notices: Vec<Notice> = (0..500).map(|number| notice(&format!("shop{number}"))).collect();
        let telling = Telling::Many(&notices);
        let variables: HashMap<&str, String> = telling.variables().into_iter().collect();
        assert_eq!(variables["STRIPE_PROPAGATE_EVENT"], "several");
        assert_eq!(variables["STRIPE_PROPAGATE_COUNT"], "500");
        assert!(
            variables["STRIPE_PROPAGATE_TEXT"].starts_with("500 notices at once, the first: shop0 drifted")
        );
        let json: Value = serde_json::from_str(&telling.json()).unwrap();
        assert_eq!(json["notices"].as_array().unwrap().len(), LISTED);
        assert_eq!((&json["count"], &json["site"]), (&500.into(), &Value::Null));
    }
}
