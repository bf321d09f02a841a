//! A trace of a CTF input: its environment, clock, streams and scopes as they were.
//!
//! The types are written anew from the input's metadata, with the layout that
//! payloads have in the model; headers and packet contexts are kstrace's own,
//! which readers do not show.

use super::plain::{create, write_new};
use crate::input::key;
use crate::ir::{EnvValue, IntType, Roles, StreamType, TraceClass, Type, TypeKind};
use crate::tsdl::rewrite::{self, Layout};
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use kstrace_schema::{
    Certainty, Cpu, Error, ErrorKind, EventRecord, EventRecordClass, Loss, LossReason, Result,
    SessionTime,
};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A packet is written when it is larger than this.
const PACKET_BYTES: usize = 256 << 10;
/// Streams of late records that one stream may have beside it.
const GENERATIONS_MAX: u32 = 16;
const STREAMS_MAX: usize = 8192;

/// How a class's records are written.
#[derive(Debug)]
struct Plan {
    stream: u64,
    event: u64,
    /// What the payload's start is aligned to, in bytes.
    align: usize,
    /// The payload begins with members of the packet's context.
    packet_context: bool,
    class: kstrace_schema::StructureClass,
}

/// Members of a stream's packet context.
#[derive(Debug)]
enum ContextMember {
    /// The CPU, as so many bytes in that order.
    Cpu(IntType),
    /// The next member of the payload's packet context.
    Data,
}

#[derive(Debug)]
struct StreamShape {
    timed: bool,
    context: Vec<ContextMember>,
    /// Events begin at multiples of this many bytes.
    align: usize,
    blocks: String,
    head: String,
    context_types: String,
    event_context: String,
    /// Scopes cannot be told apart: all is in the fields.
    flat: bool,
    /// That of the event context.
    layout: Layout,
    /// The event context is the same in either layout.
    tight: bool,
}

#[derive(Debug)]
struct OutStream {
    path: PathBuf,
    instance: u64,
    bytes: Vec<u8>,
    records_at: usize,
    /// The context members that the packet at hand has.
    context: Vec<u8>,
    begin: u64,
    last: u64,
    empty: bool,
    sequence: u64,
    discarded: u64,
    /// Where the next packet begins, after some that are not there.
    resumes_at: Option<u64>,
    /// Times and offsets of the packet's records.
    records: Vec<(u64, usize)>,
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
            (align, start) = (8, 8);
        } else if layout == Layout::AsRead {
            let scopes = [&types.event_context, &found.context, &found.fields];
            let bits = scopes.into_iter().flatten().map(|t| t.align_bits()).max();
            align = (bits.unwrap_or(8) / 8).max(1) as usize;
            start = start_align(&scopes);
        }
        text.push_str(&own);
        text.push_str("};\n");
        shape.blocks.push_str(&text);
        shape.align = shape.align.max(align);
        let plan = Plan {
            stream,
            event,
            align: start,
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
        stream.records.push((time, bytes.len()));
        if shape.timed {
            bytes.extend_from_slice(&time.to_ne_bytes());
        }
        bytes.extend_from_slice(&plan.event.to_ne_bytes());
        pad(bytes, plan.align);
        bytes.extend_from_slice(payload);
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
        let text = metadata(&self.trace, &self.shapes);
        write_new(&self.dir.join("metadata"), text.as_bytes())
    }
}

/// Whether the count is of packets that are not there: so a CTF input tells it.
fn is_of_packets(loss: &Loss) -> bool {
    (loss.reason, loss.certainty) == (LossReason::StatedByInput, Certainty::AtLeast)
}

fn pad(bytes: &mut Vec<u8>, align: usize) {
    let len = bytes.len().next_multiple_of(align.max(1));
    bytes.resize(len, 0);
}

