//! Whole answers that no template site gives.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::template::{Answering, Asked, Body, Reply};
use super::hostile;

/// Deeper than a parser may go that calls itself.
const LEVELS: usize = 10_000;
/// A year of 365 days, in seconds.
const YEAR: u64 = 365 * 24 * 3600;
/// What a clock of a site is ahead.
const AHEAD: Duration = Duration::from_hours(1);

fn of_type(status: u16, kind: &str, body: Body) -> Reply {
    Reply {
        status,
        headers: vec![("Content-Type", kind.to_owned())],
        body,
        after: Duration::ZERO,
    }
}

fn text(status: u16, body: String) -> Reply {
    of_type(status, "text/plain", Body::Text(body))
}

/// What a template site answers, with another status where it is 200 to a PUT.
pub(super) fn created(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let mut reply = shop.template_site(asked);
    if reply.status == 200 && asked.is_put() {
        reply.status = 201;
    }
    reply
}

pub(super) fn no_content(_: &mut Answering<'_>, _: &Asked) -> Reply {
    of_type(204, "application/json", Body::Empty)
}

pub(super) fn empty_body(_: &mut Answering<'_>, _: &Asked) -> Reply {
    of_type(200, "application/json", Body::Empty)
}

pub(super) fn invalid_utf8(_: &mut Answering<'_>, _: &Asked) -> Reply {
    // A byte that never is, an overlong NUL, half of a pair, a sequence that is cut.
    let body = b"{\"success\": true, \"message\": \"caf\xe9 \xff\xc0\x80\xed\xa0\x80\xf0\x9f\", \"publishable_key\": \"\xff\"}";
    of_type(200, "application/json", Body::Bytes(body.to_vec()))
}

pub(super) fn invalid_json(_: &mut Answering<'_>, _: &Asked) -> Reply {
    let body = "{\"success\": true, \"publishable_key\": \"pk_test_51Demo";
    of_type(200, "application/json", Body::Text(body.to_owned()))
}

pub(super) fn deep_json(_: &mut Answering<'_>, _: &Asked) -> Reply {
    let mut body = "{\"success\":".repeat(LEVELS / 2) + &"[".repeat(LEVELS / 2);
    body += &"]".repeat(LEVELS / 2);
    body += &"}".repeat(LEVELS / 2);
    of_type(200, "application/json", Body::Text(body))
}

pub(super) fn wrong_types(_: &mut Answering<'_>, _: &Asked) -> Reply {
    let body = json!({
        "success": "true", "ok": 1, "error": ["none"], "message": { "text": 7 }, "publishable_key": [null, 1e300],
    });
    Reply::json(200, &body)
}

/// The only block of a deflate stream, up to its first zero. What follows as zero bits repeats it, 258 zeros for each
/// two bits.
const BOMB_BEGIN: [u8; 14] = [
    0xed, 0xc0, 0x81, 0x00, 0x00, 0x00, 0x00, 0x80, 0xa0, 0xfd, 0xa9, 0x17, 0xa9, 0x00,
];
/// So many bytes of zero bits, each of which becomes 1,032 zeros.
const BOMB_LENGTH: usize = 1024 * 1024;
/// The end of the block; the sum (CRC-32) and the length of the 1,082,131,465 zeros.
const BOMB_END: [u8; 9] = [0x06, 0x0b, 0x01, 0x40, 0x36, 0x09, 0x04, 0x80, 0x40];
/// The head of a gzip file (RFC 1952): deflate, without a name and a time.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];

pub(super) fn gzip_bomb(_: &mut Answering<'_>, _: &Asked) -> Reply {
    let body = [&GZIP_HEAD[..], &BOMB_BEGIN, &vec![0; BOMB_LENGTH], &BOMB_END].concat();
    of_type(200, "application/json", Body::Bytes(body)).with("Content-Encoding", "gzip")
}

fn redirect(status: u16, target: &str) -> Reply {
    Reply {
        status,
        headers: vec![("Location", target.to_owned())],
        body: Body::Empty,
        after: Duration::ZERO,
    }
}

pub(super) fn redirect_loop(_: &mut Answering<'_>, asked: &Asked) -> Reply {
    redirect(307, &asked.path)
}

pub(super) fn redirect_to_http(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let target = shop.redirect_target().replacen("https:", "http:", 1);
    redirect(308, &format!("{target}{}", asked.path))
}

pub(super) fn redirect_to_other_host(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    // The same port under another name, so that whoever follows is counted there.
    let port = shop.redirect_target().rsplit(':').next().unwrap_or_default();
    redirect(302, &format!("https://localhost:{port}{}", asked.path))
}

