use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::ENDING;

/// How the name of the file ends into which `SQLite` writes first.
const WRITTEN: &str = "-wal";

/// What has changed in the state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// A process has begun to offer its run, or has ended: [`super::find`] tells.
    Runs,
    /// A process, or this one, has written to the store.
    Store,
}

/// Notices what changes in the state folder. The kernel tells: nothing is asked in turns.
#[derive(Debug)]
pub struct Watch {
    kernel: AsyncFd<OwnedFd>,
    /// What was noticed and not reported yet: changes between two reports are one.
    runs: bool,
    store: bool,
}

impl Watch {
    /// Watches from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When there is no such folder, or the user's watches are used up.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let appear = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let vanish = WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        let what = appear | vanish | WatchFlags::MODIFY | WatchFlags::ONLYDIR;
        inotify::add_watch(&kernel, folder, what)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, since some types give another descriptor each time; `OwnedFd` does not"
        )]
        let kernel = AsyncFd::with_interest(kernel, Interest::READABLE)?;
        Ok(Self {
            kernel,
            runs: false,
            store: false,
        })
    }

    /// What has changed since it was asked last; waits for it. Nothing is lost where the wait is given up.
    ///
    /// Waits for ever when the folder is gone: then nothing changes in it.
    pub async fn changed(&mut self) -> Changed {
        loop {
            if std::mem::take(&mut self.runs) {
                return Changed::Runs;
            }
            if std::mem::take(&mut self.store) {
                return Changed::Store;
            }
            self.notice().await;
        }
    }

    async fn notice(&mut self) {
        let Ok(mut ready) = self.kernel.readable().await else {
            // The runtime ends.
            return std::future::pending().await;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(ready.get_inner(), &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map_or(&b""[..], std::ffi::CStr::to_bytes);
                    let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let written = event.events().contains(ReadFlags::MODIFY);
                    self.runs |= lost || is_socket(name);
                    self.store |= lost || written && name.ends_with(WRITTEN.as_bytes());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    tracing::warn!(%error, "changes of other processes are not noticed any more");
                    return std::future::pending().await;
                }
            }
        }
        ready.clear_ready();
    }
}

fn is_socket(name: &[u8]) -> bool {
    name.strip_suffix(ENDING.as_bytes())
        .is_some_and(|stem| stem.len() > 1 && stem.ends_with(b"."))
}