/// Whether every integer is of whole bytes.
fn whole_bytes(class: &Type) -> bool {
    match &class.kind {
        TypeKind::Int(int) => {
            matches!(int.size_bits, 8 | 16 | 32 | 64) && int.align_bits.is_multiple_of(8)
        }
        TypeKind::Struct(s) => s.members.iter().all(|m| whole_bytes(&m.class)),
        TypeKind::Array { element, .. } => whole_bytes(element),
        TypeKind::Variant { options, .. } => options.iter().all(|o| whole_bytes(&o.class)),
        TypeKind::Float { align_bits, .. } => align_bits.is_multiple_of(8),
        TypeKind::Text(_) => true,
        TypeKind::VarInt(_) => false,
    }
}

/// Where a payload as read starts: at the alignment of its first bytes.
fn start_align(scopes: &[&Option<std::sync::Arc<Type>>]) -> usize {
    let mut align = 1;
    let _ = scopes
        .iter()
        .copied()
        .flatten()
        .any(|scope| first_alignment(scope, &mut align));
    (align / 8).max(1) as usize
}

fn first_alignment(class: &Type, align: &mut u32) -> bool {
    *align = (*align).max(class.align_bits());
    match &class.kind {
        TypeKind::Struct(s) => s.members.iter().any(|m| first_alignment(&m.class, align)),
        TypeKind::Array {
            element,
            length: crate::ir::ArrayLength::Static(count),
            ..
        } => *count > 0 && first_alignment(element, align),
        _ => true,
    }
}

fn shape(stream: &StreamType, id: u64, layout: Layout, facts: &mut Vec<String>) -> StreamShape {
    let mut context = Vec::new();
    let mut context_types = String::new();
    let mut flat = false;
    let members = stream.packet_context.iter().filter_map(|c| c.as_struct());
    for member in members.flat_map(|s| &s.members) {
        match &member.class.kind {
            TypeKind::Int(int) if int.roles == Roles::CPU => {
                context.push(ContextMember::Cpu(int.clone()));
            }
            TypeKind::Int(int) if !int.roles.is_none() => continue,
            _ => context.push(ContextMember::Data),
        }
        match rewrite::member(&member.class, &member.written_name, Layout::WholeBytes) {
            Ok(text) => {
                let _ = writeln!(context_types, "\t\t{text}");
            }
            Err(_) => {
                context.pop();
                flat = true;
                facts.push(format!("the packet context's field {}", member.name));
            }
        }
    }
    let mut event_context = String::new();
    if let Some(class) = &stream.event_context {
        match rewrite::structure(class, layout) {
            Ok(text) => event_context = format!("\tevent.context := {text};\n"),
            Err(_) => flat = true,
        }
    }
    let timed = [&stream.event_header, &stream.packet_context]
        .into_iter()
        .flatten()
        .any(|c| has_clock(c));
    StreamShape {
        timed,
        context: if flat { Vec::new() } else { context },
        align: 1,
        blocks: String::new(),
        head: format!("\nstream {{\n\tid = {id};\n"),
        layout,
        tight: stream
            .event_context
            .as_ref()
            .is_none_or(|c| whole_bytes(c) && c.align_bits() <= 8),
        context_types: if flat { String::new() } else { context_types },
        event_context: if flat { String::new() } else { event_context },
        flat,
    }
}

fn has_clock(class: &Type) -> bool {
    match &class.kind {
        TypeKind::Int(int) | TypeKind::VarInt(int) => int.clock.is_some(),
        TypeKind::Struct(s) => s.members.iter().any(|m| has_clock(&m.class)),
        TypeKind::Variant { options, .. } => options.iter().any(|o| has_clock(&o.class)),
        _ => false,
    }
}

