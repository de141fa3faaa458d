//! Which faults a fleet is asked to play, and on how many of its sites.

use std::str::FromStr;

use super::faults::{FAULTS, Fault};

/// How many sites of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Sites(usize),
    /// So many of a hundred, from 1 to 100, and one at least.
    Percent(u8),
}

impl Share {
    /// Of so many sites.
    pub(super) fn of(self, sites: usize) -> usize {
        match self {
            Self::Sites(count) => count,
            Self::Percent(percent) => (sites * usize::from(percent) / 100).max(1),
        }
    }
}

/// A fault that a fleet is asked to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedFault {
    /// Which one.
    pub fault: Fault,
    /// On how many of its sites.
    pub share: Share,
}

/// Whether so many sites are enough for what is asked for.
///
/// # Errors
/// They are not.
pub(super) fn fits(asked: &[AskedFault], sites: usize) -> Result<(), TooMany> {
    let needed = asked.iter().map(|asked| asked.share.of(sites));
    let needed = needed.fold(0, usize::saturating_add);
    if needed > sites {
        return Err(TooMany { needed, sites });
    }
    Ok(())
}

/// More sites are to be odd than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the faults need {needed} sites and there are {sites}: say more with --sites, or less with --fault")]
pub struct TooMany {
    /// So many are to be.
    pub needed: usize,
    /// So many are there.
    pub sites: usize,
}

/// Why a text asks for no fault. In words for the one who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskedRefusal {
    /// Without `=`.
    #[error("write NAME=SHARE, such as endless-body=3 or never-answers=10%")]
    NoShare,
    /// No fault has this name.
    #[error("there is no such fault{}; there are: {}", nearest.map(|word| format!(": did you mean {word}?")).unwrap_or_default(), words())]
    NoFault {
        /// Which one may have been meant.
        nearest: Option<&'static str>,
    },
    /// The share is none.
    #[error("a share is a number of sites, from 1 on, or a percentage from 1% to 100%")]
    Share,
}

/// Names this much alike are taken for one that is mistyped.
const ALIKE: f64 = 0.7;

fn words() -> String {
    let words = FAULTS.iter().map(|row| row.word);
    words.collect::<Vec<_>>().join(", ")
}

impl FromStr for AskedFault {
    type Err = AskedRefusal;

    fn from_str(text: &str) -> Result<Self, AskedRefusal> {
        let (name, share) = text.split_once('=').ok_or(AskedRefusal::NoShare)?;
        let row = FAULTS.iter().find(|row| row.word == name);
        let fault = row.map(|row| row.fault).ok_or_else(|| {
            let likeness = |word: &str| strsim::jaro_winkler(name, word);
            let words = FAULTS.iter().map(|row| row.word);
            let nearest = words.max_by(|one, two| likeness(one).total_cmp(&likeness(two)));
            AskedRefusal::NoFault {
                nearest: nearest.filter(|word| likeness(word) > ALIKE),
            }
        })?;
        let share = match share.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|percent| (1..=100).contains(percent))
                .map(Share::Percent),
            None => share.parse().ok().filter(|count| *count > 0).map(Share::Sites),
        };
        let share = share.ok_or(AskedRefusal::Share)?;
        Ok(Self { fault, share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_asked_for_by_its_word_and_a_share() {
        let asked = |text: &str| text.parse::<AskedFault>();
        let of = |fault, share| Ok(AskedFault { fault, share });
        assert_eq!(asked("endless-body=3"), of(Fault::EndlessBody, Share::Sites(3)));
        assert_eq!(asked("refused=100%"), of(Fault::Dead, Share::Percent(100)));
        assert_eq!(asked("endless-body"), Err(AskedRefusal::NoShare));
        for share in ["", "0", "-1", "0%", "101%", "%", "1.5%", "many"] {
            assert_eq!(
                asked(&format!("asleep={share}")),
                Err(AskedRefusal::Share),
                "{share}"
            );
        }
        for row in FAULTS {
            assert_eq!(asked(&format!("{}=1", row.word)), of(row.fault, Share::Sites(1)));
        }
    }

    #[test]
    fn a_name_that_is_mistyped_is_answered_with_the_one_that_was_meant_and_with_all() {
        let said = |text: &str| text.parse::<AskedFault>().unwrap_err().to_string();
        let mistyped = said("endles-body=1");
        assert!(
            mistyped.contains("no such fault: did you mean endless-body?"),
            "{mistyped}"
        );
        assert!(said("xyz=1").starts_with("there is no such fault; there are: healthy, slow"));
        assert!(FAULTS.iter().all(|row| mistyped.contains(row.word)));
    }

    #[test]
    fn a_percentage_is_one_site_at_least() {
        assert_eq!(Share::Percent(10).of(24), 2);
        assert_eq!(Share::Percent(1).of(24), 1);
        assert_eq!(Share::Sites(3).of(24), 3);
    }
}
