use std::io::{Error, Result, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::rotating::Rotating;
use crate::key::PublishableKey;
use crate::text::is_hidden;

/// Takes records as they are formatted and writes each as one line. It never fails towards the one who logs:
/// what cannot be written is told to `gap`.
pub(super) struct Lines {
    file: Mutex<Rotating>,
    gap: Box<dyn Fn(Error) + Send + Sync>,
}

impl Lines {
    pub(super) fn new(file: Rotating, gap: Box<dyn Fn(Error) + Send + Sync>) -> Self {
        Self {
            file: Mutex::new(file),
            gap,
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// One call is one record: that is how the layer of tracing-subscriber writes.
    fn write(&mut self, record: &[u8]) -> Result<usize> {
        let line = line(&String::from_utf8_lossy(record));
        // A panic elsewhere does not make the file wrong.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write(line.as_bytes()) {
            (self.gap)(error);
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The record in one line with its end: what would break the line or steer a terminal is written as its number.
fn line(record: &str) -> String {
    let record = masked(record.trim_end_matches('\n'));
    let mut line = String::with_capacity(record.len() + 1);
    for character in record.chars() {
        if is_hidden(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// What keys begin with, and secrets.
const BEGINNINGS: [&str; 9] = [
    "pk_live_", "pk_test_", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "ek_live_", "ek_test_", "whsec_",
];

/// The record with each key masked. Those who log mask them already; what a panic or a dependency says, nobody
/// has looked at.
fn masked(record: &str) -> String {
    let lower = record.to_ascii_lowercase();
    let mut masked = String::with_capacity(record.len());
    let mut done = 0;
    // Each of them has an underscore, and most records have few.
    let begins_around = |underscore: usize| {
        BEGINNINGS.iter().find_map(|begin| {
            let start = underscore.checked_sub(begin.find('_')?)?;
            lower
                .get(start..)?
                .starts_with(begin)
                .then(|| (start, start + begin.len()))
        })
    };
    let next = |from: usize| {
        let underscores = lower[from..].match_indices('_').map(|(place, _)| from + place);
        let mut places = underscores.filter_map(begins_around);
        places.find(|(start, _)| *start >= from)
    };
    while let Some((start, behind)) = next(done) {
        let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let end = behind
            + record.as_bytes()[behind..]
                .iter()
                .take_while(|byte| is_of_key(byte))
                .count();
        masked.push_str(&record[done..start]);
        match PublishableKey::parse(&record[start..end]) {
            Ok(key) => masked.push_str(&key.mask()),
            Err(_) if end == behind => masked.push_str(&record[start..end]),
            Err(_) => {
                masked.push_str(&record[start..behind]);
                masked.push('…');
            }
        }
        done = end;
    }
    masked.push_str(&record[done..]);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::log::subscriber;
    use crate::config::LogLevel;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn a_record_is_a_line_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Rotating::open(path.clone(), 1 << 20).unwrap();
        let lines = Lines::new(file, Box::new(|error| panic!("{error}")));
        tracing::subscriber::with_default(subscriber(lines, LogLevel::Info), || {
            tracing::info!(note = %"a\nb\r\x1b[2J\u{202e}", "one\ntwo");
            tracing::info!(
                key = "pk_live_51ExampleExampleExampleAbCd",
                "sk_live_51NeverNeverNever"
            );
            tracing::debug!("not at this level");
            tracing::info!("ABC\u{2028}DEF \u{85} \u{7f}");
        });
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            !text.contains(['\u{1b}', '\r', '\u{202e}', '\u{2028}', '\u{85}']),
            "{text:?}"
        );
        assert!(lines[0].contains("one\\ntwo"), "{text}");
        assert!(
            lines[1].contains("pk_live_…AbCd") && lines[1].contains("sk_live_…"),
            "{text}"
        );
        assert!(!text.contains("51Example") && !text.contains("51Never"), "{text}");
        assert!(lines[2].contains("INFO"), "{text}");
    }

    #[test]
    fn a_gap_is_told_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Rotating::open(path.clone(), 1 << 20).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        let gaps = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&gaps);
        let lines = Lines::new(file, Box::new(move |error| told.lock().unwrap().push(error)));
        assert_eq!((&lines).write(b"line\n").unwrap(), 5);
        let gaps = gaps.lock().unwrap();
        assert!(gaps[0].to_string().contains("a link"), "{gaps:?}");
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn masks_stay_and_words_that_begin_like_keys_too() {
        for (record, expected) in [
            ("pk_live_…AbCd", "pk_live_…AbCd"),
            (
                "take a pk_live_ or pk_test_ key",
                "take a pk_live_ or pk_test_ key",
            ),
            ("=pk_test_51ExampleExampleAbCd;", "=pk_test_…AbCd;"),
            ("PK_LIVE_51ExampleExample", "PK_LIVE_…"),
            ("pk_live_aaaaaaaaaask_live_bbbb x", "pk_live_… x"),
        ] {
            assert_eq!(masked(record), expected);
        }
    }

    proptest! {
        #[test]
        fn no_key_survives(before in ".{0,20}", tail in "[A-Za-z0-9]{12,40}", after in "[ -~]{0,20}") {
            for begin in BEGINNINGS {
                let line = line(&format!("{before}{begin}{tail}{after}"));
                prop_assert!(!line.contains(&tail), "{line}");
                prop_assert_eq!(line.matches(char::is_control).count(), 1);
            }
        }
    }
}
