use std::ffi::OsStr;
use std::fs::{Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

/// How the name of a socket ends.
pub(super) const ENDING: &str = "sock";
/// A socket's address holds so many bytes at most, on every Unix.
const LONGEST_ADDRESS: usize = 100;

/// A socket's file, told apart from a later one with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// The socket at this path.
    ///
    /// # Errors
    /// When there is none, or something else: a link, a file, or what belongs to another user.
    pub(super) fn at(path: PathBuf) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(&path)?;
        if !is_ours(&found) {
            let why = format!("{} is not a socket of this user: delete it", path.display());
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        Ok(Self {
            path,
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Deletes it, if it is still there.
    pub(super) fn delete(&self) {
        if Self::at(self.path.clone()).is_ok_and(|found| found == *self)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a socket stays behind");
        }
    }
}

fn is_ours(found: &Metadata) -> bool {
    found.file_type().is_socket() && may_talk(found.uid())
}

/// Whether that user's process may be talked to: our own, and for root everybody's.
fn may_talk(user: u32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    own == user || own == 0
}

/// Whether a process of that user may watch and steer ours.
pub(super) fn may_attach(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// The path of a process's socket.
pub(super) fn path_of(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{pid}.{ENDING}"))
}

/// The process whose socket has that name, if it is a socket's name.
pub(super) fn pid_of(path: &Path) -> Option<u32> {
    let is_socket = path.extension() == Some(OsStr::new(ENDING));
    is_socket
        .then(|| path.file_stem()?.to_str()?.parse().ok())
        .flatten()
}

/// Listens on the socket of this process. It appears when it takes connections, and for its user alone.
///
/// # Errors
/// When another process listens there, which happens where two containers share a folder, or when something
/// else has that name.
pub(super) fn listen(folder: &Path, pid: u32) -> io::Result<(UnixListener, SocketFile)> {
    let path = path_of(folder, pid);
    match SocketFile::at(path.clone()) {
        Ok(left) if is_alive(&left.path)? => {
            let why = format!("another process listens on {}", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, why));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let hidden = folder.join(format!(".{pid}.new"));
    match std::fs::remove_file(&hidden) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (address, _folder) = address(&hidden)?;
    let listener = UnixListener::bind(address)?;
    std::fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, &path)?;
    Ok((listener, SocketFile::at(path)?))
}

/// Connects to a process.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (address, _folder) = address(path)?;
    let stream = UnixStream::connect(address).await?;
    if !may_talk(stream.peer_cred()?.uid()) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    Ok(stream)
}

/// Whether a process listens there. Waits for nothing: a stopped process may take no connection for hours.
fn is_alive(path: &Path) -> io::Result<bool> {
    let (address, _folder) = address(path)?;
    let address = SocketAddrUnix::new(&address)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the system takes for this path: an address is short, paths may be long. Holds while the folder does.
fn address(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    if path.as_os_str().as_bytes().len() <= LONGEST_ADDRESS {
        return Ok((path.to_owned(), None));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    Ok((Path::new(&here).join(name), Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_user_may_attach_and_nobody_else() {
        let own = rustix::process::geteuid().as_raw();
        assert!(may_attach(0) && may_attach(own));
        assert!(!may_attach(own + 1));
    }

    #[test]
    fn only_numbers_with_the_ending_name_sockets() {
        let pid = |name: &str| pid_of(&Path::new("/state").join(name));
        assert_eq!(pid("4711.sock"), Some(4711));
        for name in [
            ".4711.new",
            "4711",
            "x.sock",
            ".sock",
            "-1.sock",
            "99999999999.sock",
        ] {
            assert_eq!(pid(name), None, "{name}");
        }
    }
}
