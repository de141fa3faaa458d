use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::Context;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::contenders::Arena;
use crate::folder;

/// Columns and rows.
const SIZE: (u16, u16) = (120, 40);
/// What is waited for must come within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// How a frame ends: it is a synchronized update.
const FRAME_ENDS: &[u8] = b"\x1b[?2026l";
/// What stands before the site that is chosen: without it no list is shown.
const CHOSEN: char = '▌';

/// From the start of the program to its first whole frame, so often. Its store knows of a push to all sites.
pub(crate) fn measure(sites: usize, rounds: usize) -> anyhow::Result<Vec<Duration>> {
    let mut arena = Arena::open(sites)?;
    let store = folder()?;
    arena.push_into(store.path())?;
    (0..rounds).map(|_| open(&arena, store.path())).collect()
}

fn open(arena: &Arena, store: &Path) -> anyhow::Result<Duration> {
    let (cols, rows) = SIZE;
    let size = PtySize {
        rows,
        cols,
        ..PtySize::default()
    };
    let pair = native_pty_system().openpty(size)?;
    let mut command = CommandBuilder::from_argv(arena.screen(store));
    command.env("TERM", "xterm-256color");
    let mut reader = pair.master.try_clone_reader()?;
    let mut input = pair.master.take_writer()?;
    let [rows, cols] = [rows, cols].map(NonZeroU16::new);
    let (rows, cols) = rows.zip(cols).context("a terminal has a size")?;
    let mut parser = vt100::Parser::new(rows, cols, 0);
    let begin = Instant::now();
    let mut child = pair.slave.spawn_command(command)?;
    drop(pair.slave);
    let (tell, output) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 8192];
        // To the end: a program whose terminal is not read does not end.
        while let Ok(length @ 1..) = reader.read(&mut bytes) {
            let _enough = tell.send((Instant::now(), bytes[..length].to_vec()));
        }
    });
    let mut all = Vec::new();
    let shown = loop {
        let left = PATIENCE.saturating_sub(begin.elapsed());
        let (at, bytes) = output.recv_timeout(left).context("no list was shown")?;
        parser.process(&bytes);
        all.extend(bytes);
        let has_frame = all.windows(FRAME_ENDS.len()).any(|bytes| bytes == FRAME_ENDS);
        if has_frame && parser.screen().contents().contains(CHOSEN) {
            break at;
        }
    };
    input.write_all(b"q")?;
    child.wait()?;
    Ok(shown - begin)
}
