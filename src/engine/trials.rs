use crate::rules::moment::Moment;
use crate::rules::probation::Probation;
use crate::rules::run::RunId;
use crate::site::SiteId;

/// So many runs are remembered of which a worker has nothing just now: more may come of them.
const REMEMBERED: usize = 16;

/// Which master keys each run may send to how many sites: what is heard in one run says nothing in another one.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// Of the run that this engine has begun.
    own: Probation,
    /// Of those that it has, or had, chunks of as a worker; the one that it has taken a chunk of last stands last.
    of_chunks: Vec<(RunId, Probation)>,
}

impl Trials {
    /// A run of this engine begins.
    pub(super) fn begin(&mut self, probation: Probation) {
        self.own = probation;
    }

    /// A chunk of `run` is taken: what was heard before in that run counts. Of runs without an open chunk the newest few
    /// are remembered.
    pub(super) fn take_chunk(&mut self, run: RunId, is_open: impl Fn(RunId) -> bool) {
        let known = self.of_chunks.iter().position(|(known, _)| *known == run);
        let trial = known.map_or_else(Probation::default, |place| self.of_chunks.remove(place).1);
        let rests = |(known, _): &&(RunId, Probation)| !is_open(*known);
        let mut too_many = self
            .of_chunks
            .iter()
            .filter(rests)
            .count()
            .saturating_sub(REMEMBERED);
        self.of_chunks.retain(|(known, _)| {
            let goes = too_many > 0 && !is_open(*known);
            too_many -= usize::from(goes);
            !goes
        });
        self.of_chunks.push((run, trial));
    }

    /// Of the run of a site: of which it is in a chunk, or else of the one that this engine has begun.
    pub(super) fn of(&self, run: Option<RunId>) -> &Probation {
        let taken = self.of_chunks.iter().find(|(known, _)| Some(*known) == run);
        taken.map_or(&self.own, |(_, trial)| trial)
    }

    /// As [`Trials::of`], to be changed.
    pub(super) fn of_mut(&mut self, run: Option<RunId>) -> &mut Probation {
        let taken = self.of_chunks.iter_mut().find(|(known, _)| Some(*known) == run);
        taken.map_or(&mut self.own, |(_, trial)| trial)
    }

    /// Sites that waited, and whose turn it is to ask again. Those that do not want it any more in that run leave their
    /// turn to others of it.
    pub(super) fn next(&mut self, now: Moment, wants: impl Fn(Option<RunId>, SiteId) -> bool) -> Vec<SiteId> {
        let of_chunks = self.of_chunks.iter_mut();
        let of_chunks = of_chunks.map(|(run, trial)| (Some(*run), trial));
        let mut all = Vec::new();
        for (run, trial) in of_chunks.chain([(None, &mut self.own)]) {
            loop {
                let waited = trial.next(now);
                let none_waits = waited.is_empty();
                let before = all.len();
                all.extend(waited.into_iter().filter(|site| wants(run, *site)));
                if none_waits || all.len() > before {
                    break;
                }
            }
        }
        all
    }

    /// When [`Trials::next`] has something more to tell, if no answer comes before.
    pub(super) fn next_at(&self, now: Moment) -> Option<Moment> {
        let of_chunks = self.of_chunks.iter().map(|(_, trial)| trial);
        of_chunks
            .chain([&self.own])
            .filter_map(|trial| trial.next_at(now))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::probation::Word;
    use crate::site::MasterKeyId;

    #[test]
    fn a_refusal_is_remembered_while_chunks_of_its_run_are_open_and_of_the_newest_runs_behind_that() {
        let now = Moment {
            since_start: std::time::Duration::ZERO,
            wall: jiff::Timestamp::UNIX_EPOCH,
        };
        let key = MasterKeyId(0);
        let mut trials = Trials::default();
        let is_open = |run| run == RunId(1);
        for run in 1..=40 {
            trials.take_chunk(RunId(run), is_open);
            for site in [SiteId(0), SiteId(1)] {
                trials
                    .of_mut(Some(RunId(run)))
                    .answered(site, key, Word::Refused, now);
            }
        }
        let remembered = (1..=40).filter(|run| trials.of(Some(RunId(*run))).is_refused(SiteId(2), key));
        assert_eq!(
            remembered.collect::<Vec<_>>(),
            [vec![1], (24..=40).collect()].concat()
        );
        assert!(
            !trials.of(None).is_refused(SiteId(2), key),
            "that is of no run here"
        );
    }
}
