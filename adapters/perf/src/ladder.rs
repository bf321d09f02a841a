//! Opening an event on a kernel that may not know all that is asked.
//!
//! New features are asked for first. Where the kernel says no, they are taken
//! back one by one, newest first, and what was given up is told. Nothing is
//! given up that would change what the records mean: without `use_clockid` or
//! `PERF_SAMPLE_IDENTIFIER` opening fails.

use crate::attr::{ATTR_MIN_BYTES, Attr};
use crate::uapi::{PERF_FORMAT_LOST, flag};
use nix::errno::Errno;
use std::io;
use zerocopy::IntoBytes;

/// A feature that a recording can do without.
struct Feature {
    /// What is missing without it, as a note to the user.
    without: &'static str,
    take_back: fn(&mut Attr) -> bool,
}

fn clear(attr: &mut Attr, bits: u64) -> bool {
    let had = attr.flags & bits != 0;
    attr.flags &= !bits;
    had
}

/// Newest first.
const FEATURES: [Feature; 8] = [
    Feature {
        without: "exact loss per event (Linux 6.0): loss at the very end may go unnoticed",
        take_back: |a| {
            let had = a.read_format & PERF_FORMAT_LOST != 0;
            a.read_format &= !PERF_FORMAT_LOST;
            had
        },
    },
    Feature {
        without: "build ids in mappings (Linux 5.12)",
        take_back: |a| clear(a, flag::BUILD_ID),
    },
    Feature {
        without: "text-poke records (Linux 5.8)",
        take_back: |a| clear(a, flag::TEXT_POKE),
    },
    Feature {
        without: "cgroup records (Linux 5.7)",
        take_back: |a| clear(a, flag::CGROUP),
    },
    Feature {
        without: "records of kernel symbols and BPF programs that come and go (Linux 5.1)",
        take_back: |a| clear(a, flag::KSYMBOL | flag::BPF_EVENT),
    },
    Feature {
        without: "namespace records (Linux 4.12)",
        take_back: |a| clear(a, flag::NAMESPACES),
    },
    Feature {
        without: "device and inode of mappings (Linux 3.16)",
        take_back: |a| clear(a, flag::MMAP2 | flag::COMM_EXEC),
    },
    Feature {
        without: "the distinction of host and guest (Linux 3.2)",
        take_back: |a| clear(a, flag::EXCLUDE_HOST | flag::EXCLUDE_GUEST),
    },
];

/// Opens with `open`, giving up what the kernel does not know. On success `attr`
/// is what the kernel took, and the notes say what is missing.
///
/// # Errors
/// The kernel's first refusal, with `attr` as it was: where giving up every
/// feature does not help, they were not the reason.
pub(crate) fn climb<T>(
    attr: &mut Attr,
    open: &mut dyn FnMut(&mut Attr) -> io::Result<T>,
) -> io::Result<(T, Vec<&'static str>)> {
    let asked = *attr;
    let mut notes = Vec::new();
    let mut first_error = None;
    let mut features = FEATURES.iter();
    loop {
        let before = attr.size;
        let e = match open(attr) {
            Ok(opened) => return Ok((opened, notes)),
            Err(e) => e,
        };
        let known = attr.size;
        attr.size = before;
        let again = match errno(&e) {
            Errno::E2BIG => {
                let cut = cut_to(attr, known);
                notes.extend(cut.then_some("fields of perf_event_attr that this kernel lacks"));
                cut
            }
            Errno::EINVAL => match features.find(|feature| (feature.take_back)(attr)) {
                Some(feature) => {
                    notes.push(feature.without);
                    true
                }
                None => false,
            },
            _ => false,
        };
        let e = first_error.get_or_insert(e);
        if !again {
            *attr = asked;
            let code = errno(e) as i32;
            return Err(io::Error::from_raw_os_error(code));
        }
    }
}

/// Zeroes what lies beyond the size that the kernel said it knows. Whether that
/// changed anything: if not, asking again is no use.
fn cut_to(attr: &mut Attr, known: u32) -> bool {
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    if known < ATTR_MIN_BYTES {
        return false;
    }
    let Some(beyond) = attr.as_mut_bytes().get_mut(known..) else {
        return false;
    };
    let had = beyond.iter().any(|b| *b != 0);
    beyond.fill(0);
    had
}

pub(crate) fn errno(e: &io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(errno: Errno) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno as i32))
    }

    fn rich() -> Attr {
        let mut attr = Attr::new(1, 9);
        attr.read_format = PERF_FORMAT_LOST;
        attr.flags = flag::MMAP2 | flag::KSYMBOL | flag::BPF_EVENT | flag::BUILD_ID | flag::COMM;
        attr
    }

    #[test]
    fn gives_up_no_more_than_the_kernel_demands() {
        // Like Linux 5.4: knows ksymbol, but neither build ids nor PERF_FORMAT_LOST.
        let mut attr = rich();
        let mut tries = 0;
        let ((), notes) = climb(&mut attr, &mut |a| {
            tries += 1;
            match a.read_format & PERF_FORMAT_LOST != 0 || a.has(flag::BUILD_ID) {
                true => refuse(Errno::EINVAL),
                false => Ok(()),
            }
        })
        .unwrap();
        assert_eq!((tries, notes.len()), (3, 2));
        assert!(attr.has(flag::KSYMBOL) && attr.has(flag::MMAP2) && attr.has(flag::COMM));
    }

    #[test]
    fn a_refusal_for_other_reasons_leaves_the_attr_alone() {
        let mut attr = rich();
        let e = climb(&mut attr, &mut |_| refuse(Errno::EINVAL)).unwrap_err();
        assert_eq!(errno(&e), Errno::EINVAL);
        assert_eq!(attr, rich());
        let mut tries = 0;
        let e = climb(&mut attr, &mut |_| {
            tries += 1;
            refuse(Errno::EACCES)
        })
        .unwrap_err();
        assert_eq!((tries, errno(&e)), (1, Errno::EACCES));
    }

    #[test]
    fn too_big_is_cut_to_the_size_the_kernel_writes_back() {
        let mut attr = rich();
        attr.config4 = 7;
        let ((), notes) = climb(&mut attr, &mut |a| {
            if a.config4 != 0 {
                a.size = 136;
                return refuse(Errno::E2BIG);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(attr, rich());
        assert_eq!(notes.len(), 1);
        // A kernel that goes on saying so is not asked for ever.
        let e = climb(&mut attr, &mut |a| {
            a.size = 136;
            refuse(Errno::E2BIG)
        })
        .unwrap_err();
        assert_eq!(errno(&e), Errno::E2BIG);
    }
}
