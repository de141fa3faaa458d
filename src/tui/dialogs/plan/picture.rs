use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::{inside, open_box, wrapped};
use super::{Asks, Phrase, PlanDialog, Plans};
use crate::rules::crew::Crew;
use crate::rules::plan::{Confirm, OTHER_ACCOUNT, Outlook, Plan, PlanAction, TRIED_ALL_THE_SAME};
use crate::rules::run::Kind;
use crate::rules::state::Allow;
use crate::rules::status::{Role, SkipReason};
use crate::text::{Count, list};
use crate::tui::model::Model;
use crate::tui::theme::Part;

/// So many rows at least are seen before the remarks take the room.
const ROWS: usize = 4;
/// Below so many columns a row is written in the short way.
const NARROW: usize = 60;
/// So many names stand in a remark.
const NAMES: usize = 3;

/// How far the list can be scrolled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// The last place that it can begin at.
    pub(super) last: usize,
    /// Its lines that are seen.
    pub(super) page: usize,
}

/// What stands where.
struct Arranged {
    /// Always seen, on top.
    pinned: Vec<Line<'static>>,
    pinned_height: usize,
    /// What has no room there scrolls with the rows, before them.
    flowing: Vec<Line<'static>>,
    flowing_height: usize,
    /// Lines that scroll and are seen.
    page: usize,
    /// All that scroll.
    all: usize,
}

impl Arranged {
    fn last(&self) -> usize {
        self.all.saturating_sub(self.page)
    }
}

/// How far the list can be scrolled on this screen.
pub(super) fn reach(dialog: &PlanDialog, model: &Model) -> Reach {
    let arranged = arrange(dialog, model);
    Reach {
        last: arranged.last(),
        page: arranged.page,
    }
}

/// Whoever confirms has seen what is dangerous and what is asked: on a small screen the remarks go down into what
/// scrolls, and where that is not enough, all but the question.
fn arrange(dialog: &PlanDialog, model: &Model) -> Arranged {
    let (columns, lines) = inside(model);
    let rows = dialog.rows.len();
    let height = |lines: &[Line<'static>]| wrapped(lines.to_vec()).line_count(columns);
    let head = vec![headline(dialog, model)];
    let parts = [
        head,
        remarks(dialog, model),
        dangers(&dialog.plans, model),
        question(dialog, model),
    ];
    let ways: [(&[usize], &[usize], usize); 3] = [
        (&[0, 1, 2, 3], &[], rows.min(ROWS)),
        (&[0, 2, 3], &[1], 1),
        (&[3], &[0, 2, 1], 0),
    ];
    let gather = |which: &[usize]| -> Vec<Line<'static>> {
        which.iter().flat_map(|part| parts[*part].clone()).collect()
    };
    // One line says which part of the list is seen.
    let fits =
        |(pinned, _, least): &&(&[usize], &[usize], usize)| height(&gather(pinned)) + 1 + least <= lines;
    let (pinned, flowing, _) = ways.iter().find(fits).unwrap_or(&ways[2]);
    let (pinned, flowing) = (gather(pinned), gather(flowing));
    let (pinned_height, flowing_height) = (height(&pinned), height(&flowing));
    let all = flowing_height + rows;
    Arranged {
        pinned,
        pinned_height,
        flowing,
        flowing_height,
        page: lines.saturating_sub(pinned_height + 1).min(all),
        all,
    }
}

/// ```text
/// LIVE pk_live_…AbCd  24 of 26 sites get a PUT; at the last look 3 did not answer
/// 18 will change
///  …                                      remarks: one for each thing that is to be expected
/// ! 2 sites serve a test key now …        dangers: each adds its word
/// type live 24 to push, then Enter        the question
/// > live_
/// sites 12-30 of 240  (↑ ↓ PgUp PgDn Home End)
/// maison-est    pk_live_…9zQe → pk_live_…AbCd  no answer
/// ```
pub(in super::super) fn draw(dialog: &PlanDialog, model: &Model, frame: &mut Frame) {
    let arranged = arrange(dialog, model);
    let (columns, _) = inside(model);
    let scroll = dialog.scroll.min(arranged.last());
    let hidden = scroll.min(arranged.flowing_height);
    let text = (arranged.flowing_height - hidden).min(arranged.page);
    let first = scroll - hidden;
    let shown = arranged.page - text;
    let height = arranged.pinned_height + 1 + arranged.page;
    let area = open_box(model, frame, &title(dialog, model), height);
    let tall = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let parts = [tall(arranged.pinned_height), tall(1), tall(text), tall(shown)];
    let [pinned, caption, flowing, rows] = Layout::vertical(parts).areas(area);
    frame.render_widget(wrapped(arranged.pinned), pinned);
    frame.render_widget(part_seen(dialog, model, first, shown), caption);
    let down = u16::try_from(hidden).unwrap_or(u16::MAX);
    frame.render_widget(wrapped(arranged.flowing).scroll((down, 0)), flowing);
    let seen = dialog.rows.iter().skip(first).take(shown);
    let wide = usize::from(columns);
    let one_key = dialog.plans.careful.keys() <= 1;
    let lines: Vec<Line<'static>> = seen
        .map(|row| row_line(dialog, model, *row, wide, one_key))
        .collect();
    frame.render_widget(Paragraph::new(lines), rows);
}

