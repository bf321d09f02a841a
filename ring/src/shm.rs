//! Shared memory, and the only `unsafe` of this crate.
//!
//! The law of this memory:
//!
//! - Nobody makes a reference to plain memory that anyone else writes. Words
//!   are touched through atomics only. Bytes are copied in and out with relaxed
//!   atomic words, or with instructions that the compiler knows nothing of
//!   ([`opaque`]); a copy that a writer crossed holds garbage but is not undefined
//!   behaviour, and the protocol throws it away.
//! - Bytes are written through a [`ByteRegion`] alone. Regions of a mapping are
//!   disjoint and cannot be had twice, and the file is sealed against other
//!   writers (`F_SEAL_FUTURE_WRITE`), so the holder of a region may look at it
//!   as `&[u8]` while it does not write.
//! - The size of every mapped file is sealed, so that no access faults.
//! - Every offset is checked here, against the mapping's length, at every use.
#![expect(unsafe_code, reason = "maps memory shared between processes")]

use crate::protocol::{LoadWord, StoreWord};
use crate::{Error, Result};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("kstrace-ring needs 64-bit atomics and addresses");

const SIZE_SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

/// What a mapping of ours may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// The only writer, ever: may take regions.
    Owner,
    /// Readable; never written through this mapping.
    ReadOnly,
    /// Others write as well: words only.
    Peer,
}

/// A mapped, sealed memfd.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    base: NonNull<u8>,
    bytes: usize,
    access: Access,
    fd: OwnedFd,
    /// Regions handed out.
    taken: Mutex<Vec<Range<usize>>>,
}

