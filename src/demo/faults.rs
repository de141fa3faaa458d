use std::time::Duration;

use serde_json::json;

use super::template::{Answering, Asked, Body, Reply};

/// What is odd about a site of the fleet. Each has a row in [`FAULTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    Healthy,
    /// It takes its time.
    Slow,
    /// Its first two PUTs fail.
    NeedsTwoRetries,
    /// It asks to slow down once.
    AsksToSlowDown,
    /// It takes another master key.
    OtherMasterKey,
    /// Nothing listens there.
    Dead,
    /// Several processes keep what they read in memory.
    CachingProcesses,
    /// What is PUT goes to another tenant than what the GET reads.
    OtherTenant,
    /// It answers success and stores nothing.
    StoresNothing,
    /// It answers 200 and says that it failed.
    SaysNotStored,
    /// It shows a page.
    HtmlPage,
    /// It points elsewhere.
    Redirects,
    /// It shows a secret key.
    ExposesSecret,
    /// It answers like an older version.
    OldVersion,
    /// It has no key yet.
    NoKeyYet,
    /// It shares a server that fails above two calls at once.
    SharedBackend,
}

/// All that a fault is.
#[derive(Debug)]
pub struct FaultRow {
    /// Which one.
    pub fault: Fault,
    /// The demo's sites that have it.
    pub names: &'static [&'static str],
    /// What such a site does, for people.
    pub sentence: &'static str,
    /// Whether [`super::Fleet::heal`] mends it.
    pub sick: bool,
    /// What it answers.
    pub(super) answers: fn(&mut Answering<'_>, &Asked) -> Reply,
}

const fn row(
    fault: Fault,
    names: &'static [&'static str],
    answers: fn(&mut Answering<'_>, &Asked) -> Reply,
    sentence: &'static str,
) -> FaultRow {
    FaultRow {
        fault,
        names,
        sentence,
        sick: false,
        answers,
    }
}

impl FaultRow {
    const fn sick(mut self) -> Self {
        self.sick = true;
        self
    }
}

/// Every fault, in the order of the enum.
pub static FAULTS: &[FaultRow] = &[
    row(Fault::Healthy, &[], healthy, "stores and serves the key"),
    row(
        Fault::Slow,
        &["escargot-d-or"],
        slow,
        "takes a second and a half for each answer",
    ),
    row(
        Fault::NeedsTwoRetries,
        &["port-ouest"],
        needs_two_retries,
        "fails twice with a database error, then works",
    ),
    row(
        Fault::AsksToSlowDown,
        &["marche-lent"],
        asks_to_slow_down,
        "answers 429 with Retry-After once, then works",
    ),
    row(
        Fault::OtherMasterKey,
        &["coffre-gris"],
        other_master_key,
        "takes another master key: 401",
    )
    .sick(),
    row(Fault::Dead, &["phare-eteint"], healthy, "refuses the connection").sick(),
    row(
        Fault::CachingProcesses,
        &["galerie-sud"],
        healthy,
        "has four processes that keep what they read for 5 seconds",
    ),
    row(
        Fault::OtherTenant,
        &["double-fond"],
        other_tenant,
        "stores the key under another tenant and serves a third one",
    )
    .sick(),
    row(
        Fault::StoresNothing,
        &["panier-perce"],
        stores_nothing,
        "answers success and stores nothing",
    )
    .sick(),
    row(
        Fault::SaysNotStored,
        &["moulin-a-vent"],
        says_not_stored,
        "answers 200 with success: false",
    )
    .sick(),
    row(
        Fault::HtmlPage,
        &["terrain-vague"],
        html_page,
        "is a parked domain: a page, whatever is asked",
    )
    .sick(),
    row(
        Fault::Redirects,
        &["poste-restante"],
        redirects,
        "redirects to another address",
    )
    .sick(),
    row(
        Fault::ExposesSecret,
        &["maison-de-verre"],
        exposes_secret,
        "shows an sk_ value to the public",
    )
    .sick(),
    row(
        Fault::OldVersion,
        &["vieille-enseigne"],
        old_version,
        "answers {\"ok\": true}, as older versions do",
    ),
    row(
        Fault::NoKeyYet,
        &["page-blanche"],
        healthy,
        "has no key until it gets its first",
    ),
    row(
        Fault::SharedBackend,
        &["jumeau-un", "jumeau-deux"],
        shared_backend,
        "shares a server that fails above two calls at once",
    ),
];

