use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The argument that makes this program run another one and tell what it took: then comes that one's command line.
pub(crate) const MEASURE: &str = "measure";

/// What a process took, with all of its threads and children.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Taken {
    pub(crate) wall: Duration,
    /// User and system.
    pub(crate) cpu: Duration,
    /// The most that one process of it had in memory, in bytes.
    pub(crate) memory: u64,
    status: Option<i32>,
}

/// Runs a command, and prints what it took. The system counts the children of a process together, so each command
/// has a process of its own that starts and awaits it.
pub(crate) fn measure(command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("nothing to measure")?;
    let begin = Instant::now();
    // What it prints goes where the errors go: standard output is for what it took.
    let ended = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("starting {program}"))?;
    let wall = begin.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let taken = Taken {
        wall,
        cpu: duration(usage.user_time()) + duration(usage.system_time()),
        memory: u64::try_from(usage.max_rss())? * 1024,
        status: ended.code(),
    };
    println!("{}", serde_json::to_string(&taken)?);
    Ok(())
}

fn duration(time: TimeVal) -> Duration {
    let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// What this command took. What it says beside its results is in `errors` afterwards; `input` is its standard input.
///
/// # Errors
/// When it ends with an error: what it said.
pub(crate) fn taken(command: Vec<OsString>, input: &Path, errors: &Path) -> anyhow::Result<Taken> {
    let output = Command::new(std::env::current_exe()?)
        .arg(MEASURE)
        .args(command)
        .stdin(File::open(input)?)
        .stderr(File::create(errors)?)
        .output()?;
    let said = || -> anyhow::Result<String> {
        let said = String::from_utf8_lossy(&std::fs::read(errors)?).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        Ok(lines[lines.len().saturating_sub(20)..].join("\n"))
    };
    let Ok(taken) = serde_json::from_slice::<Taken>(&output.stdout) else {
        bail!("not measured: {}", said()?);
    };
    if taken.status != Some(0) {
        bail!("ended with {:?}: {}", taken.status, said()?);
    }
    Ok(taken)
}
