//! A trace of a CTF input: its environment, clock, streams and scopes as they were.
//!
//! The types are written anew from the input's metadata, with the layout that
//! payloads have in the model; headers and packet contexts are kstrace's own,
//! which readers do not show.

mod context;
mod metadata;
mod shape;
mod stream;
mod tail;

use super::plain::write_new;
use crate::input::key;
use crate::ir::TraceClass;
use crate::tsdl::rewrite::{self, Layout};
use context::{context_bytes, context_ends};
use kstrace_schema::{
    Certainty, EventRecord, EventRecordClass, Loss, LossReason, Result, SessionTime,
};
use shape::{StreamShape, shape, start_align, whole_bytes, width_changes};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use stream::{OutStream, PACKET_BYTES, Placed, pad, stream_for};
use tail::Tail;

/// How a class's records are written.
#[derive(Debug)]
struct Plan {
    stream: u64,
    event: u64,
    /// What the payload's start is aligned to, in bytes.
    align: usize,
    /// So many bits of its last byte are not of the record.
    tail_bits: u8,
    /// The payload begins with members of the packet's context.
    packet_context: bool,
    class: kstrace_schema::StructureClass,
}

/// One trace directory.
#[derive(Debug)]
pub(super) struct CopiedTrace {
    dir: PathBuf,
    trace: TraceClass,
    /// By the ids that they have here.
    shapes: BTreeMap<u64, StreamShape>,
    /// Streams whose context is written both as it was and in whole bytes are two here.
    twins: HashMap<u64, u64>,
    plans: HashMap<u16, Plan>,
    streams: BTreeMap<(u64, u32, u32), OutStream>,
    /// What the session's times are more than this trace's.
    shift_ns: u64,
    pub(super) facts: Vec<String>,
}

impl CopiedTrace {
    /// A trace like the one that `metadata` describes; `None` if nothing can be made of it.
    pub(super) fn new(dir: &Path, metadata: &str, session_offset_ns: i64) -> Option<Self> {
        let trace = crate::metadata_class(metadata).ok()?;
        let mut shapes = BTreeMap::new();
        let mut facts = Vec::new();
        for stream in &trace.streams {
            let layout = if stream.event_context.as_ref().is_none_or(|c| whole_bytes(c)) {
                Layout::AsRead
            } else {
                Layout::WholeBytes
            };
            shapes.insert(stream.id, shape(stream, stream.id, layout, &mut facts));
        }
        let own = trace.clocks.first().map_or(0, crate::input::offset_ns);
        Some(CopiedTrace {
            dir: dir.to_owned(),
            shift_ns: u64::try_from(own - i128::from(session_offset_ns)).unwrap_or(0),
            trace,
            shapes,
            twins: HashMap::new(),
            plans: HashMap::new(),
            streams: BTreeMap::new(),
            facts,
        })
    }

    /// Takes a class of this trace; false if it is none.
    pub(super) fn class(&mut self, class: &EventRecordClass) -> bool {
        let number = |key: &str| class.attributes.get(key)?.as_u64();
        let (Some(stream), Some(event)) = (number(key::STREAM), number(key::EVENT)) else {
            return false;
        };
        let Some(types) = self.trace.streams.iter().find(|s| s.id == stream) else {
            return false;
        };
        let Some(found) = types.events.iter().find(|e| e.id == event) else {
            return false;
        };
        let verbatim =
            class.attributes.get("ctf.layout").and_then(|v| v.as_str()) == Some("verbatim");
        let layout = if verbatim {
            Layout::AsRead
        } else {
            Layout::WholeBytes
        };
        let id = match self.shapes.get(&stream) {
            Some(shape) if shape.flat || shape.tight || shape.layout == layout => stream,
            Some(_) => {
                let fresh = self
                    .shapes
                    .keys()
                    .next_back()
                    .map_or(0, |last| last.saturating_add(1));
                let id = *self.twins.entry(stream).or_insert(fresh);
                if id == fresh {
                    let twin = shape(types, id, layout, &mut self.facts);
                    self.shapes.insert(id, twin);
                }
                id
            }
            None => return false,
        };
        let Some(shape) = self.shapes.get_mut(&id) else {
            return false;
        };
        let stream = id;
        let has = |word: &str| {
            class
                .attributes
                .get(key::SCOPES)
                .and_then(|s| s.as_object())
                .is_some_and(|s| s.values().any(|v| v.as_str() == Some(word)))
        };
        let mut align = 1;
        let mut text = format!(
            "\nevent {{\n\tname = {};\n\tid = {event};\n\tstream_id = {stream};\n",
            crate::tsdl::literal(&found.name)
        );
        if let Some(level) = found.log_level {
            let _ = writeln!(text, "\tloglevel = {level};");
        }
        if let Some(uri) = &found.emf_uri {
            let _ = writeln!(text, "\tmodel.emf.uri = {};", crate::tsdl::literal(uri));
        }
        // A record that ends within a byte must do so in all cases alike.
        let all = [&types.event_context, &found.context, &found.fields];
        let tail = tail::of_record(all.into_iter().flatten().map(|scope| &**scope));
        let (layout, tail_bits) = match (layout, tail) {
            (Layout::AsRead, _) => (layout, 0),
            (_, Tail::Bits(bits)) => (layout, bits),
            _ => (Layout::FullBytes, 0),
        };
        let scopes = |text: &mut String| -> std::result::Result<(), rewrite::NoWords> {
            if let Some(context) = &found.context {
                let _ = writeln!(
                    text,
                    "\tcontext := {};",
                    rewrite::structure(context, layout)?
                );
            }
            if let Some(fields) = &found.fields {
                let _ = writeln!(text, "\tfields := {};", rewrite::structure(fields, layout)?);
            }
            Ok(())
        };
        let mut own = String::new();
        let mut start = 1;
        let mut tail_bits = tail_bits;
        if shape.flat || has("packet-header") || has("event-header") || scopes(&mut own).is_err() {
            if types.event_context.is_some() && !shape.flat {
                return false;
            }
            match crate::tsdl::payload_fields(&class.payload) {
                Ok(fields) => own = format!("\tfields := struct {{\n{fields}\t}} align(64);\n"),
                Err(_) => return false,
            }
            self.facts.push(format!(
                "the scopes of the fields of {}",
                class.qualified_name()
            ));
            (align, start, tail_bits) = (8, 8, 0);
        } else if layout == Layout::AsRead {
            let bits = all.into_iter().flatten().map(|t| t.align_bits()).max();
            align = (bits.unwrap_or(8) / 8).max(1) as usize;
            start = start_align(&all);
        }
        for (scope, types) in [(".context", &found.context), ("", &found.fields)] {
            if let Some(types) = types {
                let name = format!("{}{scope}", found.name);
                width_changes(types, &name, layout, &mut self.facts);
            }
        }
        text.push_str(&own);
        text.push_str("};\n");
        shape.blocks.push_str(&text);
        shape.align = shape.align.max(align);
        let plan = Plan {
            stream,
            event,
            align: start,
            tail_bits,
            packet_context: has("packet-context") && !shape.flat,
            class: class.payload.clone(),
        };
        self.plans.insert(class.id.0, plan);
        true
    }

