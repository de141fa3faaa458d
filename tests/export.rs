//! A run on record as a document: what each format says, of nasty names too, and when an old key may expire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::report::export::old_keys::{OldKeyState, OldKeys};
use stripe_propagate::report::export::{Format, RunExport, render};
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::rules::outcome::Cause;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::Served;
use stripe_propagate::rules::status::{Push, SkipReason, Verify};
use stripe_propagate::site::SiteUrl;
use stripe_propagate::store::{Operator, PlannedSite, Request, RunId, RunRecord, RunSite, StoredAttempt};
use stripe_propagate::text::CleanText;

const FORMATS: [Format; 4] = [Format::Csv, Format::Json, Format::Markdown, Format::Html];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn moment(seconds: u32) -> Moment {
    Moment {
        since_start: Duration::from_secs(u64::from(seconds)),
        wall: at(i64::from(seconds)),
    }
}

fn key(name: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_live_51ExampleExampleExample{name}")).unwrap()
}

/// Another key with the same mask.
fn twin(name: &str) -> PublishableKey {
    PublishableKey::parse(&format!("pk_live_51OtherOtherOtherOther{name}")).unwrap()
}

fn serves(name: &str) -> Served {
    Served::Key(key(name))
}

fn run() -> RunRecord {
    RunRecord {
        id: RunId(12),
        kind: Kind::Push,
        parent: None,
        key: key("New1"),
        by: Operator {
            user: CleanText::note("root"),
            uid: Some(0),
            login: Some(CleanText::note("boris")),
            sudo_user: Some(CleanText::note("anna")),
            host: CleanText::note("desk"),
            ssh_client: Some(CleanText::note("192.0.2.7")),
            pid: 4711,
        },
        began: moment(0),
        sent: Some(moment(20)),
        ended: Some(moment(360)),
        closed: false,
        live: false,
        took: Some(Duration::from_millis(360_250)),
        clock_set: None,
        counts: BTreeMap::new(),
    }
}

/// Had the old key, got the new one, and is proven to serve it.
fn proven(name: &str) -> RunSite {
    let host: String = name.chars().filter(char::is_ascii_lowercase).collect();
    RunSite {
        planned: PlannedSite {
            site: SiteUrl::parse(&format!("https://{host}.example.com/it's")).unwrap(),
            name: CleanText::note(name),
            group: None,
            left_out: None,
            key: key("New1"),
            serves: serves("Old1"),
        },
        push: Push::Stored,
        verify: Verify::Verified,
        http: Some(200),
        puts: 1,
        before: serves("Old1"),
        before_pushed: false,
        now: serves("New1"),
        note: CleanText::default(),
        at: Some(at(341)),
    }
}

fn left_out(name: &str, reason: SkipReason, shown: Served) -> RunSite {
    let mut site = proven(name);
    site.planned.left_out = Some(reason);
    site.planned.serves = shown;
    (site.push, site.verify) = (Push::Skipped(reason), Verify::Unchecked);
    (site.puts, site.http, site.at) = (0, None, None);
    (site.before, site.now) = (Served::Unknown, Served::Unknown);
    site
}

fn with(mut site: RunSite, push: Push, verify: Verify, now: Served) -> RunSite {
    (site.push, site.verify, site.now) = (push, verify, now);
    site
}

fn judge(sites: &[RunSite]) -> (bool, String) {
    let judged = OldKeys::of(&run(), sites);
    (judged.is_safe(), judged.sentence(&PublishableKey::mask))
}

fn document(format: Format, run: &RunRecord, sites: &[RunSite], attempts: &[StoredAttempt]) -> String {
    let export = RunExport {
        run,
        sites,
        attempts,
        zone: &TimeZone::fixed(jiff::tz::offset(2)),
        at: at(400),
    };
    render(format, &export)
}

fn attempt(
    site: &RunSite,
    request: Request,
    seconds: i64,
    ms: Option<u64>,
    http: Option<u16>,
) -> StoredAttempt {
    StoredAttempt {
        run: Some(RunId(12)),
        site: site.planned.site.clone(),
        request,
        number: 1,
        at: at(seconds),
        ended: ms.is_some(),
        ms,
        http,
        cause: (http.is_none() && ms.is_some()).then_some(Cause::Timeout),
        note: CleanText::default(),
    }
}

