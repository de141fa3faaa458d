//! stripe-propagate puts one Stripe publishable key on many shops, and knows for certain which of them
//! serve it.
//!
//! # Layout
//! In layer order: a module uses only those above it. `tests/layers.rs` holds the code to that.

/// Text from outside made safe, its width, counts and lists in words.
pub mod text;
/// The publishable key: what one is, what is refused, how it is shown.
pub mod key;
/// A site, its address and identity.
pub mod site;
/// What an answer means, what a site's state becomes, what is retried and when, who is in a plan. Pure.
pub mod rules;
/// The master key, and where secrets come from.
pub mod secret;
/// The config file: its shape, defaults, errors with line and column.
pub mod config;
/// Database servers: what a URL says of one, and how it is spoken to.
mod database;
/// Who may push: root's policy, and whether it lets somebody send something.
pub mod policy;
/// The HTTP contract of a template site, as typed answers.
pub mod site_api;
/// Where sites come from besides the config: sources, and how they are merged.
pub mod inventory;
/// Stripe itself: asked whether it knows a publishable key.
pub mod stripe;
/// What a watch finds, told to a command and a webhook.
pub mod notify;
/// What outlives a run: intents, outcomes, last known states.
pub mod store;
/// Runs: commands in, events out, each through the store.
pub mod engine;
/// Results for people and scripts: JSON lines, tables, the summary.
pub mod report;
/// Runs of other processes: offered on a socket, watched and steered from any screen.
pub mod attach;
/// The screen.
pub mod tui;
/// A fleet of template sites on loopback, with every fault.
pub mod demo;
/// Each command: flags, help, body.
pub mod cli;
