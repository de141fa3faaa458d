use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::counted::Counted;
use super::record::Recorder;
use super::shop::Shop;
use super::template::Asked;
use super::wire::Step;

/// How many bytes of a request are read.
const REQUEST_LIMIT: usize = 64 * 1024;
/// What lies between two bytes that drip, at the usual pace.
const BETWEEN_DROPS: Duration = Duration::from_secs(1);

/// A connection on which the site speaks byte by byte, until either side ends it.
pub(super) async fn serve(
    stream: Counted<'_, TlsStream<TcpStream>>,
    shop: &Shop,
    process: usize,
    recorder: &Recorder,
) {
    let mut speaking = Speaking {
        stream,
        between_drops: shop.time(BETWEEN_DROPS),
    };
    while let Some(asked) = speaking.request().await {
        let spoken = shop.speak(process, &asked);
        recorder.took(asked, shop.index, process, spoken.status);
        for step in spoken.steps {
            if !matches!(speaking.take(step).await, Ok(true)) {
                return;
            }
        }
    }
}

struct Speaking<'a> {
    stream: Counted<'a, TlsStream<TcpStream>>,
    between_drops: Duration,
}

impl Speaking<'_> {
    /// The next request; `None` when the client is gone, or what it says is no request.
    async fn request(&mut self) -> Option<Asked> {
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            self.more(&mut read).await?;
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let mut first = head.lines().next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let length: usize = header("Content-Length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let body = end + 4;
        while read.len() < body + length {
            self.more(&mut read).await?;
        }
        Some(Asked {
            method,
            path,
            master_key: header("X-API-Key"),
            body: String::from_utf8_lossy(&read[body..body + length]).into_owned(),
        })
    }

    async fn more(&mut self, read: &mut Vec<u8>) -> Option<()> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).await.ok()?;
        read.extend_from_slice(&piece[..length]);
        (length > 0 && read.len() <= REQUEST_LIMIT).then_some(())
    }

    /// Whether the connection goes on.
    async fn take(&mut self, step: Step) -> io::Result<bool> {
        match step {
            Step::Says(bytes) => self.write(&bytes).await?,
            Step::Drips(bytes) => {
                for byte in bytes {
                    self.write(&[byte]).await?;
                    tokio::time::sleep(self.between_drops).await;
                }
            }
            Step::Forever(bytes) => loop {
                self.write(&bytes).await?;
            },
            Step::Waits => {
                let mut taken = [0; 4096];
                while self.stream.read(&mut taken).await? > 0 {}
                return Ok(false);
            }
            Step::Resets => {
                self.stream.stream().get_ref().0.set_zero_linger()?;
                return Ok(false);
            }
            Step::Closes => {
                self.stream.shutdown().await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(16 * 1024) {
            self.stream.write_all(piece).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }
}
