use jiff::Timestamp;
use serde::Serialize;

use super::json::line;
use crate::rules::outcome::Cause;
use crate::rules::preflight::{Counts, Report, Step};
use crate::site::Site;
use crate::text::{Count, pad, width};

/// The table: heads, a line a site, what all of it comes to.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The columns of the longest name.
    names: usize,
}

impl Table {
    /// For sites of these names.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self {
            names: names.map(width).max().unwrap_or_default().max("SITE".len()),
        }
    }

    /// Its first line.
    pub fn heads(self) -> String {
        let steps = Step::ALL.map(Step::head).join("  ");
        format!("{}  {steps}  NOTE", pad("SITE", self.names))
    }

    /// The line of a site.
    pub fn line(self, site: &Site, report: &Report) -> String {
        let sign = |step: Step| {
            let sign = report.step(step).map_or(" ", |done| done.result.sign().0);
            pad(sign, step.head().len())
        };
        let signs = Step::ALL.map(sign).join("  ");
        format!(
            "{}  {signs}  {}",
            pad(site.name.as_str(), self.names),
            report.sentence()
        )
    }

    /// Its last line, of so many sites.
    pub fn summary(counts: Counts, sites: usize) -> String {
        let left = match sites.saturating_sub(counts.all()) {
            0 => String::new(),
            left => format!(", {left} not checked"),
        };
        format!("\n{}: {}{left}", Count(sites, "site"), counts.words())
    }
}

#[derive(Serialize)]
struct CheckBody<'a> {
    site: &'a str,
    url: String,
    result: &'static str,
    steps: Vec<StepBody<'a>>,
}

#[derive(Serialize)]
struct StepBody<'a> {
    step: &'static str,
    result: &'static str,
    ms: u64,
    cause: Option<&'static str>,
    detail: &'a str,
}

/// What was found of a site, as a line of JSON.
pub fn json(site: &Site, report: &Report, at: Timestamp) -> String {
    let steps = report.steps().iter().map(|done| StepBody {
        step: done.step.word(),
        result: done.result.word(),
        ms: done.milliseconds(),
        cause: done.result.cause().map(Cause::word),
        detail: done.result.sentence().as_str(),
    });
    let body = CheckBody {
        site: site.name.as_str(),
        url: site.url.to_string(),
        result: report.grade().word(),
        steps: steps.collect(),
    };
    line("check", at, None, &body)
}

#[derive(Serialize)]
struct SummaryBody {
    ok: usize,
    warning: usize,
    failed: usize,
    not_checked: usize,
    seconds: u64,
    exit: u8,
}

/// All of it in numbers, as a line of JSON, of so many sites.
pub fn json_summary(counts: Counts, sites: usize, at: Timestamp, seconds: u64, exit: u8) -> String {
    let body = SummaryBody {
        ok: counts.good,
        warning: counts.warning,
        failed: counts.bad,
        not_checked: sites.saturating_sub(counts.all()),
        seconds,
        exit,
    };
    line("summary", at, None, &body)
}