/// Ends of the members of the packet context in a payload.
fn context_ends(class: &kstrace_schema::StructureClass, payload: &[u8]) -> Option<Vec<usize>> {
    /// Notes where the fields begin that stand directly in the payload's first structure.
    struct Starts {
        depth: u32,
        starts: Vec<usize>,
        behind: Option<usize>,
    }
    impl Starts {
        fn field(&mut self, offset: usize) -> ControlFlow<()> {
            match self.depth {
                0 if !self.starts.is_empty() => {
                    self.behind = Some(offset);
                    return ControlFlow::Break(());
                }
                1 => self.starts.push(offset),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    impl<'a> Visitor<'a> for Starts {
        fn value(&mut self, field: &Field<'a>, _: Value<'a>) -> ControlFlow<()> {
            self.field(field.offset_bytes)
        }
        fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
            let flow = self.field(field.offset_bytes);
            self.depth += 1;
            flow
        }
        fn end_structure(&mut self) -> ControlFlow<()> {
            self.depth = self.depth.saturating_sub(1);
            ControlFlow::Continue(())
        }
        fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
            let flow = self.field(field.offset_bytes);
            self.depth += 1;
            flow
        }
        fn end_array(&mut self) -> ControlFlow<()> {
            self.end_structure()
        }
    }
    let mut starts = Starts {
        depth: 0,
        starts: Vec::new(),
        behind: None,
    };
    let taken = walk(class, payload, 0, &mut starts).ok()?;
    let end = starts.behind.unwrap_or(taken);
    let mut ends = starts.starts;
    ends.push(end);
    // What begins where the one before it ends.
    (!ends.is_empty()).then(|| ends.remove(0));
    Some(ends)
}

/// The bytes of a packet's context behind kstrace's own members.
fn context_bytes(shape: &StreamShape, cpu: Cpu, data: &[u8], ends: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut ends = ends.iter();
    for member in &shape.context {
        match member {
            ContextMember::Cpu(int) => {
                let bytes = usize::from(crate::input::widened_bytes(int.size_bits));
                let value = u64::from(cpu.0);
                match crate::input::widened_order(int.size_bits, int.order) {
                    kstrace_schema::ByteOrder::LittleEndian => {
                        out.extend_from_slice(&value.to_le_bytes()[..bytes]);
                    }
                    kstrace_schema::ByteOrder::BigEndian => {
                        out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
                    }
                }
            }
            ContextMember::Data => {
                let end = ends.next().copied().unwrap_or(at);
                out.extend_from_slice(data.get(at..end).unwrap_or_default());
                at = end;
            }
        }
    }
    out
}

/// The stream of that class and CPU in which a record of that time comes last.
fn stream_for<'s>(
    streams: &'s mut BTreeMap<(u64, u32, u32), OutStream>,
    dir: &Path,
    id: u64,
    cpu: Cpu,
    time: u64,
) -> Result<&'s mut OutStream> {
    let mut generation = 0;
    while generation + 1 < GENERATIONS_MAX
        && streams
            .get(&(id, cpu.0, generation))
            .is_some_and(|s| s.last > time)
    {
        generation += 1;
    }
    let key = (id, cpu.0, generation);
    let number = streams.len();
    if let std::collections::btree_map::Entry::Vacant(place) = streams.entry(key) {
        if number >= STREAMS_MAX {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("more than {STREAMS_MAX} streams in one trace"),
            ));
        }
        let name = match (cpu.known(), generation) {
            (Some(cpu), 0) => format!("stream{id}_{cpu}"),
            (None, 0) => format!("stream{id}"),
            (Some(cpu), more) => format!("stream{id}_{cpu}_{more}"),
            (None, more) => format!("stream{id}_none_{more}"),
        };
        let path = dir.join(name);
        create(&path)?;
        place.insert(OutStream {
            path,
            instance: number as u64,
            bytes: Vec::new(),
            records_at: 0,
            context: Vec::new(),
            begin: 0,
            last: 0,
            empty: true,
            sequence: 0,
            discarded: 0,
            resumes_at: None,
            records: Vec::new(),
        });
    }
    streams
        .get_mut(&key)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a stream is missing"))
}

