//! What is odd on the connection itself.

use std::time::Duration;

use super::super::template::{Answering, Asked, Body, Reply};
use super::super::wire::Step::{Closes, Drips, Forever, Resets, Says, Waits};
use super::super::wire::{Spoken, bytes, head};
use super::hostile;

/// What is written at once of what has no end, in bytes.
const PIECE: usize = 16 * 1024;
/// What a header announces that is longer than anybody reads, in bytes.
const TEN_GIGABYTES: usize = 10_000_000_000;

/// What a template site answers, and its body in bytes.
fn well(shop: &mut Answering<'_>, asked: &Asked) -> (Reply, Vec<u8>) {
    let reply = shop.template_site(asked);
    let body = bytes(&reply.body).to_vec();
    (reply, body)
}

/// The same where nothing may be stored: what answers a GET.
fn well_unstored(shop: &mut Answering<'_>, asked: &Asked) -> (Reply, Vec<u8>) {
    let look = Asked {
        method: "GET".to_owned(),
        path: "/api/stripe-pk".to_owned(),
        ..asked.clone()
    };
    well(shop, &look)
}

fn says(text: &str) -> super::super::wire::Step {
    Says(text.as_bytes().to_vec())
}

pub(super) fn never_answers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    Spoken::new(0, [Waits])
}

pub(super) fn reset_before_answer(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    Spoken::new(0, [Resets])
}

pub(super) fn reset_before_body(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well_unstored(shop, asked);
    Spoken::new(200, [says(&head(&reply, body.len())), Resets])
}

pub(super) fn reset_in_body(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well_unstored(shop, asked);
    let half = body[..body.len() / 2].to_vec();
    Spoken::new(200, [says(&head(&reply, body.len())), Says(half), Resets])
}

pub(super) fn reset_after_body(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let mut spoken = Spoken::whole(&shop.template_site(asked));
    spoken.steps.push(Resets);
    spoken
}

pub(super) fn drips_headers(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well_unstored(shop, asked);
    Spoken::new(200, [Drips(head(&reply, body.len()).into_bytes()), Says(body)])
}

pub(super) fn drips_body(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well_unstored(shop, asked);
    Spoken::new(200, [says(&head(&reply, body.len())), Drips(body)])
}

pub(super) fn endless_headers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    let headers = "X-More: and more\r\n".repeat(PIECE / 18).into_bytes();
    Spoken::new(200, [says("HTTP/1.1 200 OK\r\n"), Forever(headers)])
}

pub(super) fn endless_body(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let piece = format!("{PIECE:x}\r\n{}\r\n", "a".repeat(PIECE));
    Spoken::new(200, [says(head), Forever(piece.into_bytes())])
}

/// Each of them says that the answer is still to come.
pub(super) fn endless_continue(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n".repeat(PIECE / 25).into_bytes();
    Spoken::new(100, [Forever(go_on)])
}

/// To what nobody asked for.
pub(super) fn switches_protocols(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    Spoken::new(101, [says(head), Waits])
}

pub(super) fn ten_gigabytes(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    let reply = Reply::json(200, &serde_json::json!({}));
    let begin = says(&head(&reply, TEN_GIGABYTES));
    Spoken::new(
        200,
        [
            begin,
            says("{\"success\": true, \"message\": \""),
            Forever(vec![b'a'; PIECE]),
        ],
    )
}

pub(super) fn length_too_long(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well_unstored(shop, asked);
    Spoken::new(200, [says(&head(&reply, body.len() + 100)), Says(body), Closes])
}

pub(super) fn length_too_short(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well_unstored(shop, asked);
    Spoken::new(200, [says(&head(&reply, body.len() / 2)), Says(body), Closes])
}

/// As old servers do: the end of the connection is the end of the body.
pub(super) fn http_1_0(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well(shop, asked);
    let head = format!(
        "HTTP/1.0 {} OK\r\nContent-Type: application/json\r\n\r\n",
        reply.status
    );
    Spoken::new(reply.status, [says(&head), Says(body), Closes])
}

pub(super) fn stored_answer_cut(shop: &mut Answering<'_>, asked: &Asked) -> Spoken {
    let (reply, body) = well(shop, asked);
    if !asked.stores() {
        return Spoken::whole(&reply);
    }
    let half = body[..body.len() / 2].to_vec();
    Spoken::new(
        reply.status,
        [says(&head(&reply, body.len())), Says(half), Closes],
    )
}

/// In the reason, in the target of a redirect, and in a header that nobody knows.
fn in_headers(text: &str) -> Spoken {
    let reply = Reply {
        status: 302,
        headers: Vec::new(),
        body: Body::Empty,
        after: Duration::ZERO,
    };
    let tail = head(&reply, 0)
        .split_once("\r\n")
        .map(|(_, tail)| tail.to_owned());
    let head = format!(
        "HTTP/1.1 302 {text}\r\nLocation: https://demo.example/{text}\r\nX-Demo: {text}\r\n{}",
        tail.unwrap_or_default()
    );
    Spoken::new(302, [Says(head.into_bytes())])
}

pub(super) fn escapes_in_headers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    in_headers(&hostile::escapes())
}

pub(super) fn bidi_in_headers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    in_headers(&hostile::bidi())
}

pub(super) fn nul_in_headers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    in_headers(&hostile::nul())
}

pub(super) fn long_line_in_headers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    in_headers(&hostile::long_line())
}

pub(super) fn faked_log_in_headers(_: &mut Answering<'_>, _: &Asked) -> Spoken {
    in_headers(&hostile::faked_log())
}
