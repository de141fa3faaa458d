use std::cmp::{Ordering, Reverse};
use std::time::Duration;

use super::filter::{Filter, Looked};
use crate::rules::moment::Moment;
use crate::rules::state::SiteState;
use crate::site::{Site, SiteId};

/// The order rests so long after the cursor was moved.
const RESTS: Duration = Duration::from_secs(3);

/// By what sites are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// What is higher comes first.
    Rank(Reverse<u8>),
    /// What is lower comes first; what has none comes last.
    Number(bool, u64),
    /// By the alphabet, whatever the case; what has none comes last.
    Text(bool, String),
}

impl SortKey {
    /// Of a number that may be missing.
    pub fn number(number: Option<u64>) -> Self {
        Self::Number(number.is_none(), number.unwrap_or_default())
    }

    /// Of a text that may be empty.
    pub fn text(text: &str) -> Self {
        Self::Text(text.is_empty(), text.to_lowercase())
    }
}

/// What a site is sorted by.
pub type SortBy = fn(&Site, &SiteState) -> SortKey;

/// What needs attention first.
pub fn attention(_: &Site, state: &SiteState) -> SortKey {
    let rank = if state.alarm {
        u8::MAX
    } else {
        state.push.look().rank.max(state.verify.look().rank)
    };
    SortKey::Rank(Reverse(rank))
}

/// How sites are sorted.
#[derive(Debug, Clone, Copy)]
pub struct Sort {
    /// The head of the column; none where what needs attention comes first.
    pub column: Option<&'static str>,
    /// By what.
    pub by: SortBy,
    /// Whether the order is turned.
    pub turned: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self {
            column: None,
            by: attention,
            turned: false,
        }
    }
}

impl Sort {
    /// What a site is sorted by. One that the operator knows to be bad needs no attention, unless it is an alarm.
    pub fn key(&self, looked: &Looked<'_>) -> SortKey {
        if self.column.is_none() && looked.acknowledgement.is_some() && !looked.state.exposes() {
            return SortKey::Rank(Reverse(0));
        }
        (self.by)(looked.site, looked.state)
    }
}

/// Whether a retry does something for a site, and whether it asks first: how many sites more of each.
pub type Failed = (usize, usize);

/// Which sites the table shows and in which order, where the cursor is, and which are marked.
#[derive(Debug)]
pub struct List {
    /// Those that are shown, in order.
    order: Vec<SiteId>,
    /// By site: what it is sorted by.
    keys: Vec<SortKey>,
    /// By site: whether the filter lets it through.
    passes: Vec<bool>,
    /// By site: whether it is in `order`.
    listed: Vec<bool>,
    /// By site.
    marked: Vec<bool>,
    marks: usize,
    /// How many marks are on sites that are not listed.
    hidden: usize,
    /// By site: whether a retry does something for it, and whether it asks first.
    failed: Vec<Failed>,
    /// As many of the listed ones.
    listed_failed: (usize, usize),
    sort: Sort,
    /// Sites that have another place, or none, since the order was made.
    changed: Vec<SiteId>,
    /// By site: whether it is in `changed`.
    has_changed: Vec<bool>,
    cursor: usize,
    top: usize,
    moved_at: Option<Moment>,
}

impl List {
    /// All sites, what needs attention first.
    pub fn new(sites: &[Site], states: &[SiteState]) -> Self {
        let keys = sites
            .iter()
            .zip(states)
            .map(|(site, state)| attention(site, state));
        let mut list = Self {
            order: Vec::new(),
            keys: keys.collect(),
            passes: vec![true; sites.len()],
            listed: vec![true; sites.len()],
            marked: vec![false; sites.len()],
            marks: 0,
            hidden: 0,
            failed: vec![(0, 0); sites.len()],
            listed_failed: (0, 0),
            sort: Sort::default(),
            changed: Vec::new(),
            has_changed: vec![false; sites.len()],
            cursor: 0,
            top: 0,
            moved_at: None,
        };
        list.order = list.all_in_order();
        list
    }

    /// The sites that are shown, in order.
    pub fn order(&self) -> &[SiteId] {
        &self.order
    }

    /// How many are shown.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is shown.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The place of the cursor among them.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// The place of the first that is on the screen.
    pub fn top(&self) -> usize {
        self.top
    }

    /// The site under the cursor.
    pub fn selected(&self) -> Option<SiteId> {
        self.order.get(self.cursor).copied()
    }

    /// How they are sorted.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// When the order may change again, if it is to.
    pub fn rests_until(&self) -> Option<Moment> {
        self.moved_at
            .filter(|_| !self.changed.is_empty())
            .map(|moved| moved + RESTS)
    }

