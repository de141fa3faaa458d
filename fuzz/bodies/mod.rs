//! What is done with the bytes of each fuzz target, and the laws that hold whatever they are. Each body stands here
//! once: `fuzz_targets` gives it what libFuzzer makes up, `tests/fuzz` the corpus and what proptest makes up.

/// Bytes as a row of choices.
pub(crate) mod given;
/// The text of a config.
pub(crate) mod config;
/// Lists of sites, in each format.
pub(crate) mod sites;
/// What is typed and pasted into the key field.
pub(crate) mod key_field;
/// What a site answers.
pub(crate) mod answer;
/// Any sequence of messages to the screen.
pub(crate) mod screen;
