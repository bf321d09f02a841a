//! The reader of perf.data, and what is written of what it read.

use kstrace_perf::file::{PerfDataOptions, PerfDataReader, PerfDataSink, ReadOptions};
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    Error, EventRecord, EventRecordClass, FileInput, FileOutput, Loss, SessionInfo, Sink, Source,
};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A perf.data, read as it lies there or comes by a pipe: an error, or sorted records that are
/// what their classes say, and an end.
pub fn perf_data(data: &[u8]) {
    if let Ok(reader) = stream(data) {
        read(reader, data.len(), &mut Checked::default());
    }
    // What a pipe held is read in another way when it is a file; a file put aside is a file.
    if data.get(8..16) == Some(&[16, 0, 0, 0, 0, 0, 0, 0]) {
        in_directory(&[("perf.data", data)], |directory| {
            open(&directory.join("perf.data"), data.len());
        });
    }
}

/// A directory as `perf record --threads` makes it: the length of `data` in four bytes, `data`,
/// and `data.0`.
pub fn perf_directory(data: &[u8]) {
    let Some((length, files)) = data.split_first_chunk::<4>() else {
        return;
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (main, other) = files.split_at(length.min(files.len()));
    in_directory(&[("data", main), ("data.0", other)], |directory| {
        open(directory, data.len());
    });
}

/// A perf.data that is read, written and read again: the same records, if it was whole.
pub fn perf_rewrite(data: &[u8]) {
    let Ok(reader) = stream(data) else {
        return;
    };
    let options = PerfDataOptions {
        build_ids: false,
        ..PerfDataOptions::default()
    };
    let written = Shared::default();
    let Ok(sink) = PerfDataSink::to_writer(written.clone(), options) else {
        return;
    };
    let mut first = Checked {
        also: Some(sink),
        ..Checked::default()
    };
    let damage = read(reader, data.len(), &mut first);
    let Some(sink) = first.also else {
        return;
    };
    // An odd file may not be writable; whole ones without a doubt are.
    if !damage.is_empty() || first.refused || !sink.report().is_lossless() {
        return;
    }
    let written = written.take();
    let reader = stream(&written).unwrap_or_else(|e| panic!("what was written: {e}"));
    let mut second = Checked::default();
    let damage = read(reader, written.len(), &mut second);
    assert!(damage.is_empty(), "of what was written: {damage:?}");
    assert_eq!(first.records, second.records, "records");
    assert_eq!(first.sum, second.sum, "the records' bytes");
}

/// A recipe of a perf.data, see [`Recipe`]: its records are what is hard to hit by chance.
pub fn perf_records(data: &[u8]) {
    let mut recipe = Recipe(data);
    let file = recipe.file();
    if let Ok(reader) = stream(&file) {
        // What is compressed may say so in few bytes.
        read(reader, 4 * file.len() + (1 << 16), &mut Checked::default());
    }
}

fn stream(data: &[u8]) -> Result<PerfDataReader, Error> {
    // As a pipe gives it: a piece at a time.
    let pieces = Cursor::new(data.to_vec()).take(u64::MAX);
    PerfDataReader::from_stream("input", pieces, options())
}

fn open(path: &Path, len: usize) {
    if let Ok(reader) = PerfDataReader::open(path, options()) {
        read(reader, len, &mut Checked::default());
    }
}

/// Sorting gives up early, so that this happens too.
fn options() -> ReadOptions {
    ReadOptions {
        max_pending_bytes: 1 << 20,
        ..ReadOptions::default()
    }
}

fn in_directory(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let Ok(directory) = tempfile::tempdir() else {
        return;
    };
    for (name, bytes) in files {
        if std::fs::write(directory.path().join(name), bytes).is_err() {
            return;
        }
    }
    read(directory.path());
}

fn read(mut reader: PerfDataReader, len: usize, sink: &mut Checked) -> Vec<Error> {
    let _ = (reader.stated_accounts(), reader.progress_bytes());
    let session = reader.session().clone();
    let _ = sink.session(&session);
    let Ok(streams) = reader.streams(sink) else {
        return Vec::new();
    };
    let mut merger = Merger::new(streams);
    let mut damage = Vec::new();
    // Each round takes in some records or hands some on.
    for _ in 0..=len {
        let round = merger.round(sink);
        damage.extend(merger.take_errors().into_iter().map(|e| e.error));
        match round {
            Ok(round) if !round.finished() => {}
            _ => {
                let _ = merger.finish(sink);
                let _ = sink.finish();
                return damage;
            }
        }
    }
    panic!("reading does not end");
}

/// Takes records and checks what is promised of them.
#[derive(Default)]
struct Checked {
    classes: Vec<Option<Arc<EventRecordClass>>>,
    last_ns: u64,
    records: u64,
    /// Of all bytes of all records, whatever their order: those of equal time may change theirs.
    sum: u64,
    /// Where everything goes too.
    also: Option<PerfDataSink>,
    refused: bool,
}

impl Checked {
    fn pass(&mut self, give: impl FnOnce(&mut PerfDataSink) -> kstrace_schema::Result<()>) {
        if let Some(also) = &mut self.also {
            self.refused |= give(also).is_err();
        }
    }
}

impl Sink for Checked {
    fn session(&mut self, session: &SessionInfo) -> kstrace_schema::Result<()> {
        self.pass(|also| also.session(session));
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> kstrace_schema::Result<()> {
        let index = usize::from(class.id.0);
        if self.classes.len() <= index {
            self.classes.resize(index + 1, None);
        }
        self.classes[index] = Some(Arc::clone(class));
        self.pass(|also| also.class(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> kstrace_schema::Result<()> {
        let class = self.classes.get(usize::from(record.class.0));
        let class = class.and_then(Option::as_ref).expect("a class comes first");
        assert!(record.time.as_ns() >= self.last_ns, "time goes back");
        self.last_ns = record.time.as_ns();
        let rest = record.rest_len_bytes;
        match walk(&class.payload, record.payload, rest, &mut Everything) {
            Ok(end) => assert_eq!(end, record.payload.len(), "{}: its end", class.name),
            Err(e) => panic!("{}: {e}", class.name),
        }
        self.records += 1;
        let bytes = record.payload.iter();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        self.sum = self.sum.wrapping_add(hash);
        self.pass(|also| also.record(record));
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> kstrace_schema::Result<()> {
        assert!(loss.begin <= loss.end);
        self.pass(|also| also.loss(loss));
        Ok(())
    }

    fn finish(&mut self) -> kstrace_schema::Result<()> {
        self.pass(Sink::finish);
        Ok(())
    }
}

/// Looks at every value.
struct Everything;

impl<'a> Visitor<'a> for Everything {
    fn value(&mut self, _: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        if let Value::Array(view) = &value {
            // Elements of nothing can be without number.
            view.iter().take(1 << 16).for_each(drop);
        }
        ControlFlow::Continue(())
    }
}

/// A file in memory that is still there when its writer is gone.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(inner.get_mut())
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seek(to)
    }
}

/// What a perf.data is made of. A byte of flags ([`BIG_ENDIAN`] and so on), 17 bytes for each
/// event, and then records: a byte for the type, two of misc, two for the length, the body.
struct Recipe<'a>(&'a [u8]);

const BIG_ENDIAN: u8 = 1;
const COMPRESSED: u8 = 2;
const COMPRESSED2: u8 = 4;
const STREAM: u8 = 8;
const NO_TRAILERS: u8 = 16;
const TRACEPOINT: u8 = 32;
/// The two bits that say how many events there are beyond one.
const MORE_EVENTS_SHIFT: u8 = 6;

/// The attr's own size, of the first version that has all of what is set here.
const ATTR_BYTES: usize = 136;
const TRACEPOINT_ID: u64 = 77;

/// A tracepoint with everything whose place depends on the record.
const FORMAT: &str = "name: x\nID: 77\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;\n\
    \tfield:__data_loc u8[] bytes;\toffset:12;\tsize:4;\tsigned:0;\n\
    \tfield:u32 numbers[2];\toffset:16;\tsize:8;\tsigned:0;\n\n\
    print fmt: \"%s %u\", __get_str(name), REC->numbers[0]\n";

impl Recipe<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk::<N>()?;
        self.0 = left;
        Some(*taken)
    }

    fn number<const N: usize>(&mut self) -> u64 {
        let bytes = self.take::<N>().unwrap_or([0; N]);
        bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    fn file(&mut self) -> Vec<u8> {
        let flags = self.number::<1>() as u8;
        let count = usize::from(flags >> MORE_EVENTS_SHIFT) + 1;
        let put = Put(flags & BIG_ENDIAN != 0);
        let attrs: Vec<Vec<u8>> = (0..count).map(|n| self.attr(n, flags, put)).collect();
        let records = self.records(put);
        let records = match flags & (COMPRESSED | COMPRESSED2) {
            0 => records,
            which => compressed(&records, which & COMPRESSED2 != 0, put),
        };
        let tracing = match flags & TRACEPOINT {
            0 => Vec::new(),
            _ => tracing_data(put),
        };
        let mut file = match put.0 {
            true => b"2ELIFREP".to_vec(),
            false => b"PERFILE2".to_vec(),
        };
        if flags & STREAM != 0 {
            put.u64(&mut file, 16);
            for (n, attr) in attrs.iter().enumerate() {
                let mut body = attr.clone();
                put.u64(&mut body, n as u64 + 1);
                put.record(&mut file, 64, 0, &body);
            }
            if !tracing.is_empty() {
                let mut body = Vec::new();
                put.u32(&mut body, tracing.len() as u32);
                put.u32(&mut body, 0);
                put.record(&mut file, 66, 0, &body);
                file.extend(&tracing);
            }
            file.extend(records);
            return file;
        }
        let attrs_at = 104 + 8 * count;
        let data_at = attrs_at + count * (ATTR_BYTES + 16);
        for value in [
            104,
            ATTR_BYTES + 16,
            attrs_at,
            count * (ATTR_BYTES + 16),
            data_at,
            records.len(),
            0,
            0,
        ] {
            put.u64(&mut file, value as u64);
        }
        let features = if tracing.is_empty() { 0 } else { 1 << 1 };
        for word in [features, 0, 0, 0] {
            put.u64(&mut file, word);
        }
        (0..count).for_each(|n| put.u64(&mut file, n as u64 + 1));
        for (n, attr) in attrs.iter().enumerate() {
            file.extend(attr);
            put.u64(&mut file, 104 + 8 * n as u64);
            put.u64(&mut file, 8);
        }
        file.extend(records);
        if !tracing.is_empty() {
            let at = file.len() as u64 + 16;
            put.u64(&mut file, at);
            put.u64(&mut file, tracing.len() as u64);
            file.extend(tracing);
        }
        file
    }

    fn attr(&mut self, n: usize, flags: u8, put: Put) -> Vec<u8> {
        let is_tracepoint = flags & TRACEPOINT != 0 && n == 0;
        let mut attr = Vec::with_capacity(ATTR_BYTES);
        put.u32(&mut attr, if is_tracepoint { 2 } else { 1 });
        put.u32(&mut attr, ATTR_BYTES as u32);
        put.u64(&mut attr, if is_tracepoint { TRACEPOINT_ID } else { 0 });
        put.u64(&mut attr, 1);
        put.u64(&mut attr, self.number::<4>());
        put.u64(&mut attr, self.number::<1>());
        // `sample_id_all` is the 19th bit, counted from the other end in the other order.
        let trailers = u8::from(flags & NO_TRAILERS == 0) << 2;
        let bits = if put.0 {
            trailers.reverse_bits()
        } else {
            trailers
        };
        attr.extend([0, 0, bits, 0, 0, 0, 0, 0]);
        attr.extend([0; 24]);
        put.u64(&mut attr, self.number::<4>());
        put.u64(&mut attr, self.number::<4>());
        attr.extend([0; 8]);
        put.u64(&mut attr, self.number::<4>());
        attr.resize(ATTR_BYTES, 0);
        attr
    }

    fn records(&mut self, put: Put) -> Vec<u8> {
        let mut records = Vec::new();
        while let Some([kind]) = self.take::<1>() {
            let misc = self.number::<2>() as u16;
            let length = self.number::<2>() as usize;
            let (body, left) = self.0.split_at(length.min(self.0.len()).min(60_000));
            self.0 = left;
            // In files of perf, whole words; here a record may have any size.
            put.record(&mut records, u32::from(kind), misc, body);
        }
        records
    }
}

/// Appends numbers in an order; big-endian if true.
#[derive(Clone, Copy)]
struct Put(bool);

impl Put {
    fn number(self, to: &mut Vec<u8>, value: u64, size: usize) {
        match self.0 {
            true => to.extend(&value.to_be_bytes()[8 - size..]),
            false => to.extend(&value.to_le_bytes()[..size]),
        }
    }

    fn u32(self, to: &mut Vec<u8>, value: u32) {
        self.number(to, value.into(), 4);
    }

    fn u64(self, to: &mut Vec<u8>, value: u64) {
        self.number(to, value, 8);
    }

    fn record(self, to: &mut Vec<u8>, kind: u32, misc: u16, body: &[u8]) {
        self.u32(to, kind);
        self.number(to, misc.into(), 2);
        self.number(to, 8 + body.len() as u64, 2);
        to.extend(body);
    }
}

/// The records in one zstd frame of blocks as they are, cut so that records span the pieces.
fn compressed(records: &[u8], second_form: bool, put: Put) -> Vec<u8> {
    const PIECE_BYTES: usize = 1000;
    let mut out = Vec::new();
    // Magic, no checksum nor sizes, a window of a mebibyte.
    let mut data = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 80];
    for piece in records.chunks(PIECE_BYTES) {
        // Not the last block, as it is, so long.
        data.extend(&(piece.len() as u32 * 8).to_le_bytes()[..3]);
        data.extend(piece);
        let mut body = Vec::new();
        if second_form {
            put.u64(&mut body, data.len() as u64);
        }
        body.append(&mut data);
        put.record(&mut out, if second_form { 83 } else { 81 }, 0, &body);
    }
    out
}

fn tracing_data(put: Put) -> Vec<u8> {
    let mut data = b"\x17\x08\x44tracing0.6\0".to_vec();
    data.extend([u8::from(put.0), 8]);
    put.u32(&mut data, 4096);
    for name in [b"header_page\0".as_slice(), b"header_event\0"] {
        data.extend(name);
        put.u64(&mut data, 0);
    }
    put.u32(&mut data, 0);
    put.u32(&mut data, 1);
    data.extend(b"s\0");
    put.u32(&mut data, 1);
    put.u64(&mut data, FORMAT.len() as u64);
    data.extend(FORMAT.as_bytes());
    data.extend([0; 16]);
    data
}