fn title(dialog: &PlanDialog, model: &Model) -> String {
    let plan = &dialog.plans.careful;
    match (&dialog.asks, plan.parent) {
        (Asks::Nothing, _) => format!("dry run: what {} would do", model.key_of("push all")),
        (Asks::Word(Phrase { retry: Some(_), .. }), _) if plan.allow == Allow::default() => {
            "cancelled before: push after all?".to_owned()
        }
        (Asks::Word(Phrase { retry: Some(_), .. }), _) => "held back: push all the same?".to_owned(),
        (Asks::Word(_), Some(parent)) => format!("plan: {} of run {}", plan.kind.word(), parent.0),
        (Asks::Word(_), None) => "plan".to_owned(),
    }
}

/// The key, how many sites get a PUT, and what may come of it otherwise.
fn headline(dialog: &PlanDialog, model: &Model) -> Line<'static> {
    let plan = dialog.plans.boldest();
    let live_or_test = plan.modes();
    let part = if live_or_test.contains("LIVE") {
        Part::Live
    } else {
        Part::Header
    };
    let (puts, rows) = (dialog.plans.careful.puts(), plan.rows.len());
    let get = match &dialog.asks {
        Asks::Nothing => "would get",
        Asks::Word(_) if puts == 1 => "gets",
        Asks::Word(_) => "get",
    };
    let sites = if puts == rows {
        Count(puts, "site").to_string()
    } else {
        format!("{puts} of {}", Count(rows, "site"))
    };
    let listed = model.sites.len();
    let of_all = if rows < listed {
        format!(", of {listed} in the list")
    } else {
        String::new()
    };
    let count = |outlook| dialog.rows.iter().filter(|row| row.0 == outlook).count();
    let mut doubts = Vec::new();
    match count(Outlook::NoAnswer) {
        0 => {}
        count => doubts.push(format!("{count} did not answer")),
    }
    match count(Outlook::NoTemplateSite) {
        0 => {}
        1 => doubts.push("1 was no template site".to_owned()),
        count => doubts.push(format!("{count} were no template sites")),
    }
    let doubts = if doubts.is_empty() {
        String::new()
    } else {
        format!("; at the last look {}", list(&doubts, "and"))
    };
    let key = match dialog.plans.careful.keys() {
        0 | 1 => model.mask(&plan.key),
        keys => format!("{} go out", Count(keys, "key")),
    };
    Line::from(vec![
        Span::raw(format!("{live_or_test} ")),
        Span::styled(key, model.options.theme.style(part)),
        Span::raw(model.text(&format!("  {sites} {get} a PUT{of_all}{doubts}"))),
    ])
}

/// What adds its word to the phrase.
fn dangers(plans: &Plans, model: &Model) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let plan = plans.boldest();
    let mut lines = Vec::new();
    if let Some(odd) = plan.key.odd_length() {
        let text = model.text(&format!("the key has {odd}"));
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Warning))));
    }
    for danger in &plan.dangers {
        let also = if plans.bolder.is_some() && !plans.careful.dangers.contains(danger) {
            format!("with {}: ", danger.word())
        } else {
            String::new()
        };
        let text = model.text(&format!("! {also}{}", danger.sentence()));
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Bad))));
    }
    lines
}

