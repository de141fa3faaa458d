use super::{Model, SMALLEST};

impl Model {
    /// Whether nothing of the picture has room, so that nothing can be ordered from it.
    pub fn is_too_small(&self) -> bool {
        self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1
    }

    /// How many lines the footer has.
    pub(in crate::tui) fn footer_height(&self) -> u16 {
        if self.size.0 >= 100 { 2 } else { 1 }
    }

    /// How many lines there are for the newest failure and for how long requests take: by the size alone, so that
    /// nothing moves when a run begins.
    pub(in crate::tui) fn live_height(&self) -> u16 {
        if self.size.1 >= 30 { 2 } else { 0 }
    }

    /// The row of the screen in which messages stand.
    pub(in crate::tui) fn message_row(&self) -> u16 {
        let below = self.footer_height() + self.live_height() + 1;
        self.size.1.saturating_sub(below + 1)
    }

    /// How many sites the table shows.
    pub(in crate::tui) fn table_height(&self) -> usize {
        usize::from(
            self.size
                .1
                .saturating_sub(8 + self.live_height() + self.footer_height()),
        )
    }
}
