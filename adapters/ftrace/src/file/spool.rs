//! Temporary files without a name.

use kstrace_schema::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How much of a pipe is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// A new file in a directory, readable by its owner only, whose name is gone already.
pub(super) fn unnamed_in(directory: &Path) -> Result<File> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".kstrace-{}-{serial}.tmp", std::process::id()));
    let failed = |e| Error::io(format!("cannot create '{}'", path.display()), e);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

/// Where temporary files go that belong to no other file.
pub(super) fn temporary_directory() -> PathBuf {
    std::env::temp_dir()
}

/// All that can be read from `input`, in a file.
pub(super) fn copy_of(mut input: impl Read, name: &str) -> Result<File> {
    let mut file = unnamed_in(&temporary_directory())?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io(format!("'{name}' cannot be read"), e)),
        };
        file.write_all(piece.get(..count).unwrap_or_default())
            .map_err(|e| Error::io(format!("cannot keep a copy of '{name}'"), e))?;
    }
    file.seek(SeekFrom::Start(0))
        .map_err(|e| Error::io(format!("cannot read the copy of '{name}'"), e))?;
    Ok(file)
}
