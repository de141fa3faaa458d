use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{ServedKeys, aligned, json};
use crate::key::PublishableKey;
use crate::rules::crew::Crew;
use crate::rules::moment::{Moment, clock};
use crate::rules::plan::{
    Again, Aside, Confirm, Danger, Outlook, Plan, PlanAction, PlanRow, TRIED_ALL_THE_SAME,
};
use crate::rules::run::{Kind, RunId};
use crate::rules::state::{Served, SiteState};
use crate::rules::status::SkipReason;
use crate::site::{Site, SiteId};
use crate::text::{Count, some_names};

/// What a command without a screen would do.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    /// What is sent; none where sites are only looked at again.
    pub plan: Option<&'a Plan>,
    /// What is to be said of other sites.
    pub aside: &'a [(SiteId, Aside)],
    /// What is to be said of the key.
    pub hint: Option<&'a str>,
    /// The workers that are there, where they make the calls.
    pub crew: Option<&'a Crew>,
    /// The run that goes on, where it is none of its own.
    pub resumes: Option<RunId>,
    /// All sites.
    pub sites: &'a [Site],
    /// What is known of each.
    pub states: &'a [SiteState],
    /// When it is told.
    pub now: Moment,
    /// Where times of day are read.
    pub zone: &'a TimeZone,
    /// The keys that are served, filled at the first need: begin with the empty default.
    pub served: ServedKeys<'a>,
}

const HEADS: [&str; 6] = ["SITE", "NOW", "GETS", "WAVE", "HOW", "NOTE"];

