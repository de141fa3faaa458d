use rusqlite::{CachedStatement, Connection, Result};

/// The statements that a transaction has needed: each is looked up once, and then held until its end. To look one up
/// costs about as much as a short one takes.
pub(super) struct Statements<'a> {
    conn: &'a Connection,
    held: Vec<(&'static str, CachedStatement<'a>)>,
}

impl<'a> Statements<'a> {
    pub(super) fn on(conn: &'a Connection) -> Self {
        Self {
            conn,
            held: Vec::new(),
        }
    }

    pub(super) fn of(&mut self, sql: &'static str) -> Result<&mut CachedStatement<'a>> {
        // By where it stands, which is quicker than what it says.
        let held = self.held.iter().position(|(held, _)| std::ptr::eq(*held, sql));
        let place = held.unwrap_or(self.held.len());
        if held.is_none() {
            self.held.push((sql, self.conn.prepare_cached(sql)?));
        }
        Ok(&mut self.held[place].1)
    }
}
