use std::time::Duration;

use jiff::Timestamp;

use super::outcome::{Answer, AuthVerdict, Cause, Leak, LookVerdict, Problem};
use super::status::Role;
use crate::text::CleanText;

/// On which sites the master key is tried, and when.
pub mod trial;

use trial::Suitability;

/// A certificate that ends sooner than this is a warning, in days: shorter than the 30 days before its end at which
/// what renews certificates by itself has done so.
pub const SOON: i64 = 21;

/// A step of a preflight, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The host's name has an address.
    Dns,
    /// Something takes connections there.
    Tcp,
    /// It has a certificate that can be trusted.
    Tls,
    /// It answers the GET like a template site.
    Get,
    /// It accepts the master key.
    Auth,
}

impl Step {
    /// Each, in order.
    pub const ALL: [Self; 5] = [Self::Dns, Self::Tcp, Self::Tls, Self::Get, Self::Auth];

    /// Its word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Get => "get",
            Self::Auth => "auth",
        }
    }

    /// Its head in tables.
    pub fn head(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Get => "GET",
            Self::Auth => "AUTH",
        }
    }
}

/// What a step came to, with its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// As it should be.
    Ok(CleanText),
    /// Good today, and not for long.
    Warning(CleanText),
    /// A push would fail there.
    Failed(Cause, CleanText),
    /// Not done: why.
    Skipped(CleanText),
}

impl StepResult {
    fn ok(sentence: &str) -> Self {
        Self::Ok(CleanText::note(sentence))
    }

    /// Not done, and why.
    pub fn skipped(why: &str) -> Self {
        Self::Skipped(CleanText::note(why))
    }

    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok(_) => Grade::Good.word(),
            Self::Warning(_) => Grade::Warning.word(),
            Self::Failed(..) => Grade::Bad.word(),
            Self::Skipped(_) => "skipped",
        }
    }

    /// What was found, in a sentence.
    pub fn sentence(&self) -> &CleanText {
        match self {
            Self::Ok(sentence)
            | Self::Warning(sentence)
            | Self::Failed(_, sentence)
            | Self::Skipped(sentence) => sentence,
        }
    }

    /// Why it failed, if it did.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Failed(cause, _) => Some(*cause),
            Self::Ok(_) | Self::Warning(_) | Self::Skipped(_) => None,
        }
    }

    /// How it is shown: its sign, and what that means.
    pub fn sign(&self) -> (&'static str, Role) {
        match self.grade() {
            Some(grade) => grade.sign(),
            None => ("–", Role::Quiet),
        }
    }

    /// What it means for the site; none where nothing was done.
    fn grade(&self) -> Option<Grade> {
        match self {
            Self::Ok(_) => Some(Grade::Good),
            Self::Warning(_) => Some(Grade::Warning),
            Self::Failed(..) => Some(Grade::Bad),
            Self::Skipped(_) => None,
        }
    }
}

/// What a preflight of a site means, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing stands in a push's way.
    Good,
    /// Nothing does yet.
    Warning,
    /// Something does.
    Bad,
}

impl Grade {
    /// Each, in order.
    pub const ALL: [Self; 3] = [Self::Good, Self::Warning, Self::Bad];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "failed",
        }
    }

    /// How it is shown: its sign, and what that means.
    pub fn sign(self) -> (&'static str, Role) {
        match self {
            Self::Good => ("✓", Role::Good),
            Self::Warning => ("!", Role::Warning),
            Self::Bad => ("✗", Role::Bad),
        }
    }
}

/// A step that was done, or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub step: Step,
    /// What it came to.
    pub result: StepResult,
    /// How long it took.
    pub took: Duration,
}

impl Done {
    /// A step that was left out.
    pub fn skipped(step: Step, why: &str) -> Self {
        Self {
            step,
            result: StepResult::skipped(why),
            took: Duration::ZERO,
        }
    }

    /// What it means for the site; none where nothing was done and nothing is missed.
    fn grade(&self) -> Option<Grade> {
        match &self.result {
            // It was asked for, and nobody knows.
            StepResult::Skipped(_) if self.step == Step::Auth => Some(Grade::Warning),
            result => result.grade(),
        }
    }

    /// How long it took, in whole milliseconds.
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The preflight of one site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    steps: Vec<Done>,
}

impl Report {
    /// Takes in a step, in the place of what was known of it.
    pub fn take(&mut self, done: Done) {
        match self.steps.binary_search_by_key(&done.step, |known| known.step) {
            Ok(place) => self.steps[place] = done,
            Err(place) => self.steps.insert(place, done),
        }
    }

    /// The steps that are known, in order.
    pub fn steps(&self) -> &[Done] {
        &self.steps
    }

    /// What is known of a step.
    pub fn step(&self, step: Step) -> Option<&Done> {
        self.steps.iter().find(|done| done.step == step)
    }

