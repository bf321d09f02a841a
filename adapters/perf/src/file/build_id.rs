//! Build ids of the files that tasks had mapped.

use super::raw;
use crate::uapi;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use zerocopy::{FromBytes, IntoBytes};

/// Files beyond this number get no build id; perf then reads the files themselves.
const MAX_FILES: usize = 16_384;
/// Notes are some hundred bytes; what claims more is not read further.
const MAX_NOTES_BYTES: usize = 64 << 10;
const MAX_PROGRAM_HEADERS: usize = 256;
const PROT_EXEC: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
const NAME_ALIGN: usize = 64;
const KERNEL: &[u8] = b"[kernel.kallsyms]";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The record had it.
    Recorded(BuildId),
    /// To be read from the file, if that still is the one with these numbers.
    Inode { major: u32, minor: u32, inode: u64 },
    /// To be read from the file of that name.
    Name,
}

/// A build id, zero-padded, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuildId {
    bytes: [u8; 20],
    size: u8,
}

impl BuildId {
    fn new(id: &[u8]) -> Option<Self> {
        let size = u8::try_from(id.len())
            .ok()
            .filter(|size| (1..=20).contains(size))?;
        let mut bytes = [0; 20];
        bytes[..id.len()].copy_from_slice(id);
        Some(BuildId { bytes, size })
    }
}

/// The files that were mapped for execution.
#[derive(Debug, Default)]
pub(super) struct MappedFiles {
    files: BTreeMap<Vec<u8>, (u16, Known)>,
}

impl MappedFiles {
    /// Takes note of a `PERF_RECORD_MMAP2`.
    pub(super) fn note_mmap2(&mut self, record: &[u8]) {
        let Ok((body, name)) = raw::Mmap2Body::read_from_prefix(record) else {
            return;
        };
        let name = c_string(name);
        if body.prot & PROT_EXEC == 0 || name.is_empty() || self.files.contains_key(name) {
            return;
        }
        let mode = body.header.misc & raw::MISC_CPUMODE_MASK;
        let known = if body.header.misc & uapi::PERF_RECORD_MISC_MMAP_BUILD_ID != 0 {
            let size = usize::from(body.file[0]).min(20);
            match BuildId::new(&body.file[4..4 + size]) {
                Some(id) => Known::Recorded(id),
                None => return,
            }
        } else {
            let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|i| body.file[at + i]));
            let low_first = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| body.file[8 + i]);
            let inode = u64::from_ne_bytes(low_first);
            Known::Inode {
                major: word(0),
                minor: word(4),
                inode,
            }
        };
        self.insert(name, mode, known);
    }

    /// Takes note of a `PERF_RECORD_MMAP`: the kernel and its modules.
    pub(super) fn note_mmap(&mut self, record: &[u8]) {
        let Ok((header, rest)) = raw::PerfEventHeader::read_from_prefix(record) else {
            return;
        };
        let Some(name) = rest.get(32..).map(c_string) else {
            return;
        };
        let mode = header.misc & raw::MISC_CPUMODE_MASK;
        if mode == uapi::PERF_RECORD_MISC_KERNEL {
            self.note_kernel_map(name);
        } else if !name.is_empty() {
            self.insert(name, mode, Known::Name);
        }
    }

    /// Takes note of the kernel or one of its modules.
    pub(super) fn note_kernel_map(&mut self, name: &[u8]) {
        // The kernel's name has the symbol that the addresses are relative to behind it.
        let name = if name.starts_with(KERNEL) {
            KERNEL
        } else {
            name
        };
        if !name.is_empty() {
            self.insert(name, uapi::PERF_RECORD_MISC_KERNEL, Known::Name);
        }
    }

    fn insert(&mut self, name: &[u8], mode: u16, known: Known) {
        if self.files.len() < MAX_FILES && !self.files.contains_key(name) {
            self.files.insert(name.to_vec(), (mode, known));
        }
    }

    /// The section `HEADER_BUILD_ID`. Files are read only if `same_boot`: on
    /// another machine or after a reboot a name may mean another file.
    pub(super) fn encode(&self, same_boot: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, (mode, known)) in &self.files {
            let id = match known {
                Known::Recorded(id) => Some(*id),
                _ if !same_boot => None,
                Known::Inode {
                    major,
                    minor,
                    inode,
                } => of_file(name, Some((*major, *minor, *inode))),
                Known::Name if name == KERNEL => of_notes_file(Path::new("/sys/kernel/notes")),
                Known::Name => of_module(name).or_else(|| of_file(name, None)),
            };
            let Some(id) = id else { continue };
            let room = (name.len() + 1).next_multiple_of(NAME_ALIGN);
            let Ok(size) = u16::try_from(size_of::<raw::BuildIdEntry>() + room) else {
                continue;
            };
            let entry = raw::BuildIdEntry {
                header: raw::PerfEventHeader {
                    r#type: 0,
                    misc: mode | raw::MISC_BUILD_ID_SIZE,
                    size,
                },
                pid: -1,
                data: id.bytes,
                size: id.size,
                reserved: [0; 3],
            };
            out.extend_from_slice(entry.as_bytes());
            let end = out.len() + room;
            out.extend_from_slice(name);
            out.resize(end, 0);
        }
        out
    }
}

