//! Where the mount table says that tracefs is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The places to look for tracefs, best first: mounts of tracefs itself, the
/// customary one before others, then the `tracing` directory of a debugfs.
///
/// `mountinfo` is the text of `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
pub(crate) fn candidates(mountinfo: &str) -> Vec<PathBuf> {
    let mut tracefs = Vec::new();
    let mut debugfs = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else {
            continue;
        };
        match after.split(' ').next() {
            // A bind mount of a part of it (root is not /) is of no use.
            Some("tracefs") if root == "/" => tracefs.push(unescape(point)),
            Some("debugfs") if root == "/" => debugfs.push(unescape(point).join("tracing")),
            _ => {}
        }
    }
    tracefs.sort_by_key(|p| p.as_os_str() != "/sys/kernel/tracing");
    tracefs.append(&mut debugfs);
    tracefs
}

/// Undoes the octal escapes of blanks, newlines and backslashes.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'\\')
            .then(|| field.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(code);
                at += 4;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customary_mount_comes_first_and_debugfs_last() {
        let text = "\
22 1 0:20 / /proc rw,nosuid - proc proc rw
30 1 0:7 / /sys/kernel/debug rw shared:9 - debugfs debugfs rw
31 1 0:8 / /mnt/my\\040traces rw - tracefs nodev rw
32 1 0:8 /events /mnt/part rw - tracefs nodev rw
33 1 0:8 / /sys/kernel/tracing rw - tracefs nodev rw
broken line
";
        let found = candidates(text);
        let expected = [
            "/sys/kernel/tracing",
            "/mnt/my traces",
            "/sys/kernel/debug/tracing",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        assert_eq!(unescape(r"a\9z\134\"), PathBuf::from(r"a\9z\\"));
    }
}
