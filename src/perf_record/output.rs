//! The file that is written.

use super::messages::Failure;
use kstrace_perf::file::{PerfDataOptions, PerfDataSink};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where records go.
pub(super) struct Output {
    pub(super) sink: PerfDataSink,
    /// As the user calls it.
    pub(super) name: String,
    /// `None` for a stream.
    path: Option<PathBuf>,
}

impl Output {
    /// Opens what `-o` names; without it `perf.data`, or standard output where that is a pipe.
    /// A file of that name becomes `NAME.old`.
    pub(super) fn open(asked: Option<&str>, build_ids: bool) -> Result<Output, Failure> {
        let options = PerfDataOptions {
            build_ids,
            tasks_are_told: true,
            ..PerfDataOptions::default()
        };
        let name = match asked {
            Some(name) => name,
            None if stdout_is_pipe() => "-",
            None => "perf.data",
        };
        if name == "-" {
            let sink = PerfDataSink::to_stream("standard output", std::io::stdout(), options)?;
            return Ok(Output {
                sink,
                name: name.to_owned(),
                path: None,
            });
        }
        let path = PathBuf::from(name);
        let file = create(&path)?;
        Ok(Output {
            sink: PerfDataSink::to_writer(file, options)?,
            name: name.to_owned(),
            path: Some(path),
        })
    }

    /// Size of what was written, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.path
            .as_ref()
            .and_then(|p| fs::metadata(p).ok())
            .map_or(0, |m| m.len())
    }

    pub(super) fn is_stream(&self) -> bool {
        self.path.is_none()
    }
}

fn stdout_is_pipe() -> bool {
    let stdout = std::io::stdout();
    let Ok(copy) = stdout.as_fd().try_clone_to_owned() else {
        return false;
    };
    File::from(copy)
        .metadata()
        .is_ok_and(|m| m.file_type().is_fifo())
}

fn create(path: &Path) -> Result<File, Failure> {
    let failed = |e: std::io::Error| {
        let text = format!("failed to open {} : {}\n", path.display(), plain(&e));
        Failure::failed(text)
    };
    let old = fs::metadata(path);
    // A device is written to as it is.
    let is_file = old.as_ref().map_or(true, fs::Metadata::is_file);
    if is_file && old.is_ok_and(|m| m.len() > 0) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".old");
        fs::rename(path, aside).map_err(failed)?;
    }
    OpenOptions::new()
        .create(true)
        .read(is_file)
        .write(true)
        .truncate(is_file)
        .mode(0o600)
        .open(path)
        .map_err(failed)
}

/// The system's own words.
pub(super) fn plain(e: &std::io::Error) -> String {
    match e.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => e.to_string(),
    }
}
