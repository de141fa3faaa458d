use super::Effect;
use super::dialogs::{Choice, Deed, Dialog, Owed};
use super::list::Sort;
use super::model::Model;
use super::orders;
use super::screen::Screen;
use crate::engine::Level;
use crate::site::SiteId;
use crate::text::Count;

/// The filter that shows the sites that are owed a key.
const OWED: &str = "is:owed";

/// Moves the cursor by so many rows.
pub(super) fn step(screen: &mut Screen, by: isize) -> Vec<Effect> {
    let to = screen.model.list.cursor().saturating_add_signed(by);
    screen.model.move_cursor(to);
    Vec::new()
}

/// The rows of a page, at least two.
pub(super) fn page(model: &Model) -> isize {
    isize::try_from(model.table_height()).unwrap_or(1).max(2)
}

/// Whether a retry of the site does something, or asks about it, and the operator does not know of it yet.
pub(super) fn failed(model: &Model, id: SiteId) -> bool {
    let plan = model.state(id).retry_plan();
    (plan.is_failed() || plan.asks()) && model.acknowledgement(id).is_none()
}

/// To the next shown site that failed; behind the last one comes the first.
pub(super) fn next_failed(screen: &mut Screen) -> Vec<Effect> {
    let model = &mut screen.model;
    let (order, cursor) = (model.list.order(), model.list.cursor());
    let behind = (1..=order.len()).map(|by| (cursor + by) % order.len());
    let next = behind.into_iter().find(|place| failed(model, order[*place]));
    match next {
        Some(place) => model.move_cursor(place),
        None if model.failed + model.held_back > 0 && model.filter.is_empty() => {
            model.say(
                Level::Info,
                "no other site failed: those that did are acknowledged",
            );
        }
        None if model.failed + model.held_back > 0 => {
            model.say(Level::Info, "none of the shown sites failed: Esc shows all again");
        }
        None => model.say(Level::Info, "no site failed"),
    }
    Vec::new()
}

/// Marks the site under the cursor, or takes its mark away; the cursor goes on to the next.
pub(super) fn mark(screen: &mut Screen) -> Vec<Effect> {
    let model = &mut screen.model;
    if let Some(id) = model.selected() {
        let mark = !model.list.is_marked(id);
        model.list.mark(id, mark);
    }
    step(screen, 1)
}

/// Marks those of the shown sites that are `wanted`, besides what is marked.
pub(super) fn mark_those(screen: &mut Screen, wanted: fn(&Model, SiteId) -> bool) -> Vec<Effect> {
    let model = &mut screen.model;
    let those: Vec<SiteId> = model
        .visible()
        .into_iter()
        .filter(|id| wanted(model, *id))
        .collect();
    if those.is_empty() {
        model.say(Level::Info, "no such site is shown: nothing more is marked");
    }
    for id in those {
        model.list.mark(id, true);
    }
    Vec::new()
}

/// Does it to the marked sites, else to the one under the cursor. If the filter hides a mark, it asks first.
pub(super) fn on_chosen(screen: &mut Screen, deed: Deed) -> Vec<Effect> {
    let model = &screen.model;
    if model.list.marks() > 0 {
        let (marked, hidden) = model.list.marked();
        if hidden > 0 {
            screen.dialog = Some(Dialog::Choice(Choice::hidden_marks(deed, marked, hidden)));
            return Vec::new();
        }
    }
    let chosen = model.chosen();
    orders::go(screen, deed, chosen)
}

/// The other end of the order first.
pub(super) fn turn(screen: &mut Screen) -> Vec<Effect> {
    let sort = screen.model.list.sort();
    let sort = Sort {
        turned: !sort.turned,
        ..sort
    };
    screen.model.order_by(sort);
    Vec::new()
}

/// Asks about the newest unfinished run again; else shows the sites that are owed a key, and says which since when.
pub(super) fn owed(screen: &mut Screen) -> Vec<Effect> {
    let model = &mut screen.model;
    let unfinished = model.left.last().filter(|_| !model.options.read_only);
    if let Some(run) = unfinished {
        screen.dialog = Some(Dialog::Choice(Choice::unfinished(model, run)));
        return Vec::new();
    }
    if model.filter.text() == OWED {
        model.show_only("");
        return Vec::new();
    }
    let owed = model.owed().len();
    if owed > 0 {
        model.show_only(OWED);
        let all = model.key_of("owed");
        let text = format!("{} owed a key: {all} shows all sites again", Count(owed, "site"));
        model.say(Level::Info, text);
    }
    screen.dialog = Some(Dialog::Owed(Owed::default()));
    Vec::new()
}
