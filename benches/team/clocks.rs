use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// Clock ticks a second, of what `/proc` tells: the same on all Linux that Rust knows.
const TICKS: u64 = 100;

/// The processor time that a process took so far, with that of its children that have ended where `with_ended`.
pub(crate) fn of_process(pid: u32, with_ended: bool) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name may hold anything but ends with the last bracket (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(") ").context("/proc is not as expected")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let wanted = if with_ended { 11..15 } else { 11..13 };
    let times = fields.get(wanted).context("/proc is not as expected")?;
    let mut ticks = 0;
    for time in times {
        ticks += time.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The processor time that a server of `PostgreSQL` took so far, with all its processes; its data is in `folder`.
pub(crate) fn of_server(folder: &Path) -> anyhow::Result<Duration> {
    let told = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    let pid: u32 = told.lines().next().context("no pid")?.trim().parse()?;
    let mut sum = of_process(pid, true)?;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may end meanwhile: then the parent has its time, or will have it.
        let is_child = fs::read_to_string(format!("/proc/{child}/stat"))
            .ok()
            .and_then(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok());
        if is_child == Some(pid) {
            sum += of_process(child, true).unwrap_or_default();
        }
    }
    Ok(sum)
}
