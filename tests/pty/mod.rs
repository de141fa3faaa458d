//! A program in a pseudo-terminal, driven by keys and judged by what stands on its screen:
//! `Run::of(program).start().key("P").sees("type 24 to push")`. It waits for what the program shows, never for
//! a time in which it might have shown it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test binary needs all of it"
)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use rustix::termios::LocalModes;
use tempfile::TempDir;

/// What is waited for must come within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that is to be started in a pseudo-terminal, with nothing of this process's environment.
#[must_use]
pub(crate) struct Run {
    command: CommandBuilder,
    size: (u16, u16),
    home: TempDir,
}

impl Run {
    /// In 120 columns and 40 rows, with a home of its own.
    pub(crate) fn of(program: impl Into<OsString>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = CommandBuilder::new(program.into());
        command.env_clear();
        command.cwd(home.path());
        for (name, folder) in [
            ("HOME", ""),
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_STATE_HOME", ".local/state"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_CACHE_HOME", ".cache"),
        ] {
            command.env(name, home.path().join(folder));
        }
        let run = Self {
            command,
            size: (120, 40),
            home,
        };
        run.env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("USER", "ops")
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.arg(argument.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn size(mut self, columns: u16, rows: u16) -> Self {
        self.size = (columns, rows);
        self
    }

    pub(crate) fn start(self) -> Pty {
        let (columns, rows) = self.size;
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        // The terminal's modes are forgotten when nobody has it open any more.
        let path = pair.master.tty_name().unwrap();
        let tty = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let mut child = pair.slave.spawn_command(self.command).unwrap();
        let pid = Pid::from_raw(child.process_id().unwrap().try_into().unwrap()).unwrap();
        let seen = Arc::new(Seen::new(columns, rows));
        let mut output = pair.master.try_clone_reader().unwrap();
        let (shown, ended) = (Arc::clone(&seen), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                shown.change(|now| now.take(&bytes[..length]));
            }
        });
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            ended.change(|now| {
                now.ended = Some(status);
                now.show_to(now.bytes.len());
            });
        });
        Pty {
            input: pair.master.take_writer().unwrap(),
            master: pair.master,
            tty: tty.into(),
            pid,
            seen,
            home: self.home,
        }
    }
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        ..PtySize::default()
    }
}

/// What came out of the terminal.
struct Seen {
    now: Mutex<Now>,
    changed: Condvar,
}

struct Now {
    parser: vt100::Parser,
    bytes: Vec<u8>,
    /// How many of them the parser has: all but those of a frame that is still coming.
    shown: usize,
    ended: Option<ExitStatus>,
}

impl Now {
    /// As a terminal that knows synchronized updates: a frame is seen when all of it is there, or no half of it could
    /// be told from the last one.
    fn take(&mut self, bytes: &[u8]) {
        const BEGIN: &[u8] = b"\x1b[?2026h";
        const END: &[u8] = b"\x1b[?2026l";

        self.bytes.extend_from_slice(bytes);
        // The mark may come in two reads.
        let from = self.shown.saturating_sub(BEGIN.len());
        let last = |mark: &[u8]| {
            let mut windows = self.bytes[from..].windows(mark.len());
            windows.rposition(|window| window == mark)
        };
        let open = last(BEGIN).filter(|begin| last(END).is_none_or(|end| end < *begin));
        // Who was killed ends no frame.
        let open = open.filter(|_| self.ended.is_none());
        self.show_to(open.map_or(self.bytes.len(), |begin| from + begin));
    }

    fn show_to(&mut self, end: usize) {
        if end > self.shown {
            self.parser.process(&self.bytes[self.shown..end]);
            self.shown = end;
        }
    }

    fn rows(&self) -> Vec<String> {
        let screen = self.parser.screen();
        screen.rows(0, screen.size().1.get()).collect()
    }
}

impl Seen {
    fn new(columns: u16, rows: u16) -> Self {
        let [columns, rows] = [columns, rows].map(|length| NonZeroU16::new(length).unwrap());
        let now = Now {
            parser: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
            shown: 0,
            ended: None,
        };
        Self {
            now: Mutex::new(now),
            changed: Condvar::new(),
        }
    }

    /// Also after a test has panicked while it held the lock: its message is what counts.
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until it is so, at most `limit`; whether it came so.
    fn wait(&self, limit: Duration, is_so: impl Fn(&Now) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limit, |now| !is_so(now))
            .unwrap_or_else(PoisonError::into_inner);
        is_so(&waited.0)
    }
}

/// A program in a pseudo-terminal. It is killed when this is dropped.
pub(crate) struct Pty {
    input: Box<dyn Write + Send>,
    master: Box<dyn MasterPty + Send>,
    tty: File,
    pid: Pid,
    seen: Arc<Seen>,
    home: TempDir,
}

