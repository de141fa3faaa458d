use std::io;

use super::wire::{ClientLine, invalid};
use crate::engine::Command;
use crate::rules::plan::PlanRow;
use crate::site::SiteId;

/// Rows in a line: with the longest keys they take less than half of the longest line.
const ROWS: usize = 512;
/// Sites in a line.
const SITES: usize = 32 * 1024;

/// An order as lines.
pub(super) fn split(mut order: Command) -> Vec<ClientLine> {
    let mut rows = Vec::new();
    let mut sites = Vec::new();
    match &mut order {
        Command::Push(plan) => rows = std::mem::take(&mut plan.rows),
        Command::Retry { sites: named, .. }
        | Command::Look { sites: named, .. }
        | Command::Acknowledge { sites: named, .. } => {
            sites = std::mem::take(named);
        }
        _ => {}
    }
    let rows = rows.chunks(ROWS).map(|rows| ClientLine::Rows(rows.to_vec()));
    let sites = sites.chunks(SITES).map(|sites| ClientLine::Sites(sites.to_vec()));
    let mut lines: Vec<ClientLine> = rows.chain(sites).collect();
    lines.push(ClientLine::Order(order));
    lines
}

/// Puts orders together from a client's lines.
#[derive(Debug)]
pub(super) struct Orders {
    rows: Vec<PlanRow>,
    sites: Vec<SiteId>,
    /// The sites that the order names so far, by their places: each may be there once.
    named: Vec<bool>,
}

impl Orders {
    /// For a list of so many sites.
    pub(super) fn new(sites: usize) -> Self {
        Self {
            rows: Vec::new(),
            sites: Vec::new(),
            named: vec![false; sites],
        }
    }

    /// The order that a line completes.
    ///
    /// # Errors
    /// When the line names a site that is not in the list or was named before, or completes an order that has
    /// no use for the sites before it. An engine would not stand that.
    pub(super) fn take(&mut self, line: ClientLine) -> io::Result<Option<Command>> {
        match line {
            ClientLine::Rows(rows) => {
                self.name(rows.iter().map(|row| row.site))?;
                self.rows.extend(rows);
                Ok(None)
            }
            ClientLine::Sites(sites) => {
                self.name(sites.iter().copied())?;
                self.sites.extend(sites);
                Ok(None)
            }
            ClientLine::Order(order) => self.complete(order).map(Some),
        }
    }

    fn name(&mut self, sites: impl Iterator<Item = SiteId>) -> io::Result<()> {
        for site in sites {
            match self.named.get_mut(site.index()) {
                Some(named) if !*named => *named = true,
                Some(_) => return Err(invalid("an order that names a site twice")),
                None => return Err(invalid("an order that names a site outside of the list")),
            }
        }
        Ok(())
    }

    fn complete(&mut self, mut order: Command) -> io::Result<Command> {
        match &mut order {
            Command::Push(plan) => {
                self.name(plan.rows.iter().map(|row| row.site))?;
                plan.rows.splice(0..0, self.rows.drain(..));
            }
            Command::Retry { sites, .. }
            | Command::Look { sites, .. }
            | Command::Acknowledge { sites, .. } => {
                self.name(sites.iter().copied())?;
                sites.splice(0..0, self.sites.drain(..));
            }
            _ => {}
        }
        if !self.rows.is_empty() || !self.sites.is_empty() {
            return Err(invalid("sites before an order that names none"));
        }
        self.named.fill(false);
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{FROM_CLIENT, append};
    use super::*;
    use crate::key::PublishableKey;
    use crate::rules::plan::{Plan, PlanAction};
    use crate::rules::run::Kind;
    use crate::rules::state::{Allow, Served};

    fn retry(sites: Vec<SiteId>) -> Command {
        let allow = Allow::default();
        Command::Retry { sites, allow }
    }

    #[test]
    fn a_large_plan_with_the_longest_keys_goes_in_lines_of_bounded_length() {
        let key = PublishableKey::parse(&format!("pk_live_{}", "x".repeat(247))).unwrap();
        let row = |site| PlanRow {
            wave: 0,
            is_dead: false,
            site: SiteId(u32::MAX - site),
            action: PlanAction::Skip(crate::rules::status::SkipReason::ChangedMeanwhile),
            key: key.clone(),
            serves: Served::Key(key.clone()),
            doubtful: false,
        };
        let plan = Plan {
            rollout: crate::rules::rollout::Rollout::default(),
            kind: Kind::Push,
            parent: None,
            key: key.clone(),
            rows: (0..2000).map(row).collect(),
            allow: Allow::default(),
            dangers: Vec::new(),
        };
        let sites = (0..100_000).map(|site| SiteId(u32::MAX - site)).collect();
        for order in [Command::Push(plan), retry(sites)] {
            let lines = split(order);
            assert!(lines.len() > 4);
            for line in &lines {
                append(&mut Vec::new(), line, FROM_CLIENT / 2).unwrap();
            }
        }
    }

    #[test]
    fn an_order_comes_back_whole_and_the_next_one_begins_anew() {
        let sites: Vec<SiteId> = (0..100_000).rev().map(SiteId).collect();
        let mut orders = Orders::new(sites.len());
        for order in [retry(sites.clone()), retry(sites), Command::Pause] {
            let mut done: Vec<Command> = Vec::new();
            for line in split(order.clone()) {
                done.extend(orders.take(line).unwrap());
            }
            assert_eq!(done, [order]);
        }
    }

    #[test]
    fn what_an_engine_would_not_stand_is_refused() {
        let sites = |sites: &[u32]| ClientLine::Sites(sites.iter().copied().map(SiteId).collect());
        let refused = |lines: Vec<ClientLine>| {
            let mut orders = Orders::new(3);
            lines.into_iter().any(|line| orders.take(line).is_err())
        };
        assert!(refused(vec![sites(&[3])]));
        assert!(refused(vec![sites(&[1, 1])]));
        assert!(refused(vec![sites(&[1]), sites(&[1])]));
        assert!(refused(vec![ClientLine::Order(retry(vec![SiteId(u32::MAX)]))]));
        assert!(refused(vec![
            sites(&[1]),
            ClientLine::Order(retry(vec![SiteId(1)]))
        ]));
        assert!(refused(vec![sites(&[1]), ClientLine::Order(Command::Pause)]));
        assert!(!refused(vec![
            sites(&[1]),
            ClientLine::Order(retry(vec![SiteId(2)]))
        ]));
    }
}
