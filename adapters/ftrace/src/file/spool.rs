//! What cannot be sought in, in a file without a name.

use kstrace_schema::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// How much of a pipe is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// All that can be read from `input`, in a file.
pub(super) fn copy_of(mut input: impl Read, name: &str) -> Result<File> {
    let mut file = tempfile::tempfile()
        .map_err(|e| Error::io(format!("cannot keep a copy of '{name}'"), e))?;
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
