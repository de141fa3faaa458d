use crate::rules::state::SiteState;
use crate::rules::status::Push;

/// How far a run has come that was not finished: how many of its sites are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Has its key.
    pub done: usize,
    /// Failed for good.
    pub failed: usize,
    /// Held back, or left out since.
    pub held_back: usize,
    /// The operator stopped it.
    pub cancelled: usize,
    /// May have its key.
    pub unknown: usize,
    /// Its turn did not come.
    pub to_do: usize,
}

impl Progress {
    /// Of the sites of a run.
    pub fn of<'a>(states: impl IntoIterator<Item = &'a SiteState>) -> Self {
        let mut progress = Self::default();
        for state in states {
            let part = match state.push {
                Push::Stored => &mut progress.done,
                Push::Failed(_) => &mut progress.failed,
                Push::Idle | Push::Skipped(_) => &mut progress.held_back,
                Push::Cancelled => &mut progress.cancelled,
                Push::Unknown(_) => &mut progress.unknown,
                Push::Queued | Push::Sending | Push::Retrying | Push::NotStarted => &mut progress.to_do,
            };
            *part += 1;
        }
        progress
    }

    /// In words: what went wrong only where something did.
    pub fn words(self) -> String {
        let parts = [
            (self.done, "done", true),
            (self.failed, "failed", false),
            (self.held_back, "held back", false),
            (self.cancelled, "cancelled", true),
            (self.unknown, "unknown", true),
            (self.to_do, "to do", true),
        ];
        let told = parts.iter().filter(|(count, _, always)| *always || *count > 0);
        let told: Vec<String> = told.map(|(count, word, _)| format!("{count} {word}")).collect();
        told.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::outcome::Problem;
    use crate::rules::status::SkipReason;

    #[test]
    fn what_failed_or_was_held_back_is_not_done() {
        let state = |push| {
            let mut state = SiteState::default();
            state.push = push;
            state
        };
        let states = [
            Push::Stored,
            Push::Failed(Problem::RefusedKey.cause()),
            Push::Skipped(SkipReason::OtherMode),
            Push::Unknown(Problem::Timeout.cause()),
            Push::NotStarted,
            Push::NotStarted,
        ]
        .map(state);
        assert_eq!(
            Progress::of(&states).words(),
            "1 done, 1 failed, 1 held back, 0 cancelled, 1 unknown, 2 to do"
        );
        assert_eq!(
            Progress::of(&states[..1]).words(),
            "1 done, 0 cancelled, 0 unknown, 0 to do"
        );
    }
}
