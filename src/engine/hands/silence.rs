use std::collections::BTreeMap;
use std::time::Duration;

use crate::store::workers::BusyWorker;
use crate::text::{CleanText, Count};

/// So long nothing may be heard of a worker that has sites of a run: by then its jobs go to others, too.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

/// The busy workers of which nothing is heard, as far as that was told: by their number, with their machine.
#[derive(Debug, Default)]
pub(super) struct Silent(BTreeMap<u64, CleanText>);

/// What is to be told of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing is heard of it, so long by now.
    Lost(BusyWorker),
    /// It is heard of again: its machine.
    Back(CleanText),
}

impl Silent {
    /// Who has sites now. Of each worker it is told once that nothing is heard of it, and once that something is again;
    /// one that has nothing any more is neither.
    pub(super) fn take(&mut self, workers: Vec<BusyWorker>) -> Vec<Change> {
        let mut told = Vec::new();
        for worker in workers {
            if worker.silent < SILENCE {
                told.extend(self.0.remove(&worker.process).map(Change::Back));
            } else if self.0.insert(worker.process, worker.host.clone()).is_none() {
                told.push(Change::Lost(worker));
            }
        }
        told
    }
}

impl Change {
    /// For the operator; `others` are the workers that are there beside it.
    pub(super) fn sentence(&self, others: usize) -> String {
        match self {
            Self::Lost(worker) => {
                let (host, silent, lease) = (&worker.host, worker.silent.as_secs(), worker.lease.as_secs());
                let whose = format!("the worker on {host} was not heard of for {silent} s: its");
                let sites = Count(worker.sites, "site");
                let when = match lease {
                    0 => "now".to_owned(),
                    lease => format!("within {lease} s"),
                };
                if others == 0 {
                    return format!(
                        "{whose} {sites} wait for another one, and none is there: start `stripe-propagate worker`"
                    );
                }
                format!("{whose} {sites} go to others {when}")
            }
            Self::Back(host) => format!("the worker on {host} is heard of again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(process: u64, silent: u64) -> BusyWorker {
        BusyWorker {
            process,
            host: CleanText::note(&format!("shops-{process}")),
            sites: 25,
            silent: Duration::from_secs(silent),
            lease: Duration::from_secs(45 - silent.min(45)),
        }
    }

    #[test]
    fn that_nothing_is_heard_of_a_worker_is_told_once_and_that_it_is_back_once() {
        let mut silent = Silent::default();
        let mut words = |workers: &[(u64, u64)]| -> Vec<String> {
            let workers = workers.iter().map(|(process, silent)| worker(*process, *silent));
            let told = silent.take(workers.collect());
            told.iter().map(|change| change.sentence(1)).collect()
        };
        assert!(words(&[(1, 0), (2, 14)]).is_empty());
        assert_eq!(
            words(&[(1, 0), (2, 15)]),
            ["the worker on shops-2 was not heard of for 15 s: its 25 sites go to others within 30 s"]
        );
        assert!(words(&[(1, 0), (2, 16)]).is_empty());
        // Others have its sites by now; that it has new ones says that it is back.
        assert!(words(&[(1, 0)]).is_empty());
        assert_eq!(
            words(&[(1, 0), (2, 1)]),
            ["the worker on shops-2 is heard of again"]
        );
        assert_eq!(
            words(&[(1, 50), (2, 1)]),
            ["the worker on shops-1 was not heard of for 50 s: its 25 sites go to others now"]
        );
    }

    #[test]
    fn where_no_other_is_there_its_sites_go_to_none() {
        let told = Change::Lost(worker(1, 15)).sentence(0);
        let end = "its 25 sites wait for another one, and none is there: start `stripe-propagate worker`";
        assert!(told.ends_with(end), "{told}");
    }
}
