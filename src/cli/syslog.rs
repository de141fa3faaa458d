use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::Duration;

use ::syslog::{Facility, Formatter3164, LogFormat, Severity};
use tokio::net::UnixDatagram;

use super::gate::Begun;
use crate::store::Operator;
use crate::text::{CleanText, Count};

/// Where the system's log listens; journald does at the same place.
const SOCKET: &str = "/dev/log";
/// The longest line, in bytes: a log cuts what is longer than 1 KiB (RFC 3164).
const LONGEST: usize = 900;
/// How long a log that is full may keep the line waiting. Nothing waits with it but the end of the process.
const PATIENCE: Duration = Duration::from_secs(2);

/// Leaves one line in the system's log of a run that has begun. Where there is none, ours says so.
pub(super) async fn tell(begun: Begun, by: Operator) {
    let line = line(&begun, &by);
    let sent = tokio::time::timeout(PATIENCE, send(Path::new(SOCKET), &line, by.pid)).await;
    match sent {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the system's log has not taken the line on the run"),
        Err(_late) => tracing::warn!("the system's log is full: the line on the run is not in it"),
    }
}

async fn send(socket: &Path, line: &str, pid: u32) -> std::io::Result<()> {
    // authpriv: who has done what on this machine, in the file that few may read.
    let format = Formatter3164 {
        facility: Facility::LOG_AUTHPRIV,
        hostname: None,
        process: "stripe-propagate".to_owned(),
        pid,
    };
    let mut datagram = Vec::new();
    format
        .format(&mut datagram, Severity::LOG_NOTICE, line)
        .map_err(|error| Error::new(ErrorKind::InvalidData, error.to_string()))?;
    let log = UnixDatagram::unbound()?;
    log.connect(socket)?;
    log.send(&datagram).await.map(drop)
}

/// `run 12 begins: push by ada (uid 1000, logged in as bob), whose environment claims sudo by carl, pk_live_…AbCd (live)
/// to 24 sites, store /var/lib/stripe-propagate/store.db`
fn line(begun: &Begun, by: &Operator) -> String {
    let run = &begun.run;
    let sudo = by.sudo_user.as_ref().map(|user| format!("sudo by {user}"));
    let from = by.ssh_client.as_ref().map(|client| format!("SSH from {client}"));
    let claims: Vec<String> = sudo.into_iter().chain(from).collect();
    let claims = if claims.is_empty() {
        String::new()
    } else {
        format!(", whose environment claims {}", claims.join(" and "))
    };
    let text = format!(
        "run {} begins: {} by {}{claims}, {} ({}) to {}, store {}",
        run.id.0,
        begun.deed.word(),
        by.in_words(),
        run.key,
        run.key.mode().word(),
        Count(run.puts, "site"),
        begun.store_name,
    );
    cut(CleanText::new(&text, LONGEST).as_str()).to_owned()
}

/// As much of the text as fits into a line.
fn cut(text: &str) -> &str {
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
    match end {
        Some(end) if text.len() > LONGEST => &text[..end],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_long_as_a_log_takes_in_bytes() {
        assert_eq!(cut("short"), "short");
        let most = "x".repeat(LONGEST);
        assert_eq!(cut(&most), most);
        let wide = format!("x{}", "\u{20ac}".repeat(LONGEST));
        assert_eq!(cut(&wide).len(), LONGEST - 2);
    }

    /// A full log is given up in time, one that is not there at once.
    #[tokio::test]
    async fn a_log_that_takes_nothing_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let socket = folder.path().join("log");
        assert!(send(&socket, "nobody listens", 1).await.is_err());
        let listens = std::os::unix::net::UnixDatagram::bind(&socket);
        let _listens = listens.unwrap_or_else(|error| panic!("{error}"));
        // How many datagrams a socket holds is the system's (net.unix.max_dgram_qlen).
        let fills = async { while send(&socket, "filler", 1).await.is_ok() {} };
        let limit = Duration::from_millis(300);
        assert!(
            tokio::time::timeout(limit, fills).await.is_err(),
            "it waits without holding up the thread"
        );
    }
}
