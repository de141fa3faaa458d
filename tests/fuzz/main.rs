//! The fuzz targets in the plain test command: their small corpus replayed, and for each a twin that feeds it with what
//! is made up along the lines of what it takes (`fuzz/README.md`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;

/// The files of `fuzz/corpus`.
mod corpus;
/// Configs.
mod config;
/// Lists of sites.
mod sites;
/// Keys, and what is done in their field.
mod key_field;
/// Answers.
mod answer;
/// Messages to the screen.
mod screen;