/// Size of the packet header: magic, uuid, stream id, stream instance id.
const PACKET_HEADER_BYTES: usize = 4 + 16 + 8 + 8;

impl OutStream {
    fn begin_packet(&mut self, trace: &TraceClass, shape: &StreamShape, id: u64, context: Vec<u8>) {
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(&0xc1fc_1fc1u32.to_ne_bytes());
        bytes.extend_from_slice(&trace.uuid.unwrap_or_default());
        bytes.extend_from_slice(&id.to_ne_bytes());
        bytes.extend_from_slice(&self.instance.to_ne_bytes());
        // Sizes, sequence number, and with a clock times and discarded records: set at the end.
        let words = if shape.timed { 6 } else { 3 };
        bytes.resize(bytes.len() + words * 8, 0);
        bytes.extend_from_slice(&context);
        self.records_at = bytes.len();
        self.context = context;
        self.empty = true;
    }

    /// Tells of lost packets: the numbers of those that are written have a gap.
    fn miss_packets(
        &mut self,
        shape: &StreamShape,
        count: u64,
        (begin, end): (u64, u64),
    ) -> Result<()> {
        if !self.bytes.is_empty() {
            self.last = self.last.max(begin);
            self.flush(shape)?;
        }
        self.sequence = self.sequence.saturating_add(count);
        self.resumes_at = Some(end.max(self.last));
        Ok(())
    }

    /// Tells of lost records as readers expect it: one packet ends where the
    /// loss begins, and the one that counts it where the loss ends.
    fn lose(
        &mut self,
        trace: &TraceClass,
        shape: &StreamShape,
        id: u64,
        count: u64,
        (begin, end): (u64, u64),
    ) -> Result<()> {
        if self.bytes.is_empty() {
            let context = self.context.clone();
            self.begin_packet(trace, shape, id, context);
            self.begin = self.last;
        }
        let behind = self.records.partition_point(|(time, _)| *time <= begin);
        if begin >= self.begin {
            let split = self.records.get(behind).copied();
            let tail = match split {
                Some((_, offset)) => self.bytes.split_off(offset),
                None => Vec::new(),
            };
            let last = std::mem::replace(&mut self.last, begin);
            let later = self.records.split_off(behind);
            self.flush(shape)?;
            let context = self.context.clone();
            self.begin_packet(trace, shape, id, context);
            pad(&mut self.bytes, shape.align);
            let moved_to = self.bytes.len();
            self.bytes.extend_from_slice(&tail);
            if let Some((time, offset)) = split {
                self.begin = time;
                self.empty = false;
                let moved = later.into_iter().map(|(t, at)| (t, at - offset + moved_to));
                self.records = moved.collect();
            } else {
                self.begin = begin;
            }
            self.last = last.max(begin);
        }
        self.discarded = self.discarded.saturating_add(count);
        self.last = self.last.max(end);
        self.flush(shape)
    }

