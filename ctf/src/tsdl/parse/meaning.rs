//! What fields mean to a reader, by their names and clocks; and the checks of a whole trace.

use super::{Parser, Result, TsdlError};
use crate::ir::{
    ClockClass, IntType, MemberType, OptionType, Origin, Roles, StructType, TraceClass, Type,
    TypeKind,
};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) fn finish(parser: Parser<'_>) -> Result<TraceClass> {
    let order = parser.order;
    let draft = parser.trace;
    let mut trace = TraceClass {
        major: draft.major.unwrap_or(1),
        uuid: draft.uuid,
        byte_order: order,
        name: None,
        env: draft.env,
        clocks: draft.clocks,
        packet_header: draft.packet_header,
        streams: draft.streams.into_values().collect(),
    };
    if trace.streams.is_empty() && !draft.events.is_empty() {
        // A trace of one stream need not say so.
        trace.streams.push(Default::default());
    }
    for draft in draft.events {
        let stream = match draft.stream {
            Some(id) => trace.streams.iter_mut().find(|s| s.id == id),
            None if trace.streams.len() == 1 => trace.streams.first_mut(),
            None => trace.streams.iter_mut().find(|s| s.id == 0),
        };
        let Some(stream) = stream else {
            return Err(TsdlError::at(
                draft.line,
                format!(
                    "event '{}' is of stream {}, which there is not",
                    draft.event.name,
                    draft.stream.unwrap_or(0)
                ),
            ));
        };
        let mut event = draft.event;
        event.id = draft.id.unwrap_or(stream.events.len() as u64);
        stream.events.push(event);
    }
    for stream in &trace.streams {
        let mut ids = HashSet::new();
        if let Some(event) = stream.events.iter().find(|e| !ids.insert(e.id)) {
            let reason = format!(
                "a second event with id {} in stream {}",
                event.id, stream.id
            );
            return Err(TsdlError::at(0, reason));
        }
    }
    apply_roles(&mut trace);
    Ok(trace)
}

/// Gives the fields of headers and contexts their roles.
fn apply_roles(trace: &mut TraceClass) {
    // A trace with one clock need not map its times to it; with none, they count nanoseconds.
    let timed = trace.streams.iter().any(|s| {
        [
            (&s.packet_context, Origin::PacketContext),
            (&s.event_header, Origin::EventHeader),
        ]
        .into_iter()
        .any(|(class, origin)| class.as_ref().is_some_and(|c| has_time(c, origin)))
    });
    if trace.clocks.is_empty() && timed {
        trace.clocks.push(ClockClass::named("default"));
    }
    let clock: Option<Arc<str>> = match trace.clocks.as_slice() {
        [only] => Some(only.name.as_str().into()),
        _ => None,
    };
    let give = |class: &mut Option<Arc<Type>>, origin| {
        if let Some(class) = class {
            *class = with_roles(class, origin, clock.as_ref());
        }
    };
    give(&mut trace.packet_header, Origin::PacketHeader);
    for stream in &mut trace.streams {
        give(&mut stream.packet_context, Origin::PacketContext);
        give(&mut stream.event_header, Origin::EventHeader);
    }
}

fn is_time(name: &str, origin: Origin) -> bool {
    match origin {
        Origin::PacketContext => matches!(name, "timestamp_begin" | "timestamp_end"),
        Origin::EventHeader => name == "timestamp",
        _ => false,
    }
}

fn has_time(class: &Type, origin: Origin) -> bool {
    match &class.kind {
        TypeKind::Struct(s) => s.members.iter().any(|m| {
            (matches!(m.class.kind, TypeKind::Int(_)) && is_time(&m.name, origin))
                || has_time(&m.class, origin)
        }),
        TypeKind::Variant { options, .. } => options.iter().any(|o| has_time(&o.class, origin)),
        _ => false,
    }
}

fn roles_of(name: &str, origin: Origin) -> Roles {
    match (origin, name) {
        (Origin::PacketHeader, "magic") => Roles::MAGIC,
        (Origin::PacketHeader, "stream_id") => Roles::STREAM_CLASS,
        (Origin::PacketHeader, "stream_instance_id") => Roles::STREAM_INSTANCE,
        (Origin::PacketContext, "content_size") => Roles::CONTENT_SIZE,
        (Origin::PacketContext, "packet_size") => Roles::PACKET_SIZE,
        (Origin::PacketContext, "timestamp_begin") => Roles::BEGIN,
        (Origin::PacketContext, "timestamp_end") => Roles::END,
        (Origin::PacketContext, "events_discarded") => Roles::DISCARDED,
        (Origin::PacketContext, "packet_seq_num") => Roles::SEQUENCE,
        (Origin::PacketContext, "cpu_id") => Roles::CPU,
        (Origin::EventHeader, "id") => Roles::EVENT_CLASS,
        _ => Roles::default(),
    }
}

/// The type with roles. Rebuilt rather than changed: it may be shared.
fn with_roles(class: &Arc<Type>, origin: Origin, clock: Option<&Arc<str>>) -> Arc<Type> {
    let kind = match &class.kind {
        TypeKind::Struct(s) => TypeKind::Struct(StructType {
            align_bits: s.align_bits,
            members: s
                .members
                .iter()
                .map(|m| MemberType {
                    class: named(&m.name, &m.class, origin, clock),
                    ..m.clone()
                })
                .collect(),
        }),
        TypeKind::Variant {
            selector,
            options,
            optional,
        } => TypeKind::Variant {
            selector: selector.clone(),
            optional: *optional,
            options: options
                .iter()
                .map(|o| OptionType {
                    class: named(&o.name, &o.class, origin, clock),
                    ..o.clone()
                })
                .collect(),
        },
        _ => return Arc::clone(class),
    };
    Type::new(kind).unwrap_or_else(|| Arc::clone(class))
}

fn named(name: &str, class: &Arc<Type>, origin: Origin, clock: Option<&Arc<str>>) -> Arc<Type> {
    match &class.kind {
        TypeKind::Int(int) => {
            let mut int: IntType = int.clone();
            int.roles = roles_of(name, origin);
            if is_time(name, origin) && int.clock.is_none() {
                int.clock = clock.cloned();
            }
            if int.clock.is_some() && !int.roles.has(Roles::END) {
                int.roles = int.roles.with(Roles::CLOCK);
            }
            if int.roles.is_none() {
                return Arc::clone(class);
            }
            Type::new(TypeKind::Int(int)).unwrap_or_else(|| Arc::clone(class))
        }
        TypeKind::Array {
            element,
            length,
            kind,
            align_bits,
            ..
        } if origin == Origin::PacketHeader && name == "uuid" => Type::new(TypeKind::Array {
            element: Arc::clone(element),
            length: length.clone(),
            kind: *kind,
            align_bits: *align_bits,
            roles: Roles::UUID,
        })
        .unwrap_or_else(|| Arc::clone(class)),
        _ => with_roles(class, origin, clock),
    }
}