/// What is to be expected: a line for each such thing, what changes first.
fn remarks(dialog: &PlanDialog, model: &Model) -> Vec<Line<'static>> {
    let plan = &dialog.plans.careful;
    let warning = model.options.theme.style(Part::Status(Role::Warning));
    let groups = || dialog.rows.chunk_by(|one, two| one.0 == two.0);
    let changes = |group: &&[(Outlook, usize)]| {
        matches!(
            group.first(),
            Some((Outlook::Changes | Outlook::ServesAlready, _))
        )
    };
    let ordered = groups()
        .filter(changes)
        .chain(groups().filter(|group| !changes(group)));
    let mut lines = Vec::new();
    for group in ordered {
        let Some(text) = remark(plan, model, group, dialog.has_equal()) else {
            continue;
        };
        let calm = changes(&group) || group.iter().all(|row| matches!(row.0, Outlook::LeftOut(_)));
        lines.push(if calm {
            Line::raw(model.text(&text))
        } else {
            Line::styled(model.text(&text), warning)
        });
    }
    let name = |id| model.site(id).name.to_string();
    let is_run = matches!(
        &dialog.asks,
        Asks::Nothing | Asks::Word(Phrase { retry: None, .. })
    );
    if let Some(rollout) = plan.rollout_in_words(name).filter(|_| is_run) {
        lines.push(Line::raw(model.text(&rollout)));
    }
    if is_run && plan.kind == Kind::Push && model.may_be_of_other_account(&plan.key) {
        lines.push(Line::styled(model.text(OTHER_ACCOUNT), warning));
    }
    lines.extend(model.crew.as_ref().map(|crew| who_calls(crew, model, warning)));
    if let Some(why) = dialog.keys().iter().find_map(|key| model.stripe.in_vain(key)) {
        lines.push(Line::styled(model.text(&why.to_string()), warning));
    }
    if plan.keys() > 1 {
        lines.push(Line::raw("to each site goes what it had"));
    }
    for taken in dialog.plans.boldest().taken_over(|id| model.state(id)) {
        let text = model.text(&taken.sentence(&model.mask(&taken.key)));
        lines.push(Line::styled(text, warning));
    }
    if plan.doubtful() > 0 {
        let text = format!(
            "{} doubtful: what was seen there was never pushed from here, and may be a fallback",
            Count(plan.doubtful(), "site")
        );
        lines.push(Line::styled(model.text(&text), warning));
    }
    lines
}

/// The workers that make the calls, or that there is none.
fn who_calls(crew: &Crew, model: &Model, warning: Style) -> Line<'static> {
    let style = if crew.is_empty() {
        warning
    } else {
        Style::default()
    };
    Line::styled(model.text(&crew.sentence()), style)
}

/// What is said of sites of which the same is to be expected; nothing where a danger or a line of its own says it.
fn remark(plan: &Plan, model: &Model, group: &[(Outlook, usize)], may_turn: bool) -> Option<String> {
    let (outlook, _) = group.first()?;
    let count = group.len();
    let names = || names(plan, model, group);
    // Sites of which this is said are always looked at before their PUT.
    let held_back = "held back if the look before the PUT says so";
    let if_strange = if plan.allow.unrecognised {
        "pushed all the same"
    } else {
        held_back
    };
    Some(match outlook {
        Outlook::AllTheSame(_) | Outlook::Doubtful => return None,
        Outlook::Changes => format!("{count} will change"),
        Outlook::ServesAlready => {
            let serve = if count == 1 { "serves" } else { "serve" };
            // In one line of the smaller screen.
            let pushed = if may_turn {
                "pushed too, it may be a fallback (^E leaves out)"
            } else {
                "pushed all the same, it may be a fallback"
            };
            format!("{count} {serve} it already: {pushed}")
        }
        Outlook::Refused(reason) => {
            let why = match reason {
                SkipReason::OtherMode if count == 1 => "it serves a key of the other mode",
                SkipReason::OtherMode => "they serve a key of the other mode",
                _ => "the config takes no such key there",
            };
            format!("{count} refused by mode ({}): {why}", names())
        }
        Outlook::LeftOut(SkipReason::Equal) => {
            let (serve, them) = if count == 1 {
                ("serves", "it")
            } else {
                ("serve", "them")
            };
            format!(
                "{count} left out ({}): {serve} it already (^E pushes {them} all the same)",
                names()
            )
        }
        Outlook::LeftOut(reason) => format!("{count} left out ({}): {}", names(), reason.sentence()),
        Outlook::NotReversible => format!(
            "{count} left out ({}): {}",
            names(),
            SkipReason::NotReversible.sentence()
        ),
        Outlook::NoAnswer => format!("{count} did not answer at the last look: {TRIED_ALL_THE_SAME}"),
        Outlook::NoTemplateSite if count == 1 => {
            format!("1 was no template site at the last look: {if_strange}")
        }
        Outlook::NoTemplateSite => format!("{count} were no template sites at the last look: {if_strange}"),
        Outlook::NeverSeen => format!("{count} never looked at: {held_back}"),
    })
}

/// `a, b, c and 4 more`
fn names(plan: &Plan, model: &Model, group: &[(Outlook, usize)]) -> String {
    let name = |(_, place): &(Outlook, usize)| model.site(plan.rows[*place].site).name.to_string();
    let mut names: Vec<String> = group.iter().take(NAMES).map(name).collect();
    if let Some(more) = group.len().checked_sub(NAMES).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    list(&names, "and")
}