    /// What all of it means: as its worst step. Where nothing was found out, nothing is known to be good.
    pub fn grade(&self) -> Grade {
        let grades = self.steps.iter().filter_map(Done::grade);
        grades.max().unwrap_or(Grade::Bad)
    }

    /// All of it in a sentence: of the worst step, or of what was good.
    pub fn sentence(&self) -> String {
        let grade = self.grade();
        if grade > Grade::Good {
            let is_worst = |done: &&Done| done.grade() == Some(grade);
            let worst = self.steps.iter().find(is_worst);
            return worst.map_or_else(
                || "nothing was found out".to_owned(),
                |done| format!("{}: {}", done.step.head(), done.result.sentence()),
            );
        }
        let said = [Step::Get, Step::Auth]
            .into_iter()
            .filter_map(|step| self.step(step));
        let said: Vec<String> = said.map(|done| done.result.sentence().to_string()).collect();
        said.join("; ")
    }
}

/// How many sites are what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// [`Grade::Good`].
    pub good: usize,
    /// [`Grade::Warning`].
    pub warning: usize,
    /// [`Grade::Bad`].
    pub bad: usize,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, grade: Grade) {
        match grade {
            Grade::Good => self.good += 1,
            Grade::Warning => self.warning += 1,
            Grade::Bad => self.bad += 1,
        }
    }

    /// How many were counted.
    pub fn all(self) -> usize {
        self.good + self.warning + self.bad
    }

    /// `3 ok, 1 warning, 2 failed`.
    pub fn words(self) -> String {
        let counts = [self.good, self.warning, self.bad];
        let words = Grade::ALL.into_iter().zip(counts);
        let words: Vec<String> = words
            .map(|(grade, count)| format!("{count} {}", grade.word()))
            .collect();
        words.join(", ")
    }
}

/// What a problem of the network, or of an answer, means: its sentence, the status, the site's own words.
pub fn failed(problem: Problem, http: Option<u16>, detail: &CleanText) -> StepResult {
    let status = http.map(|status| format!(" ({status})")).unwrap_or_default();
    let words = if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    };
    let sentence = format!("{}{status}{words}", problem.row().sentence);
    StepResult::Failed(problem.cause(), CleanText::note(&sentence))
}

/// What it means for a certificate that can be trusted to end then; none if it does not say so in a way that is
/// understood.
pub fn certificate(ends: Option<Timestamp>, now: Timestamp) -> StepResult {
    let Some(ends) = ends else {
        let sentence = "the certificate is trusted, and when it ends cannot be read";
        return StepResult::Warning(CleanText::note(sentence));
    };
    // Whole days: what is left of the last one is no day.
    let days = ends.duration_since(now).as_hours() / 24;
    let date = ends.strftime("%Y-%m-%d");
    let plural = if days == 1 { "" } else { "s" };
    let sentence = CleanText::note(&format!("the certificate ends in {days} day{plural} ({date})"));
    if days < SOON {
        StepResult::Warning(sentence)
    } else {
        StepResult::Ok(sentence)
    }
}

fn alarm(leak: Leak) -> StepResult {
    StepResult::Failed(Cause::BadAnswer, CleanText::note(&Leak::sentence(Some(leak))))
}

/// What the answer to the GET means.
pub fn get(answer: &Answer<LookVerdict>) -> StepResult {
    match (&answer.verdict, answer.alarm) {
        (LookVerdict::ExposedSecret, _) => {
            let sentence = "ALARM: shows a SECRET key to the public: have it rolled in Stripe now";
            StepResult::Failed(Cause::BadAnswer, CleanText::note(sentence))
        }
        (_, Some(leak)) => alarm(leak),
        (LookVerdict::Serves(key), None) => StepResult::ok(&format!("serves {key}")),
        (LookVerdict::NoKey, None) => StepResult::ok("has no key yet"),
        (LookVerdict::Problem(problem), None) => failed(*problem, answer.http, &answer.detail),
    }
}

/// Whether a site that answers the GET so may be given the master key, and what speaks for it; else why not.
///
/// # Errors
/// Why not: the sentence of the step that is left out.
pub fn suitability(verdict: &LookVerdict) -> Result<Suitability, &'static str> {
    match verdict {
        LookVerdict::Serves(_) => Ok(Suitability::Serves),
        LookVerdict::NoKey => Ok(Suitability::Fresh),
        // A version that has the PUT alone answers so, too.
        LookVerdict::Problem(Problem::NoEndpoint) => Ok(Suitability::Unseen),
        LookVerdict::ExposedSecret => Err("it shows a secret: the master key is not sent there"),
        LookVerdict::Problem(Problem::StrangeJson | Problem::LoginAsked) => {
            Err("what answers is not this API: the master key is not sent there")
        }
        LookVerdict::Problem(problem) if problem.row().not_this_api => {
            Err("what answers is not this API: the master key is not sent there")
        }
        LookVerdict::Problem(_) => Err("the GET failed: the master key is not sent"),
    }
}