fn c_string(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|c| *c == 0).unwrap_or(bytes.len())]
}

/// The build id of an ELF file, if the file still is the one that was mapped.
fn of_file(name: &[u8], identity: Option<(u32, u32, u64)>) -> Option<BuildId> {
    // "[vdso]", "//anon", "/memfd:x (deleted)" and the like are no files.
    if !name.starts_with(b"/") || name.starts_with(b"//") {
        return None;
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    // Opening a fifo would block, a device would do who knows what.
    let metadata = std::fs::metadata(path).ok().filter(|m| m.is_file())?;
    if let Some((major, minor, inode)) = identity {
        let device = metadata.dev();
        let same_device = (libc::major(device), libc::minor(device)) == (major, minor);
        if inode != 0 && (metadata.ino() != inode || !same_device) {
            return None;
        }
    }
    of_elf(&File::open(path).ok()?)
}

/// `/sys/module/NAME/notes` of a module given as `[name]` or as its file.
fn of_module(name: &[u8]) -> Option<BuildId> {
    let name = std::str::from_utf8(name).ok()?;
    let module = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(module) => module.to_owned(),
        None => {
            let file = name.rsplit('/').next()?;
            let (module, _) = file.split_once(".ko")?;
            module.replace('-', "_")
        }
    };
    if module.is_empty() || module.contains(['/', '.']) {
        return None;
    }
    let path = format!("/sys/module/{module}/notes/.note.gnu.build-id");
    of_notes_file(Path::new(&path))
}

fn of_notes_file(path: &Path) -> Option<BuildId> {
    let mut notes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_NOTES_BYTES as u64)
        .read_to_end(&mut notes)
        .ok()?;
    of_notes(&notes)
}

/// Looks through the `PT_NOTE` segments of an ELF file of this machine's byte order.
fn of_elf(file: &File) -> Option<BuildId> {
    let mut head = [0u8; 64];
    file.read_exact_at(&mut head, 0).ok()?;
    let own_order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if &head[..4] != b"\x7fELF" || head[5] != own_order {
        return None;
    }
    let wide = match head[4] {
        1 => false,
        2 => true,
        _ => return None,
    };
    let (table_offset, entry_bytes, count) = if wide {
        (
            number(&head, 32, 8)?,
            number(&head, 54, 2)?,
            number(&head, 56, 2)?,
        )
    } else {
        (
            number(&head, 28, 4)?,
            number(&head, 42, 2)?,
            number(&head, 44, 2)?,
        )
    };
    let least = if wide { 56 } else { 32 };
    if entry_bytes < least || count as usize > MAX_PROGRAM_HEADERS {
        return None;
    }
    let mut table = vec![0; (entry_bytes * count) as usize];
    file.read_exact_at(&mut table, table_offset).ok()?;
    for entry in table.chunks_exact(entry_bytes as usize) {
        const PT_NOTE: u64 = 4;
        if number(entry, 0, 4)? != PT_NOTE {
            continue;
        }
        let (offset, size) = if wide {
            (number(entry, 8, 8)?, number(entry, 32, 8)?)
        } else {
            (number(entry, 4, 4)?, number(entry, 16, 4)?)
        };
        let mut notes = vec![0; size.min(MAX_NOTES_BYTES as u64) as usize];
        if file.read_exact_at(&mut notes, offset).is_ok()
            && let Some(id) = of_notes(&notes)
        {
            return Some(id);
        }
    }
    None
}

/// Looks for `NT_GNU_BUILD_ID` of "GNU" among ELF notes.
fn of_notes(mut notes: &[u8]) -> Option<BuildId> {
    while notes.len() >= 12 {
        let name_bytes = number(notes, 0, 4)? as usize;
        let desc_bytes = number(notes, 4, 4)? as usize;
        let kind = number(notes, 8, 4)?;
        let name = notes.get(12..)?.get(..name_bytes)?;
        let desc_at = 12 + name_bytes.next_multiple_of(4);
        let desc = notes.get(desc_at..)?.get(..desc_bytes)?;
        if kind == u64::from(NT_GNU_BUILD_ID) && c_string(name) == b"GNU" {
            return BuildId::new(desc);
        }
        notes = notes.get(desc_at + desc_bytes.next_multiple_of(4)..)?;
    }
    None
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut wide = [0; 8];
    let field = bytes.get(at..at + size)?;
    if cfg!(target_endian = "little") {
        wide[..size].copy_from_slice(field);
    } else {
        wide[8 - size..].copy_from_slice(field);
    }
    Some(u64::from_ne_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_notes_end_the_search() {
        assert_eq!(of_notes(&[0xff; 64]), None);
        assert_eq!(of_notes(&[0; 11]), None);
        let mut notes = Vec::new();
        notes.extend_from_slice([4u32, 30, 3].as_bytes());
        notes.extend_from_slice(b"GNU\0");
        notes.extend_from_slice(&[1; 32]);
        assert_eq!(of_notes(&notes), None, "longer than a build id can be");
    }

    #[test]
    fn the_running_kernel_has_one() {
        let id = of_notes_file(Path::new("/sys/kernel/notes"));
        assert!(id.is_some_and(|id| id.size >= 8), "{id:?}");
    }
}
