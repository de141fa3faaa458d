use std::collections::BTreeSet;

use crate::text::{CleanText, Count, some_names};

/// Sites of a run that a worker does not know, as they come to light, a few at a time.
#[derive(Debug, Default)]
pub struct Strange {
    names: BTreeSet<CleanText>,
    told: usize,
}

impl Strange {
    /// These came to light: how many there are by now, and their names, where that is to be told. It is told of the first
    /// ones, and again when they have doubled: few lines, and none for each site.
    pub fn add(&mut self, names: impl IntoIterator<Item = CleanText>) -> Option<String> {
        self.names.extend(names);
        if self.names.len() < (2 * self.told).max(1) {
            return None;
        }
        self.told = self.names.len();
        let names: Vec<&str> = self.names.iter().map(CleanText::as_str).collect();
        Some(format!(
            "{} of it: {}",
            Count(names.len(), "site"),
            some_names(&names)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sites_make_few_lines() {
        let mut strange = Strange::default();
        let name = |number: usize| CleanText::note(&format!("shop-{number:04}"));
        assert_eq!(strange.add([]), None);
        assert_eq!(
            strange.add([name(1), name(0)]).as_deref(),
            Some("2 sites of it: shop-0000, shop-0001")
        );
        // Known by now, and the one more is no reason yet.
        assert_eq!(strange.add([name(1), name(2)]), None);
        let lines: Vec<String> = (3..1000)
            .filter_map(|number| strange.add([name(number)]))
            .collect();
        assert_eq!(lines.len(), 8);
        assert!(
            lines[7].starts_with("512 sites of it: shop-0000, "),
            "{}",
            lines[7]
        );
        assert!(lines[7].ends_with(" and 502 more"), "{}", lines[7]);
    }
}
