//! Workers: the real program in several processes, on a real database, against a fleet that counts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "stage/servers.rs"]
mod servers;
#[path = "stage/mod.rs"]
mod stage;

#[path = "cluster/ground.rs"]
mod ground;
#[path = "cluster/death.rs"]
mod death;
#[path = "cluster/ends.rs"]
mod ends;
#[path = "cluster/engines.rs"]
mod engines;
#[path = "cluster/halts.rs"]
mod halts;
#[path = "cluster/leases.rs"]
mod leases;
#[path = "cluster/outage.rs"]
mod outage;
#[path = "cluster/jobs.rs"]
mod jobs;
#[path = "cluster/words.rs"]
mod words;
