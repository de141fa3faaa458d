//! Holds src/ to the layers that src/lib.rs lists: a module uses only those above it. Below that, the files
//! of one folder never use each other in a circle; with the file that owns the folder they may, since they
//! are one module with it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use imports::{Module, imports};
use syn::{File, Item};

#[path = "layers/imports.rs"]
mod imports;
/// What SECURITY.md promises, as far as the files of the project tell.
#[path = "layers/promises.rs"]
mod promises;

type Files = BTreeMap<Module, File>;
/// Who uses whom, among modules that stand beside each other; with the two files that are the cause.
type Edges = BTreeMap<(Module, Module), (Module, Module)>;

fn edges(files: &Files) -> Edges {
    let mut edges = Edges::new();
    for (user, file) in files {
        for mut used in imports(user, file) {
            while !used.is_empty() && !files.contains_key(&used) {
                used.pop();
            }
            let same = user.iter().zip(&used).take_while(|(one, two)| one == two).count();
            if same < user.len().min(used.len()) {
                let beside = (user[..=same].to_vec(), used[..=same].to_vec());
                edges.entry(beside).or_insert((user.clone(), used));
            }
        }
    }
    edges
}

fn reaches(edges: &Edges, from: &Module, to: &Module, seen: &mut BTreeSet<Module>) -> bool {
    let mut used = edges
        .keys()
        .filter(|(user, _)| user == from)
        .map(|(_, used)| used);
    from == to || seen.insert(from.clone()) && used.any(|used| reaches(edges, used, to, seen))
}

/// The imports that break the layers.
fn breaches(layers: &[String], files: &Files) -> Vec<String> {
    let edges = edges(files);
    let layer = |module: &Module| layers.iter().position(|name| *name == module[0]);
    // Where the list decides, what points up is right also when it is part of a circle.
    let is_breach = |(user, used): &(Module, Module)| match user.len() {
        1 => layer(used) > layer(user),
        _ => reaches(&edges, used, user, &mut BTreeSet::new()),
    };
    let breaches = edges.iter().filter(|(beside, _)| is_breach(beside));
    breaches
        .map(|(_, (user, used))| format!("{} uses {}", user.join("::"), used.join("::")))
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files.into_iter().chain(below).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn no_import_points_down_the_list_or_in_a_circle() {
    let lib = syn::parse_file(&std::fs::read_to_string(src().join("lib.rs")).unwrap()).unwrap();
    let modules = lib.items.iter().filter_map(|item| match item {
        Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    let layers: Vec<String> = modules.collect();
    let mut files = Files::new();
    for path in sources(&src()) {
        let name = path.strip_prefix(src()).unwrap().with_extension("");
        let module: Module = name
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if !matches!(module.last().unwrap().as_str(), "lib" | "main" | "tests") {
            assert!(layers.contains(&module[0]), "lib.rs does not list {module:?}");
            files.insert(
                module,
                syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap(),
            );
        }
    }
    let breaches = breaches(&layers, &files);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn such_imports_are_seen_wherever_they_stand() {
    let breaches_of = |sources: &[(&str, &str)]| {
        let files = sources.iter().map(|(name, text)| {
            let module = name.split('/').map(str::to_owned).collect();
            (module, syn::parse_file(text).unwrap())
        });
        breaches(&["key".to_owned(), "tui".to_owned()], &files.collect())
    };
    let down = [
        "use crate::tui::{self, Model};",
        "fn f() -> crate::tui::Model { todo!() }",
        "fn f() { println!(\"{}\", crate::tui::NAME) }",
        "mod inner { use super::super::tui::Model; }",
    ];
    for text in down {
        assert_eq!(
            breaches_of(&[("key", text), ("tui", "")]),
            ["key uses tui"],
            "{text}"
        );
    }
    let circle = [
        ("tui", "use self::draw::draw;"),
        ("tui/draw", "use super::Model; use super::keys::KEYS;"),
        ("tui/keys", "use crate::tui::parts::PART;"),
        ("tui/parts/bar", "use crate::{key::Key, tui::draw};"),
        ("tui/parts", ""),
        ("tui/rest", "use super::draw::draw;"),
        ("key", "#[cfg(test)] mod tests { use crate::tui::Model; }"),
    ];
    let found = breaches_of(&circle);
    assert_eq!(
        found,
        [
            "tui::draw uses tui::keys",
            "tui::keys uses tui::parts",
            "tui::parts::bar uses tui::draw"
        ]
    );
    assert!(breaches_of(&circle[2..]).is_empty());
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = ["src", "tests", "benches", "fuzz/bodies", "fuzz/fuzz_targets"]
        .map(|folder| sources(&root.join(folder)));
    let rust = all
        .into_iter()
        .flatten()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    for path in rust {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines: split it", path.display());
    }
}
