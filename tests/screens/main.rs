//! Pictures of the screen at the two sizes that operators have, from states that the real rules made. The
//! clock is fixed, so each picture is the same every time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The screen, driven by keys and messages.
mod trial;
/// What happened before a picture is taken.
mod stories;
/// The screen behind the dialogs.
mod main_screen;
/// A run, while it goes on and after a return.
mod live;
/// Finding, marking and sorting.
mod find;
/// The key field, and changed keys.
mod keys;
/// The plan, the palette, and what is pasted into them.
mod dialogs;
/// The detail of a site, and what is copied of it.
mod detail;
/// Where the sites come from.
mod setup;
/// Runs on record.
mod history;
/// What may be steered, by which keys, and what becomes of a run that is left.
mod steering;
/// What a push would meet.
mod preflight;
/// Questions with a few answers.
mod questions;
/// What Stripe says of keys.
mod stripe;
/// Sites that are known to be bad, and the watch.
mod known_bad;
/// Every screen and dialog, on each kind of terminal.
mod matrix;