// SAFETY: the mapping lives as long as the value and is not tied to a thread;
// what may be done with it is ruled by the module's law.
unsafe impl Send for SharedMemory {}
// SAFETY: as above; `&SharedMemory` gives atomic accesses only.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// A new memfd that this mapping alone can ever write: sealed with
    /// `F_SEAL_FUTURE_WRITE` besides shrink, grow and seal.
    ///
    /// Minimum kernel version: 5.1.
    pub(crate) fn create_owned(name: &str, bytes: usize) -> Result<Arc<Self>> {
        Self::create(
            name,
            bytes,
            Access::Owner,
            SIZE_SEALS | SealFlag::F_SEAL_FUTURE_WRITE,
        )
    }

    /// A new memfd that whoever has the descriptor can write.
    pub(crate) fn create_peer(name: &str, bytes: usize) -> Result<Arc<Self>> {
        Self::create(name, bytes, Access::Peer, SIZE_SEALS)
    }

    fn create(name: &str, bytes: usize, access: Access, seals: SealFlag) -> Result<Arc<Self>> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
            .map_err(|e| Error::system("memfd_create", e))?;
        nix::unistd::ftruncate(&fd, bytes as i64).map_err(|e| Error::system("ftruncate", e))?;
        // The mapping must be there before F_SEAL_FUTURE_WRITE forbids new ones.
        let memory = Self::map(fd, bytes, access)?;
        fcntl(
            &memory.fd,
            FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL),
        )
        .map_err(|e| Error::system("fcntl(F_ADD_SEALS)", e))?;
        Ok(Arc::new(memory))
    }

    /// Maps another's memory to read it.
    pub(crate) fn open_read_only(fd: OwnedFd) -> Result<Arc<Self>> {
        let bytes = sealed_size(&fd)?;
        Ok(Arc::new(Self::map(fd, bytes, Access::ReadOnly)?))
    }

    /// Maps memory that several write, to load and store words in it.
    pub(crate) fn open_peer(fd: OwnedFd) -> Result<Arc<Self>> {
        let bytes = sealed_size(&fd)?;
        Ok(Arc::new(Self::map(fd, bytes, Access::Peer)?))
    }

    fn map(fd: OwnedFd, bytes: usize, access: Access) -> Result<Self> {
        let length =
            NonZeroUsize::new(bytes).ok_or_else(|| Error::system("mmap", nix::Error::EINVAL))?;
        let protection = match access {
            Access::ReadOnly => ProtFlags::PROT_READ,
            Access::Owner | Access::Peer => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else is touched.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &fd, 0) }
            .map_err(|e| Error::system("mmap", e))?;
        Ok(SharedMemory {
            base: base.cast(),
            bytes,
            access,
            fd,
            taken: Mutex::new(Vec::new()),
        })
    }

    /// The file.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Size of the mapping.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address of `bytes` bytes at `offset`.
    ///
    /// # Panics
    ///
    /// When they are not within the mapping: offsets from outside are checked
    /// when a layout is parsed, so this is a mistake of this crate.
    #[inline]
    fn at(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "{bytes} bytes at {offset} are not within the mapping's {}",
            self.bytes
        );
        // SAFETY: offset is within the mapping, as just seen.
        unsafe { self.base.add(offset) }
    }

    /// The word at `offset`; to be stored to only where the mapping is writable.
    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        let address = self.at(offset, 8);
        assert!(
            offset.is_multiple_of(8),
            "the word at {offset} is not aligned to 8"
        );
        // SAFETY: eight mapped bytes, aligned (the base is page-aligned), alive as long as
        // self, and by the module's law never accessed other than atomically while others
        // write them. On a read-only mapping callers load relaxed only.
        unsafe { AtomicU64::from_ptr(address.as_ptr().cast()) }
    }

    /// A word to read.
    #[inline]
    pub(crate) fn reader(&self, offset: usize) -> WordReader<'_> {
        WordReader(self.word(offset))
    }

    /// Appends `bytes` bytes at `offset` to `out`. What a writer changes meanwhile
    /// arrives old, new or mixed.
    pub(crate) fn copy_out(&self, offset: usize, bytes: usize, out: &mut Vec<u8>) {
        let from = self.at(offset, bytes);
        out.reserve(bytes);
        let to = out.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `from` is mapped for `bytes`; `to` has room for them and is ours alone.
        unsafe { copy_from_shared(from.as_ptr(), to, bytes) };
        let len = out.len() + bytes;
        // SAFETY: the first `bytes` bytes of the spare capacity were written just now.
        unsafe { out.set_len(len) };
    }

    /// Takes a stretch of the mapping to write bytes to. The mapping must be ours alone,
    /// and no part of the stretch taken.
    pub(crate) fn take_bytes(self: &Arc<Self>, offset: usize, bytes: usize) -> ByteRegion {
        let range = self.take(offset, bytes);
        let start = self.at(offset, bytes);
        ByteRegion {
            start,
            bytes,
            cursor: start,
            limit: start,
            claim: range,
        }
    }

    /// Takes a stretch of the mapping to store words to; otherwise as [`take_bytes`](Self::take_bytes).
    pub(crate) fn take_words(self: &Arc<Self>, offset: usize, bytes: usize) -> WordRegion {
        WordRegion {
            offset,
            bytes,
            claim: self.take(offset, bytes),
        }
    }

    fn take(self: &Arc<Self>, offset: usize, bytes: usize) -> Claim {
        assert_eq!(
            self.access,
            Access::Owner,
            "regions of memory that others write"
        );
        self.at(offset, bytes);
        let range = offset..offset + bytes;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            taken
                .iter()
                .all(|t| t.end <= range.start || range.end <= t.start),
            "region {range:?} taken twice"
        );
        taken.push(range.clone());
        Claim {
            memory: Arc::clone(self),
            range,
        }
    }

    /// A word that several processes load and store.
    pub(crate) fn peer_word(self: &Arc<Self>, offset: usize) -> PeerWord {
        assert_eq!(
            self.access,
            Access::Peer,
            "a peer's word in memory that is not shared so"
        );
        self.word(offset);
        PeerWord {
            memory: Arc::clone(self),
            offset,
        }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made; no borrow of it can be left. Failure would leave
        // it mapped, which harms nothing.
        let _ = unsafe { munmap(self.base.cast::<c_void>(), self.bytes) };
    }
}

/// The size of a file that cannot change it.
fn sealed_size(fd: &OwnedFd) -> Result<usize> {
    let found =
        fcntl(fd, FcntlArg::F_GET_SEALS).map_err(|e| Error::system("fcntl(F_GET_SEALS)", e))?;
    if found & SIZE_SEALS.bits() != SIZE_SEALS.bits() {
        return Err(Error::NotSealed {
            found: found as u32,
            needed: SIZE_SEALS.bits() as u32,
        });
    }
    let stat = nix::sys::stat::fstat(fd).map_err(|e| Error::system("fstat", e))?;
    usize::try_from(stat.st_size).map_err(|_| Error::system("fstat", nix::Error::EOVERFLOW))
}

