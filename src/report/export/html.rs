use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::bars::{Bar, draw};
use super::old_keys::OldKeyState;
use super::{BASIS, Told, clock_set, reason};
use crate::report::UNSEEN;
use crate::rules::status::Role;
use crate::store::{Request, RunSite, StoredAttempt};
use crate::text::{Count, some_names};

/// One page that needs nothing else: no script, no font, no image from anywhere. Its policy takes its own style,
/// known by its hash, and nothing more, so that not even an escape that was forgotten could load or run
/// anything.
pub(super) fn render(told: &Told<'_>) -> String {
    let run = told.export.run;
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let title = format!("stripe-propagate: run {}", run.id.0);
    // Writing into a string cannot fail.
    let mut text = String::new();
    let _written = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    facts(told, &mut text);
    answer(told, &mut text);
    states(told, &mut text);
    latency(told.export.attempts, &mut text);
    table(told, &mut text);
    text.push_str("</body>\n</html>\n");
    text
}

fn facts(told: &Told<'_>, text: &mut String) {
    text.push_str("<dl>\n");
    let clock_set = clock_set(told.export.run).map(|clock_set| ("clock", clock_set));
    for (name, fact) in told.facts().into_iter().chain(clock_set) {
        let _written = writeln!(text, "<dt>{name}</dt><dd>{}</dd>", escape(&fact));
    }
    text.push_str("</dl>\n");
}

fn answer(told: &Told<'_>, text: &mut String) {
    let class = if told.old_keys.is_safe() { "good" } else { "bad" };
    let _written = writeln!(
        text,
        "<h2>May the old key expire?</h2>\n<p class=\"answer {class}\">{}</p>\n<p>{}</p>\n<ul>",
        escape(&told.verdict()),
        escape(&told.old_keys.counted())
    );
    let mut item = |what: &str, places: &[usize]| {
        if !places.is_empty() {
            let names = escape(&some_names(&told.names(places)));
            let _written = writeln!(text, "<li>{what}: <bdi>{names}</bdi></li>");
        }
    };
    let (first, more) = told.old_keys.named();
    for old in first {
        let key = escape(&told.mask(&old.key));
        let [now, before] = [&old.now, &old.before].map(|places| Count(places.len(), "site"));
        item(&format!("<code>{key}</code> served by {now}"), &old.now);
        item(
            &format!("<code>{key}</code> served before by {before}"),
            &old.before,
        );
    }
    for state in [OldKeyState::Unseen, OldKeyState::Unproven] {
        let places = told.old_keys.places(state);
        let count = Count(places.len(), "site");
        item(&format!("{count} {}", state.sentence()), &places);
    }
    if more > 0 {
        let _written = writeln!(text, "<li>{}: see the table</li>", Count(more, "more old key"));
    }
    let _written = writeln!(text, "</ul>\n<p>{}</p>\n<p>{}</p>", escape(BASIS), escape(UNSEEN));
}

fn states(told: &Told<'_>, text: &mut String) {
    let bars = told.counts().into_iter().map(|(look, count)| Bar {
        label: look.word.to_owned(),
        parts: vec![(class(look.role), count)],
    });
    let bars: Vec<Bar> = bars.collect();
    let _written = writeln!(text, "<h2>{}</h2>", Count(told.export.sites.len(), "site"));
    if !bars.is_empty() {
        text.push_str(&draw("How many sites are in which state", &bars));
    }
}

/// Upper ends of the bars of the histogram, in milliseconds, and what stands before each.
const STEPS: [(u64, &str); 10] = [
    (50, "under 50 ms"),
    (100, "to 100 ms"),
    (200, "to 200 ms"),
    (500, "to 500 ms"),
    (1_000, "to 1 s"),
    (2_000, "to 2 s"),
    (5_000, "to 5 s"),
    (10_000, "to 10 s"),
    (30_000, "to 30 s"),
    (u64::MAX, "longer"),
];

/// How long answers took. What was never answered took as long as its limit, which tells nothing of the site.
fn latency(attempts: &[StoredAttempt], text: &mut String) {
    let answered = |attempt: &&StoredAttempt| attempt.http.is_some();
    let times = attempts
        .iter()
        .filter(answered)
        .filter_map(|attempt| Some((attempt.ms?, attempt.request)));
    let mut times: Vec<(u64, Request)> = times.collect();
    times.sort_by_key(|(ms, _)| *ms);
    let Some((slowest, _)) = times.last().copied() else {
        return;
    };
    let bars: Vec<Bar> = STEPS
        .iter()
        .enumerate()
        .map(|(step, (until, label))| {
            let from = step.checked_sub(1).map_or(0, |before| STEPS[before].0);
            let within = |request: Request| {
                let of_request = times.iter().filter(|(_, one)| *one == request);
                of_request.filter(|(ms, _)| (from..*until).contains(ms)).count()
            };
            Bar {
                label: (*label).to_owned(),
                parts: vec![("put", within(Request::Put)), ("get", within(Request::Get))],
            }
        })
        .collect();
    let share = |percent: usize| times[(times.len() - 1) * percent / 100].0;
    let silent = attempts.len() - attempts.iter().filter(answered).count();
    let _written = writeln!(
        text,
        "<h2>How long answers took</h2>\n\
         <p><span class=\"key put\"></span> PUT <span class=\"key get\"></span> GET; half within {} ms, 95 % within \
         {} ms, the slowest {slowest} ms; {} without an answer</p>",
        share(50),
        share(95),
        Count(silent, "request")
    );
    text.push_str(&draw("How many answers took how long", &bars));
}

