//! What a source file uses of the crate, as its text says.

use std::collections::BTreeSet;

use syn::visit::{Visit, visit_item_mod, visit_path};
use syn::{Attribute, File, ItemMod, ItemUse, Macro, UseTree};

/// The names of a module, from the crate's root.
pub(crate) type Module = Vec<String>;

/// The paths that `file`, which is `module`, uses: in imports, in its text and in macros. Code under
/// `#[cfg(test)]` does not count.
pub(crate) fn imports(module: &Module, file: &File) -> BTreeSet<Module> {
    let (module, used) = (module.clone(), BTreeSet::new());
    let mut imports = Imports { module, used };
    imports.visit_file(file);
    imports.used
}

struct Imports {
    module: Module,
    used: BTreeSet<Module>,
}

impl Imports {
    fn take(&mut self, path: &str) {
        let mut used = match path.split("::").next() {
            Some("crate") => Module::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for name in path.split("::") {
            match name {
                "super" => drop(used.pop()),
                "crate" | "self" => {}
                name => used.push(name.to_owned()),
            }
        }
        self.used.insert(used);
    }
}

fn paths(tree: &UseTree, before: &str) -> Vec<String> {
    match tree {
        UseTree::Path(path) => paths(&path.tree, &format!("{before}{}::", path.ident)),
        UseTree::Group(group) => group.items.iter().flat_map(|one| paths(one, before)).collect(),
        UseTree::Name(name) => vec![format!("{before}{}", name.ident)],
        UseTree::Rename(name) => vec![format!("{before}{}", name.ident)],
        UseTree::Glob(_) => vec![before.trim_end_matches(':').to_owned()],
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    let name = attribute.parse_args::<syn::Ident>();
    attribute.path().is_ident("cfg") && name.is_ok_and(|name| name == "test")
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !item.attrs.iter().any(is_for_tests) {
            self.module.push(item.ident.to_string());
            visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for path in paths(&item.tree, "") {
            self.take(&path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|one| one.ident.to_string()).collect();
        self.take(&names.join("::"));
        visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        visit_path(self, &called.path);
        let text = called.tokens.to_string().replace(" :: ", "::");
        text.split(|c: char| !(c.is_alphanumeric() || "_:".contains(c)))
            .for_each(|path| self.take(path));
    }
}