/// The right to write a stretch of a mapping; ends with the value.
#[derive(Debug)]
struct Claim {
    memory: Arc<SharedMemory>,
    range: Range<usize>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = self
            .memory
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.retain(|r| *r != self.range);
    }
}

/// A word that this side only reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordReader<'a>(&'a AtomicU64);

impl LoadWord for WordReader<'_> {
    #[inline]
    fn load_relaxed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A word that any process may change at any time.
#[derive(Clone, Debug)]
pub(crate) struct PeerWord {
    memory: Arc<SharedMemory>,
    offset: usize,
}

impl LoadWord for PeerWord {
    fn load_relaxed(&self) -> u64 {
        self.memory.word(self.offset).load(Ordering::Relaxed)
    }
}

impl StoreWord for PeerWord {
    fn store_relaxed(&self, value: u64) {
        self.memory
            .word(self.offset)
            .store(value, Ordering::Relaxed);
    }

    fn store_release(&self, value: u64) {
        self.memory
            .word(self.offset)
            .store(value, Ordering::Release);
    }
}

/// Words that this process alone writes.
#[derive(Debug)]
pub(crate) struct WordRegion {
    offset: usize,
    bytes: usize,
    claim: Claim,
}

impl WordRegion {
    /// The word at `offset` of the region.
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(
            offset < self.bytes && self.bytes - offset >= 8,
            "word {offset} out of its region"
        );
        self.claim.memory.word(self.offset + offset)
    }
}

/// Bytes that the holder alone writes, with a window into which records are pushed.
#[derive(Debug)]
pub(crate) struct ByteRegion {
    start: NonNull<u8>,
    bytes: usize,
    /// Where the next record goes; `cursor <= limit`, both 8-aligned and within the region.
    cursor: NonNull<u8>,
    limit: NonNull<u8>,
    claim: Claim,
}

// SAFETY: the region is its holder's alone and its mapping lives as long as the claim.
unsafe impl Send for ByteRegion {}
// SAFETY: `&ByteRegion` gives only reads, and nobody writes while it is borrowed.
unsafe impl Sync for ByteRegion {}

