//! Each command and each flag has its help, and a test that uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, ExprArray, ExprLit, ExprMethodCall, ExprPath, ImplItemFn, ItemConst, ItemFn, Lit, Macro};

use super::{bare, out};

/// The flags of a command that are its own, by their long names.
fn flags(command: &Command) -> Vec<&Arg> {
    let own = |flag: &&Arg| flag.get_long().is_some() && !flag.is_hide_set();
    command.get_arguments().filter(own).collect()
}

fn long(flag: &Arg) -> String {
    format!("--{}", flag.get_long().unwrap_or_default())
}

#[test]
fn each_command_tells_of_its_flags_with_examples() {
    let all = stripe_propagate::cli::command();
    let told = out(&bare(&["--help"]).output().unwrap());
    assert!(
        told.contains("Examples:") && told.contains("Exit status:\n  0 "),
        "{told}"
    );
    for command in all.get_subcommands() {
        let name = command.get_name();
        assert!(told.contains(&format!("\n  {name} ")), "{name} is not in --help");
        let told = out(&bare(&[name, "--help"]).output().unwrap());
        assert!(told.contains("Example"), "{name} has no example:\n{told}");
        assert!(told.contains(&format!("  stripe-propagate {name}")), "{told}");
        for flag in flags(command) {
            assert!(told.contains(&long(flag)), "{name} {}", long(flag));
            assert!(flag.get_help().is_some(), "{name} {} has no help", long(flag));
        }
    }
}

/// A function or a constant of the tests: the texts in it, those that stand together in a list of arguments, and what
/// it uses by name.
#[derive(Debug, Clone, Default)]
struct Part {
    texts: BTreeSet<String>,
    lists: Vec<BTreeSet<String>>,
    uses: BTreeSet<String>,
}

impl Part {
    fn texts_of<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> BTreeSet<String> {
        let mut all = Self::default();
        for expr in exprs {
            all.visit_expr(expr);
        }
        all.texts
    }
}

impl<'ast> Visit<'ast> for Part {
    fn visit_expr_lit(&mut self, literal: &'ast ExprLit) {
        if let Lit::Str(text) = &literal.lit {
            self.texts.insert(text.value());
        }
    }

    fn visit_expr_array(&mut self, array: &'ast ExprArray) {
        self.lists.push(Self::texts_of(&array.elems));
        visit::visit_expr_array(self, array);
    }

    fn visit_macro(&mut self, found: &'ast Macro) {
        let parse = Punctuated::<Expr, syn::Token![,]>::parse_terminated;
        // What is no list of expressions holds no list of arguments, either.
        if let Ok(exprs) = parse.parse2(found.tokens.clone()) {
            if found.path.is_ident("vec") {
                self.lists.push(Self::texts_of(&exprs));
            }
            for expr in &exprs {
                self.visit_expr(expr);
            }
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        // One argument more: a list of its own. What is looked for in a text is none.
        if call.method == "arg" || call.method == "push" {
            self.lists.push(Self::texts_of(&call.args));
        }
        self.uses.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        if let Some(last) = path.path.segments.last() {
            self.uses.insert(last.ident.to_string());
        }
    }
}

/// The parts of some files, by their names; what has one name counts as one.
#[derive(Default)]
struct Parts(BTreeMap<String, Part>);

impl Parts {
    fn add(&mut self, name: &str, found: Part) {
        let part = self.0.entry(name.to_owned()).or_default();
        part.texts.extend(found.texts);
        part.lists.extend(found.lists);
        part.uses.extend(found.uses);
    }

    /// All texts of a part and of what it uses, however far.
    fn reached(&self, name: &str, seen: &mut BTreeSet<String>, texts: &mut BTreeSet<String>) {
        let Some(part) = self.0.get(name).filter(|_| seen.insert(name.to_owned())) else {
            return;
        };
        texts.extend(part.texts.iter().cloned());
        for used in &part.uses {
            self.reached(used, seen, texts);
        }
    }
}

impl<'ast> Visit<'ast> for Parts {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        let mut part = Part::default();
        part.visit_block(&function.block);
        self.add(&function.sig.ident.to_string(), part);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        let mut part = Part::default();
        part.visit_block(&function.block);
        self.add(&function.sig.ident.to_string(), part);
    }

