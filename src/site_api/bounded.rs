use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes are read from a connection, all its answers together: three of them with the longest headers and bodies
/// that are read take less. hyper bounds each answer, but not how many that say "go on" (1xx) come before it.
const LIMIT: usize = 2 * 1024 * 1024;

/// More than that came.
#[derive(Debug, thiserror::Error)]
#[error("an answer without end")]
pub(super) struct Endless;

/// A connection that is read up to [`LIMIT`].
pub(super) struct Bounded<Way> {
    way: Way,
    left: usize,
}

impl<Way> Bounded<Way> {
    pub(super) fn new(way: Way) -> Self {
        Self { way, left: LIMIT }
    }
}

impl<Way: AsyncRead + Unpin> AsyncRead for Bounded<Way> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.way).poll_read(cx, buf))?;
        match self.left.checked_sub(buf.filled().len() - before) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other(Endless))),
        }
        Poll::Ready(Ok(()))
    }
}

impl<Way: AsyncWrite + Unpin> AsyncWrite for Bounded<Way> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.way).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.way).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.way).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.way).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.way.is_write_vectored()
    }
}
