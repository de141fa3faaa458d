//! What the sites of the demo answer that are odd as real ones are.

use std::time::Duration;

use serde_json::json;

use super::super::template::{Answering, Asked, Body, Reply};

pub(super) fn healthy(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    shop.template_site(asked)
}

pub(super) fn slow(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    shop.template_site(asked).after(Duration::from_millis(1500))
}

/// What contract.md warns of: long, French, over several lines, quoting SQL.
const DATABASE_ERROR: &str = "(psycopg2.OperationalError) la connexion au serveur a été perdue de façon inattendue\n\
    \tCela signifie probablement que le serveur s'est arrêté anormalement\n\
    [SQL: UPDATE settings SET value = %(value)s WHERE settings.key = %(key)s]\n\
    (Background on this error at: https://sqlalche.me/e/20/e3q8)";

pub(super) fn needs_two_retries(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.stores() && !shop.turn().is_multiple_of(3) {
        return Reply::json(500, &json!({ "error": DATABASE_ERROR }));
    }
    shop.template_site(asked)
}

pub(super) fn asks_to_slow_down(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.stores() && !shop.turn().is_multiple_of(2) {
        let wait = shop.seconds(2).to_string();
        return Reply::json(429, &json!({ "error": "too many requests" })).with("Retry-After", &wait);
    }
    shop.template_site(asked)
}

pub(super) fn other_master_key(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.is_put() {
        return Reply::json(401, &json!({ "error": "invalid_api_key" }));
    }
    shop.template_site(asked)
}

pub(super) fn other_tenant(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.is_put() {
        return shop.template_site(asked);
    }
    let third = shop.third_key().to_owned();
    Reply::json(200, &json!({ "success": true, "publishable_key": third }))
}

pub(super) fn stores_nothing(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    match shop.refusal(asked) {
        Some(refusal) if asked.is_put() => refusal,
        // True of every version: without a value there is nothing to pretend about.
        _ if asked.is_without_value() => shop.template_site(asked),
        _ if asked.is_put() => Reply::json(200, &json!({ "success": true, "message": "updated" })),
        _ => Reply::json(404, &json!({ "success": false, "message": "no_publishable_key" })),
    }
}

pub(super) fn says_not_stored(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.stores() {
        return Reply::json(
            200,
            &json!({ "success": false, "error": "la base de données est en lecture seule" }),
        );
    }
    shop.template_site(asked)
}

pub(super) fn html_page(_: &mut Answering<'_>, _: &Asked) -> Reply {
    let page = "<!doctype html><html><head><title>This domain is parked</title></head><body>Buy it now</body></html>";
    Reply {
        status: 200,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: Body::Text(page.to_owned()),
        after: Duration::ZERO,
    }
}

pub(super) fn redirects(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let target = format!("{}{}", shop.redirect_target(), asked.path);
    Reply {
        status: 301,
        headers: vec![("Location", target)],
        body: Body::Empty,
        after: Duration::ZERO,
    }
}

pub(super) fn exposes_secret(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if asked.is_put() {
        return shop.template_site(asked);
    }
    Reply::json(
        200,
        &json!({ "success": true, "publishable_key": "sk_live_51DemoThisMustNeverBeShown0000" }),
    )
}

pub(super) fn old_version(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let reply = shop.template_site(asked);
    match reply.status {
        200 if asked.is_put() => Reply::json(200, &json!({ "ok": true, "key": "stripe_publishable_key" })),
        400 if asked.is_without_value() => {
            Reply::json(400, &json!({ "success": false, "error": "Valeur manquante" }))
        }
        _ => reply,
    }
}

pub(super) fn shared_backend(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if shop.calls_at_once() > 2 {
        return Reply::json(
            500,
            &json!({ "error": "QueuePool limit of size 2 overflow 0 reached, connection timed out" }),
        );
    }
    // Long enough for calls to meet.
    shop.template_site(asked).after(Duration::from_millis(150))
}
