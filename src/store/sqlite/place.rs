use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::store::StoreError;

/// What `SQLite` puts beside the file.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Where a store is. Nobody else can read or write there, nor plant anything.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The database.
    pub(super) file: PathBuf,
}

impl Place {
    /// Finds the place, and makes what lacks: the folder (0700) and an empty file (0600), whatever the umask.
    pub(super) fn prepare(path: &Path) -> Result<Self, StoreError> {
        let place = Self::find(path)?;
        for companion in COMPANIONS {
            look_at(&place.beside(companion))?;
        }
        if look_at(&place.file)?.is_none() {
            match create(&place.file) {
                Ok(_) => {}
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    look_at(&place.file)?;
                }
                Err(error) => return Err(failed("create", &place.file, &error)),
            }
        }
        Ok(place)
    }

    /// Finds the place; the folder is made where it lacks, and refused where others can write.
    pub(super) fn find(path: &Path) -> Result<Self, StoreError> {
        let name = path
            .file_name()
            .ok_or_else(|| StoreError::Failed(format!("{} names no file for the store", path.display())))?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if !folder.exists() {
            make_folder(folder)?;
        }
        // SQLite is told to follow no symlink at all, so that those above the store are followed here.
        let folder = folder
            .canonicalize()
            .map_err(|error| failed("open", folder, &error))?;
        let known = fs::metadata(&folder).map_err(|error| failed("open", &folder, &error))?;
        ours(&folder, &known)?;
        if known.mode() & 0o022 != 0 {
            return Err(StoreError::Failed(format!(
                "others can write to the folder of the store: take that away with `chmod go-w {}`, or choose another folder",
                folder.display()
            )));
        }
        Ok(Self {
            file: folder.join(name),
        })
    }

    /// A path beside the file: its name with `ending` behind it.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.file.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))
    };
    make().map_err(|error| failed("create the folder", folder, &error))
}

/// A new file that only its owner can read and write.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Opens a lock file, or creates it. What is in it stays.
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    look_at(path)?;
    let open = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    };
    open().map_err(|error| failed("open", path, &error))
}

/// What is at `path`, if anything. Anything but a file of our own is refused; modes too wide are narrowed.
///
/// The file is not opened: to close it again would drop the locks that `SQLite` holds on it in this process.
pub(super) fn look_at(path: &Path) -> Result<Option<Metadata>, StoreError> {
    let known = match fs::symlink_metadata(path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path, &error)),
    };
    if known.is_symlink() {
        return Err(StoreError::Failed(format!(
            "{} is a symbolic link, which the store does not follow: remove it, or name the file that it points to",
            path.display()
        )));
    }
    if !known.is_file() {
        return Err(StoreError::Failed(format!(
            "{} is no plain file: move it away, or choose another place for the store",
            path.display()
        )));
    }
    ours(path, &known)?;
    if known.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(|error| failed("narrow the mode of", path, &error))?;
    }
    Ok(Some(known))
}

fn ours(path: &Path, known: &Metadata) -> Result<(), StoreError> {
    let me = rustix::process::geteuid().as_raw();
    if known.uid() == me {
        return Ok(());
    }
    Err(StoreError::Failed(format!(
        "{} belongs to another user (uid {}, and this is uid {me}): run as that user, or choose another place for the store",
        path.display(),
        known.uid()
    )))
}

pub(super) fn failed(doing: &str, path: &Path, error: &io::Error) -> StoreError {
    let way_out = match error.kind() {
        io::ErrorKind::StorageFull => ": disk full: free space there",
        io::ErrorKind::PermissionDenied => ": check who owns it and its folder, and their modes",
        io::ErrorKind::ReadOnlyFilesystem => ": choose a place for the store that can be written",
        _ => "",
    };
    StoreError::Failed(format!("cannot {doing} {}: {error}{way_out}", path.display()))
}
