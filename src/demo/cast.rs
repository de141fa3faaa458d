use super::FleetOptions;
use super::asked::AskedFault;
use super::faults::{FAULTS, Fault};
use crate::key::PublishableKey;

/// What each master key of a demo begins with: it opens nothing.
pub(super) const MASTER_KEY: &str = "demo-master-";

/// The keys of a fleet.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) master: String,
    /// What most sites serve at first.
    pub(super) old: String,
    /// What some of them serve at first.
    pub(super) older: String,
    /// What one site serves at first, and Stripe has expired.
    pub(super) expired: String,
    /// What the site of another tenant serves.
    pub(super) third: String,
    /// What the operator of the demo pushes.
    pub(super) new: PublishableKey,
}

impl Keys {
    /// All that some site serves, or is to serve.
    pub(super) fn publishable(&self) -> [&str; 5] {
        [
            &self.old,
            &self.older,
            &self.expired,
            &self.third,
            self.new.as_str(),
        ]
    }
}

/// What one site of the fleet plays.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) fault: Fault,
    pub(super) backend: Option<String>,
    /// Whether it serves the expired key at first.
    pub(super) expired: bool,
    pub(super) seed: u64,
}

#[derive(Debug)]
pub(super) struct Cast {
    pub(super) keys: Keys,
    pub(super) roles: Vec<Role>,
}

/// Names for healthy sites; more get a number.
const NAMES: [&str; 8] = [
    "atelier-nord",
    "quai-neuf",
    "maison-est",
    "verger-haut",
    "lune-bleue",
    "papeterie-sud",
    "cave-ronde",
    "fil-et-laine",
];
/// The one whose key has expired.
const EXPIRED: &str = NAMES[7];
/// From so many sites on, nine of ten are healthy.
const LARGE: usize = 1000;

/// Who plays what. The same arguments give the same cast.
pub(super) fn cast(options: &FleetOptions) -> Cast {
    let FleetOptions { sites, seed, .. } = *options;
    let asked = &options.faults;
    let mut dice = fastrand::Rng::with_seed(seed);
    let keys = keys(&mut dice, seed);
    let mut faults = if asked.is_empty() {
        faults(sites)
    } else {
        asked_for(sites, asked)
    };
    dice.shuffle(&mut faults);
    let mut healthy = 0;
    let mut turns = std::collections::HashMap::new();
    let roles = faults.into_iter().map(|fault| {
        let row = fault.row();
        let name = if fault == Fault::Healthy {
            healthy += 1;
            numbered(NAMES[(healthy - 1) % NAMES.len()], (healthy - 1) / NAMES.len())
        } else {
            let turn: &mut usize = turns.entry(fault).or_default();
            *turn += 1;
            let names = if row.names.is_empty() {
                &[row.word]
            } else {
                row.names
            };
            numbered(names[(*turn - 1) % names.len()], (*turn - 1) / names.len())
        };
        let backend = (fault == Fault::SharedBackend).then(|| {
            let server = turns[&fault].div_ceil(options.of_a_server.max(1));
            numbered("shared-server", server - 1)
        });
        Role {
            expired: name == EXPIRED,
            name,
            fault,
            backend,
            seed: dice.u64(..),
        }
    });
    Cast {
        keys,
        roles: roles.collect(),
    }
}

fn numbered(name: &str, round: usize) -> String {
    if round == 0 {
        name.to_owned()
    } else {
        format!("{name}-{}", round + 1)
    }
}

/// Each named fault once (the shared backend twice) among eight healthy sites; what is more is healthy, or,
/// in a large fleet, a tenth of all goes through the faults again and again.
fn faults(sites: usize) -> Vec<Fault> {
    let cycle: Vec<Fault> = FAULTS
        .iter()
        .flat_map(|row| vec![row.fault; row.names.len()])
        .filter(|&fault| fault != Fault::Healthy)
        .collect();
    if sites >= LARGE {
        let odd = sites / 10;
        let sick = cycle.iter().copied().cycle().take(odd);
        return sick
            .chain(std::iter::repeat_n(Fault::Healthy, sites - odd))
            .collect();
    }
    // One in three at least is healthy, also in a small fleet.
    let odd = cycle.len().min(sites * 2 / 3);
    let healthy = std::iter::repeat_n(Fault::Healthy, sites - odd);
    healthy.chain(cycle.into_iter().take(odd)).collect()
}