impl ByteRegion {
    #[inline]
    fn at(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "{bytes} bytes at {offset} are not within the region's {}",
            self.bytes
        );
        // SAFETY: offset is within the region, as just seen.
        unsafe { self.start.add(offset) }
    }

    /// Writes bytes at an 8-aligned offset, the last word filled up with zeros.
    pub(crate) fn write(&mut self, offset: usize, from: &[u8]) {
        assert!(
            offset.is_multiple_of(8),
            "bytes at {offset} are not aligned to 8"
        );
        let to = self.at(offset, from.len().next_multiple_of(8));
        // SAFETY: room for the padded bytes was just checked; aligned as the mapping is.
        unsafe { copy_to_shared(from, to.as_ptr()) };
    }

    /// Writes a word at an 8-aligned offset.
    pub(crate) fn write_word(&mut self, offset: usize, value: u64) {
        self.write(offset, &value.to_ne_bytes());
    }

    /// The region's bytes; nobody writes them while they are borrowed.
    pub(crate) fn slice(&self, offset: usize, bytes: usize) -> &[u8] {
        let start = self.at(offset, bytes);
        // SAFETY: mapped bytes that only the holder of `&mut self` can write: other regions are
        // disjoint, and seals keep other processes from writing.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes) }
    }

    /// Lets records be pushed from `offset` for `bytes`, both multiples of 8.
    pub(crate) fn open_window(&mut self, offset: usize, bytes: usize) {
        assert!(
            offset.is_multiple_of(8) && bytes.is_multiple_of(8),
            "window is not aligned to 8"
        );
        self.limit = self.at(offset + bytes, 0);
        self.cursor = self.at(offset, bytes);
    }

    /// Lets no record be pushed any more.
    pub(crate) fn close_window(&mut self) {
        self.limit = self.cursor;
    }

    /// Where the next record would go, from the region's start.
    #[inline]
    pub(crate) fn cursor_offset(&self) -> usize {
        self.cursor.as_ptr() as usize - self.start.as_ptr() as usize
    }

    /// Bytes left in the window.
    #[inline]
    pub(crate) fn window_bytes(&self) -> usize {
        self.limit.as_ptr() as usize - self.cursor.as_ptr() as usize
    }

    /// Pushes two words and a payload, padded with zeros to a multiple of 8;
    /// says no and does nothing when the window has no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, first: u64, second: u64, payload: &[u8]) -> bool {
        // Slices are no longer than isize::MAX, so this cannot wrap.
        let bytes = (16 + payload.len() + 7) & !7;
        if bytes > self.window_bytes() {
            return false;
        }
        let to = self.cursor.as_ptr();
        // SAFETY: at least 16 bytes of the window are left; aligned to 8.
        unsafe { store_word(to, first) };
        // SAFETY: as above.
        let second_at = unsafe { to.add(8) };
        // SAFETY: as above.
        unsafe { store_word(second_at, second) };
        // SAFETY: as above.
        let payload_at = unsafe { to.add(16) };
        // SAFETY: the window has room for the padded payload after the two words.
        unsafe { copy_to_shared(payload, payload_at) };
        // SAFETY: at most the window's end.
        self.cursor = unsafe { self.cursor.add(bytes) };
        true
    }

    /// Has the kernel provide the region's memory now.
    ///
    /// Minimum kernel version: 5.14 (`MADV_POPULATE_WRITE`).
    pub(crate) fn prefault(&mut self) -> Result<()> {
        // SAFETY: touches the region's pages without changing them; start is page-aligned
        // where it is called, and the kernel refuses otherwise.
        unsafe {
            madvise(
                self.start.cast(),
                self.bytes,
                MmapAdvise::MADV_POPULATE_WRITE,
            )
        }
        .map_err(|e| Error::system("madvise(MADV_POPULATE_WRITE)", e))
    }

    /// The mapping that the region is part of.
    pub(crate) fn memory(&self) -> &Arc<SharedMemory> {
        &self.claim.memory
    }
}

/// # Safety
///
/// `to` must be valid for an aligned store of 8 bytes, never accessed other than
/// atomically by others meanwhile.
#[inline(always)]
unsafe fn store_word(to: *mut u8, value: u64) {
    // SAFETY: as the caller promises.
    let word = unsafe { AtomicU64::from_ptr(to.cast()) };
    word.store(value, Ordering::Relaxed);
}

/// # Safety
///
/// `from` must be valid for an aligned load of 8 bytes.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn load_word(from: *const u8) -> u64 {
    // SAFETY: as the caller promises; loads only.
    let word = unsafe { AtomicU64::from_ptr(from.cast_mut().cast()) };
    word.load(Ordering::Relaxed)
}

/// Copies bytes into shared memory, the last word filled up with zeros.
///
/// # Safety
///
/// `to` must be 8-aligned and valid for writes of the padded length, and no part of `from`.
#[inline(always)]
unsafe fn copy_to_shared(from: &[u8], to: *mut u8) {
    let (words, tail) = from.as_chunks::<8>();
    // SAFETY: as the caller promises, for every whole word.
    let at = unsafe { copy_words_to_shared(words, to) };
    if !tail.is_empty() {
        // SAFETY: the last word of the padded target.
        unsafe { store_word(at, last_word(from, tail)) };
    }
}

/// Copies whole words and says where they end.
///
/// # Safety
///
/// `to` must be 8-aligned and valid for writes of that many words.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_words_to_shared(words: &[[u8; 8]], to: *mut u8) -> *mut u8 {
    if words.len() > opaque::FEW_WORDS {
        let bytes = words.len() * 8;
        // SAFETY: source and target are valid for that many bytes and do not overlap.
        unsafe { opaque::copy(words.as_ptr().cast(), to, bytes) };
        // SAFETY: the end of the target.
        return unsafe { to.add(bytes) };
    }
    let (pairs, last) = words.as_chunks::<2>();
    let mut at = to;
    for pair in pairs {
        // SAFETY: sixteen bytes of source and target.
        unsafe { opaque::copy_16(pair.as_ptr().cast(), at) };
        // SAFETY: at most the end of the target.
        at = unsafe { at.add(16) };
    }
    // SAFETY: as the caller promises, for the word that is left.
    unsafe { store_words(last, at) }
}

