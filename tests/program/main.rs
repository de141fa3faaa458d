//! The real program: started by its command line or in a pseudo-terminal, mostly on a demo fleet of its own over real
//! TLS. One binary, since these tests wait more than they work: beside each other they take a third of the time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::duplicate_mod,
    reason = "each file adds its own ways of asking to the stage, so that each has a stage of its own"
)]

mod acknowledge;
mod actions;
mod attach;
mod check;
mod faults;
mod first_run;
mod fleet;
mod headless;
mod hunt;
mod kill;
mod log;
mod old_run;
mod output;
mod pg_screens;
mod pg_store;
mod policy;
mod pty_harness;
mod reading;
mod rough;
mod screen;
mod sources;
mod sql;
mod stripe;
mod together;
mod watch;
