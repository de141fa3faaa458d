//! What stands between a program and its server, and may fail.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stripe_propagate::store::postgres::PostgresStore;

use crate::shop::{Home, Postgres};

/// Passes on what programs and the server say. Where it is `armed`, it passes on the next COMMIT, and ends the connection
/// in the place of its answer; from then on it lets nobody in, until it is told to.
#[derive(Clone, Default)]
pub(crate) struct Between {
    armed: Arc<AtomicBool>,
    shut: Arc<AtomicBool>,
    /// Takes what is said, and passes nothing on.
    silent: Arc<AtomicBool>,
    /// The connections that go through it.
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Between {
    /// A store that is reached through it.
    pub(crate) fn open(&self, home: &Postgres) -> PostgresStore {
        let (url, folder) = home.url.split_once("?host=").unwrap();
        let server = url.rsplit(':').next().unwrap().split('/').next().unwrap();
        let port = self.listens_in(Path::new(folder).join(format!(".s.PGSQL.{server}")));
        let through = url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let url = format!("{through}?sslmode=disable");
        Postgres { url }.open()
    }

    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended a connection since it was armed.
    pub(crate) fn has_cut(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }

    pub(crate) fn lets_in(&self) {
        self.shut.store(false, Ordering::SeqCst);
    }

    /// Ends all connections, and lets nobody in.
    pub(crate) fn shuts(&self) {
        self.shut.store(true, Ordering::SeqCst);
        for program in self.open.lock().unwrap().drain(..) {
            let _closed = program.shutdown(Shutdown::Both);
        }
    }

    /// As a network that loses all, without a word.
    pub(crate) fn is_silent(&self, is: bool) {
        self.silent.store(is, Ordering::SeqCst);
    }

    fn listens_in(&self, socket: PathBuf) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let between = self.clone();
        std::thread::spawn(move || {
            for program in listener.incoming().flatten() {
                if between.shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&socket) else {
                    continue;
                };
                let answers = (server.try_clone().unwrap(), program.try_clone().unwrap());
                let ends = program.try_clone().unwrap();
                between.open.lock().unwrap().push(program.try_clone().unwrap());
                let committed = Arc::new(AtomicBool::new(false));
                let cuts = Arc::clone(&committed);
                let silent = Arc::clone(&between.silent);
                std::thread::spawn(move || {
                    pass_on(answers.0, answers.1, |_| {
                        while silent.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        !cuts.load(Ordering::SeqCst)
                    });
                    let _closed = ends.shutdown(Shutdown::Both);
                });
                let between = between.clone();
                std::thread::spawn(move || {
                    pass_on(program, server, |said| {
                        let commits = said.windows(7).any(|part| part == b"COMMIT\0");
                        if commits && between.armed.swap(false, Ordering::SeqCst) {
                            between.shut.store(true, Ordering::SeqCst);
                            committed.store(true, Ordering::SeqCst);
                        }
                        true
                    });
                });
            }
        });
        port
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !passes(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}