/// `sites 12-30 of 240`
fn part_seen(dialog: &PlanDialog, model: &Model, first: usize, shown: usize) -> Line<'static> {
    let all = dialog.rows.len();
    let seen = match shown {
        0 => format!("{} below", Count(all, "site")),
        1 => format!("site {} of {all}", first + 1),
        _ => format!("sites {}-{} of {all}", first + 1, first + shown),
    };
    let keys = if shown < all {
        "  (↑ ↓ PgUp PgDn Home End)"
    } else {
        ""
    };
    let label = model.options.theme.style(Part::Label);
    Line::styled(model.text(&format!("{seen}{keys}")), label)
}

/// `maison-est    pk_live_…9zQe → pk_live_…AbCd  no answer`
fn row_line(
    dialog: &PlanDialog,
    model: &Model,
    (outlook, place): (Outlook, usize),
    columns: usize,
    one_key: bool,
) -> Line<'static> {
    /// A mask's columns.
    const KEY: usize = 13;
    const ARROW: &str = " → ";

    let row = &dialog.plans.careful.rows[place];
    let old = row.serves.words(|key| model.narrow_mask(key));
    let narrow = columns < NARROW;
    let new = match row.action {
        PlanAction::Skip(_) => "left out".to_owned(),
        // The whole of it stands in the headline.
        PlanAction::Put if narrow && one_key => model.tail(&row.key),
        PlanAction::Put => model.narrow_mask(&row.key),
    };
    let new_columns = if narrow && one_key { 8 } else { KEY };
    let rest = columns.saturating_sub(KEY + 3 + new_columns + 3);
    let name = model.pad_name(model.site(row.site).name.as_str(), (rest / 2 + 1).clamp(10, 26));
    let doubtful = if row.doubtful && outlook.is_put() && outlook != Outlook::Doubtful {
        ", doubtful"
    } else {
        ""
    };
    let text = format!(
        "{name} {}{ARROW}{}  {}{doubtful}",
        model.pad(&old, KEY),
        model.pad(&new, new_columns),
        outlook.in_short()
    );
    let part = match outlook {
        Outlook::Changes | Outlook::ServesAlready | Outlook::LeftOut(_) | Outlook::NeverSeen => Part::Text,
        _ => Part::Status(Role::Warning),
    };
    let style = model.options.theme.style(part);
    Line::styled(model.fit(text.trim_end(), columns), style)
}

/// What is asked, and what of the answer is typed.
fn question(dialog: &PlanDialog, model: &Model) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let plans = &dialog.plans;
    let Asks::Word(phrase) = &dialog.asks else {
        let text = "a dry run: nothing is sent from here; Esc, q or Enter closes";
        return vec![Line::styled(text, theme.style(Part::Key))];
    };
    let ask = match (&plans.bolder, plans.careful.confirm()) {
        (None, Confirm::Nothing) => return vec![Line::raw("nothing would be sent: Esc closes")],
        (None, Confirm::Yes) => return vec![Line::raw("press y to push, Esc to leave it")],
        (None, Confirm::Phrase(phrase)) => format!("type {phrase} to push, then Enter; Esc leaves it"),
        (Some(bolder), careful) => either(plans, bolder, &careful),
    };
    let mut lines = vec![Line::raw(model.text(&ask))];
    lines.push(Line::from(vec![
        Span::styled("> ", theme.style(Part::Key)),
        Span::raw(format!("{}_", phrase.typed)),
    ]));
    if phrase.wrong {
        let text = "these are not the words above: nothing is sent";
        lines.push(Line::styled(text, theme.style(Part::Status(Role::Warning))));
    }
    lines
}

/// The question where the operator may also leave the danger out.
fn either(plans: &Plans, bolder: &Plan, careful: &Confirm) -> String {
    let all = match bolder.confirm() {
        Confirm::Phrase(phrase) => phrase,
        Confirm::Yes => "y".to_owned(),
        Confirm::Nothing => String::new(),
    };
    let puts = plans.careful.puts();
    let left_out = bolder.puts() - puts;
    match careful {
        Confirm::Nothing => format!("type {all} to push all the same, then Enter; Esc leaves it"),
        Confirm::Yes => {
            format!("press y to push {puts} and leave {left_out} out, or type {all} to push all, then Enter")
        }
        Confirm::Phrase(phrase) => {
            format!("type {phrase} to push and leave {left_out} out, or {all} to push all, then Enter")
        }
    }
}
