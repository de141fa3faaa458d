use std::ffi::OsStr;

use crate::policy;
use crate::store::Operator;
use crate::text::{CleanText, NOTE_LIMIT};

/// Who runs this process: what the system says of it, and what the environment claims.
pub(super) fn operator() -> Operator {
    let claim = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // "client port server port": the client is what tells one line from another.
    let ssh_client = claim("SSH_CONNECTION").map(|line| {
        let line = line.to_string_lossy().into_owned();
        clean(OsStr::new(line.split(' ').next().unwrap_or_default()))
    });
    Operator {
        user: user(),
        uid: Some(rustix::process::getuid().as_raw()),
        login: policy::login(),
        sudo_user: claim("SUDO_USER").map(|user| clean(&user)),
        host: host(),
        ssh_client,
        pid: std::process::id(),
    }
}

/// The name of the process's user, or the number where it has none.
fn user() -> CleanText {
    let number = rustix::process::getuid().as_raw();
    match uzers::get_user_by_uid(number) {
        Some(user) => clean(user.name()),
        None => CleanText::note(&format!("uid{number}")),
    }
}

/// The machine's name without its domain.
fn host() -> CleanText {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    CleanText::note(name.split('.').next().unwrap_or_default())
}

fn clean(text: &OsStr) -> CleanText {
    CleanText::new(&text.to_string_lossy(), NOTE_LIMIT)
}
