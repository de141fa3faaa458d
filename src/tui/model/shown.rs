use super::{FIRST_ROW, Model};
use crate::engine::Level;
use crate::rules::moment::{Moment, clock};
use crate::site::SiteId;
use crate::tui::filter::Looked;
use crate::tui::list::Sort;

impl Model {
    /// The site under the cursor.
    pub fn selected(&self) -> Option<SiteId> {
        self.list.selected()
    }

    /// The sites that the filter lets through, in the order of the table.
    pub fn visible(&self) -> Vec<SiteId> {
        self.list.order().to_vec()
    }

    /// How many of how many sites are shown: `12 of 240`, or `240` where none is hidden.
    pub fn visible_in_words(&self) -> String {
        let (shown, all) = (self.list.len(), self.sites.len());
        if self.filter.is_empty() {
            all.to_string()
        } else {
            format!("{shown} of {all}")
        }
    }

    /// On how many sites `action` goes: `push 3 marked (1 hidden)`, or `push this`.
    pub fn chosen_in_words(&self, action: &str) -> String {
        match self.list.marks() {
            0 => format!("{action} this"),
            marks => format!("{action} {}", self.marks_in_words(marks)),
        }
    }

    /// `3 marked`, and how many of them the filter hides.
    pub fn marks_in_words(&self, marks: usize) -> String {
        match self.list.hidden_marks() {
            0 => format!("{marks} marked"),
            hidden => format!("{marks} marked ({hidden} hidden)"),
        }
    }

    /// What an action on one site goes on: the marked ones, else the one under the cursor.
    pub fn chosen(&self) -> Vec<SiteId> {
        if self.list.marks() > 0 {
            return self.list.marked().0;
        }
        self.selected().into_iter().collect()
    }

    /// For how many of the shown sites a retry does something, and asks about first.
    pub fn failed_shown(&self) -> (usize, usize) {
        self.list.failed()
    }

    /// Brings the order up to date, just before it is shown.
    pub fn arrange(&mut self, now: Moment) {
        self.list.arrange(now, self.table_height());
    }

    /// Shows what the filter lets through from now on.
    pub(in crate::tui) fn apply_filter(&mut self) {
        let height = self.table_height();
        let clock = |moment| clock(moment, self.now, &self.options.zone);
        let each = self.sites.iter().zip(&self.states);
        let passes = each.map(|(site, state)| {
            self.filter.matches(&Looked {
                site,
                state,
                acknowledgement: self.acknowledged.of(&site.url, self.now.wall),
                clock: &clock,
            })
        });
        self.list.filter(passes, height);
    }

    /// Shows only what the filter `text` lets through; all, if it is empty.
    pub fn show_only(&mut self, text: &str) {
        self.filter.set(text);
        self.apply_filter();
    }

    /// Sorts by something else.
    pub(in crate::tui) fn sort_by(&mut self, sort: Sort) {
        let height = self.table_height();
        let each = self.sites.iter().zip(&self.states);
        let clock = |moment| clock(moment, self.now, &self.options.zone);
        let keys = each.map(|(site, state)| {
            sort.key(&Looked {
                site,
                state,
                acknowledgement: self.acknowledged.of(&site.url, self.now.wall),
                clock: &clock,
            })
        });
        self.list.sort_by(sort, keys, height);
    }

    /// Sorts by something else, and says so.
    pub(in crate::tui) fn order_by(&mut self, sort: Sort) {
        self.sort_by(sort);
        let by = sort.column.unwrap_or("attention");
        let turned = if sort.turned { ", turned" } else { "" };
        self.say(Level::Info, format!("sorted by {by}{turned}"));
    }

    pub(in crate::tui) fn move_cursor(&mut self, to: usize) {
        self.list.move_to(to, self.now, self.table_height());
    }

    /// Puts the cursor on the site that stands in this row of the screen.
    pub(in crate::tui) fn click(&mut self, row: u16) {
        let Some(place) = row.checked_sub(FIRST_ROW).map(usize::from) else {
            return;
        };
        if place < self.table_height() && self.list.top() + place < self.list.len() {
            self.move_cursor(self.list.top() + place);
        }
    }

    pub(in crate::tui) fn keep_cursor_in_view(&mut self) {
        self.list.keep_in_view(self.table_height());
    }
}