impl Told<'_> {
    fn name(&self, id: SiteId) -> &str {
        self.sites[id.index()].name.as_str()
    }

    fn clock(&self, moment: Moment) -> String {
        clock(moment, self.now, self.zone)
    }

    /// A key's mask, told apart from others that are served or sent with the same mask.
    fn mask(&self, key: &PublishableKey) -> String {
        let rows = self.plan.iter().flat_map(|plan| &plan.rows);
        let collect = || {
            self.states
                .iter()
                .filter_map(|state| state.now.key())
                .chain(rows.map(|row| &row.key))
        };
        key.mask_among(self.served.of(collect))
    }

    fn outlook(&self, plan: &Plan, row: &PlanRow) -> Outlook {
        Outlook::of(row, &self.states[row.site.index()], plan.allow)
    }

    /// What is asked about, or would be: who gets the key, who is left out and why, waves, what is dangerous.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(plan) = self.plan {
            lines.push(self.headline(plan));
            lines.extend(self.left_out(plan));
            lines.extend(self.strange(plan));
            lines.extend(self.unanswered(plan));
            if plan.doubtful() > 0 {
                lines.push(format!(
                    "{} doubtful: what was seen there was never pushed from here, and may be a fallback",
                    Count(plan.doubtful(), "site")
                ));
            }
            lines.extend(self.taken_over());
            // Who resumes a run goes on with the waves that it has.
            let name = |site| self.name(site).to_owned();
            lines.extend(plan.rollout_in_words(name).filter(|_| self.resumes.is_none()));
        }
        lines.extend(self.of_aside());
        lines.extend(self.hint.map(str::to_owned));
        lines.extend(self.crew.map(Crew::sentence));
        let dangers = self.plan.iter().flat_map(|plan| &plan.dangers);
        lines.extend(dangers.map(|danger| format!("! {} ({})", danger.sentence(), danger.flag())));
        lines
    }

    /// Of which earlier runs it ends the wait for proofs: a line each.
    pub fn taken_over(&self) -> Vec<String> {
        let state = |site: SiteId| &self.states[site.index()];
        let taken = self.plan.iter().flat_map(|plan| plan.taken_over(state));
        taken
            .filter(|taken| self.resumes != Some(taken.run))
            .map(|taken| taken.sentence(&self.mask(&taken.key)))
            .collect()
    }

    fn headline(&self, plan: &Plan) -> String {
        let what = match (self.resumes, plan.kind, plan.parent) {
            (Some(run), ..) => format!("the rest of run {}: ", run.0),
            (None, Kind::Push, _) => String::new(),
            (None, kind, Some(run)) => format!("{} of run {}: ", kind.word(), run.0),
            (None, kind, None) => format!("{}: ", kind.word()),
        };
        let names: Vec<&str> = plan.put_sites().map(|site| self.name(site)).collect();
        let of = Count(plan.rows.len(), "site");
        let which = match plan.keys() {
            0 | 1 => {
                let keys = plan.put_keys();
                let key = keys.first().copied().unwrap_or(&plan.key);
                format!("{} ({})", self.mask(key), key.mode().word())
            }
            keys => format!("its own of {keys} keys ({})", plan.modes()),
        };
        if names.is_empty() {
            return format!("{what}{which} to none of {of}");
        }
        format!("{what}{which} to {} of {of}: {}", names.len(), some_names(&names))
    }

    /// Sites that may be somebody else's: what becomes of them is known when they are looked at just before their PUT.
    fn strange(&self, plan: &Plan) -> Option<String> {
        let rows = plan.rows.iter();
        let strange = rows.filter(|row| self.outlook(plan, row) == Outlook::NoTemplateSite);
        let names: Vec<&str> = strange.map(|row| self.name(row.site)).collect();
        let then = if plan.allow.unrecognised {
            "get the key and the master key all the same"
        } else {
            "are held back if they still do not (--allow-unrecognised)"
        };
        (!names.is_empty()).then(|| {
            let count = Count(names.len(), "site");
            format!(
                "{count} did not answer like a template site ({}), and {then}",
                some_names(&names)
            )
        })
    }

    /// Sites that were silent: nothing that is known of them keeps their PUT back.
    fn unanswered(&self, plan: &Plan) -> Option<String> {
        let silent = |row: &&PlanRow| self.outlook(plan, row) == Outlook::NoAnswer;
        let names: Vec<&str> = plan
            .rows
            .iter()
            .filter(silent)
            .map(|row| self.name(row.site))
            .collect();
        (!names.is_empty()).then(|| {
            let count = Count(names.len(), "site");
            format!(
                "{count} did not answer at the last look ({}): {TRIED_ALL_THE_SAME}",
                some_names(&names)
            )
        })
    }

    /// A line for each reason.
    fn left_out(&self, plan: &Plan) -> Vec<String> {
        let mut reasons: BTreeMap<SkipReason, Vec<&str>> = BTreeMap::new();
        for row in &plan.rows {
            if let PlanAction::Skip(reason) = row.action {
                reasons.entry(reason).or_default().push(self.name(row.site));
            }
        }
        let line = |(reason, names): (SkipReason, Vec<&str>)| {
            let flag = reason.flag().map(|flag| format!(" ({flag})")).unwrap_or_default();
            format!(
                "{} left out ({}): {}{flag}",
                Count(names.len(), "site"),
                some_names(&names),
                reason.sentence()
            )
        };
        reasons.into_iter().map(line).collect()
    }

    fn of_aside(&self) -> Vec<String> {
        let names = |sites: &[SiteId]| {
            let names: Vec<&str> = sites.iter().map(|site| self.name(*site)).collect();
            some_names(&names)
        };
        Again::lines(self.aside, names, |at| self.clock(at))
    }

    /// A line a site, then [`Told::lines`].
    pub fn table(&self) -> String {
        let masked = |served: &Served| served.words(|key| self.mask(key));
        let of_plan = |(plan, row): (&Plan, &PlanRow)| {
            let outlook = self.outlook(plan, row);
            let (gets, wave, note) = match row.action {
                PlanAction::Put => {
                    let wave = (plan.rollout.waves > 1).then(|| (row.wave + 1).to_string());
                    (
                        self.mask(&row.key),
                        wave.unwrap_or_else(|| "-".to_owned()),
                        outlook.in_short(),
                    )
                }
                PlanAction::Skip(reason) => ("left out".to_owned(), "-".to_owned(), reason.sentence()),
            };
            let how = if outlook.is_put() { "PUT" } else { "-" };
            vec![
                self.name(row.site).to_owned(),
                masked(&row.serves),
                gets,
                wave,
                how.to_owned(),
                note.to_owned(),
            ]
        };
        let of_aside = |(site, aside): &(SiteId, Aside)| {
            let state = &self.states[site.index()];
            let how = if *aside == Aside::Looks { "GET" } else { "-" };
            let note = aside.sentence(|at| self.clock(at));
            vec![
                self.name(*site).to_owned(),
                masked(&state.now),
                "-".to_owned(),
                "-".to_owned(),
                how.to_owned(),
                note,
            ]
        };
        let rows = self
            .plan
            .iter()
            .flat_map(|plan| plan.rows.iter().map(move |row| (*plan, row)));
        let mut text = aligned(
            &HEADS.map(str::to_owned),
            rows.map(of_plan).chain(self.aside.iter().map(of_aside)),
        );
        let confirm = match self.plan.map(Plan::confirm) {
            Some(Confirm::Yes) => Some("y would confirm it".to_owned()),
            Some(Confirm::Phrase(phrase)) => Some(format!("{phrase:?} would confirm it")),
            Some(Confirm::Nothing) | None => None,
        };
        let head = "a dry run: nothing is sent".to_owned();
        for line in std::iter::once(head).chain(self.lines()).chain(confirm) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// An object a site, and one for all.
    pub fn json(&self) -> Vec<String> {
        let at = self.now.wall;
        let run = self.resumes.map(|run| run.0);
        let key = |served: &Served| served.key().map(|key| self.mask(key));
        let of_plan = |(plan, row): (&Plan, &PlanRow)| {
            let is_put = row.action == PlanAction::Put;
            let reason = match row.action {
                PlanAction::Put => None,
                PlanAction::Skip(reason) => Some(reason.word()),
            };
            let site = &self.sites[row.site.index()];
            let body = SiteBody {
                site: site.name.as_str(),
                url: site.url.to_string(),
                action: if is_put { "put" } else { "skip" },
                reason,
                from: key(&row.serves),
                to: is_put.then(|| self.mask(&row.key)),
                wave: is_put.then_some(row.wave + 1),
                doubtful: is_put && row.doubtful,
                note: match row.action {
                    PlanAction::Put => self.outlook(plan, row).in_short().to_owned(),
                    PlanAction::Skip(reason) => reason.sentence().to_owned(),
                },
            };
            json::line("plan", at, run, &body)
        };
        let of_aside = |(id, aside): &(SiteId, Aside)| {
            let site = &self.sites[id.index()];
            let looks = *aside == Aside::Looks;
            let body = SiteBody {
                site: site.name.as_str(),
                url: site.url.to_string(),
                action: if looks { "look" } else { "skip" },
                reason: (!looks).then(|| aside.word()),
                from: key(&self.states[id.index()].now),
                to: None,
                wave: None,
                doubtful: false,
                note: aside.sentence(|at| self.clock(at)),
            };
            json::line("plan", at, run, &body)
        };
        let rows = self
            .plan
            .iter()
            .flat_map(|plan| plan.rows.iter().map(move |row| (*plan, row)));
        let mut lines: Vec<String> = rows.map(of_plan).chain(self.aside.iter().map(of_aside)).collect();
        lines.push(json::line("summary", at, run, &self.summary()));
        lines
    }

    fn summary(&self) -> SummaryBody {
        let mut left_out: BTreeMap<&'static str, usize> = BTreeMap::new();
        let rows = self.plan.iter().flat_map(|plan| &plan.rows);
        let skipped = rows.filter_map(|row| match row.action {
            PlanAction::Skip(reason) => Some(reason.word()),
            PlanAction::Put => None,
        });
        let aside = self.aside.iter().filter(|(_, aside)| *aside != Aside::Looks);
        for word in skipped.chain(aside.map(|(_, aside)| aside.word())) {
            *left_out.entry(word).or_default() += 1;
        }
        let danger = |danger: &Danger| DangerBody {
            danger: danger.word(),
            flag: danger.flag(),
            note: danger.sentence(),
        };
        SummaryBody {
            dry_run: true,
            exit: 0,
            kind: self.plan.map(|plan| plan.kind.word()),
            parent: self.plan.and_then(|plan| plan.parent).map(|run| run.0),
            puts: self.plan.map_or(0, Plan::puts),
            looks: self
                .aside
                .iter()
                .filter(|(_, aside)| *aside == Aside::Looks)
                .count(),
            left_out,
            waves: self.plan.map_or(0, |plan| plan.rollout.waves),
            dangers: self
                .plan
                .iter()
                .flat_map(|plan| plan.dangers.iter().map(danger))
                .collect(),
            confirm: match self.plan.map(Plan::confirm) {
                Some(Confirm::Phrase(phrase)) => Some(phrase),
                Some(Confirm::Yes) => Some("y".to_owned()),
                Some(Confirm::Nothing) | None => None,
            },
            hint: self.hint.map(str::to_owned),
        }
    }
}

#[derive(Serialize)]
struct SiteBody<'a> {
    site: &'a str,
    url: String,
    action: &'static str,
    /// Why it gets nothing.
    reason: Option<&'static str>,
    /// The key that it serves, as far as is known; masked.
    from: Option<String>,
    /// The key that it gets; masked.
    to: Option<String>,
    /// From 1.
    wave: Option<usize>,
    /// Whether the key may never have been stored there.
    doubtful: bool,
    note: String,
}

#[derive(Serialize)]
struct SummaryBody {
    /// Always: it tells this summary from that of a run.
    dry_run: bool,
    exit: u8,
    kind: Option<&'static str>,
    /// The run that it repeats or takes back.
    parent: Option<u64>,
    puts: usize,
    looks: usize,
    left_out: BTreeMap<&'static str, usize>,
    waves: usize,
    dangers: Vec<DangerBody>,
    /// What would confirm it on a terminal.
    confirm: Option<String>,
    hint: Option<String>,
}

#[derive(Serialize)]
struct DangerBody {
    danger: &'static str,
    flag: &'static str,
    note: String,
}
