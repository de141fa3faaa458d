use std::fs;
use std::path::Path;

use rustix::net::sockopt::{set_tcp_nodelay, tcp_nodelay};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Has all TCP sockets of this process send at once what is written: each question is written as a whole, and the answer
/// is waited for.
///
/// sqlx 0.9.0 leaves that out, and gives its sockets to nobody (its issue 4335, mended behind that version: then this
/// goes). Without it a question of more than one packet, or TLS record, waits 40 ms for the server's word that it has the
/// first: a push with a store on another machine took six times as long. Where the kernel does not let us reach our
/// sockets, all goes, as slowly as that.
pub(super) fn send_at_once() {
    let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else {
        return;
    };
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    for path in open.flatten().map(|entry| entry.path()) {
        // Of a file not even a copy may be closed: that would let go of its locks (fcntl_locking(2)).
        let Some(socket) = number(&path).filter(|_| is_socket(&path)) else {
            continue;
        };
        // It may have been closed meanwhile; one that is no TCP socket refuses the question.
        if let Ok(socket) = pidfd_getfd(&own, socket, PidfdGetfdFlags::empty())
            && let Ok(false) = tcp_nodelay(&socket)
        {
            let _as_it_is = set_tcp_nodelay(&socket, true);
        }
    }
}

fn number(path: &Path) -> Option<i32> {
    path.file_name()?.to_str()?.parse().ok()
}

fn is_socket(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_of_this_process_send_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!stream.nodelay().unwrap());
        send_at_once();
        assert!(stream.nodelay().unwrap());
    }
}