    fn visit_item_const(&mut self, constant: &'ast ItemConst) {
        let mut part = Part::default();
        part.visit_expr(&constant.expr);
        self.add(&constant.ident.to_string(), part);
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files
        .into_iter()
        .chain(below)
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// The tests' own sources: a file together with what is in the folder of its name.
fn tests() -> Vec<Parts> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut subjects: BTreeMap<PathBuf, Parts> = BTreeMap::new();
    for path in sources(&folder) {
        // What stands here is about flags, and uses none.
        if path.ends_with("reading/help.rs") {
            continue;
        }
        let inside = path.strip_prefix(&folder).unwrap().with_extension("");
        // Those of `program` are one binary of many subjects.
        let parts = if inside.starts_with("program") { 2 } else { 1 };
        let subject: PathBuf = inside.iter().take(parts).collect();
        let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        subjects.entry(subject).or_default().visit_file(&file);
    }
    subjects.into_values().collect()
}

/// Which commands are used, and which flags with which command. A flag in a list of arguments that names a command is
/// that command's; in a list without one it is of those that its function names, itself or by what it calls.
fn used(tests: &[Parts], commands: &BTreeSet<String>) -> BTreeSet<(String, String)> {
    let mut used = BTreeSet::new();
    for parts in tests {
        for (name, part) in &parts.0 {
            let mut reached = BTreeSet::new();
            parts.reached(name, &mut BTreeSet::new(), &mut reached);
            let of_function: Vec<&String> = reached.intersection(commands).collect();
            for list in &part.lists {
                let named: Vec<&String> = list.intersection(commands).collect();
                let named = if named.is_empty() { &of_function } else { &named };
                for command in named {
                    used.insert(((*command).clone(), String::new()));
                    let flags = list.iter().filter(|text| text.starts_with('-'));
                    used.extend(flags.map(|flag| ((*command).clone(), flag.clone())));
                }
            }
        }
    }
    used
}

#[test]
fn each_command_and_each_flag_has_a_test_that_uses_it() {
    let all = stripe_propagate::cli::command();
    let commands: BTreeSet<String> = all
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let tests = tests();
    let used = used(&tests, &commands);
    let has = |command: &str, flag: &str| used.contains(&(command.to_owned(), flag.to_owned()));
    let mut missing = Vec::new();
    for command in all.get_subcommands() {
        let name = command.get_name();
        if !has(name, "") {
            missing.push(name.to_owned());
        }
        for flag in flags(command).into_iter().filter(|flag| !flag.is_global_set()) {
            if !has(name, &long(flag)) {
                missing.push(format!("{name} {}", long(flag)));
            }
        }
    }
    // What every command takes, or none, is used with any.
    let anywhere = |text: &str| {
        tests
            .iter()
            .any(|parts| parts.0.values().any(|part| part.texts.contains(text)))
    };
    for flag in flags(&all) {
        let short = flag.get_short().map(|short| format!("-{short}"));
        if !anywhere(&long(flag)) && !short.is_some_and(|short| anywhere(&short)) {
            missing.push(long(flag));
        }
    }
    assert!(missing.is_empty(), "no test uses:\n{}", missing.join("\n"));
}

#[test]
fn a_flag_counts_for_the_command_that_it_stands_with() {
    let commands: BTreeSet<String> = ["push", "verify", "check"].map(str::to_owned).into();
    let uses = |text: &str| {
        let mut parts = Parts::default();
        parts.visit_file(&syn::parse_file(text).unwrap());
        used(&[parts], &commands)
            .into_iter()
            .map(|(command, flag)| format!("{command} {flag}").trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        uses("fn a() { run(&[\"push\", \"--yes\"]); }"),
        ["push", "push --yes"]
    );
    // Two commands in one function: each list is of its own.
    let two = "fn a() { run(&[\"push\", \"--yes\"]); run(&[\"verify\"]); }";
    assert!(!uses(two).contains(&"verify --yes".to_owned()));
    // The command stands in what is called.
    let called =
        "fn check(more: &[&str]) { command(\"check\").args(more); } fn a() { check(&[\"--auth\"]); }";
    assert_eq!(uses(called), ["check", "check --auth"]);
    assert!(uses("fn a() { said.contains(\"--yes\"); }").is_empty());
    let listed = "fn a() { let mut all = vec![\"verify\", \"--watch\"]; all.push(\"--json\"); }";
    assert!(uses(listed).contains(&"verify --watch".to_owned()));
}
