//! Where sites come from besides the config's own `[[sites]]`: each source is read into rows, each row parsed into an
//! entry, and the entries merged into one list. One file a kind of source.

/// A row of a source, and what stands in it.
pub mod row;
/// A database: one query.
pub mod sql;