/// What the answer to the harmless PUT means.
pub fn auth(answer: &Answer<AuthVerdict>) -> StepResult {
    match (answer.verdict, answer.alarm) {
        (_, Some(leak)) => alarm(leak),
        (AuthVerdict::Accepted, None) => StepResult::ok("accepts the master key"),
        (AuthVerdict::Problem(problem), None) => failed(problem, answer.http, &answer.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PublishableKey;
    use jiff::SignedDuration;

    fn done(step: Step, result: StepResult) -> Done {
        Done {
            step,
            result,
            took: Duration::ZERO,
        }
    }

    fn answer<V>(verdict: V, http: u16, detail: &str) -> Answer<V> {
        Answer {
            verdict,
            http: Some(http),
            took: Duration::ZERO,
            retry_after: None,
            detail: CleanText::note(detail),
            alarm: None,
        }
    }

    #[test]
    fn a_certificate_that_ends_within_three_weeks_is_a_warning() {
        let now = Timestamp::from_second(1_772_373_600).unwrap();
        let ends_in = |hours| certificate(Some(now + SignedDuration::from_hours(hours)), now);
        assert_eq!(
            ends_in(21 * 24),
            StepResult::ok("the certificate ends in 21 days (2026-03-22)")
        );
        let StepResult::Warning(sentence) = ends_in(21 * 24 - 1) else {
            panic!("no warning")
        };
        assert_eq!(sentence.as_str(), "the certificate ends in 20 days (2026-03-22)");
        assert!(ends_in(25).sentence().as_str().contains("in 1 day ("));
        assert!(ends_in(1).sentence().as_str().contains("in 0 days"));
        assert!(matches!(certificate(None, now), StepResult::Warning(_)));
    }

    #[test]
    fn a_report_is_as_its_worst_step_and_keeps_the_order() {
        let mut report = Report::default();
        assert_eq!(report.grade(), Grade::Bad, "nothing is known");
        report.take(done(Step::Get, StepResult::ok("serves pk_test_…AbCd")));
        report.take(done(Step::Dns, StepResult::ok("203.0.113.7")));
        assert_eq!(
            (report.grade(), report.sentence().as_str()),
            (Grade::Good, "serves pk_test_…AbCd")
        );
        report.take(done(Step::Tls, StepResult::Warning(CleanText::note("ends soon"))));
        assert_eq!(
            (report.grade(), report.sentence().as_str()),
            (Grade::Warning, "TLS: ends soon")
        );
        report.take(Done::skipped(Step::Tcp, "a proxy"));
        report.take(done(Step::Tls, StepResult::ok("ends late")));
        assert_eq!(report.grade(), Grade::Good, "what was left out says nothing");
        report.take(Done::skipped(Step::Auth, "refused elsewhere"));
        assert_eq!(
            report.sentence(),
            "AUTH: refused elsewhere",
            "but for what was asked for"
        );
        let refused = failed(
            Problem::RefusedKey,
            Some(401),
            &CleanText::note("invalid_api_key"),
        );
        report.take(done(Step::Auth, refused));
        assert_eq!(
            report.sentence(),
            "AUTH: refuses the master key: check master_key of this site (401): invalid_api_key"
        );
        let steps: Vec<Step> = report.steps().iter().map(|done| done.step).collect();
        assert_eq!(steps, Step::ALL);
    }

    #[test]
    fn the_master_key_goes_to_no_stranger() {
        let key = PublishableKey::parse("pk_test_51ExampleExampleExampleExampleAbCd").unwrap();
        assert_eq!(suitability(&LookVerdict::Serves(key)), Ok(Suitability::Serves));
        assert_eq!(suitability(&LookVerdict::NoKey), Ok(Suitability::Fresh));
        assert!(suitability(&LookVerdict::ExposedSecret).is_err());
        for row in &super::super::outcome::PROBLEMS {
            let may = suitability(&LookVerdict::Problem(row.problem)).is_ok();
            assert_eq!(may, row.problem == Problem::NoEndpoint, "{:?}", row.problem);
        }
    }

    #[test]
    fn an_alarm_is_never_good() {
        let mut echoed = answer(AuthVerdict::Accepted, 400, "");
        assert_eq!(auth(&echoed).word(), "ok");
        echoed.alarm = Some(Leak::MasterKey);
        assert_eq!(auth(&echoed).word(), "failed");
        assert!(
            auth(&echoed)
                .sentence()
                .as_str()
                .contains("the master key stood in its answer")
        );
        let exposed = get(&answer(LookVerdict::ExposedSecret, 200, ""));
        assert_eq!(exposed.cause(), Some(Cause::BadAnswer));
    }
}