    fn flush(&mut self, shape: &StreamShape) -> Result<()> {
        let content = self.bytes.len() as u64 * 8;
        pad(&mut self.bytes, 8);
        let packet = self.bytes.len() as u64 * 8;
        let mut words = vec![content, packet, self.sequence];
        if shape.timed {
            words.extend([self.begin.min(self.last), self.last, self.discarded]);
        }
        for (index, word) in words.iter().enumerate() {
            let at = PACKET_HEADER_BYTES + index * 8;
            if let Some(place) = self.bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        let write = || {
            std::fs::OpenOptions::new()
                .append(true)
                .open(&self.path)?
                .write_all(&self.bytes)
        };
        write().map_err(|e| Error::io(format!("write {}", self.path.display()), e))?;
        self.sequence += 1;
        self.bytes.clear();
        self.records.clear();
        self.empty = true;
        Ok(())
    }
}

fn metadata(trace: &TraceClass, shapes: &BTreeMap<u64, StreamShape>) -> String {
    let order = match kstrace_schema::ByteOrder::NATIVE {
        kstrace_schema::ByteOrder::LittleEndian => "le",
        kstrace_schema::ByteOrder::BigEndian => "be",
    };
    let mut text = String::from("/* CTF 1.8 */\n\n");
    text.push_str(&crate::tsdl::aliases());
    let int = "integer { size = 64; align = 8; signed = false; }";
    let byte = "integer { size = 8; align = 8; signed = false; base = 16; }";
    text.push_str("trace {\n\tmajor = 1;\n\tminor = 8;\n");
    let uuid_name = match trace.uuid {
        Some(uuid) => {
            let hex = uuid.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let _ = writeln!(
                text,
                "\tuuid = \"{}-{}-{}-{}-{}\";",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            );
            "uuid"
        }
        None => "unused",
    };
    let _ = write!(
        text,
        "\tbyte_order = {order};\n\tpacket.header := struct {{\n\t\tinteger {{ size = 32; align = 8; signed = false; base = 16; }} magic;\n\t\t{byte} {uuid_name}[16];\n\t\t{int} stream_id;\n\t\t{int} stream_instance_id;\n\t}};\n}};\n"
    );
    if !trace.env.is_empty() {
        text.push_str("\nenv {\n");
        for (key, value) in &trace.env {
            let value = match value {
                EnvValue::Integer(number) => number.to_string(),
                EnvValue::Text(text) => crate::tsdl::literal(text),
            };
            let _ = writeln!(text, "\t{key} = {value};");
        }
        text.push_str("};\n");
    }
    // The streams' times are nanoseconds of one clock.
    if let Some(clock) = trace.clocks.first() {
        let offset = crate::input::offset_ns(clock);
        let _ = writeln!(
            text,
            "\nclock {{\n\tname = {};",
            crate::tsdl::literal(&clock.name)
        );
        if let Some(uuid) = &clock.uuid {
            let _ = writeln!(text, "\tuuid = {};", crate::tsdl::literal(uuid));
        }
        if let Some(description) = &clock.description {
            let _ = writeln!(
                text,
                "\tdescription = {};",
                crate::tsdl::literal(description)
            );
        }
        text.push_str("\tfreq = 1000000000;\n");
        if let Some(precision) = clock.precision {
            let precision = crate::input::ns_of_cycles(precision, clock.frequency_hz);
            let _ = writeln!(text, "\tprecision = {precision};");
        }
        let _ = writeln!(
            text,
            "\toffset_s = {};\n\toffset = {};\n\tabsolute = {};\n}};",
            offset.div_euclid(1_000_000_000),
            offset.rem_euclid(1_000_000_000),
            if clock.absolute { "TRUE" } else { "FALSE" }
        );
        let _ = writeln!(
            text,
            "\ntypealias integer {{ size = 64; align = 8; signed = false; map = clock.{}.value; }} := kstrace_time_t;",
            clock.name
        );
    }
    for shape in shapes.values() {
        text.push_str(&shape.head);
        let _ = write!(
            text,
            "\tpacket.context := struct {{\n\t\t{int} content_size;\n\t\t{int} packet_size;\n\t\t{int} packet_seq_num;\n"
        );
        if shape.timed {
            let _ = write!(
                text,
                "\t\tkstrace_time_t timestamp_begin;\n\t\tkstrace_time_t timestamp_end;\n\t\t{int} events_discarded;\n"
            );
        }
        text.push_str(&shape.context_types);
        text.push_str("\t};\n\tevent.header := struct {");
        if shape.timed {
            text.push_str(" kstrace_time_t timestamp;");
        }
        let _ = writeln!(text, " {int} id; }} align({});", shape.align.max(1) * 8);
        text.push_str(&shape.event_context);
        text.push_str("};\n");
        text.push_str(&shape.blocks);
    }
    text
}