    pub(super) fn record(&mut self, record: &EventRecord<'_>) -> Result<bool> {
        let Some(plan) = self.plans.get(&record.class.0) else {
            return Ok(false);
        };
        let Some(shape) = self.shapes.get(&plan.stream) else {
            return Ok(false);
        };
        let (context, payload) = if plan.packet_context {
            let Some(ends) = context_ends(&plan.class, record.payload) else {
                return Ok(false);
            };
            let split = ends.last().copied().unwrap_or(0);
            let (context, payload) = record.payload.split_at(split);
            (context_bytes(shape, record.cpu, context, &ends), payload)
        } else {
            (context_bytes(shape, record.cpu, &[], &[]), record.payload)
        };
        let time = record.time.as_ns().saturating_sub(self.shift_ns);
        let stream = stream_for(&mut self.streams, &self.dir, plan.stream, record.cpu, time)?;
        if !stream.empty && (stream.bytes.len() > PACKET_BYTES || stream.context != context) {
            stream.flush(shape)?;
        }
        if stream.bytes.is_empty() {
            stream.begin_packet(&self.trace, shape, plan.stream, context);
        }
        if stream.empty {
            stream.begin = stream.resumes_at.take().map_or(time, |t| t.min(time));
            stream.empty = false;
        }
        stream.last = time;
        let bytes = &mut stream.bytes;
        pad(bytes, shape.align);
        let offset = bytes.len();
        if shape.timed {
            bytes.extend_from_slice(&time.to_ne_bytes());
        }
        bytes.extend_from_slice(&plan.event.to_ne_bytes());
        pad(bytes, plan.align);
        bytes.extend_from_slice(payload);
        stream.records.push(Placed {
            time,
            offset,
            tail_bits: plan.tail_bits,
        });
        Ok(true)
    }

    /// Counts loss on the CPU's stream that wrote last.
    pub(super) fn loss(&mut self, loss: &Loss) -> Result<()> {
        let on_cpu = self
            .streams
            .iter_mut()
            .filter(|((_, cpu, _), _)| *cpu == loss.cpu.0)
            .max_by_key(|(_, stream)| stream.last);
        if let Some(((id, _, _), stream)) = on_cpu
            && let Some(shape) = self.shapes.get(id)
        {
            let ns = |time: SessionTime| time.as_ns().saturating_sub(self.shift_ns);
            if is_of_packets(loss) {
                return stream.miss_packets(shape, loss.count, (ns(loss.begin), ns(loss.end)));
            }
            return stream.lose(
                &self.trace,
                shape,
                *id,
                loss.count,
                (ns(loss.begin), ns(loss.end)),
            );
        }
        let Some((id, shape)) = self.shapes.iter().find(|(_, s)| s.timed) else {
            self.facts
                .push("lost records of a trace without clock".to_owned());
            return Ok(());
        };
        let time = loss.end.as_ns().saturating_sub(self.shift_ns);
        let context = context_bytes(shape, loss.cpu, &[], &[]);
        let stream = stream_for(&mut self.streams, &self.dir, *id, loss.cpu, time)?;
        stream.context = context;
        let begin = loss.begin.as_ns().saturating_sub(self.shift_ns);
        stream.lose(&self.trace, shape, *id, loss.count, (begin, time))
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        for ((id, _, _), stream) in &mut self.streams {
            if let Some(shape) = self.shapes.get(id)
                && !stream.bytes.is_empty()
            {
                stream.flush(shape)?;
            }
        }
        let text = metadata::metadata(&self.trace, &self.shapes);
        write_new(&self.dir.join("metadata"), text.as_bytes())
    }
}

/// Whether the count is of packets that are not there: so a CTF input tells it.
fn is_of_packets(loss: &Loss) -> bool {
    (loss.reason, loss.certainty) == (LossReason::StatedByInput, Certainty::AtLeast)
}
