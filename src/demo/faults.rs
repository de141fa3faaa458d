use std::time::Duration;

use super::template::{Answering, Asked, Reply};
use super::wire::Spoken;

/// What the demo's own sites answer.
mod shops;
/// Answers that no template site gives, but whole ones.
mod answers;
/// Text that is written to harm who shows it.
mod hostile;
/// What is odd on the connection itself.
mod spoken;
/// FAULTS, whole.
mod table;

pub use table::FAULTS;

/// What is odd about a site of the fleet. Each has a row in [`FAULTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    Healthy,
    /// It takes its time.
    Slow,
    /// Its first two PUTs fail.
    NeedsTwoRetries,
    /// It asks to slow down once.
    AsksToSlowDown,
    /// It takes another master key.
    OtherMasterKey,
    /// Nothing listens there.
    Dead,
    /// Several processes keep what they read in memory.
    CachingProcesses,
    /// What is PUT goes to another tenant than what the GET reads.
    OtherTenant,
    /// It answers success and stores nothing.
    StoresNothing,
    /// It answers 200 and says that it failed.
    SaysNotStored,
    /// It shows a page.
    HtmlPage,
    /// It points elsewhere.
    Redirects,
    /// It shows a secret key.
    ExposesSecret,
    /// It answers like an older version.
    OldVersion,
    /// It has no key yet.
    NoKeyYet,
    /// It shares a server that fails above two calls at once.
    SharedBackend,
    /// It answers 201.
    Created,
    /// It answers 204.
    NoContent,
    /// It answers 200 without a body.
    EmptyBody,
    /// Its text is no UTF-8.
    InvalidUtf8,
    /// Its JSON has an end too few.
    InvalidJson,
    /// Its JSON is nested too deep for any parser.
    DeepJson,
    /// Its JSON has the right fields with the wrong types.
    WrongTypes,
    /// It answers a small body that unpacks to a gigabyte.
    GzipBomb,
    /// It redirects to itself.
    RedirectLoop,
    /// It redirects to an address without TLS.
    RedirectToHttp,
    /// It redirects to another host.
    RedirectToOtherHost,
    /// It redirects to the machine of the one who asks.
    RedirectToLoopback,
    /// It asks to wait for a year.
    RetryAfterYear,
    /// It asks to wait for less than no time.
    RetryAfterNegative,
    /// It asks to wait, and nobody can tell how long.
    RetryAfterGarbage,
    /// Its clock is an hour ahead, and it says by that clock when it may be asked again.
    ClockHourOff,
    /// Escapes for a terminal stand in its error.
    EscapesInBody,
    /// Marks that turn the direction of text stand in its error.
    BidiInBody,
    /// NUL stands in its error.
    NulInBody,
    /// It answers a line of a megabyte.
    LongLineInBody,
    /// Its error looks like lines of the log.
    FakedLogInBody,
    /// It answers with the headers of the request.
    EchoesKey,
    /// It answers with the headers of the request, each letter escaped.
    EchoesKeyEscaped,
    /// It answers with the headers of the request as in an address.
    EchoesKeyEncoded,
    /// It answers with the headers of the request in a header of its own.
    EchoesKeyInHeader,
    /// It answers with the headers of the request where nobody reads on.
    EchoesKeyAtCut,
    /// What it is asked to store, it stores when nobody waits for the answer any more.
    StoredLate,
    /// It sleeps, and is awake some seconds after it was first asked.
    Asleep,
    /// It takes a request and never answers.
    NeverAnswers,
    /// It resets the connection where its answer would be.
    ResetBeforeAnswer,
    /// It resets the connection behind the headers.
    ResetBeforeBody,
    /// It resets the connection within the body.
    ResetInBody,
    /// It resets the connection behind a whole answer.
    ResetAfterBody,
    /// It sends its headers a byte a second.
    DripsHeaders,
    /// It sends its body a byte a second.
    DripsBody,
    /// Its headers have no end.
    EndlessHeaders,
    /// Its body has no end.
    EndlessBody,
    /// Interim answers (1xx) without end.
    EndlessContinue,
    /// 101, which nobody asked for.
    SwitchesProtocols,
    /// It announces a body of 10 GB and sends it.
    TenGigabytes,
    /// Its body ends before the length that it announced.
    LengthTooLong,
    /// Its body goes on behind the length that it announced.
    LengthTooShort,
    /// It speaks HTTP/1.0.
    Http10,
    /// It stores the key, and its answer is cut.
    StoredAnswerCut,
    /// Escapes for a terminal stand in its headers.
    EscapesInHeaders,
    /// Marks that turn the direction of text stand in its headers.
    BidiInHeaders,
    /// NUL stands in its headers.
    NulInHeaders,
    /// It sends a header of a megabyte.
    LongLineInHeaders,
    /// Its headers look like lines of the log.
    FakedLogInHeaders,
    /// It resets the connection before the handshake.
    ResetAtConnect,
    /// Its certificate has expired.
    TlsExpired,
    /// Its certificate is for another host.
    TlsOtherHost,
    /// Its certificate is of an authority that nobody knows.
    TlsUnknownAuthority,
    /// It speaks TLS 1.0.
    TlsOldVersion,
    /// It takes the connection and leaves the handshake there.
    TlsHangs,
}

