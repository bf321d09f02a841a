//! Which directories are parts of one trace.
//!
//! A session that is rotated, or of which several snapshots are taken, has a directory with all the metadata for each
//! part. They have one UUID, and each part's metadata says what the ones before say, and perhaps more.

use crate::ir::TraceClass;

/// A trace and where its parts are, as places in the list of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    /// The part whose metadata describes all of them.
    pub(super) described_by: usize,
    pub(super) parts: Vec<usize>,
}

/// Puts together what belongs together; the order is that of the first parts.
pub(super) fn of(traces: &[TraceClass]) -> Vec<Chunks> {
    let mut found: Vec<Chunks> = Vec::new();
    for (index, trace) in traces.iter().enumerate() {
        let joined = found.iter_mut().find(|chunks| {
            let other = &traces[chunks.described_by];
            trace.uuid.is_some()
                && trace.uuid == other.uuid
                && (covers(other, trace) || covers(trace, other))
        });
        match joined {
            Some(chunks) => {
                chunks.parts.push(index);
                if !covers(&traces[chunks.described_by], trace) {
                    chunks.described_by = index;
                }
            }
            None => found.push(Chunks {
                described_by: index,
                parts: vec![index],
            }),
        }
    }
    found
}

/// Whether `larger` says everything that `smaller` says of streams and events.
fn covers(larger: &TraceClass, smaller: &TraceClass) -> bool {
    larger.byte_order == smaller.byte_order
        && larger.packet_header == smaller.packet_header
        && smaller.streams.iter().all(|stream| {
            larger.streams.iter().any(|other| {
                other.id == stream.id
                    && other.packet_context == stream.packet_context
                    && other.event_header == stream.event_header
                    && other.event_context == stream.event_context
                    && stream.events.iter().enumerate().all(|(at, event)| {
                        // Tracers give ids in order: most are found where they are looked for first.
                        let likely = other.events.get(at).filter(|e| e.id == event.id);
                        likely
                            .or_else(|| other.events.iter().find(|e| e.id == event.id))
                            .is_some_and(|e| {
                                e.name == event.name
                                    && e.context == event.context
                                    && e.fields == event.fields
                            })
                    })
            })
        })
}
