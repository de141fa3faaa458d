use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::UnboundedReceiver;

use super::master_keys::MasterKeys;
use crate::cli::gate::{Bound, Gate, Refused};
use crate::engine::{Command, Handle};
use crate::site::SiteId;

/// Who judges what a session is ordered to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Judged {
    /// Root's policy, if there is one.
    ByPolicy,
    /// Nobody: its sites are the demo's.
    ByNobody,
}

impl Judged {
    pub(super) fn gate(self, bound: impl FnOnce() -> Bound) -> Gate {
        match self {
            Self::ByPolicy => Gate::Bound(Box::new(bound())),
            Self::ByNobody => Gate::Demo,
        }
    }
}

/// The engine of this process, and the master keys that it needs.
///
/// The handle stays in here: each order that sends is judged by the policy before the engine has it.
#[derive(Clone)]
pub(in crate::cli) struct Local {
    handle: Handle,
    pub(in crate::cli) master_keys: Arc<MasterKeys>,
    pub(in crate::cli) gate: Arc<Gate>,
    /// How often the run was held, or its rest cancelled. Who says that it goes on is judged, and does not undo what was
    /// ordered meanwhile.
    holds: Arc<AtomicU64>,
}

impl Local {
    pub(super) fn new(handle: Handle, master_keys: MasterKeys, gate: Gate) -> Self {
        Self {
            handle,
            master_keys: Arc::new(master_keys),
            gate: Arc::new(gate),
            holds: Arc::default(),
        }
    }

    /// Begins what sends, once its master keys are read.
    ///
    /// # Errors
    /// The policy does not let this user do it: nothing is sent.
    pub(in crate::cli) async fn begin(&self, command: Command) -> Result<(), Refused> {
        self.gate.judge(&command).await?;
        self.pass(command);
        Ok(())
    }

    /// Gives an order that sends nothing. One that sends takes the way of [`Local::order`].
    pub(in crate::cli) fn send(&self, command: Command) {
        if command.is_answered() || command == Command::GoOn {
            self.order(command);
        } else {
            self.hand_on(command);
        }
    }

    /// What is judged by nobody.
    fn hand_on(&self, command: Command) {
        if matches!(command, Command::Pause | Command::Cancel | Command::Stop) {
            self.holds.fetch_add(1, Ordering::SeqCst);
        }
        self.handle.send(command);
    }

    fn pass(&self, command: Command) {
        self.gate.note(&command);
        self.handle.send(command);
    }

    /// Gives an order to the engine, once the master keys that it needs are read. That may take seconds (a
    /// command): nothing waits for it. If one cannot be read, the engine's events tell that nothing is sent.
    pub(in crate::cli) fn order(&self, command: Command) {
        let needed: Vec<SiteId> = match &command {
            Command::Push(plan) => plan.put_sites().collect(),
            Command::Retry { sites, .. } => sites.clone(),
            Command::Resume(run) => run.sites.clone(),
            // Its master keys are read, but for those that sites have refused since.
            Command::GoOn if self.gate.is_halted_to_prove() || self.master_keys.is_any_refused() => {
                self.master_keys.sites_of_refused()
            }
            _ => return self.hand_on(command),
        };
        let holds = self.holds.load(Ordering::SeqCst);
        let local = self.clone();
        tokio::spawn(async move {
            let refuse = |why| local.handle.send(Command::Refuse(why));
            if let Err(refused) = local.gate.judge(&command).await {
                return refuse(refused.to_string());
            }
            if let Err(error) = local.master_keys.load(&needed).await {
                return refuse(format!("{error:#}"));
            }
            if command == Command::GoOn && local.holds.load(Ordering::SeqCst) != holds {
                return;
            }
            local.pass(command);
        });
    }
}

/// Carries out what the screens of other processes order. They steer the run; they do not begin another one here.
pub(super) async fn take_orders(local: Local, mut orders: UnboundedReceiver<Command>) {
    while let Some(order) = orders.recv().await {
        match order {
            Command::Stop => local.order(Command::Cancel),
            order @ (Command::Retry { .. }
            | Command::Look { .. }
            | Command::Acknowledge { .. }
            | Command::Pause
            | Command::GoOn
            | Command::Cancel) => local.order(order),
            _ => {}
        }
    }
}
