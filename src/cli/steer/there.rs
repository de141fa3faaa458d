use super::Steer;
use crate::cli::gate::Refused;
use crate::engine::{Command, Event};
use crate::tui::Message;

/// An order to the run of another process, once this process's user was judged.
pub(super) struct Judged {
    order: Command,
    /// Whose run it is for.
    pid: u32,
    /// How many holds were ordered before it.
    holds: u64,
    answer: Result<(), Refused>,
}

impl Steer {
    /// Gives an order to the run that this screen is attached to. That process is somebody's who may send: whether the
    /// one who orders may is judged here, and nothing waits for it.
    pub(super) fn order_there(&mut self, order: Command) {
        let Some(remote) = &self.remote else { return };
        if !matches!(order, Command::Retry { .. } | Command::GoOn) {
            self.holds += u64::from(matches!(order, Command::Pause | Command::Cancel | Command::Stop));
            // Its end is told by its events.
            let _ended = remote.attached.orders.send(order);
            return;
        }
        let (pid, holds, run) = (remote.holder.by.pid, self.holds, remote.run.clone());
        let gate = self.session.local.gate.clone();
        self.judging.spawn(async move {
            let answer = gate.judge_there(&order, run.as_ref()).await;
            Judged {
                order,
                pid,
                holds,
                answer,
            }
        });
    }

    /// Passes on what may be ordered; says why, where it may not.
    pub(super) fn pass_on(&mut self, judged: Judged) {
        let Judged {
            order,
            pid,
            holds,
            answer,
        } = judged;
        let is_answered = order.is_answered();
        if let Err(refused) = answer {
            self.say(Message::Engine(Event::Refused(refused.to_string())));
        } else if order == Command::GoOn && holds < self.holds {
            // A pause was ordered since, and goes before it.
        } else if let Some(remote) = self.remote.as_ref().filter(|remote| remote.holder.by.pid == pid) {
            let _ended = remote.attached.orders.send(order);
            return;
        }
        if is_answered {
            self.say(Message::Engine(Event::Taken));
        }
    }
}
