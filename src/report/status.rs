use serde::Serialize;

use super::old_keys::{OldKeysBody, body};
use super::{Results, UNSEEN, aligned};
use crate::key::PublishableKey;
use crate::rules::expiry::SitesOfOldKeys;
use crate::rules::moment::Moment;
use crate::rules::outcome::Cause;
use crate::rules::state::{Served, SiteState};
use crate::rules::status::Push;
use crate::site::Site;

const HEADS: [&str; 7] = ["SITE", "NOW", "EXPECTED", "PUSH", "VERIFY", "AT", "NOTE"];

/// What is known of each site, as a plain table, a line a site.
pub fn table(results: &Results<'_>) -> String {
    let rows = results.rows().map(|(site, state)| {
        let expected = state.expected.as_ref();
        [
            site.name.to_string(),
            state.now.words(|key| results.mask(key)),
            expected.map_or_else(|| "-".to_owned(), |key| results.mask(key)),
            state.push.look().word.to_owned(),
            state.verify.look().word.to_owned(),
            state
                .at
                .map_or_else(|| "-".to_owned(), |moment| results.clock(moment)),
            results.note(site, state),
        ]
    });
    aligned(HEADS, rows)
}

/// Times are RFC 3339 in UTC. Fields may be added, none renamed.
#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    at: String,
    sites: Vec<SiteBody<'a>>,
    #[serde(flatten)]
    old_keys: OldKeysBody<'a>,
    not_seen_from_here: &'static str,
}

#[derive(Serialize)]
struct SiteBody<'a> {
    site: &'a str,
    url: String,
    group: Option<&'a str>,
    push: &'static str,
    /// Why it was left out, if it was.
    reason: Option<&'static str>,
    verify: &'static str,
    cause: Option<&'static str>,
    http: Option<u16>,
    /// The run that last had it in its plan.
    run: Option<u64>,
    /// PUTs of it in that run.
    attempts: u32,
    /// A mask, `no_key`, `secret`, or null where it was not seen.
    now: Option<String>,
    expected: Option<String>,
    alarm: bool,
    /// Whether the operator knows it to be bad.
    acknowledged: bool,
    /// When something last happened to it.
    at: Option<String>,
    /// When it last showed what it serves.
    looked_at: Option<String>,
    note: String,
}

/// What is known of each site, and of each old key, as one document in one line.
pub fn document(results: &Results<'_>) -> String {
    let old_keys = SitesOfOldKeys::replaced(results.states, results.now);
    let document = Document {
        v: 1,
        at: utc(results.now),
        sites: results
            .rows()
            .map(|(site, state)| of_site(results, site, state))
            .collect(),
        old_keys: body(results, &old_keys, |old| old_keys.may_expire(old)),
        not_seen_from_here: UNSEEN,
    };
    // Structs of text and numbers: serializing them cannot fail.
    serde_json::to_string(&document).unwrap_or_default()
}

fn of_site<'a>(results: &Results<'_>, site: &'a Site, state: &SiteState) -> SiteBody<'a> {
    let mask = |key: &PublishableKey| results.mask(key);
    SiteBody {
        site: site.name.as_str(),
        url: site.url.to_string(),
        group: site.group.as_ref().map(AsRef::as_ref),
        push: state.push.look().word,
        reason: match state.push {
            Push::Skipped(reason) => Some(reason.word()),
            _ => None,
        },
        verify: state.verify.look().word,
        cause: state.cause().map(Cause::word),
        http: state.http,
        run: state.run.map(|run| run.0),
        attempts: state.puts,
        now: match &state.now {
            Served::Unknown => None,
            Served::Key(key) => Some(mask(key)),
            Served::NoKey => Some("no_key".to_owned()),
            Served::Secret => Some("secret".to_owned()),
        },
        expected: state.expected.as_ref().map(mask),
        alarm: state.alarm,
        acknowledged: results.acknowledgement(site).is_some(),
        at: state.at.map(utc),
        looked_at: state.looked_at.map(utc),
        note: results.note(site, state),
    }
}

fn utc(moment: Moment) -> String {
    format!("{:.3}", moment.wall)
}
