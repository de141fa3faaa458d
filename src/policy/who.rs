use std::collections::BTreeSet;
use std::fmt;

use rustix::process::{getgid, getgroups, getuid};

use crate::text::{CleanText, NOTE_LIMIT};

/// The `loginuid` of a process that belongs to no login (`proc(5)`).
const NO_LOGIN: u32 = u32::MAX;
/// The only line of `/proc/self/uid_map` in the machine's own user namespace (`user_namespaces(7)`).
const WHOLE_MACHINE: &str = "0 0 4294967295";

/// Who runs this process, as the kernel has it. Nothing of it comes from the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// The name of the real user, or the number where it has none.
    pub name: CleanText,
    /// The real user's number.
    pub uid: u32,
    /// Whether it is root of this machine. Root of a user namespace is anybody.
    pub is_root: bool,
    /// Those of the groups asked about that the process is in.
    pub member_of: BTreeSet<String>,
    /// Those of the groups asked about that the machine does not know.
    pub unknown: BTreeSet<String>,
}

impl Who {
    /// Who runs this process, and in which of `groups` it is. May take as long as the machine's user directory does.
    pub fn of_process<'a>(groups: impl IntoIterator<Item = &'a str>) -> Self {
        let uid = getuid().as_raw();
        // Where the kernel does not say, the process is in no other group than its own.
        let mut numbers: BTreeSet<u32> = getgroups()
            .unwrap_or_default()
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect();
        numbers.insert(getgid().as_raw());
        let mut who = Self {
            name: user_name(uid).unwrap_or_else(|| CleanText::note(&format!("uid{uid}"))),
            uid,
            is_root: uid == 0 && is_whole_machine(),
            ..Self::default()
        };
        for group in groups {
            match uzers::get_group_by_name(group) {
                Some(known) if numbers.contains(&known.gid()) => who.member_of.insert(group.to_owned()),
                Some(_) => false,
                None => who.unknown.insert(group.to_owned()),
            };
        }
        who
    }

    /// Whether it is in this group, which was asked about.
    pub fn is_in(&self, group: &str) -> bool {
        self.member_of.contains(group)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (uid {})", self.name, self.uid)
    }
}

/// Who has logged in for this process, also behind `sudo`: the number of the user. The kernel keeps it; none for what no
/// login has started.
pub fn login_number() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    let number: u32 = text.trim().parse().ok()?;
    (number != NO_LOGIN).then_some(number)
}

/// The name of a user, if it has one. May take as long as the machine's user directory does.
pub fn user_name(uid: u32) -> Option<CleanText> {
    let user = uzers::get_user_by_uid(uid)?;
    Some(CleanText::new(&user.name().to_string_lossy(), NOTE_LIMIT))
}

fn is_whole_machine() -> bool {
    // Where the system knows no user namespaces, there is only the machine's own.
    std::fs::read_to_string("/proc/self/uid_map").map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |map| map.split_whitespace().collect::<Vec<_>>().join(" ") == WHOLE_MACHINE,
    )
}
