use crate::key::PublishableKey;

/// What is said of a key that may belong to another Stripe account than those that the sites serve, where no site
/// serves it, and none ever did as far as is on record. A hint, no proof: Stripe does not document how keys begin.
pub const OTHER_ACCOUNT: &str = "no site serves this key or ever did, and it begins otherwise than those that are \
     served now: is it of another Stripe account? (a hint, no proof)";

/// Whether `key` begins otherwise than each of the keys that are `served`, so that it may be of another account. Not
/// where none is served, or where one of them is too old to tell.
pub fn begins_otherwise<'a>(
    key: &PublishableKey,
    served: impl IntoIterator<Item = &'a PublishableKey>,
) -> bool {
    let Some(own) = key.account_part() else {
        return false;
    };
    let mut any = false;
    for other in served {
        match other.account_part() {
            Some(other) if other != own => any = true,
            _ => return false,
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(raw: &str) -> PublishableKey {
        PublishableKey::parse(raw).unwrap()
    }

    #[test]
    fn a_key_of_the_same_account_begins_as_the_others_do() {
        let own = key("pk_live_51HabcdefghijklmNewNewNewNewNewNew");
        let rolled = key("pk_live_51HabcdefghijklmOldOldOldOldOldOld");
        let test = key("pk_test_51HabcdefghijklmOldOldOldOldOldOld");
        let other = key("pk_live_51JabcdefghijklmOldOldOldOldOldOld");
        let ancient = key("pk_live_4eC39HqLyjWDarjtT1zdp7dc");
        assert!(!begins_otherwise(&own, []), "nothing is served");
        assert!(!begins_otherwise(&own, [&other, &rolled]));
        assert!(
            !begins_otherwise(&own, [&test]),
            "both environments of an account"
        );
        assert!(begins_otherwise(&own, [&other]));
        assert!(!begins_otherwise(&own, [&other, &ancient]), "nobody can tell");
        assert!(!begins_otherwise(&ancient, [&other]), "nobody can tell");
    }
}