/// What was asked for, and what is left is healthy.
fn asked_for(sites: usize, asked: &[AskedFault]) -> Vec<Fault> {
    let odd = asked
        .iter()
        .flat_map(|asked| std::iter::repeat_n(asked.fault, asked.share.of(sites)));
    let healthy = std::iter::repeat(Fault::Healthy);
    odd.chain(healthy).take(sites).collect()
}

fn keys(dice: &mut fastrand::Rng, seed: u64) -> Keys {
    let mut tail = |length: usize| -> String {
        std::iter::repeat_with(|| dice.alphanumeric())
            .take(length)
            .collect()
    };
    // As long as Stripe's own, and of one account: they begin alike.
    let mut key = || format!("pk_test_51DemoDemoDemoDe{}", &tail(93)[10..]);
    let (old, older, third, new) = (key(), key(), key(), key());
    // With dice of its own: the others fall as they did before there was one.
    let mut other_dice = fastrand::Rng::with_seed(!seed);
    let rest = std::iter::repeat_with(|| other_dice.alphanumeric()).take(86);
    let expired = format!("pk_test_51DemoExpired{}", rest.collect::<String>());
    let master = format!("{MASTER_KEY}{}", tail(24));
    // The alphabet is that of keys, so this is one; a fixed one keeps the function total.
    let new = PublishableKey::parse(&new)
        .or_else(|_| PublishableKey::parse("pk_test_51DemoDemoDemoDemoDemoDemoDemo"))
        .unwrap_or_else(|_| unreachable!("letters and digits behind pk_test_ are a key"));
    Keys {
        master,
        old,
        older,
        expired,
        third,
        new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn options(sites: usize, seed: u64, faults: Vec<AskedFault>) -> FleetOptions {
        FleetOptions {
            sites,
            seed,
            faults,
            ..FleetOptions::default()
        }
    }

    #[test]
    fn the_demo_has_each_fault_and_a_third_is_healthy() {
        let cast = cast(&options(24, 1, Vec::new()));
        let healthy = cast
            .roles
            .iter()
            .filter(|role| role.fault == Fault::Healthy)
            .count();
        assert_eq!((cast.roles.len(), healthy), (24, 8));
        for row in FAULTS.iter().filter(|row| row.fault != Fault::Healthy) {
            assert_eq!(
                cast.roles.iter().any(|role| role.fault == row.fault),
                !row.names.is_empty(),
                "{:?}",
                row.fault
            );
        }
    }

    #[test]
    fn names_are_unique_and_the_seed_decides() {
        for sites in [0, 1, 3, 24, 60, 1000, 2500] {
            let all = cast(&options(sites, 7, Vec::new()));
            let names: HashSet<_> = all.roles.iter().map(|role| role.name.clone()).collect();
            assert_eq!((all.roles.len(), names.len()), (sites, sites));
            let again = cast(&options(sites, 7, Vec::new()));
            assert_eq!(all.keys.new, again.keys.new);
            assert!(
                all.roles
                    .iter()
                    .zip(&again.roles)
                    .all(|(one, two)| one.name == two.name && one.fault == two.fault)
            );
        }
        assert_ne!(
            cast(&options(3, 1, Vec::new())).keys.new,
            cast(&options(3, 2, Vec::new())).keys.new
        );
    }

    #[test]
    fn nine_of_ten_are_healthy_in_a_large_fleet() {
        let healthy = cast(&options(1000, 1, Vec::new()))
            .roles
            .iter()
            .filter(|role| role.fault == Fault::Healthy)
            .count();
        assert_eq!(healthy, 900);
    }

    #[test]
    fn only_what_is_asked_for_is_played_beside_healthy_sites() {
        use super::super::asked::Share;

        let (fault, other) = (Fault::EndlessBody, Fault::Slow);
        let asked = [
            AskedFault {
                fault,
                share: Share::Sites(2),
            },
            AskedFault {
                fault: other,
                share: Share::Percent(10),
            },
        ];
        let cast = cast(&options(20, 1, asked.to_vec()));
        let names = |fault| {
            let mut names: Vec<&str> = cast
                .roles
                .iter()
                .filter(|role| role.fault == fault)
                .map(|role| role.name.as_str())
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(fault), ["endless-body", "endless-body-2"]);
        assert_eq!(names(other), ["escargot-d-or", "escargot-d-or-2"]);
        assert_eq!(names(Fault::Healthy).len(), 16);
    }
}