/// All that a fault is.
#[derive(Debug)]
pub struct FaultRow {
    /// Which one.
    pub fault: Fault,
    /// Its name on the command line.
    pub word: &'static str,
    /// The demo's sites that have it; none where it is played only when it is asked for.
    pub names: &'static [&'static str],
    /// What such a site does, for people.
    pub sentence: &'static str,
    /// Whether [`super::Fleet::heal`] mends it.
    pub sick: bool,
    /// How it is played.
    pub(super) plays: Plays,
    /// How long a request is on its way to the site, at its usual pace.
    pub(super) arrives: Arrives,
}

/// At which level a fault is played.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plays {
    /// A whole answer, of HTTP.
    Answers(fn(&mut Answering<'_>, &Asked) -> Reply),
    /// Bytes on a connection whose handshake was good.
    Speaks(fn(&mut Answering<'_>, &Asked) -> Spoken),
    /// The connection itself.
    Shakes(Handshake),
    /// Nothing listens.
    Refuses,
}

/// What is odd before there is a connection to ask on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Handshake {
    /// A certificate that has expired.
    Expired,
    /// A certificate for another host.
    OtherHost,
    /// A certificate of an authority that nobody was told of.
    UnknownAuthority,
    /// TLS 1.0.
    OldVersion,
    /// Nothing ever comes.
    Hangs,
    /// The connection is reset.
    Reset,
}

/// When a request arrives at the site; whether its client still waits then is all the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arrives {
    AtOnce,
    /// A PUT that stores comes later.
    PutsLate(Duration),
    /// Nothing comes before so much time has passed since the first request.
    WhenAwake(Duration),
}

const fn row(fault: Fault, word: &'static str, plays: Plays, sentence: &'static str) -> FaultRow {
    FaultRow {
        fault,
        word,
        names: &[],
        sentence,
        sick: false,
        plays,
        arrives: Arrives::AtOnce,
    }
}

impl FaultRow {
    const fn sick(mut self) -> Self {
        self.sick = true;
        self
    }

    /// The demo's sites that have it.
    const fn of(mut self, names: &'static [&'static str]) -> Self {
        self.names = names;
        self
    }

    const fn arrives(mut self, arrives: Arrives) -> Self {
        self.arrives = arrives;
        self
    }
}

impl Fault {
    /// Its row in [`FAULTS`].
    pub fn row(self) -> &'static FaultRow {
        let row = &FAULTS[self as usize];
        debug_assert_eq!(row.fault, self, "FAULTS is in the order of the enum");
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_in_order() {
        for (index, row) in FAULTS.iter().enumerate() {
            assert_eq!(row.fault as usize, index);
        }
    }

    #[test]
    fn each_has_a_word_and_a_sentence_of_its_own() {
        let words: HashSet<_> = FAULTS.iter().map(|row| row.word).collect();
        let sentences: HashSet<_> = FAULTS.iter().map(|row| row.sentence).collect();
        assert_eq!((words.len(), sentences.len()), (FAULTS.len(), FAULTS.len()));
        let is_of_a_word =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        for word in words {
            assert!(
                word.starts_with(|first: char| first.is_ascii_lowercase()),
                "{word}"
            );
            assert!(word.chars().all(is_of_a_word), "{word}");
        }
    }

    #[test]
    fn what_is_only_played_when_asked_for_can_be_mended() {
        for row in FAULTS.iter().filter(|row| row.fault != Fault::Healthy) {
            assert!(row.sick || !row.names.is_empty(), "{}", row.word);
        }
    }
}