impl Pty {
    /// Presses a key: a character, `^R` for control and R, or a key by the name that the screen has for it.
    #[track_caller]
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        let bytes = bytes_of(name).unwrap_or_else(|| panic!("no terminal has a key `{name}`"));
        self.write(&bytes)
    }

    /// Types, a character a write.
    pub(crate) fn type_(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            self.write(character.to_string().as_bytes());
        }
        self
    }

    /// Pastes as a terminal does that marks what is pasted.
    pub(crate) fn paste(&mut self, text: &str) -> &mut Self {
        self.write(format!("\x1b[200~{text}\x1b[201~").as_bytes())
    }

    /// Pastes as a terminal does that knows no marks: all in one write.
    pub(crate) fn raw_paste(&mut self, text: &str) -> &mut Self {
        self.write(text.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> &mut Self {
        self.input.write_all(bytes).unwrap();
        self
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) -> &mut Self {
        self.seen.change(|now| {
            let [columns, rows] = [columns, rows].map(|length| NonZeroU16::new(length).unwrap());
            now.parser.set_size(rows, columns);
        });
        self.master.resize(size(columns, rows)).unwrap();
        self
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> &mut Self {
        rustix::process::kill_process(self.pid, signal).unwrap();
        self
    }

    /// Waits until the screen shows `text` on one line.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        self.until(&format!("`{text}` to be seen"), |now| now.shows(text))
    }

    /// Whether the screen comes to show `text` within so long.
    pub(crate) fn sees_within(&mut self, limit: Duration, text: &str) -> bool {
        self.seen.wait(limit, |now| now.shows(text))
    }

    /// Waits until no line of the screen shows `text`.
    #[track_caller]
    pub(crate) fn sees_no(&mut self, text: &str) -> &mut Self {
        self.until(&format!("`{text}` to be gone"), |now| !now.shows(text))
    }

    /// Waits until `text` has come, with the control sequences in it.
    #[track_caller]
    pub(crate) fn received(&mut self, text: &str) -> &mut Self {
        self.until(&format!("`{}` to come", text.escape_debug()), |now| {
            now.bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    #[track_caller]
    fn until(&mut self, what: &str, is_so: impl Fn(&Now) -> bool) -> &mut Self {
        let came = self.seen.wait(PATIENCE, is_so);
        assert!(came, "waited in vain for {what}.{}", self.picture());
        self
    }

    fn picture(&self) -> String {
        let now = self.seen.lock();
        let rows = now.rows().join("\n  |");
        format!(" Ended: {:?}. The screen:\n  |{rows}", now.ended)
    }

    /// What stands on the screen.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().rows().join("\n")
    }

    pub(crate) fn bytes_received(&self) -> usize {
        self.seen.lock().bytes.len()
    }

    /// All that has come, with the control sequences in it.
    pub(crate) fn received_so_far(&self) -> Vec<u8> {
        self.seen.lock().bytes.clone()
    }

    /// That `text` is in nothing that ever came, whether whole or in pieces between control sequences.
    #[track_caller]
    pub(crate) fn never_saw(&mut self, text: &str) -> &mut Self {
        let bytes = self.seen.lock().bytes.clone();
        let found = [without_sequences(&bytes), bytes]
            .iter()
            .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()));
        assert!(!found, "`{text}` came out of the terminal.{}", self.picture());
        self
    }

    /// Waits until `text`, control sequences and all, has come.
    #[track_caller]
    pub(crate) fn receives(&mut self, text: &str) -> &mut Self {
        self.until(&format!("{text:?} to come"), |now| {
            now.bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    /// How often the bell was rung.
    pub(crate) fn bells(&self) -> usize {
        String::from_utf8_lossy(&self.seen.lock().bytes)
            .matches('\u{7}')
            .count()
    }

    /// How often `bytes` came.
    pub(crate) fn times(&self, bytes: &[u8]) -> usize {
        let seen = self.seen.lock();
        let windows = seen.bytes.windows(bytes.len());
        windows.filter(|window| *window == bytes).count()
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The program's home, which is also where it was started.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// That no file in the program's home holds `text`.
    #[track_caller]
    pub(crate) fn never_wrote(&mut self, text: &str) -> &mut Self {
        let holds = holds(self.home.path(), text.as_bytes());
        assert!(!holds, "a file holds `{text}`");
        self
    }

    /// Waits until nothing has come for `silence`.
    #[track_caller]
    pub(crate) fn comes_to_rest(&mut self, silence: Duration) -> &mut Self {
        let end = Instant::now() + PATIENCE;
        while self.received_within(silence) {
            assert!(Instant::now() < end, "it never rests.{}", self.picture());
        }
        self
    }

    /// That nothing comes for so long.
    #[track_caller]
    pub(crate) fn writes_nothing_for(&mut self, silence: Duration) -> &mut Self {
        let before = self.bytes_received();
        let wrote = self.received_within(silence);
        let after = self.seen.lock().bytes[before..].escape_ascii().to_string();
        assert!(!wrote, "it wrote {after}");
        self
    }

    fn received_within(&self, limit: Duration) -> bool {
        let before = self.bytes_received();
        self.seen.wait(limit, |now| now.bytes.len() > before)
    }

    /// The lines that stand, in part or whole, in reverse video.
    pub(crate) fn reverse_lines(&self) -> Vec<String> {
        self.seen.lock().reverse_lines()
    }

    /// Waits until a line that shows `text` stands in reverse video, as that under the cursor does.
    #[track_caller]
    pub(crate) fn reverses(&mut self, text: &str) -> &mut Self {
        self.until(&format!("`{text}` to stand in reverse"), |now| {
            let lines = now.reverse_lines();
            lines.iter().any(|line| line.contains(text))
        })
    }

    /// Writes over the screen, as another program that has the same terminal might; `text` is to be seen then.
    #[track_caller]
    pub(crate) fn scribble(&mut self, bytes: &str, text: &str) -> &mut Self {
        self.tty.write_all(bytes.as_bytes()).unwrap();
        self.sees(text)
    }

    /// Waits until the program ends; its exit status, or 128 and its signal as a shell has it.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> u32 {
        self.until("the end", |now| now.ended.is_some());
        let now = self.seen.lock();
        let status = now.ended.as_ref().unwrap();
        assert!(status.signal().is_none(), "killed: {status}");
        status.exit_code()
    }

    /// Waits until the terminal is as a shell wants it: main screen, cursor, no marks around pastes, not raw.
    #[track_caller]
    pub(crate) fn is_restored(&mut self) -> &mut Self {
        self.until("the terminal to be given back", |now| {
            let screen = now.parser.screen();
            !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
        });
        // Nobody tells when the mode changes, which is after the last byte; at the end it is what it stays.
        let last = Instant::now() + PATIENCE;
        loop {
            let ended = self.seen.lock().ended.is_some();
            if !self.is_raw() {
                return self;
            }
            assert!(!ended && Instant::now() < last, "the terminal is still raw");
            self.seen.wait(Duration::from_millis(10), |_| false);
        }
    }

    /// Whether the terminal hands on each byte, and echoes none.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.tty).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if self.seen.lock().ended.is_none() {
            // It may end by itself in this moment.
            let _ended = rustix::process::kill_process(self.pid, Signal::KILL);
        }
    }
}

impl Now {
    fn reverse_lines(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let (rows, columns) = screen.size();
        let is_reverse = |row| {
            let cells = (0..columns.get()).filter_map(|column| screen.cell(row, column));
            cells.into_iter().any(vt100::Cell::inverse)
        };
        let lines = (0..rows.get()).zip(self.rows());
        lines
            .filter(|(row, _)| is_reverse(*row))
            .map(|(_, line)| line)
            .collect()
    }

    /// Whether a line holds `text`, also where the terminal has wrapped it.
    fn shows(&self, text: &str) -> bool {
        let mut lines = String::new();
        for (row, line) in (0..).zip(self.rows()) {
            lines.push_str(&line);
            if !self.parser.screen().row_wrapped(row) {
                lines.push('\n');
            }
        }
        lines.contains(text)
    }
}

/// What a terminal sends for a key.
fn bytes_of(name: &str) -> Option<Vec<u8>> {
    let named = match name {
        "Enter" => "\r",
        "Esc" => "\x1b",
        "Space" => " ",
        "Tab" => "\t",
        "Backspace" => "\x7f",
        "Up" | "\u{2191}" => "\x1b[A",
        "Down" | "\u{2193}" => "\x1b[B",
        "Right" | "\u{2192}" => "\x1b[C",
        "Left" | "\u{2190}" => "\x1b[D",
        "Home" => "\x1b[H",
        "End" => "\x1b[F",
        "Ins" => "\x1b[2~",
        "Del" => "\x1b[3~",
        "PgUp" => "\x1b[5~",
        "PgDn" => "\x1b[6~",
        "F5" => "\x1b[15~",
        "F6" => "\x1b[17~",
        "F7" => "\x1b[18~",
        "F8" => "\x1b[19~",
        "F9" => "\x1b[20~",
        "F10" => "\x1b[21~",
        other => other,
    };
    if named != name || named == " " {
        return Some(named.into());
    }
    let mut characters = name.chars();
    match (characters.next()?, characters.next(), characters.next()) {
        ('^', Some(letter), None) if letter.is_ascii_alphabetic() => {
            Some(vec![u8::try_from(letter.to_ascii_uppercase()).ok()? & 0x1f])
        }
        (_, None, _) => Some(name.into()),
        _ => None,
    }
}

/// What of `bytes` is text: control sequences (`ESC [ … letter`) are left out.
fn without_sequences(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != 0x1b {
            text.push(byte);
        } else if rest.next() == Some(b'[') {
            rest.find(|byte| (0x40..=0x7e).contains(byte));
        }
    }
    text
}

fn holds(path: &Path, text: &[u8]) -> bool {
    if path.is_dir() {
        let mut entries = std::fs::read_dir(path).unwrap();
        return entries.any(|entry| holds(&entry.unwrap().path(), text));
    }
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.windows(text.len()).any(|window| window == text)
}
