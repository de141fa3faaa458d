//! A fleet of template sites, and a home for the program that works on it.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test binary needs all of it"
)]

use std::path::PathBuf;

use stripe_propagate::demo::{Fleet, FleetOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) mod schema;

/// What a test plays on. Each test file adds its own ways of asking.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) folder: TempDir,
    serves: Runtime,
}

impl Stage {
    pub(crate) fn of(sites: usize) -> Self {
        Self::with(FleetOptions {
            sites,
            ..FleetOptions::default()
        })
    }

    pub(crate) fn with(options: FleetOptions) -> Self {
        let serves = Runtime::new().unwrap();
        let fleet = serves.block_on(Fleet::start(options)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fleet.write_files(folder.path(), false).unwrap();
        Self {
            fleet,
            folder,
            serves,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The key to push.
    pub(crate) fn key(&self) -> &str {
        self.fleet.new_key().as_str()
    }

    /// Mends the sick sites.
    pub(crate) fn heal(&self) {
        // The dead ones begin to listen.
        let _serves = self.serves.enter();
        self.fleet.heal();
    }
}
