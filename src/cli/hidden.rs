use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::bail;
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::status::Interrupted;

/// A question on the terminal that hides what is typed. One thread asks and waits for the answer; who does not wait
/// any more gives the terminal back. Whichever comes first, it is as it was then, and stays so.
#[derive(Clone, Default)]
pub(super) struct Hidden(Arc<Mutex<Terminal>>);

#[derive(Default)]
enum Terminal {
    /// Nothing was asked yet, or the answer is there.
    #[default]
    AsItWas,
    /// It hides what is typed; how it was before.
    Taken(Box<Termios>),
    /// Nobody waits for an answer: it must not be taken any more.
    GivenUp,
}

impl Hidden {
    /// Asks for a line of at most so many bytes.
    ///
    /// # Errors
    /// [`Interrupted`], if it was given up before the terminal was taken.
    pub(super) fn ask(&self, question: &str, limit: usize) -> anyhow::Result<Zeroizing<String>> {
        self.take()?;
        say(question);
        let line = read_line(limit);
        self.give_back(Terminal::AsItWas);
        Ok(line?)
    }

    /// Nobody waits for the answer.
    pub(super) fn give_up(&self) {
        self.give_back(Terminal::GivenUp);
    }

    fn take(&self) -> anyhow::Result<()> {
        let mut terminal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*terminal, Terminal::GivenUp) {
            bail!(Interrupted);
        }
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin)?;
        let mut hiding = before.clone();
        hiding.local_modes.remove(LocalModes::ECHO);
        hiding.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(stdin, OptionalActions::Now, &hiding)?;
        *terminal = Terminal::Taken(Box::new(before));
        Ok(())
    }

    fn give_back(&self, next: Terminal) {
        let mut terminal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Terminal::Taken(before) = &*terminal {
            // It may be gone: then there is nothing to give back.
            let _gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
        if !matches!(*terminal, Terminal::GivenUp) {
            *terminal = next;
        }
    }
}

/// On the terminal, wherever the standard streams go.
fn say(question: &str) {
    let terminal = File::options().write(true).open("/dev/tty");
    // Where it cannot be asked, the answer is waited for all the same.
    let _unseen = match terminal {
        Ok(mut terminal) => terminal.write_all(question.as_bytes()),
        Err(_) => std::io::stderr().write_all(question.as_bytes()),
    };
}

/// A line of the terminal, with nothing of it left in a buffer.
fn read_line(limit: usize) -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(vec![0; limit]);
    let mut length = 0;
    while length < limit && !line[..length].contains(&b'\n') {
        match rustix::io::read(rustix::stdio::stdin(), &mut line[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Zeroizing::new(
        String::from_utf8_lossy(&line[..length]).into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_was_given_up_is_not_taken() {
        let hidden = Hidden::default();
        hidden.give_up();
        let refused = hidden.ask("key: ", 10).unwrap_err();
        assert!(refused.is::<Interrupted>());
    }
}
