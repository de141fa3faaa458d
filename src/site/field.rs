/// A field of a site, as a source names it: the head of a CSV column, a column of a query, a name in a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Its address; the only one that is needed.
    Url,
    /// How it is called.
    Name,
    /// Those that belong together.
    Group,
    /// Which keys it may be given.
    Mode,
    /// Which sites share a server.
    Backend,
    /// A master key of its own.
    MasterKey,
    /// Whether it is sent keys.
    Enabled,
}

/// Each field with its name.
pub const FIELDS: [(Field, &str); 7] = [
    (Field::Url, "url"),
    (Field::Name, "name"),
    (Field::Group, "group"),
    (Field::Mode, "mode"),
    (Field::Backend, "backend"),
    (Field::MasterKey, "master_key"),
    (Field::Enabled, "enabled"),
];

impl Field {
    /// The field of this name, however its letters are written.
    pub fn of_name(name: &str) -> Option<Self> {
        let known = FIELDS.iter().find(|(_, known)| name.eq_ignore_ascii_case(known));
        known.map(|(field, _)| *field)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        FIELDS
            .iter()
            .find(|(field, _)| *field == self)
            .map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_its_name() {
        for (field, name) in FIELDS {
            assert_eq!(Field::of_name(&name.to_uppercase()), Some(field));
            assert_eq!(field.name(), name);
        }
    }
}
