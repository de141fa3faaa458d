use std::time::Duration;

use super::printer::{Printer, Telling};
use super::session::Session;
use super::signals::{End, Signals};
use super::status::Status;
use super::watching::{Found, Wants, Watching};
use crate::engine::{Command, Event, sleep_until};
use crate::report::json;
use crate::rules::run::{Halt, RunPhase};
use crate::site::SiteId;
use crate::text::Count;

/// How long what is out, and what is told to others, may take in the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Watches these sites until a signal ends it: a line for each change, and one for each look at all of them. Returns none
/// where it is to begin anew, on what config and sources are by then.
///
/// SIGTERM is how a service is stopped: that is a good end.
pub(super) async fn watch(
    mut session: Session,
    selection: Vec<SiteId>,
    telling: Telling,
    sends: bool,
    signals: &mut Signals,
) -> anyhow::Result<Option<Status>> {
    let mut teller = Teller {
        printer: Printer::start(telling)?,
        telling,
        is_sending: false,
    };
    let mut watching = Watching::begin(&session, selection)?;
    let mut reloads = false;
    let end = loop {
        // A run on the sites of before goes to its end first.
        if reloads && !teller.is_sending {
            break End::Reload;
        }
        let wants = tokio::select! {
            event = session.events.recv() => match event {
                Some(event) => {
                    session.take_note(&event);
                    teller.take(&event);
                    if let Some(word) = goes_on(&event) {
                        session.local.order(word);
                    }
                    watching.take(&event)
                }
                None => anyhow::bail!("the part that looks has ended by a fault of the program: please report it"),
            },
            () = sleep_until(watching.due()) => watching.tick(),
            wants = watching.beside() => wants,
            end = signals.ended_or_reload() => match end {
                End::Reload => {
                    reloads = true;
                    Wants::Nothing
                }
                end => break end,
            },
        };
        match wants {
            Wants::Order(command) => session.local.order(command),
            Wants::Judgement(of) => {
                let found = watching.judge(&session.acknowledged, of).await;
                teller.tell(&found, &watching);
            }
            Wants::Remark(remark) => teller.printer.happens(remark),
            // While one goes on it is tried again behind the next look.
            Wants::Retry(plan) if sends && !teller.is_sending => session.local.order(Command::Push(plan)),
            Wants::Nothing | Wants::Retry(_) => {}
        }
    };
    let mut has_lost = false;
    tokio::select! {
        () = farewell(&mut session, watching, &teller) => has_lost = teller.printer.has_lost(),
        // Once more: what has happened is on record all the same.
        _ = signals.ended() => {}
    }
    session.close().await;
    Ok(match end {
        End::Interrupted => Some(Status::Interrupted),
        End::Terminated if has_lost => Some(Status::Bad),
        End::Terminated => Some(Status::Good),
        End::Reload => None,
    })
}

async fn farewell(session: &mut Session, watching: Watching, teller: &Teller) {
    leave(session, teller).await;
    for failure in watching.finish(FAREWELL).await {
        teller.printer.happens(failure);
    }
    teller.printer.finish(true).await;
}

/// How a retry goes on that holds by itself: nobody is here to say so. What it did not reach is cancelled, and is the
/// operator's to send.
fn goes_on(event: &Event) -> Option<Command> {
    let halt = match event {
        Event::Halted(halt, _) => halt,
        // All else of it is sent.
        Event::Run(run) if run.phase == RunPhase::Halted => {
            let not_asked = matches!(run.halt, Some(Halt::RefusedKey { .. }));
            return not_asked.then_some(Command::Cancel);
        }
        _ => return None,
    };
    match halt {
        Halt::NextWave { .. } => Some(Command::GoOn),
        // It does not hold as long as others are sent: only sites that use that master key are left out.
        Halt::RefusedKey { .. } => None,
        Halt::Canary | Halt::StopAfter { .. } | Halt::DeadKey | Halt::Unrecorded => Some(Command::Cancel),
    }
}

/// What is out of a run ends, and goes on record; looks that are out do not matter.
async fn leave(session: &mut Session, teller: &Teller) {
    let order = if teller.is_sending {
        Command::Stop
    } else {
        Command::End
    };
    session.local.send(order);
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
            Event::Store { note, .. } => self.printer.happens(note.clone()),
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
        let Some(tally) = &found.tally else { return };
        let next = watching.next();
        if self.telling == Telling::Json {
            return self.printer.out(json::watch(tally, watching.moment(), next));
        }
        let words = tally.verify_words();
        let words: Vec<String> = words.map(|(word, count)| format!("{count} {word}")).collect();
        self.printer.out(format!(
            "{} looked at {}: {}; next look {}",
            watching.now(),
            Count(tally.sites(), "site"),
            words.join(", "),
            watching.clock(next)
        ));
    }
}
