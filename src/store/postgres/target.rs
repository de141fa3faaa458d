use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::columns::Result;
use super::fault::{STORE, fault};
use super::opening::address;
use super::schema::{TABLES as CHANGES, prepare};
use super::session::{CHANNEL, connect};
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::tables::{Cells, Kind, TABLES, Table};

/// A store in a database that is filled with what another one has: in one transaction, while nobody else writes. It is
/// taken back where this goes before its end.
pub(in crate::store) struct Target {
    conn: PgConnection,
    /// The numbers that the starts of machines have here, by those that they have there.
    boots: HashMap<i64, i64>,
}

impl Target {
    /// The store that `url` names, and that has nothing in it yet.
    ///
    /// # Errors
    /// Also where it has something.
    pub(in crate::store) async fn begin(url: &Secret) -> std::result::Result<Self, StoreError> {
        let (options, _) = address(url)?;
        let mut conn = connect(&options).await.map_err(|error| fault(&error))?;
        prepare(&mut conn).await?;
        let mut target = Self {
            conn,
            boots: HashMap::new(),
        };
        target.enter().await.map_err(|error| fault(&error))?;
        for table in &TABLES {
            let there = target.count(table).await?;
            if there > 0 {
                return Err(StoreError::Failed(format!(
                    "{STORE} has something on record already ({}: {there}): a store is moved into an empty one \
                     only (another database, or this one after `DROP SCHEMA stripe_propagate CASCADE`)",
                    table.what
                )));
            }
        }
        Ok(target)
    }

    async fn enter(&mut self) -> Result<()> {
        sqlx::raw_sql("BEGIN").execute(&mut self.conn).await?;
        // Who writes shares it.
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(CHANGES)
            .execute(&mut self.conn)
            .await
            .map(drop)
    }

    /// How many rows a table has.
    pub(in crate::store) async fn count(&mut self, table: &Table) -> std::result::Result<u64, StoreError> {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {}", table.name));
        let counted: Result<i64> = sqlx::query_scalar(count).fetch_one(&mut self.conn).await;
        counted.map(i64::cast_unsigned).map_err(|error| fault(&error))
    }

    /// Makes known here what the starts of machines are called there.
    pub(in crate::store) async fn know_boots(
        &mut self,
        boots: &[(i64, String)],
    ) -> std::result::Result<(), StoreError> {
        for (there, boot) in boots {
            let here = self.boot(boot).await.map_err(|error| fault(&error))?;
            self.boots.insert(*there, here);
        }
        Ok(())
    }

    async fn boot(&mut self, boot: &str) -> Result<i64> {
        sqlx::query("INSERT INTO boots (boot) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(boot)
            .execute(&mut self.conn)
            .await?;
        sqlx::query_scalar("SELECT id FROM boots WHERE boot = $1")
            .bind(boot)
            .fetch_one(&mut self.conn)
            .await
    }

    /// Puts rows into a table.
    pub(in crate::store) async fn fill(
        &mut self,
        table: &Table,
        cells: Vec<Cells>,
    ) -> std::result::Result<(), StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(insert(table)));
        for ((_, kind), cells) in table.columns.iter().zip(cells) {
            query = match cells {
                Cells::Numbers(all) if *kind == Kind::Boot => {
                    let here = |there: Option<i64>| there.and_then(|there| self.boots.get(&there).copied());
                    query.bind(all.into_iter().map(here).collect::<Vec<_>>())
                }
                Cells::Numbers(all) => query.bind(all),
                Cells::Texts(all) => query.bind(all),
                Cells::Flags(all) => query.bind(all),
            };
        }
        let filled = query.execute(&mut self.conn).await;
        filled.map(drop).map_err(|error| fault(&error))
    }

    /// All is there: what comes behind it gets higher numbers, and from now on everybody sees it.
    pub(in crate::store) async fn end(
        mut self,
        meta: &[(String, i64)],
    ) -> std::result::Result<(), StoreError> {
        self.close(meta).await.map_err(|error| fault(&error))?;
        let committed = sqlx::raw_sql("COMMIT").execute(&mut self.conn).await;
        committed.map(drop).map_err(|error| {
            let why = fault(&error);
            StoreError::Failed(format!(
                "{why}. It is not known whether all was moved or nothing: `history` on the database tells"
            ))
        })
    }

    async fn close(&mut self, meta: &[(String, i64)]) -> Result<()> {
        for (name, value) in meta {
            sqlx::query(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(name)
            .bind(value)
            .execute(&mut self.conn)
            .await?;
        }
        for name in ["sites", "attempts", "seen"] {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('stripe_propagate.{name}', 'id'), max(id)) FROM {name} \
                 HAVING max(id) IS NOT NULL"
            );
            sqlx::query(AssertSqlSafe(next)).execute(&mut self.conn).await?;
        }
        // As a process that has written: the screens of others read it.
        sqlx::query("INSERT INTO processes (written) VALUES (1)")
            .execute(&mut self.conn)
            .await?;
        sqlx::query("SELECT pg_notify($1, '')")
            .bind(CHANNEL)
            .execute(&mut self.conn)
            .await?;
        sqlx::raw_sql("ANALYZE runs; ANALYZE sites; ANALYZE run_sites; ANALYZE attempts; ANALYZE seen")
            .execute(&mut self.conn)
            .await
            .map(drop)
    }
}

/// Who began a run counts as who worked on it last.
const WORKED: (&str, &str) = (", works_by, works_since", ", began_by, began_wall");

/// What rows of a table are put there with.
fn insert(table: &Table) -> String {
    let names: Vec<String> = table
        .columns
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let arrays = table.columns.iter().zip(1..).map(|((_, kind), place)| {
        let of = match kind {
            Kind::Number | Kind::Boot => "bigint",
            Kind::Text => "text",
            Kind::Flag => "boolean",
        };
        format!("${place}::{of}[]")
    });
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let (names, (also, from)) = (
        names.join(", "),
        if table.name == "runs" { WORKED } else { ("", "") },
    );
    format!(
        "INSERT INTO {} ({names}{also}) OVERRIDING SYSTEM VALUE SELECT {names}{from} FROM unnest({arrays}) new ({names})",
        table.name
    )
}
