//! The real binary, killed at any moment, without its terminal, beside others: what it left on record is compared
//! with what the fleet saw.
//!
//! `cargo test --locked --test kill` kills at 20 random moments, `cargo test --locked --test kill -- --ignored` at 200.
//! A failure names its seed; `KILL_SEED=7 cargo test --locked --test kill a_run_survives` repeats that one alone.

/// Pushes and looks beside a push.
#[path = "kill/beside.rs"]
mod beside;
/// A shop floor: a fleet, and the program with a home of its own.
#[path = "kill/floor.rs"]
mod floor;
/// SIGHUP, and other processes that watch and mend.
#[path = "kill/hangup.rs"]
mod hangup;
/// A PUT that arrives when nobody waits for it any more.
#[path = "kill/late.rs"]
mod late;
/// What the store says, held against what the fleet says.
#[path = "kill/ledger.rs"]
mod ledger;
/// SIGKILL at random moments.
#[path = "kill/moments.rs"]
mod moments;
#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;