impl Fault {
    /// Its row in [`FAULTS`].
    pub fn row(self) -> &'static FaultRow {
        let row = &FAULTS[self as usize];
        debug_assert_eq!(row.fault, self, "FAULTS is in the order of the enum");
        row
    }
}

fn healthy(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    shop.template_site(asked)
}

fn slow(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    shop.template_site(asked).after(Duration::from_millis(1500))
}

/// What contract.md warns of: long, French, over several lines, quoting SQL.
const DATABASE_ERROR: &str = "(psycopg2.OperationalError) la connexion au serveur a été perdue de façon inattendue\n\
    \tCela signifie probablement que le serveur s'est arrêté anormalement\n\
    [SQL: UPDATE settings SET value = %(value)s WHERE settings.key = %(key)s]\n\
    (Background on this error at: https://sqlalche.me/e/20/e3q8)";

fn needs_two_retries(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.stores() && !shop.turn().is_multiple_of(3) {
        return Reply::json(500, &json!({ "error": DATABASE_ERROR }));
    }
    shop.template_site(asked)
}

fn asks_to_slow_down(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.stores() && !shop.turn().is_multiple_of(2) {
        let wait = shop.seconds(2).to_string();
        return Reply::json(429, &json!({ "error": "too many requests" })).with("Retry-After", &wait);
    }
    shop.template_site(asked)
}

fn other_master_key(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.is_put() {
        return Reply::json(401, &json!({ "error": "invalid_api_key" }));
    }
    shop.template_site(asked)
}

fn other_tenant(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.is_put() {
        return shop.template_site(asked);
    }
    let third = shop.third_key().to_owned();
    Reply::json(200, &json!({ "success": true, "publishable_key": third }))
}

fn stores_nothing(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    match shop.refusal(asked) {
        Some(refusal) if asked.is_put() => refusal,
        // True of every version: without a value there is nothing to pretend about.
        _ if asked.is_without_value() => shop.template_site(asked),
        _ if asked.is_put() => Reply::json(200, &json!({ "success": true, "message": "updated" })),
        _ => Reply::json(404, &json!({ "success": false, "message": "no_publishable_key" })),
    }
}

fn says_not_stored(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.stores() {
        return Reply::json(
            200,
            &json!({ "success": false, "error": "la base de données est en lecture seule" }),
        );
    }
    shop.template_site(asked)
}

fn html_page(_: &mut Answering<'_>, _: &Asked) -> Reply {
    let page = "<!doctype html><html><head><title>This domain is parked</title></head><body>Buy it now</body></html>";
    Reply {
        status: 200,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: Body::Text(page.to_owned()),
        after: Duration::ZERO,
    }
}

fn redirects(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let target = format!("{}{}", shop.redirect_target(), asked.path);
    Reply {
        status: 301,
        headers: vec![("Location", target)],
        body: Body::Empty,
        after: Duration::ZERO,
    }
}

fn exposes_secret(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.is_put() {
        return shop.template_site(asked);
    }
    Reply::json(
        200,
        &json!({ "success": true, "publishable_key": "sk_live_51DemoThisMustNeverBeShown0000" }),
    )
}

fn old_version(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let reply = shop.template_site(asked);
    match reply.status {
        200 if asked.is_put() => Reply::json(200, &json!({ "ok": true, "key": "stripe_publishable_key" })),
        400 if asked.is_without_value() => {
            Reply::json(400, &json!({ "success": false, "error": "Valeur manquante" }))
        }
        _ => reply,
    }
}

fn shared_backend(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if shop.calls_at_once() > 2 {
        return Reply::json(
            500,
            &json!({ "error": "QueuePool limit of size 2 overflow 0 reached, connection timed out" }),
        );
    }
    // Long enough for calls to meet.
    shop.template_site(asked).after(Duration::from_millis(150))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (index, row) in FAULTS.iter().enumerate() {
            assert_eq!(row.fault as usize, index);
        }
    }
}
