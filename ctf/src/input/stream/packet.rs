//! What stands before the records of a packet.

use crate::input::bits::Cursor;
use crate::input::exec::{Facts, Fault};
use crate::input::node::SHARED_SLOTS;
use crate::input::plan::{Shared, StreamPlan};
use kstrace_schema::{ErrorKind, SourceId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The packet magic.
pub(in crate::input) const MAGIC: u64 = 0xc1fc_1fc1;

/// What the streams of one trace have in common.
#[derive(Debug)]
pub(in crate::input) struct TracePlan {
    pub(in crate::input) source: SourceId,
    pub(in crate::input) uuid: Option<[u8; 16]>,
    pub(in crate::input) streams: BTreeMap<u64, Arc<StreamPlan>>,
    /// Stream class that a packet without an id is of.
    pub(in crate::input) only_stream: Option<u64>,
    /// Finds a packet's stream class.
    pub(in crate::input) probe: Shared,
}

/// What stands before the records of a packet.
#[derive(Clone, Debug)]
pub(in crate::input) struct PacketStart {
    pub(in crate::input) facts: Facts,
    /// Where the records begin, in bits from the packet's start.
    pub(in crate::input) records_at: u64,
    pub(in crate::input) content_bits: u64,
    /// Size in bytes, at most what is left of the file.
    pub(in crate::input) size: usize,
    /// The file ends within the packet, which should have so many bytes.
    pub(in crate::input) cut_from: Option<u64>,
}

/// A fault with its place.
#[derive(Debug)]
pub(in crate::input) struct Placed {
    pub(in crate::input) offset_bits: u64,
    pub(in crate::input) field: String,
    pub(in crate::input) reason: String,
    pub(in crate::input) kind: ErrorKind,
}

impl Placed {
    pub(in crate::input) fn new(offset_bits: u64, field: &str, reason: impl Into<String>) -> Self {
        Placed {
            offset_bits,
            field: field.to_owned(),
            reason: reason.into(),
            kind: ErrorKind::InvalidData,
        }
    }

    pub(in crate::input) fn of(offset_bits: u64, scope: &str, fault: &Fault) -> Self {
        let field = match fault.field.as_str() {
            "" => scope.to_owned(),
            field => format!("{scope}.{field}"),
        };
        Placed::new(offset_bits, &field, fault.reason)
    }
}

impl TracePlan {
    /// The stream class of the packet that `bytes` begin with.
    pub(in crate::input) fn stream_of(
        &self,
        bytes: &[u8],
    ) -> std::result::Result<(u64, Facts), Placed> {
        let mut facts = Facts::default();
        let mut cursor = Cursor::new(bytes, 0, u64::MAX);
        let mut slots = [0u64; SHARED_SLOTS as usize];
        self.probe
            .read(&mut cursor, &mut slots, &mut facts, &mut Vec::new())
            .map_err(|f| Placed {
                kind: ErrorKind::Truncated,
                ..Placed::of(cursor.position, "packet.header", &f)
            })?;
        if let Some(magic) = facts.magic
            && magic != MAGIC
        {
            let reason = format!("magic is {magic:#010x}, not {MAGIC:#010x}");
            return Err(Placed::new(0, "packet.header.magic", reason));
        }
        if let (Some(found), Some(uuid)) = (facts.uuid, self.uuid)
            && found != uuid
        {
            let reason = "it is not the trace's uuid";
            return Err(Placed::new(0, "packet.header.uuid", reason));
        }
        let id = match facts.stream_class.or(self.only_stream) {
            Some(id) if self.streams.contains_key(&id) => id,
            found => {
                let known = self.streams.keys().take(8).map(u64::to_string);
                let reason = format!(
                    "stream_id is {}, the metadata has {}",
                    found.map_or_else(|| "not there".to_owned(), |id| id.to_string()),
                    known.collect::<Vec<_>>().join(", ")
                );
                return Err(Placed::new(0, "packet.header.stream_id", reason));
            }
        };
        Ok((id, facts))
    }
}

/// Reads a packet's header and context. `bytes` reach to the file's end.
pub(in crate::input) fn packet_start(
    plan: &StreamPlan,
    bytes: &[u8],
    slots: &mut [u64],
    clock: u64,
    prefix: &mut Vec<u8>,
) -> std::result::Result<PacketStart, Placed> {
    let mut facts = Facts {
        clock,
        ..Facts::default()
    };
    let mut cursor = Cursor::new(bytes, 0, u64::MAX);
    prefix.clear();
    for (scope, shared) in [
        ("packet.header", &plan.packet_header),
        ("packet.context", &plan.packet_context),
    ] {
        shared
            .read(&mut cursor, slots, &mut facts, prefix)
            .map_err(|f| Placed {
                kind: ErrorKind::Truncated,
                ..Placed::of(cursor.position, scope, &f)
            })?;
    }
    let available = bytes.len() as u64 * 8;
    let records_at = cursor.position;
    let packet_bits = facts
        .packet_bits
        .or(facts.content_bits)
        .unwrap_or(available);
    let content_bits = facts.content_bits.unwrap_or(packet_bits);
    if packet_bits == 0 || !packet_bits.is_multiple_of(8) || packet_bits < records_at {
        let reason =
            format!("{packet_bits} bits, allowed are whole bytes from {records_at} bits on");
        return Err(Placed::new(0, "packet.context.packet_size", reason));
    }
    if content_bits > packet_bits || content_bits < records_at {
        let reason = format!("{content_bits} bits, allowed are {records_at} to {packet_bits}");
        return Err(Placed::new(0, "packet.context.content_size", reason));
    }
    let size = packet_bits.min(available) / 8;
    Ok(PacketStart {
        cut_from: (packet_bits > available).then_some(packet_bits / 8),
        content_bits: content_bits.min(available),
        size: usize::try_from(size).unwrap_or(bytes.len()),
        records_at,
        facts,
    })
}
