//! Database servers: as sources of sites, and as the store of a team.

/// Where a database is, and how far it must prove that.
pub(crate) mod address;
/// How a server of PostgreSQL is connected to.
pub(crate) mod postgres;
/// Why no connection came about.
pub(crate) mod words;