/// A run with everything that can be odd.
fn odd() -> (RunRecord, Vec<RunSite>, Vec<StoredAttempt>) {
    let mut run = run();
    run.clock_set = Some(SignedDuration::from_secs(-3600));
    let mut formula = proven("=cmd|' /C calc'!A0");
    formula.planned.group = Some(CleanText::note("-prod"));
    formula.before = Served::Key(twin("New1"));
    let markup = with(
        proven("<script>alert(\"x\")</script>"),
        Push::Failed(Cause::ServerError),
        Verify::Unchecked,
        serves("Old1"),
    );
    let mut silent = with(
        proven("`pipe`|@team; =1+1"),
        Push::Unknown(Cause::Timeout),
        Verify::Failed(Cause::Timeout),
        Served::Unknown,
    );
    silent.http = None;
    silent.note = CleanText::note("+answer & 'quotes' \"never\" seen, 日本 🛍 _x_");
    let settling = with(proven("متجر shop"), Push::Stored, Verify::Serving, serves("New1"));
    let exposed = with(
        proven("exposed"),
        Push::Stored,
        Verify::ExposedSecret,
        Served::Secret,
    );
    let equal = left_out("equal", SkipReason::Equal, serves("New1"));
    let sites = vec![formula, markup, silent, settling, exposed, equal];
    let attempts = vec![
        attempt(&sites[0], Request::Get, 1, Some(40), Some(200)),
        attempt(&sites[0], Request::Put, 1, Some(180), Some(200)),
        attempt(&sites[1], Request::Put, 2, Some(1200), Some(500)),
        attempt(&sites[2], Request::Put, 3, Some(35_000), None),
        attempt(&sites[4], Request::Put, 4, None, None),
        attempt(&sites[3], Request::Put, 4, Some(31_000), Some(200)),
    ];
    (run, sites, attempts)
}

#[test]
fn an_old_key_may_expire_when_every_site_bears_it_out() {
    let equal = left_out("equal", SkipReason::Equal, serves("New1"));
    let none = left_out("none", SkipReason::Disabled, Served::NoKey);
    assert_eq!(
        judge(&[proven("a"), equal, none]),
        (
            true,
            "pk_live_…Old1 may expire, as far as can be seen from here".to_owned()
        )
    );
}

#[test]
fn one_site_that_is_not_proven_keeps_the_old_key() {
    let cases = [
        (Push::Stored, Verify::Serving),
        (Push::Stored, Verify::Failed(Cause::Timeout)),
        (Push::Stored, Verify::Superseded),
        (Push::Stored, Verify::Drifted),
        (Push::Stored, Verify::Mismatch),
        (Push::Stored, Verify::Unchecked),
        (Push::Unknown(Cause::Timeout), Verify::Checking),
        (Push::Queued, Verify::Unchecked),
        (Push::Sending, Verify::Verified),
        (Push::Retrying, Verify::Unchecked),
        (Push::Cancelled, Verify::Unchecked),
        (Push::NotStarted, Verify::Unchecked),
        (Push::Failed(Cause::RefusedKey), Verify::Unchecked),
        (Push::Skipped(SkipReason::OtherMode), Verify::Unchecked),
    ];
    for (push, verify) in cases {
        let sites = [proven("a"), with(proven("b"), push, verify, serves("New1"))];
        assert_eq!(
            judge(&sites),
            (
                false,
                "do not expire pk_live_…Old1 yet: 1 site is not proven".to_owned()
            ),
            "{push:?} {verify:?}"
        );
    }
    let secret = with(proven("b"), Push::Stored, Verify::ExposedSecret, Served::Secret);
    assert!(!judge(&[secret]).0);
    let strange = with(proven("b"), Push::Stored, Verify::Verified, Served::NoKey);
    assert!(!judge(&[strange]).0, "verified, and serves nothing");
}

#[test]
fn a_site_that_serves_an_old_key_keeps_it_whatever_else_is_said() {
    for (push, verify) in [
        (Push::Stored, Verify::Settling),
        (Push::Stored, Verify::Verified),
        (Push::Failed(Cause::Timeout), Verify::Failed(Cause::Timeout)),
    ] {
        let sites = [proven("a"), with(proven("b"), push, verify, serves("Old1"))];
        assert_eq!(
            judge(&sites),
            (
                false,
                "do not expire pk_live_…Old1 yet: 1 site serves it".to_owned()
            )
        );
    }
    let third = with(proven("b"), Push::Stored, Verify::Mismatch, serves("Else"));
    assert_eq!(
        judge(&[third]).1,
        "do not expire pk_live_…Else yet: 1 site serves it",
        "a third key is an old one too"
    );
}