pub(super) fn redirect_to_loopback(shop: &mut Answering<'_>, _: &Asked) -> Reply {
    let port = shop.redirect_target().rsplit(':').next().unwrap_or_default();
    redirect(301, &format!("http://127.0.0.1:{port}/admin"))
}

pub(super) fn retry_after_year(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if !asked.stores() {
        return shop.template_site(asked);
    }
    let year = shop.seconds(YEAR).to_string();
    Reply::json(429, &json!({ "error": "too many requests" })).with("Retry-After", &year)
}

pub(super) fn retry_after_negative(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    if !asked.stores() {
        return shop.template_site(asked);
    }
    Reply::json(503, &json!({ "error": "maintenance" })).with("Retry-After", "-3600")
}

pub(super) fn retry_after_garbage(_: &mut Answering<'_>, _: &Asked) -> Reply {
    Reply::json(503, &json!({ "error": "maintenance" }))
        .with("Retry-After", "soon, 99999999999999999999999999e9")
}

/// Once it asks to wait for two seconds, told as a date by its clock.
pub(super) fn clock_hour_off(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    let now = SystemTime::now() + AHEAD;
    let date = httpdate::fmt_http_date(now);
    if asked.stores() && !shop.turn().is_multiple_of(2) {
        let then = httpdate::fmt_http_date(now + Duration::from_secs(shop.seconds(2)));
        return Reply::json(429, &json!({ "error": "too many requests" }))
            .with("Date", &date)
            .with("Retry-After", &then);
    }
    shop.template_site(asked).with("Date", &date)
}

/// As JSON to a PUT, where it is escaped, and as it is to a GET.
fn hostile(asked: &Asked, written: String) -> Reply {
    if asked.is_put() {
        Reply::json(500, &json!({ "error": written }))
    } else {
        text(500, written)
    }
}

pub(super) fn escapes_in_body(_: &mut Answering<'_>, asked: &Asked) -> Reply {
    hostile(asked, hostile::escapes())
}

pub(super) fn bidi_in_body(_: &mut Answering<'_>, asked: &Asked) -> Reply {
    hostile(asked, hostile::bidi())
}

pub(super) fn nul_in_body(_: &mut Answering<'_>, asked: &Asked) -> Reply {
    hostile(asked, hostile::nul())
}

pub(super) fn long_line_in_body(_: &mut Answering<'_>, asked: &Asked) -> Reply {
    hostile(asked, hostile::long_line())
}

pub(super) fn faked_log_in_body(_: &mut Answering<'_>, asked: &Asked) -> Reply {
    hostile(asked, hostile::faked_log())
}

/// Answers a PUT with what `echo` makes of its key, else as a template site.
fn echoing(shop: &mut Answering<'_>, asked: &Asked, echo: impl Fn(&str) -> Reply) -> Reply {
    match &asked.master_key {
        Some(key) if asked.is_put() => echo(key),
        _ => shop.template_site(asked),
    }
}

pub(super) fn echoes_key(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    echoing(shop, asked, |key| {
        Reply::json(
            500,
            &json!({ "error": format!("request failed: X-API-Key: {key}") }),
        )
    })
}

pub(super) fn echoes_key_escaped(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    echoing(shop, asked, |key| {
        let escaped = each_letter(key, |code| format!("\\u{code:04x}"));
        // Written by hand: serde escapes only what it must.
        let body = format!(
            "{{\"error\": \"request failed: {escaped}\", \"trace\": {}}}",
            Value::from(escaped.clone())
        );
        of_type(500, "application/json", Body::Text(body))
    })
}

pub(super) fn echoes_key_encoded(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    echoing(shop, asked, |key| {
        let encoded = each_letter(key, |code| format!("%{code:02X}"));
        text(500, format!("request failed: /login?key={encoded}"))
    })
}

pub(super) fn echoes_key_in_header(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    echoing(shop, asked, |key| {
        Reply::json(302, &json!({ "error": "request failed" }))
            .with("Location", &format!("/login/{key}"))
            .with("X-Request-Headers", key)
    })
}

/// So much of a body is read, in bytes.
const READ: usize = 64 * 1024;

/// So that all of the key but its end is read.
pub(super) fn echoes_key_at_cut(shop: &mut Answering<'_>, asked: &Asked) -> Reply {
    echoing(shop, asked, |key| {
        let begin = "request failed:";
        let blanks = (READ - begin.len() + 2).saturating_sub(key.len());
        text(500, format!("{begin}{:blanks$}{key} and so on", ""))
    })
}

fn each_letter(text: &str, write: impl Fn(u32) -> String) -> String {
    text.chars().fold(String::new(), |mut all, letter| {
        // Writing into a string cannot fail.
        let _written = all.write_str(&write(u32::from(letter)));
        all
    })
}
