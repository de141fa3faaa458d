use std::path::Path;

use syn::visit::Visit;

use super::{sources, src};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table of promises: what is promised, where it is kept, the tests.
fn promises(security: &str) -> Vec<[&str; 3]> {
    let rows = security.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| {
        row.trim_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect::<Vec<_>>()
    });
    cells
        .skip(2)
        .map(|cells| {
            cells
                .try_into()
                .unwrap_or_else(|cells| panic!("three cells a row: {cells:?}"))
        })
        .collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What is wrong with a row, as far as the files of the project tell.
fn broken(row: [&str; 3]) -> Vec<String> {
    let [promise, kept, tests] = row;
    let mut broken = Vec::new();
    for path in quoted(kept).filter(|word| word.contains(".rs")) {
        if !root().join(path).is_file() {
            broken.push(format!("{path} is no file: {promise}"));
        }
    }
    let mut named = 0;
    for test in quoted(tests) {
        named += 1;
        let found = test.split_once("::").is_some_and(|(path, name)| {
            let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            text.contains(&format!("fn {name}("))
        });
        if !found {
            broken.push(format!("{test} is no test: {promise}"));
        }
    }
    if named == 0 {
        broken.push(format!("no test: {promise}"));
    }
    broken
}

#[test]
fn each_promise_of_security_md_has_its_tests() {
    let security = text("SECURITY.md");
    let promises = promises(&security);
    assert!(promises.len() > 20, "the table has {} rows", promises.len());
    let broken: Vec<String> = promises.into_iter().flat_map(broken).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_promise_without_its_test_is_seen() {
    let row = |tests| broken(["it holds", "`src/key.rs`", tests]);
    assert!(row("`tests/layers/promises.rs::a_promise_without_its_test_is_seen`").is_empty());
    assert_eq!(row("`tests/layers/promises.rs::no_such`").len(), 1);
    assert_eq!(row("`tests/no_such.rs::it`").len(), 1);
    assert_eq!(row("").len(), 1);
    assert_eq!(
        broken(["it holds", "`src/no_such.rs`", "`src/key.rs::no_such`"]).len(),
        2
    );
}

/// Finds the word where the language has it, not in texts and remarks.
#[derive(Default)]
struct Unsafe(usize);

impl Visit<'_> for Unsafe {
    fn visit_expr_unsafe(&mut self, _block: &syn::ExprUnsafe) {
        self.0 += 1;
    }

    fn visit_signature(&mut self, signature: &syn::Signature) {
        self.0 += usize::from(matches!(signature.safety, syn::Safety::Unsafe(_)));
        syn::visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &syn::ItemImpl) {
        self.0 += usize::from(item.unsafety.is_some());
        syn::visit::visit_item_impl(self, item);
    }
}

fn unsafe_places(file: &syn::File) -> usize {
    let mut found = Unsafe::default();
    found.visit_file(file);
    found.0
}

#[test]
fn no_code_of_ours_is_unsafe() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let lint = manifest["lints"]["rust"]["unsafe_code"].as_str();
    assert_eq!(lint, Some("forbid"));
    for path in sources(&src()) {
        let text = std::fs::read_to_string(&path).unwrap();
        // To parse them all takes seconds.
        if text.contains("unsafe") {
            let places = unsafe_places(&syn::parse_file(&text).unwrap());
            assert_eq!(places, 0, "{}", path.display());
        }
    }
    let planted = "fn f() { let _ = \"unsafe\"; unsafe { g() } } unsafe fn g() {} unsafe impl S for T {}";
    assert_eq!(unsafe_places(&syn::parse_file(planted).unwrap()), 3);
}

#[test]
fn each_crate_comes_from_crates_io_with_its_hash() {
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    for (lock, ours) in [
        ("Cargo.lock", &["stripe-propagate"][..]),
        ("fuzz/Cargo.lock", &["stripe-propagate", "stripe-propagate-fuzz"]),
    ] {
        let lock: toml::Table = text(lock).parse().unwrap();
        let packages = lock["package"].as_array().unwrap();
        assert!(packages.len() > 100);
        for package in packages {
            let name = package["name"].as_str().unwrap();
            let field = |field| package.get(field).and_then(toml::Value::as_str);
            if ours.contains(&name) {
                assert_eq!(field("source"), None, "{name}");
            } else {
                assert_eq!(field("source"), Some(CRATES_IO), "{name}");
                assert!(field("checksum").is_some_and(|hash| hash.len() == 64), "{name}");
            }
        }
    }
}

/// Whatever the program asks the kernel for beside what services do: what is not let through must not end it.
#[test]
fn units_let_the_programs_own_system_calls_through() {
    let units = std::fs::read_dir(root().join("packaging/systemd")).unwrap();
    let services = units
        .map(|unit| unit.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "service"));
    let mut seen = 0;
    for path in services {
        let unit = std::fs::read_to_string(&path).unwrap();
        let has = |line: &str| unit.lines().any(|unit| unit == line);
        let lets = has("SystemCallFilter=@system-service pidfd_getfd") && has("SystemCallErrorNumber=EPERM");
        assert!(lets, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}
