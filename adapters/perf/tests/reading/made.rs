//! perf.data files made by hand, a part at a time.

use kstrace_perf::attr::Attr;
use kstrace_perf::uapi::{self, flag};

/// `sample_type` of the files made here: records end in a time, a CPU and an identifier.
pub(crate) const SAMPLE_TYPE: u64 = uapi::PERF_SAMPLE_IDENTIFIER
    | uapi::PERF_SAMPLE_TID
    | uapi::PERF_SAMPLE_TIME
    | uapi::PERF_SAMPLE_CPU;

/// An attr with these parts in its samples.
pub(crate) fn attr(sample_type: u64) -> Attr {
    let mut attr = Attr::new(uapi::PERF_TYPE_SOFTWARE, 0);
    attr.sample_type = sample_type;
    attr.flags = flag::SAMPLE_ID_ALL;
    attr
}

pub(crate) fn header(record_type: u32, misc: u16, size: usize) -> Vec<u8> {
    let mut bytes = record_type.to_le_bytes().to_vec();
    bytes.extend(misc.to_le_bytes());
    bytes.extend(u16::try_from(size).unwrap().to_le_bytes());
    bytes
}

/// A record of a header and a body.
pub(crate) fn record(record_type: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(record_type, 0, 8 + body.len());
    bytes.extend(body);
    bytes
}

/// A sample of [`SAMPLE_TYPE`].
pub(crate) fn sample(id: u64, time_ns: u64, cpu: u32) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    body.extend(time_ns.to_le_bytes());
    body.extend(cpu.to_le_bytes());
    body.extend([0; 4]);
    record(uapi::PERF_RECORD_SAMPLE, &body)
}

/// The trailer of records of [`SAMPLE_TYPE`].
pub(crate) fn trailer(time_ns: u64, cpu: u32, id: u64) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend(time_ns.to_le_bytes());
    bytes.extend(cpu.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(id.to_le_bytes());
    bytes
}

pub(crate) fn comm(time_ns: u64, name: &[u8; 8]) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0, 1, 0, 0, 0];
    body.extend(name);
    body.extend(trailer(time_ns, 0, 1));
    record(uapi::PERF_RECORD_COMM, &body)
}

pub(crate) fn finished_round() -> Vec<u8> {
    record(68, &[])
}

/// A file of these events (attr's bytes and ids) with these records.
pub(crate) fn file(events: &[(&[u8], &[u64])], data: &[u8], features: &[(u32, &[u8])]) -> Vec<u8> {
    let entry = events[0].0.len() + 16;
    let mut ids = Vec::new();
    let mut attrs = Vec::new();
    for (attr, of_event) in events {
        attrs.extend(*attr);
        attrs.extend((104 + ids.len() as u64).to_le_bytes());
        attrs.extend((8 * of_event.len() as u64).to_le_bytes());
        ids.extend(of_event.iter().flat_map(|id| id.to_le_bytes()));
    }
    let attrs_at = 104 + ids.len() as u64;
    let data_at = attrs_at + attrs.len() as u64;
    let mut bytes = b"PERFILE2".to_vec();
    for number in [
        104,
        entry as u64,
        attrs_at,
        attrs.len() as u64,
        data_at,
        data.len() as u64,
        0,
        0,
    ] {
        bytes.extend(number.to_le_bytes());
    }
    let mut bits = [0u64; 4];
    for (number, _) in features {
        bits[*number as usize / 64] |= 1 << (number % 64);
    }
    bytes.extend(bits.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(ids);
    bytes.extend(attrs);
    bytes.extend(data);
    let mut at = bytes.len() as u64 + 16 * features.len() as u64;
    for (_, content) in features {
        bytes.extend(at.to_le_bytes());
        bytes.extend((content.len() as u64).to_le_bytes());
        at += content.len() as u64;
    }
    for (_, content) in features {
        bytes.extend(*content);
    }
    bytes
}

/// A file of one event of [`SAMPLE_TYPE`] with the id 1.
pub(crate) fn simple(records: &[Vec<u8>]) -> Vec<u8> {
    let attr = attr(SAMPLE_TYPE);
    file(
        &[(zerocopy::IntoBytes::as_bytes(&attr), &[1])],
        &records.concat(),
        &[],
    )
}
