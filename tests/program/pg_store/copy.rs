use super::super::sql::servers::{Kind, new_database, number, run as sql};
use super::{Ended, Shared};

/// A store in a file with runs on record, and a config whose store is a database with nothing in it.
struct Move {
    shared: Shared,
    url: String,
    file: String,
    key: String,
}

impl Move {
    /// None where no server is installed.
    fn prepared() -> Option<Self> {
        let (_, url) = new_database(Kind::Postgres)?;
        let shared = Shared::of(6, url.clone());
        let path = |name: &str| shared.stage.path(name).display().to_string();
        let (file, key) = (path("store/store.db"), path("key.txt"));
        let prepared = Self {
            shared,
            url,
            file,
            key,
        };
        prepared.of_file(&prepared.push()).is_good();
        let known = ["acknowledge", "--site", "atelier-nord", "--reason", "moves"];
        prepared.of_file(&known).is_good();
        prepared.of_file(&["rollback", "--yes"]);
        // The database has its tables.
        prepared.shared.run(&["history"]).is_good();
        Some(prepared)
    }

    fn push(&self) -> [&str; 4] {
        ["push", "--key-file", &self.key, "--yes"]
    }

    fn in_file(&self) -> [&str; 2] {
        ["--store", &self.file]
    }

    /// A command on the store in the file.
    fn of_file(&self, arguments: &[&str]) -> Ended {
        self.shared.run(&[&self.in_file()[..], arguments].concat())
    }

    fn copy(&self, from: &str) -> Ended {
        self.shared.run(&["store", "copy", from, "config"])
    }

    #[track_caller]
    fn is_refused(&self, from: &str, code: i32, why: &str) {
        let refused = self.copy(from);
        assert_eq!(refused.code, Some(code), "{}", refused.err);
        let says = |part: &str| refused.err.contains(part);
        assert!(says(why) && says("nothing was moved"), "{}", refused.err);
    }

    /// All that is on record, as programs read it.
    fn told(&self, of: &[&str]) -> Vec<String> {
        let export = self.shared.stage.path("export.csv");
        let path = export.display().to_string();
        let tell = |arguments: &[&str]| {
            let ended = self.shared.run(&[of, arguments].concat());
            assert!(matches!(ended.code, Some(0 | 1)), "{arguments:?}: {}", ended.err);
            ended.out
        };
        let mut all = vec![
            tell(&["history", "--format", "csv"]),
            tell(&["history", "--run", "1", "--attempts", "--format", "csv"]),
            tell(&["status", "--format", "csv"]),
            tell(&["acknowledge", "--list", "--json"]),
            tell(&["export", "--run", "2", "--force", &path]),
        ];
        all.push(std::fs::read_to_string(export).unwrap());
        all
    }

    /// How many rows of all kinds the database has.
    fn rows(&self) -> i64 {
        let tables = [
            "runs",
            "sites",
            "run_sites",
            "attempts",
            "seen",
            "standings",
            "acknowledgements",
            "lists",
        ];
        let count = |table: &&str| format!("(SELECT count(*) FROM stripe_propagate.{table})");
        let counts: Vec<String> = tables.iter().map(count).collect();
        number(
            Kind::Postgres,
            &self.url,
            &format!("SELECT {}", counts.join(" + ")),
        )
    }
}

#[test]
fn a_store_in_a_file_moves_into_an_empty_database_and_reads_the_same_there() {
    let Some(of) = Move::prepared() else { return };
    let (before, bytes) = (of.told(&of.in_file()), std::fs::read(&of.file).unwrap());
    let moved = of.copy(&of.file);
    moved.is_good();
    let runs = moved.out.lines().find(|line| line.starts_with("runs ")).unwrap();
    assert_eq!(
        runs.split_whitespace().collect::<Vec<_>>(),
        ["runs", "2", "2"],
        "{}",
        moved.out
    );
    assert!(std::fs::read(&of.file).unwrap() == bytes, "the file is as it was");
    assert_eq!(of.told(&[]), before);
    assert_eq!(of.told(&of.in_file()), before);
    of.is_refused(&of.file, 2, "on record already (runs: 2)");
    // What comes behind it has the next number.
    of.shared.run(&of.push()).is_good();
    assert!(of.shared.run(&["history"]).out.contains("\n3 "));
}

#[test]
fn where_a_store_cannot_be_moved_nothing_of_it_is() {
    let Some(of) = Move::prepared() else { return };
    // Something in the database fails late.
    for statement in [
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON stripe_propagate.acknowledgements FOR EACH ROW \
         EXECUTE FUNCTION public.refuse()",
    ] {
        sql(Kind::Postgres, &of.url, statement).unwrap();
    }
    of.is_refused(&of.file, 2, "no room");
    assert_eq!(of.rows(), 0, "what had come before it is taken back");
    sql(Kind::Postgres, &of.url, "DROP FUNCTION public.refuse() CASCADE").unwrap();
    // A cell of the file has something else in it than was written.
    let damaged = of.shared.stage.path("store/damaged.db").display().to_string();
    std::fs::copy(&of.file, &damaged).unwrap();
    let damage = "UPDATE seen SET first = 'noon' WHERE id = (SELECT max(id) FROM seen)";
    sql(Kind::Sqlite, &format!("sqlite:{damaged}"), damage).unwrap();
    of.is_refused(&damaged, 2, "what stands in seen.first cannot be read");
    assert_eq!(of.rows(), 0);
    // Somebody sends.
    of.shared.stage.fleet.hold_next_put(1);
    let record = of.shared.stage.fleet.record();
    let puts = record.requests.iter().filter(|sent| sent.method == "PUT").count();
    let sends = of.shared.start(&[&of.in_file()[..], &of.push()].concat());
    of.shared.sees_puts(puts + 1);
    of.is_refused(&of.file, 5, "is sending");
    of.shared.stage.fleet.let_go(1);
    Ended::of(sends);
    assert_eq!(of.rows(), 0);
}

#[test]
fn the_url_of_a_database_stands_on_no_command_line() {
    let Some(of) = Move::prepared() else { return };
    for (to, why) in [
        (of.url.as_str(), "A URL does not stand here"),
        ("file:nowhere", "the URL of the database (TO)"),
        ("env:NOT_SET_HERE", "the URL of the database (TO)"),
    ] {
        // `Ended` looks for the password in what is said.
        let refused = of.shared.run(&["store", "copy", &of.file, to]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    let watches = of
        .shared
        .run(&["--read-only", "store", "copy", &of.file, "config"]);
    assert!(watches.err.contains("--read-only promises"), "{}", watches.err);
    assert_eq!(of.rows(), 0);
    let path = of.shared.stage.path("url").display().to_string();
    of.shared
        .run(&["store", "copy", &of.file, &format!("file:{path}")])
        .is_good();
}