/// Copies whole words and says where they end.
///
/// # Safety
///
/// `to` must be 8-aligned and valid for writes of that many words.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn copy_words_to_shared(words: &[[u8; 8]], to: *mut u8) -> *mut u8 {
    // SAFETY: as the caller promises.
    unsafe { store_words(words, to) }
}

/// # Safety
///
/// `to` must be 8-aligned and valid for writes of that many words.
#[inline(always)]
unsafe fn store_words(words: &[[u8; 8]], to: *mut u8) -> *mut u8 {
    let mut at = to;
    for word in words {
        // SAFETY: as the caller promises.
        unsafe { store_word(at, u64::from_ne_bytes(*word)) };
        // SAFETY: at most one past the last word.
        at = unsafe { at.add(8) };
    }
    at
}

/// The 1 to 7 bytes of `tail`, which ends `all`, followed by zeros.
#[inline(always)]
fn last_word(all: &[u8], tail: &[u8]) -> u64 {
    if let Some(last) = all.last_chunk::<8>() {
        // Load eight bytes that end where `all` ends and shift out those that are not the tail's.
        let shift = 8 * (8 - tail.len() as u32);
        let word = u64::from_ne_bytes(*last);
        return if cfg!(target_endian = "little") {
            word >> shift
        } else {
            word << shift
        };
    }
    short_word(tail)
}

#[cold]
fn short_word(bytes: &[u8]) -> u64 {
    let mut word = [0u8; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Copies by instructions that the compiler knows nothing of, so that racing with
/// another process is no more than a race of the hardware.
#[cfg(target_arch = "x86_64")]
mod opaque {
    use std::arch::asm;

    /// Up to so many words are copied in place.
    pub(super) const FEW_WORDS: usize = 32;
    const LINE_BYTES: usize = 64;

    /// # Safety
    ///
    /// `from` must be valid for reads and `to` for writes of 16 bytes; they must not overlap.
    #[inline(always)]
    pub(super) unsafe fn copy_16(from: *const u8, to: *mut u8) {
        // SAFETY: as the caller promises.
        unsafe {
            asm!(
                "movups {t}, [{from}]",
                "movups [{to}], {t}",
                from = in(reg) from,
                to = in(reg) to,
                t = out(xmm_reg) _,
                options(nostack, preserves_flags)
            );
        }
    }

    /// As fast as memcpy for long copies.
    ///
    /// # Safety
    ///
    /// `from` must be valid for reads and `to` for writes of `bytes` bytes; they must not overlap.
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
        let (mut from, mut to, mut left) = (from, to, bytes);
        if bytes >= 2 * LINE_BYTES {
            // The string instruction is fast only if its target begins with a cache line.
            for at in (0..LINE_BYTES).step_by(16) {
                // SAFETY: within the first line's worth of both.
                unsafe { copy_16(from.wrapping_add(at), to.wrapping_add(at)) };
            }
            let head = LINE_BYTES - to as usize % LINE_BYTES;
            (from, to, left) = (from.wrapping_add(head), to.wrapping_add(head), bytes - head);
        }
        // SAFETY: what is left of the caller's bytes; the ABI keeps the direction flag clear.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") left => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Copies bytes out of shared memory.
///
/// # Safety
///
/// `from` must be mapped for `bytes` bytes, `to` valid for writes of them and nobody else's.
#[inline]
unsafe fn copy_from_shared(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as the caller promises.
    unsafe {
        opaque::copy(from, to, bytes);
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut done = 0;
        // Readers ask for 8-aligned bytes in eights; whatever else comes is taken word by word
        // from the words around it.
        while done < bytes {
            let address = from as usize + done;
            let skip = address % 8;
            // SAFETY: the aligned word around a mapped byte lies within its page.
            let word = unsafe { load_word((address - skip) as *const u8) }.to_ne_bytes();
            let n = (8 - skip).min(bytes - done);
            // SAFETY: `done + n <= bytes`.
            let target = unsafe { to.add(done) };
            // SAFETY: `n` bytes of a local array into the caller's target.
            unsafe { std::ptr::copy_nonoverlapping(word[skip..].as_ptr(), target, n) };
            done += n;
        }
    }
}
