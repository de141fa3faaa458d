use std::collections::HashMap;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::site::SiteUrl;
use crate::text::CleanText;

/// How long a site is acknowledged where nobody says otherwise.
pub const DEFAULT_UNTIL: &str = "7 days";
/// What is written for no end.
pub const TAKEN_BACK: &str = "taken back";

/// The operator knows that a site is bad, and why. It stays listed and tried, and its failure is shown; it is left out
/// of the halt, the exit status and the bell. A secret that it shows is an alarm all the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Why it is bad, in the operator's words.
    pub reason: CleanText,
    /// Until when; none until it is taken back.
    pub until: Option<Timestamp>,
    /// Who acknowledged it: `user@host`.
    pub by: CleanText,
    /// When.
    pub at: Timestamp,
}

impl Acknowledgement {
    /// Whether it holds at `now`.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// `acknowledged until 2026-12-24 18:00: the domain moves`; `clock` writes a time of day.
    pub fn sentence(&self, clock: &dyn Fn(Moment) -> String) -> String {
        format!("acknowledged {}: {}", self.until_in_words(clock), self.reason)
    }

    /// `until 14:02:11`, or `until taken back`.
    pub fn until_in_words(&self, clock: &dyn Fn(Moment) -> String) -> String {
        match self.until {
            Some(until) => format!("until {}", clock(shown(until))),
            None => format!("until {TAKEN_BACK}"),
        }
    }
}

/// A time of day to show: only its wall clock means something.
fn shown(wall: Timestamp) -> Moment {
    Moment {
        since_start: Duration::ZERO,
        wall,
    }
}

/// Why a text says no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UntilRefusal {
    /// Neither a duration nor a time.
    #[error(
        "write a duration or a time: \"7 days\", \"12h\", \"2026-12-24\", \"2026-12-24 18:00\", or \"{TAKEN_BACK}\""
    )]
    Unreadable,
    /// It is over already.
    #[error("that is over already: write a time to come")]
    Past,
}

/// The end that `text` says: a duration from `now` on, a day (to its end) or a time in `zone`; none where it is empty
/// or `taken back`.
///
/// # Errors
/// [`UntilRefusal`], with words for the operator.
pub fn until(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Option<Timestamp>, UntilRefusal> {
    let text = text.trim();
    if text.is_empty() || text == TAKEN_BACK {
        return Ok(None);
    }
    let until = read(text, now, zone).ok_or(UntilRefusal::Unreadable)?;
    if until > now {
        Ok(Some(until))
    } else {
        Err(UntilRefusal::Past)
    }
}

fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let in_zone = |time: DateTime| Some(time.to_zoned_datetime(zone.clone()).ok()?.timestamp());
    if let Ok(span) = text.parse::<Span>() {
        return Some(
            now.to_zoned_datetime(zone.clone())
                .checked_add(span)
                .ok()?
                .timestamp(),
        );
    }
    if text.contains(':') {
        return in_zone(text.parse().ok()?);
    }
    let day: Date = text.parse().ok()?;
    let last_second = day
        .tomorrow()
        .ok()?
        .to_datetime(jiff::civil::Time::midnight())
        .checked_sub(1.second());
    in_zone(last_second.ok()?)
}

/// The sites that are acknowledged, by their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged(HashMap<SiteUrl, Acknowledgement>);

impl Acknowledged {
    /// As the store has them.
    pub fn new(known: impl IntoIterator<Item = (SiteUrl, Acknowledgement)>) -> Self {
        Self(known.into_iter().collect())
    }

    /// What holds of the site at `now`, if it is acknowledged.
    pub fn of(&self, site: &SiteUrl, now: Timestamp) -> Option<&Acknowledgement> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(site).filter(|known| known.is_in_force(now))
    }

    /// What is known of the site, also if that is over.
    pub fn on_record(&self, site: &SiteUrl) -> Option<&Acknowledgement> {
        self.0.get(site)
    }

    /// When the next one that holds at `now` ends.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.0.values().filter_map(|known| known.until);
        ends.filter(|until| *until > now).min()
    }

    /// The site is acknowledged from now on, or not any more.
    pub fn set(&mut self, site: SiteUrl, acknowledgement: Option<Acknowledgement>) {
        match acknowledgement {
            Some(acknowledgement) => self.0.insert(site, acknowledgement),
            None => self.0.remove(&site),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn parse(text: &str) -> Result<Option<Timestamp>, UntilRefusal> {
        until(text, time("2026-11-26T15:00:00Z"), &TimeZone::UTC)
    }

    #[test]
    fn an_end_is_written_as_an_operator_says_it() {
        for (text, end) in [
            ("7 days", "2026-12-03T15:00:00Z"),
            (" 12h ", "2026-11-27T03:00:00Z"),
            ("1 week", "2026-12-03T15:00:00Z"),
            ("90 min", "2026-11-26T16:30:00Z"),
            ("2026-12-24", "2026-12-24T23:59:59Z"),
            ("2026-11-26", "2026-11-26T23:59:59Z"),
            ("2026-12-24 18:00", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00", "2026-12-24T18:00:00Z"),
        ] {
            assert_eq!(parse(text), Ok(Some(time(end))), "{text}");
        }
        assert_eq!((parse(""), parse("taken back")), (Ok(None), Ok(None)));
        for text in ["soon", "7", "18:00", "2026-13-01", "pk_live_x"] {
            assert_eq!(parse(text), Err(UntilRefusal::Unreadable), "{text}");
        }
        for text in ["-7 days", "0s", "2026-11-25", "2026-11-26 14:59"] {
            assert_eq!(parse(text), Err(UntilRefusal::Past), "{text}");
        }
    }

    #[test]
    fn it_holds_until_its_end() {
        let mut known = Acknowledgement {
            reason: CleanText::note("moves"),
            until: Some(time("2026-12-24T18:00:00Z")),
            by: CleanText::note("ops@bastion"),
            at: time("2026-11-26T15:00:00Z"),
        };
        let site = SiteUrl::parse("https://a.example.com").unwrap();
        let mut all = Acknowledged::new([(site.clone(), known.clone())]);
        assert!(all.of(&site, time("2026-12-24T17:59:59Z")).is_some());
        assert_eq!(all.of(&site, time("2026-12-24T18:00:00Z")), None);
        let clock = |moment: Moment| moment.wall.to_string();
        assert_eq!(
            known.sentence(&clock),
            "acknowledged until 2026-12-24T18:00:00Z: moves"
        );
        known.until = None;
        all.set(site.clone(), Some(known.clone()));
        assert!(all.of(&site, Timestamp::MAX).is_some());
        assert_eq!(known.sentence(&clock), "acknowledged until taken back: moves");
        all.set(site.clone(), None);
        assert_eq!(all, Acknowledged::default());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_end_is_past(text in ".{0,40}", second in -1_000_000_000i64..4_000_000_000) {
            let now = Timestamp::from_second(second).unwrap();
            if let Ok(Some(end)) = until(&text, now, &TimeZone::UTC) {
                prop_assert!(end > now);
            }
        }
    }
}