fn table(told: &Told<'_>, text: &mut String) {
    if told.export.sites.is_empty() {
        return;
    }
    text.push_str("<h2>Sites, those that need a look first</h2>\n<table>\n<thead><tr>");
    for head in [
        "SITE", "BEFORE", "NOW", "PUSH", "VERIFY", "HTTP", "TRY", "WHEN", "NOTE",
    ] {
        let _written = write!(text, "<th scope=\"col\">{head}</th>");
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for place in told.worst_first() {
        row(told, &told.export.sites[place], text);
    }
    text.push_str("</tbody>\n</table>\n");
}

fn row(told: &Told<'_>, site: &RunSite, text: &mut String) {
    let planned = &site.planned;
    let group = planned
        .group
        .as_ref()
        .map(|group| format!(" <small>[<bdi>{}</bdi>]</small>", escape(group.as_str())));
    let push = site.push.look();
    let push_words = reason(site).map_or_else(
        || push.word.to_owned(),
        |reason| format!("{} ({})", push.word, reason.word()),
    );
    let verify = site.verify.look();
    let _written = writeln!(
        text,
        "<tr><th scope=\"row\"><bdi>{}</bdi>{}<br><small>{}</small></th>\
         <td><code>{}</code></td><td><code>{}</code></td><td class=\"{}\">{push_words}</td>\
         <td class=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td><td><bdi>{}</bdi></td></tr>",
        escape(planned.name.as_str()),
        group.unwrap_or_default(),
        escape(&planned.site.to_string()),
        escape(&told.served(&site.before)),
        escape(&told.served(&site.now)),
        class(push.role),
        class(verify.role),
        verify.word,
        site.http.map_or("-".to_owned(), |status| status.to_string()),
        site.puts,
        site.at.map(|at| told.time(at)).unwrap_or_default(),
        escape(site.note.as_str()),
    );
}

/// The class that gives a role its colour; the words beside it say the same.
fn class(role: Role) -> &'static str {
    match role {
        Role::Quiet => "quiet",
        Role::Busy => "busy",
        Role::Good => "good",
        Role::Hopeful => "hopeful",
        Role::Warning => "warning",
        Role::Bad => "bad",
        Role::Alarm => "alarm",
    }
}

/// Text that is neither markup nor the end of an attribute.
fn escape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            character => text.push(character),
        }
    }
    text
}

/// Both styles; on paper the light one.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d0d7de; --quiet: #57606a;
  --busy: #0550ae; --good: #116329; --hopeful: #0a6c74; --warning: #7d4e00; --bad: #a40e26; --alarm: #a40e26; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --line: #30363d;
  --quiet: #9198a1; --busy: #79c0ff; --good: #56d364; --hopeful: #56d4dd; --warning: #e3b341; --bad: #ff7b72;
  --alarm: #ff7b72; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { color: var(--quiet); }
dd { margin: 0; } code { font-family: ui-monospace, monospace; white-space: nowrap; } small { color: var(--quiet); }
.answer { font-size: 1.15rem; font-weight: 600; border-left: .3rem solid; padding-left: .8rem; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem;
  text-align: left; vertical-align: top; } thead th { color: var(--quiet); }
tbody th { font-weight: 600; } svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; } svg text.label { text-anchor: end; }
.quiet { color: var(--quiet); fill: var(--quiet); } .busy { color: var(--busy); fill: var(--busy); }
.good { color: var(--good); fill: var(--good); } .hopeful { color: var(--hopeful); fill: var(--hopeful); }
.warning { color: var(--warning); fill: var(--warning); } .bad { color: var(--bad); fill: var(--bad); }
.alarm { color: var(--alarm); fill: var(--alarm); font-weight: 700; }
.put { fill: var(--busy); background: var(--busy); } .get { fill: var(--hopeful); background: var(--hopeful); }
.key { display: inline-block; width: .8rem; height: .8rem; }
@media print { body { margin: 0; font-size: 11px; } }
";
