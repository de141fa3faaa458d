use std::ffi::OsStr;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::policy::{login_number, user_name};
use crate::store::Operator;
use crate::text::{CleanText, NOTE_LIMIT};

/// How long the machine's user directory may take to say what users are called; their numbers are known without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who runs this process: what the system says of it, and what the environment claims. It is asked once a process.
pub(super) fn operator() -> Operator {
    static OPERATOR: OnceLock<Operator> = OnceLock::new();
    OPERATOR.get_or_init(asked).clone()
}

fn asked() -> Operator {
    let claim = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // "client port server port": the client is what tells one line from another.
    let ssh_client = claim("SSH_CONNECTION").map(|line| {
        let line = line.to_string_lossy().into_owned();
        clean(OsStr::new(line.split(' ').next().unwrap_or_default()))
    });
    let uid = rustix::process::getuid().as_raw();
    let login = login_number();
    let (user, login) = names(uid, login, PATIENCE, user_name);
    Operator {
        user,
        uid: Some(uid),
        login,
        sudo_user: claim("SUDO_USER").map(|user| clean(&user)),
        host: host(),
        ssh_client,
        pid: std::process::id(),
    }
}

/// What the real user and the one who logged in are called, or their numbers where they have no name, or where `name`
/// does not say it in time: a directory on the network may hang, and nothing can break it off.
fn names(
    uid: u32,
    login: Option<u32>,
    patience: Duration,
    name: impl Fn(u32) -> Option<CleanText> + Send + 'static,
) -> (CleanText, Option<CleanText>) {
    let (tell, told) = channel();
    let ask = move || {
        // Nobody may wait for it any more.
        let _late = tell.send((name(uid), login.and_then(name)));
    };
    // Without a thread there is no answer, and the numbers do.
    let _asked = std::thread::Builder::new().spawn(ask);
    let (user, login_name) = told.recv_timeout(patience).unwrap_or_default();
    let number = |number: u32| CleanText::note(&format!("uid{number}"));
    let login = login.map(|login| login_name.unwrap_or_else(|| number(login)));
    (user.unwrap_or_else(|| number(uid)), login)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_name_comes_in_time_the_numbers_stand_for_it() {
        let known = |uid: u32| (uid == 7).then(|| CleanText::note("ada"));
        let text = |names: (CleanText, Option<CleanText>)| {
            let (user, login) = names;
            (user.to_string(), login.map(|login| login.to_string()))
        };
        let long = Duration::from_mins(1);
        assert_eq!(
            text(names(7, Some(8), long, known)),
            ("ada".to_owned(), Some("uid8".to_owned()))
        );
        let hangs = |_uid: u32| -> Option<CleanText> {
            loop {
                std::thread::park();
            }
        };
        let short = Duration::from_millis(20);
        assert_eq!(
            text(names(7, Some(8), short, hangs)),
            ("uid7".to_owned(), Some("uid8".to_owned()))
        );
        assert_eq!(text(names(7, None, short, hangs)), ("uid7".to_owned(), None));
    }
}