    /// What a retry does for a site.
    pub fn set_failed(&mut self, id: SiteId, failed: Failed) {
        let before = std::mem::replace(&mut self.failed[id.index()], failed);
        if self.listed[id.index()] {
            self.listed_failed.0 = self.listed_failed.0 + failed.0 - before.0;
            self.listed_failed.1 = self.listed_failed.1 + failed.1 - before.1;
        }
    }

    /// For how many of the listed sites a retry does something, and for how many it asks first.
    pub fn failed(&self) -> Failed {
        self.listed_failed
    }

    /// Something about a site changed.
    pub fn change(&mut self, id: SiteId, looked: &Looked<'_>, filter: &Filter) {
        let index = id.index();
        let key = self.sort.key(looked);
        let passes = filter.matches(looked);
        let moves = self.keys[index] != key && (passes || self.passes[index]);
        if (moves || passes != self.passes[index]) && !std::mem::replace(&mut self.has_changed[index], true) {
            self.changed.push(id);
        }
        self.keys[index] = key;
        self.passes[index] = passes;
    }

    /// Which sites `filter` lets through is asked of all of them, and shown at once.
    pub fn filter<'a>(&mut self, passes: impl Iterator<Item = bool> + 'a, height: usize) {
        self.passes = passes.collect();
        self.order_all(height);
    }

    /// Sorts by something else, at once.
    pub fn sort_by(&mut self, sort: Sort, keys: impl Iterator<Item = SortKey>, height: usize) {
        self.sort = sort;
        self.keys = keys.collect();
        self.order_all(height);
    }

    /// Brings the order up to date, just before it is shown. It rests while the cursor is being moved; else the
    /// cursor follows its site, once it was moved at all.
    pub fn arrange(&mut self, now: Moment, height: usize) {
        let rests = self.moved_at.is_some_and(|moved| now.since(moved) < RESTS);
        if !self.changed.is_empty() && !rests {
            self.order_changed(height);
        }
    }

    fn order_all(&mut self, height: usize) {
        let selected = self.moved_at.and(self.selected());
        self.order = self.all_in_order();
        self.listed.clone_from(&self.passes);
        let marked = self.marked.iter().zip(&self.listed);
        self.hidden = marked.filter(|(marked, listed)| **marked && !**listed).count();
        let failed = self.order.iter().map(|id| self.failed[id.index()]);
        self.listed_failed = failed.fold((0, 0), |sum, of_site| (sum.0 + of_site.0, sum.1 + of_site.1));
        self.changed.clear();
        self.has_changed.fill(false);
        self.follow(selected, height);
    }

    fn all_in_order(&self) -> Vec<SiteId> {
        let all = (0..self.passes.len()).map(SiteId::at);
        let mut order: Vec<SiteId> = all.filter(|id| self.passes[id.index()]).collect();
        order.sort_by(|one, other| self.compare(*one, *other));
        order
    }

    /// The others are in order: of a hundred thousand sites a hundred change from one frame to the next.
    fn order_changed(&mut self, height: usize) {
        let selected = self.moved_at.and(self.selected());
        let changed = std::mem::take(&mut self.changed);
        let mut rest = std::mem::take(&mut self.order);
        rest.retain(|id| !self.has_changed[id.index()]);
        for id in &changed {
            self.has_changed[id.index()] = false;
            self.list_or_not(*id);
        }
        let mut shown: Vec<SiteId> = changed.into_iter().filter(|id| self.passes[id.index()]).collect();
        shown.sort_by(|one, other| self.compare(*one, *other));
        let mut order = Vec::with_capacity(rest.len() + shown.len());
        let mut left = &rest[..];
        for id in shown {
            let (before, behind) =
                left.split_at(left.partition_point(|other| self.compare(*other, id) == Ordering::Less));
            order.extend_from_slice(before);
            order.push(id);
            left = behind;
        }
        order.extend_from_slice(left);
        self.order = order;
        self.follow(selected, height);
    }

    fn list_or_not(&mut self, id: SiteId) {
        let (index, lists) = (id.index(), self.passes[id.index()]);
        let (failed, marked) = (self.failed[index], usize::from(self.marked[index]));
        match (std::mem::replace(&mut self.listed[index], lists), lists) {
            (false, true) => {
                self.hidden -= marked;
                self.listed_failed = (self.listed_failed.0 + failed.0, self.listed_failed.1 + failed.1);
            }
            (true, false) => {
                self.hidden += marked;
                self.listed_failed = (self.listed_failed.0 - failed.0, self.listed_failed.1 - failed.1);
            }
            _ => {}
        }
    }

    fn compare(&self, one: SiteId, other: SiteId) -> Ordering {
        let by_key = self.keys[one.index()].cmp(&self.keys[other.index()]);
        let by_key = if self.sort.turned {
            by_key.reverse()
        } else {
            by_key
        };
        by_key.then(one.cmp(&other))
    }

    fn follow(&mut self, selected: Option<SiteId>, height: usize) {
        if let Some(place) = selected.and_then(|id| self.order.iter().position(|other| *other == id)) {
            self.cursor = place;
        }
        self.keep_in_view(height);
    }

    /// Moves the cursor to a place among the shown ones.
    pub fn move_to(&mut self, place: usize, now: Moment, height: usize) {
        self.cursor = place;
        self.moved_at = Some(now);
        self.keep_in_view(height);
    }

    /// The table is so many rows high.
    pub fn keep_in_view(&mut self, height: usize) {
        self.cursor = self.cursor.min(self.order.len().saturating_sub(1));
        let last_top = self.order.len().saturating_sub(height);
        self.top = self
            .top
            .min(self.cursor)
            .max((self.cursor + 1).saturating_sub(height))
            .min(last_top);
    }

    /// Whether a site is marked.
    pub fn is_marked(&self, id: SiteId) -> bool {
        self.marked[id.index()]
    }

    /// Marks a site, or takes its mark away.
    pub fn mark(&mut self, id: SiteId, mark: bool) {
        let before = std::mem::replace(&mut self.marked[id.index()], mark);
        self.marks = self.marks + usize::from(mark) - usize::from(before);
        if !self.listed[id.index()] {
            self.hidden = self.hidden + usize::from(mark) - usize::from(before);
        }
    }

    /// Takes all marks away, also those out of sight.
    pub fn unmark_all(&mut self) {
        self.marked.fill(false);
        (self.marks, self.hidden) = (0, 0);
    }

    /// How many are marked.
    pub fn marks(&self) -> usize {
        self.marks
    }

    /// How many of them are not shown.
    pub fn hidden_marks(&self) -> usize {
        self.hidden
    }

    /// The marked sites, those that are shown first and in their order; and how many of them are not shown.
    pub fn marked(&self) -> (Vec<SiteId>, usize) {
        let mut marked: Vec<SiteId> = self
            .order
            .iter()
            .copied()
            .filter(|id| self.is_marked(*id))
            .collect();
        let hidden = self.marks - marked.len();
        if hidden > 0 {
            let all = (0..self.marked.len()).map(SiteId::at);
            marked.extend(all.filter(|id| self.is_marked(*id) && !self.listed[id.index()]));
        }
        (marked, hidden)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::rules::outcome::Cause;
    use crate::rules::status::Push;
    use crate::site::{MasterKeyId, SiteMode, SiteUrl};
    use crate::text::CleanText;

    const HEIGHT: usize = 4;

    fn sites(count: usize) -> Arc<[Site]> {
        let site = |number| {
            let url = SiteUrl::parse(&format!("https://shop-{number}.example.com")).unwrap();
            Site {
                name: CleanText::note(&format!("shop-{number}")),
                backend: url.backend().into(),
                url,
                group: None,
                mode: SiteMode::Any,
                master_key: MasterKeyId(0),
                enabled: true,
            }
        };
        (0..count).map(site).collect()
    }

    fn pushes() -> impl Strategy<Value = Push> {
        prop_oneof![
            Just(Push::Idle),
            Just(Push::Queued),
            Just(Push::Sending),
            Just(Push::Stored),
            Just(Push::Failed(Cause::Timeout)),
        ]
    }

    /// What happens to a list.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Push(usize, Push),
        Filter(&'static str),
        Move(usize),
        Mark(usize),
        Turn,
        Arrange,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let filters = prop_oneof![
            Just(""),
            Just("push:failed"),
            Just("shop-1"),
            Just("!push:stored")
        ];
        let step = prop_oneof![
            (0..12usize, pushes()).prop_map(|(site, push)| Step::Push(site, push)),
            filters.prop_map(Step::Filter),
            (0..15usize).prop_map(Step::Move),
            (0..12usize).prop_map(Step::Mark),
            Just(Step::Turn),
            Just(Step::Arrange),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// A list as the model has one.
    struct Trial {
        sites: Arc<[Site]>,
        states: Vec<SiteState>,
        filter: Filter,
        list: List,
        now: Moment,
    }

    impl Trial {
        fn new() -> Self {
            let sites = sites(12);
            let states = vec![SiteState::default(); sites.len()];
            Self {
                list: List::new(&sites, &states),
                sites,
                states,
                filter: Filter::default(),
                now: Moment {
                    since_start: Duration::ZERO,
                    wall: jiff::Timestamp::UNIX_EPOCH,
                },
            }
        }

        fn has_failed(&self, site: usize) -> bool {
            matches!(self.states[site].push, Push::Failed(_))
        }

        fn passes(&self) -> Vec<bool> {
            let looked = |index: usize| Looked {
                site: &self.sites[index],
                state: &self.states[index],
                acknowledgement: None,
                clock: &|_| String::new(),
            };
            (0..self.sites.len())
                .map(|index| self.filter.matches(&looked(index)))
                .collect()
        }

        fn take(&mut self, step: Step) {
            self.now = self.now + Duration::from_millis(100);
            match step {
                Step::Push(site, push) => {
                    self.states[site].push = push;
                    let failed = (usize::from(self.has_failed(site)), 0);
                    self.list.set_failed(SiteId::at(site), failed);
                    let looked = Looked {
                        site: &self.sites[site],
                        state: &self.states[site],
                        acknowledgement: None,
                        clock: &|_| String::new(),
                    };
                    self.list.change(SiteId::at(site), &looked, &self.filter);
                }
                Step::Filter(text) => {
                    self.filter.set(text);
                    let passes = self.passes();
                    self.list.filter(passes.into_iter(), HEIGHT);
                }
                Step::Move(place) => self.list.move_to(place, self.now, HEIGHT),
                Step::Mark(site) => {
                    let mark = !self.list.is_marked(SiteId::at(site));
                    self.list.mark(SiteId::at(site), mark);
                }
                Step::Turn => {
                    let sort = self.list.sort();
                    let keys: Vec<SortKey> = self.list.keys.clone();
                    let sort = Sort {
                        turned: !sort.turned,
                        ..sort
                    };
                    self.list.sort_by(sort, keys.into_iter(), HEIGHT);
                }
                Step::Arrange => self.list.arrange(self.now, HEIGHT),
            }
        }

        /// After the order had its rest.
        fn arrange(&mut self) {
            self.now = self.now + RESTS;
            self.list.arrange(self.now, HEIGHT);
        }
    }

    proptest! {
        #[test]
        fn the_list_shows_what_passes_in_order(steps in steps()) {
            let mut trial = Trial::new();
            for step in steps {
                trial.take(step);
                let list = &trial.list;
                prop_assert!(list.cursor < list.len().max(1));
                prop_assert!((list.top..list.top + HEIGHT).contains(&list.cursor));
            }
            let selected = trial.list.selected();
            trial.arrange();
            let passes = trial.passes();
            let mut wanted: Vec<SiteId> = (0..12).map(SiteId::at).filter(|id| passes[id.index()]).collect();
            let rank = |id: &SiteId| attention(&trial.sites[id.index()], &trial.states[id.index()]);
            wanted.sort_by(|one, other| {
                let by_key = rank(one).cmp(&rank(other));
                let by_key = if trial.list.sort().turned { by_key.reverse() } else { by_key };
                by_key.then(one.cmp(other))
            });
            prop_assert_eq!(trial.list.order(), &wanted[..]);
            if let Some(selected) = selected.filter(|id| trial.list.moved_at.is_some() && passes[id.index()]) {
                prop_assert_eq!(trial.list.selected(), Some(selected));
            }
            let (marked, hidden) = trial.list.marked();
            prop_assert_eq!(marked.len(), trial.list.marks());
            let out_of_sight = marked.iter().filter(|id| !passes[id.index()]).count();
            prop_assert_eq!(hidden, out_of_sight);
            prop_assert_eq!(trial.list.hidden_marks(), out_of_sight);
            let listed_failed = trial.list.order().iter().filter(|id| trial.has_failed(id.index())).count();
            prop_assert_eq!(trial.list.failed(), (listed_failed, 0));
            prop_assert!(marked[..marked.len() - hidden].iter().all(|id| passes[id.index()]));
        }
    }

    #[test]
    fn the_order_rests_while_the_cursor_is_moved() {
        let mut trial = Trial::new();
        trial.take(Step::Move(5));
        trial.take(Step::Push(11, Push::Failed(Cause::Timeout)));
        trial.take(Step::Arrange);
        assert_eq!(trial.list.order()[0], SiteId::at(0));
        trial.arrange();
        assert_eq!(trial.list.order()[0], SiteId::at(11));
        assert_eq!(trial.list.selected(), Some(SiteId::at(5)));
    }

    #[test]
    fn an_untouched_cursor_stays_on_top() {
        let mut trial = Trial::new();
        trial.take(Step::Push(11, Push::Failed(Cause::Timeout)));
        trial.take(Step::Arrange);
        assert_eq!(trial.list.selected(), Some(SiteId::at(11)));
    }
}
