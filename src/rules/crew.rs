use std::collections::BTreeMap;

use crate::text::{CleanText, Count, some_names};

/// The workers that are there to make the calls of runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crew {
    /// How many are on each machine.
    on: BTreeMap<CleanText, usize>,
}

impl Crew {
    /// Of the machines of all workers.
    pub fn of(machines: impl IntoIterator<Item = CleanText>) -> Self {
        let mut on = BTreeMap::new();
        for machine in machines {
            *on.entry(machine).or_default() += 1;
        }
        Self { on }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.on.is_empty()
    }

    /// `3 workers`
    pub fn in_short(&self) -> String {
        Count(self.on.values().sum(), "worker").to_string()
    }

    /// What it means for a run that is about to begin.
    pub fn sentence(&self) -> String {
        if self.is_empty() {
            return "no worker is there, and without one nothing is sent: start `stripe-propagate worker`"
                .to_owned();
        }
        let names: Vec<String> = self
            .on
            .iter()
            .map(|(machine, count)| name(machine, *count))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("calls are made by {} ({})", self.in_short(), some_names(&names))
    }
}

fn name(machine: &CleanText, count: usize) -> String {
    match count {
        1 => machine.to_string(),
        count => format!("{machine}: {count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_and_that_there_is_none_says_what_to_do() {
        let of = |machines: &[&str]| Crew::of(machines.iter().map(|machine| CleanText::note(machine)));
        let crew = of(&["shops-b", "shops-a", "shops-b"]);
        assert_eq!(
            crew.sentence(),
            "calls are made by 3 workers (shops-a, shops-b: 2)"
        );
        assert_eq!(of(&["shops-a"]).in_short(), "1 worker");
        assert!(of(&[]).sentence().contains("start `stripe-propagate worker`"));
    }
}
