use std::time::Duration;

use super::printer::{Printer, Telling};
use super::session::Session;
use super::signals::{End, Signals};
use super::status::Status;
use super::watching::{Found, Wants, Watching};
use crate::engine::{Command, Event, sleep_until};
use crate::report::json;
use crate::rules::run::RunPhase;
use crate::site::SiteId;
use crate::text::Count;

/// How long what is out, and what is told to others, may take in the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Watches these sites until a signal ends it: a line for each change, and one for each look at all of them.
///
/// SIGTERM is how a service is stopped: that is a good end.
pub(super) async fn watch(
    mut session: Session,
    selection: Vec<SiteId>,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let mut teller = Teller {
        printer: Printer::start(telling)?,
        telling,
        is_sending: false,
    };
    let mut watching = Watching::begin(&session, selection)?;
    let end = loop {
        let wants = tokio::select! {
            event = session.events.recv() => match event {
                Some(event) => {
                    session.take_note(&event);
                    teller.take(&event);
                    watching.take(&event)
                }
                None => anyhow::bail!("the part that looks has ended by a fault of the program: please report it"),
            },
            () = sleep_until(watching.due()) => watching.tick(),
            Some(failure) = watching.failure() => {
                teller.printer.happens(failure);
                Wants::Nothing
            }
            end = signals.ended() => break end,
        };
        match wants {
            Wants::Nothing => {}
            Wants::Order(command) => session.local.order(command),
            Wants::Judgement => {
                let found = watching.judge(&session.acknowledged).await;
                teller.tell(&found, &watching);
                if let Some(plan) = found.retry.filter(|_| !teller.is_sending) {
                    session.local.order(Command::Push(plan));
                }
            }
        }
    };
    let farewell = async {
        leave(&mut session, &teller).await;
        for failure in watching.finish(FAREWELL).await {
            teller.printer.happens(failure);
        }
        teller.printer.finish(true).await;
    };
    tokio::select! {
        () = farewell => {}
        // Once more: what has happened is on record all the same.
        _ = signals.ended() => {}
    }
    session.close().await;
    Ok(match end {
        End::Interrupted => Status::Interrupted,
        End::Terminated => Status::Good,
    })
}

/// What is out of a run ends, and goes on record; looks that are out do not matter.
async fn leave(session: &mut Session, teller: &Teller) {
    let order = if teller.is_sending {
        Command::Stop
    } else {
        Command::End
    };
    session.local.handle.send(order);
    let ended = async {
        while let Some(event) = session.events.recv().await {
            session.take_note(&event);
        }
    };
    if tokio::time::timeout(FAREWELL, ended).await.is_err() {
        tracing::warn!("the watch ends before what is out has ended");
    }
}

struct Teller {
    printer: Printer,
    telling: Telling,
    /// Whether a run of this process goes on.
    is_sending: bool,
}

impl Teller {
    /// What happens besides looks: the retries of owed sites.
    fn take(&mut self, event: &Event) {
        match event {
            Event::Run(run) => {
                let was_sending = std::mem::replace(&mut self.is_sending, run.phase != RunPhase::Settled);
                if was_sending != self.is_sending {
                    let goes = if self.is_sending {
                        "sends what is owed"
                    } else {
                        "settled"
                    };
                    self.printer.happens(format!(
                        "run {} {goes}: {} to {}",
                        run.id.0,
                        run.key,
                        Count(run.puts, "site")
                    ));
                }
            }
            Event::Message(message) => self.printer.happens(message.text.clone()),
            Event::Refused(why) => self.printer.happens(format!("nothing sent: {why}")),
            Event::NotBegun(error) => self.printer.happens(format!("nothing sent: {error}")),
            _ => {}
        }
    }

    fn tell(&self, found: &Found, watching: &Watching) {
        for notice in &found.notices {
            self.printer.out(match self.telling {
                Telling::Json => json::notice(notice),
                _ => format!("{} {}", watching.now(), notice.sentence()),
            });
        }
        for remark in &found.remarks {
            tracing::warn!("watch: {remark}");
            self.printer.happens(remark.clone());
        }
        let next = watching.next();
        if self.telling == Telling::Json {
            return self
                .printer
                .out(json::watch(&found.tally, watching.moment(), next));
        }
        let words = found.tally.verify_words();
        let words: Vec<String> = words.map(|(word, count)| format!("{count} {word}")).collect();
        self.printer.out(format!(
            "{} looked at {}: {}; next look {}",
            watching.now(),
            Count(found.tally.sites(), "site"),
            words.join(", "),
            watching.clock(next)
        ));
    }
}