#[test]
fn what_the_plan_showed_counts_where_no_put_went() {
    let disabled = left_out("b", SkipReason::Disabled, serves("Old1"));
    assert_eq!(
        judge(&[proven("a"), disabled]).1,
        "do not expire pk_live_…Old1 yet: 1 site serves it"
    );
    let mut sent = with(
        proven("b"),
        Push::Stored,
        Verify::Failed(Cause::Timeout),
        Served::Unknown,
    );
    assert_eq!(
        judge(&[proven("a"), sent.clone()]).1,
        "do not expire pk_live_…Old1 yet: 1 site was not seen"
    );
    sent.puts = 0;
    assert_eq!(
        judge(&[sent]).1,
        "do not expire pk_live_…Old1 yet: 1 site serves it"
    );
}

#[test]
fn keys_of_the_other_mode_are_no_old_keys_of_this_run() {
    let test = Served::Key(PublishableKey::parse("pk_test_51ExampleExampleExample").unwrap());
    assert!(judge(&[proven("a"), left_out("b", SkipReason::WrongMode, test.clone())]).0);
    assert!(!judge(&[proven("a"), left_out("b", SkipReason::OtherMode, test)]).0);
}

#[test]
fn a_rollback_makes_what_it_takes_back_the_old_key() {
    let mut run = run();
    (run.kind, run.parent) = (Kind::Rollback, Some(RunId(11)));
    let back = |name: &str, to: &str| {
        let mut site = proven(name);
        site.planned.key = key(to);
        site.planned.serves = serves("New1");
        site.before = serves("New1");
        site.now = serves(to);
        site
    };
    let judged = OldKeys::of(&run, &[back("a", "Old1"), back("b", "Old2")]);
    assert!(judged.is_safe());
    assert_eq!(
        judged.sentence(&PublishableKey::mask),
        "pk_live_…New1 may expire, as far as can be seen from here"
    );
    assert_eq!(judged.states, [OldKeyState::Proven, OldKeyState::Proven]);
}

#[test]
fn a_run_without_sites_calls_nothing_safe() {
    assert_eq!(
        judge(&[]),
        (
            false,
            "no site was in this run: it tells nothing about an old key".to_owned()
        )
    );
}

#[test]
fn a_run_in_which_each_site_had_its_own_key_stays_readable() {
    const SITES: usize = 2000;

    let sites: Vec<RunSite> = (0..SITES)
        .map(|number| {
            let mut site = proven("a");
            site.planned.serves = Served::Unknown;
            site.before = serves(&format!("{number:05}"));
            site
        })
        .collect();
    let (safe, sentence) = judge(&sites);
    assert!(safe);
    assert!(
        sentence.ends_with("as far as can be seen from here (named: 10 of 2000 old keys)"),
        "{sentence}"
    );
    let unsafe_site = with(proven("b"), Push::Stored, Verify::Settling, serves("01999"));
    let (safe, sentence) = judge(&[&sites[..], &[unsafe_site]].concat());
    assert!(!safe);
    assert!(
        sentence.starts_with("do not expire pk_live_…1999 yet: 1 site serves it ("),
        "{sentence}"
    );
    for format in FORMATS {
        let length = document(format, &run(), &sites, &[]).len();
        assert!(length < SITES * 1500, "{format:?}: {length}");
    }
}

#[test]
fn the_extension_names_the_format() {
    let of = |name: &str| Format::of_path(Path::new(name));
    assert_eq!(of("a/run.CSV"), Some(Format::Csv));
    assert_eq!(of("run.json"), Some(Format::Json));
    assert_eq!(of("run.md"), Some(Format::Markdown));
    assert_eq!(of("run.htm"), Some(Format::Html));
    assert_eq!(of("run"), None);
    assert_eq!(of(".html"), None);
    assert_eq!(of("run.txt"), None);
}

#[test]
fn each_format_shows_the_odd_run_whole() {
    let (run, sites, attempts) = odd();
    // Line ends are shown, since a picture of text hides them.
    let csv = document(Format::Csv, &run, &sites, &attempts).replace("\r\n", "<CRLF>\n");
    insta::assert_snapshot!("odd_csv", csv);
    let json = document(Format::Json, &run, &sites, &attempts);
    let json: Value = serde_json::from_str(&json).unwrap();
    insta::assert_snapshot!("odd_json", serde_json::to_string_pretty(&json).unwrap());
    insta::assert_snapshot!(
        "odd_markdown",
        document(Format::Markdown, &run, &sites, &attempts)
    );
    insta::assert_snapshot!("odd_html", document(Format::Html, &run, &sites, &attempts));
}

#[test]
fn each_format_says_what_the_record_cannot_tell() {
    let (run, sites, _) = odd();
    for format in FORMATS {
        let text = document(format, &run, &sites, &[]);
        for words in [
            "SECRET key",
            "set back by 1h",
            "1 site serves it",
            "later looks and runs",
        ] {
            assert!(text.contains(words), "{format:?} lacks {words:?}:\n{text}");
        }
    }
}

#[test]
fn no_format_holds_a_whole_key() {
    let (run, sites, attempts) = odd();
    for format in FORMATS {
        let text = document(format, &run, &sites, &attempts);
        assert!(
            !text.contains("51Example") && !text.contains("51Other"),
            "{format:?}"
        );
        for key in [key("New1"), twin("New1")] {
            let fingerprint = key.fingerprint();
            assert!(text.contains(&fingerprint), "{format:?}: {key:?} has a twin");
        }
    }
}

#[test]
fn a_spreadsheet_reads_the_rows_back_and_takes_none_for_a_formula() {
    let (run, sites, _) = odd();
    let text = document(Format::Csv, &run, &sites, &[]);
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(&rows.headers().unwrap()[0], "site");
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), sites.len());
    assert_eq!(&rows[0][0], "'=cmd|' /C calc'!A0");
    assert_eq!(&rows[0][2], "'-prod");
    assert_eq!(&rows[2][0], "`pipe`|@team; '=1+1");
    for cell in rows.iter().flat_map(csv::StringRecord::iter) {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
    }
    assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
}

#[test]
fn a_page_holds_no_markup_but_its_own() {
    let (run, sites, attempts) = odd();
    let text = document(Format::Html, &run, &sites, &attempts);
    let own = [
        "!doctype", "html", "head", "meta", "title", "style", "body", "h1", "h2", "dl", "dt", "dd", "p",
        "ul", "li", "bdi", "code", "span", "svg", "text", "rect", "table", "thead", "tbody", "tr", "th",
        "td", "br", "small",
    ];
    let mut open = Vec::new();
    for tag in text.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(own.contains(&name), "<{tag}>");
        let attributes = tag.split('"').step_by(2).skip(usize::from(!tag.contains('"')));
        for attribute in attributes {
            let loads = [" on", " src", " href", " style"];
            assert!(!loads.iter().any(|one| attribute.contains(one)), "<{tag}>");
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "each tag is closed in its turn");
        } else if !tag.ends_with('/') && !["!doctype", "meta", "br"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty());
    assert!(text.contains("default-src 'none'"));
    assert!(!text.contains("url(") && !text.contains("@import"));
}

#[test]
fn a_table_has_the_same_number_of_cells_in_each_row() {
    let (run, sites, _) = odd();
    let text = document(Format::Markdown, &run, &sites, &[]);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("| ") || line.starts_with("|-"));
    let rows: Vec<&str> = lines.skip_while(|line| !line.contains("SITE")).collect();
    assert_eq!(rows.len(), sites.len() + 2, "names, rule, rows");
    for row in rows {
        let cells = row.replace("\\\\", "").replace("\\|", "").matches('|').count();
        assert_eq!(cells, 10, "{row}");
    }
}

#[test]
fn what_needs_a_look_is_on_top_for_people_and_in_its_place_for_programs() {
    let (run, sites, _) = odd();
    let place = |format: Format, name: &str| document(format, &run, &sites, &[]).rfind(name).unwrap();
    for format in [Format::Markdown, Format::Html] {
        assert!(
            place(format, "https://exposed") < place(format, "https://cmd"),
            "{format:?}"
        );
    }
    assert!(place(Format::Csv, "https://exposed") > place(Format::Csv, "https://cmd"));
}

#[test]
fn empty_and_open_runs_are_told_too() {
    let mut open = run();
    (open.sent, open.ended, open.took, open.live) = (None, None, None, true);
    open.by = Operator::default();
    for format in FORMATS {
        assert!(!document(format, &open, &[], &[]).is_empty());
    }
    let csv = document(Format::Csv, &open, &[], &[]);
    assert_eq!(csv.lines().count(), 1, "the names of the columns");
    let json: Value = serde_json::from_str(&document(Format::Json, &open, &[], &[])).unwrap();
    assert_eq!(json["old_keys_may_expire"], false);
    assert_eq!(json["run"]["ended"], Value::Null);
    let page = document(Format::Html, &open, &[], &[]);
    assert!(page.contains("not yet: it goes on") && !page.contains("<table>"));
    insta::assert_snapshot!(
        "open_markdown",
        document(Format::Markdown, &open, &[proven("a")], &[])
    );
    open.live = false;
    assert!(document(Format::Markdown, &open, &[], &[]).contains("no process works on it"));
}
