//! How the records of a stream are read: made once, from what the metadata says.

use super::bits::Cursor;
use super::clock::ClockMap;
use super::exec::{Exec, Facts, Fault, Output, fuel_for};
use super::header::FastHeader;
use super::model::{self, ScopeNames};
use super::node::{Node, NodeMember, Resolver, SHARED_SLOTS, Unresolved};
use super::skim::{self, Op};
use crate::ir::{EventType, Origin, Roles, StreamType, TraceClass, TypeKind};
use kstrace_schema::{ClassId, Member, StructureClass};
use std::collections::HashMap;

/// How an event's payload is got.
#[derive(Debug)]
pub(super) enum Kind {
    /// As it is, always so many bytes.
    Fixed(usize),
    /// As it is, up to where these steps lead.
    Skim(Vec<Op>),
    /// Written anew.
    Transcode(Vec<Node>),
}

/// An event of a stream.
#[derive(Debug)]
pub(super) struct EventPlan {
    pub(super) class: ClassId,
    /// What the payload's start is aligned to, less one, in bytes.
    pub(super) align_mask: usize,
    pub(super) kind: Kind,
}

/// A scope of a packet or header of which some members go into payloads.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) node: Option<Node>,
    /// Which members of it are kept.
    pub(super) kept: Vec<bool>,
}

impl Shared {
    pub(super) fn keeps_any(&self) -> bool {
        self.kept.contains(&true)
    }

    /// Reads the scope, and writes what is kept to `out`.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor<'_>,
        slots: &mut [u64],
        facts: &mut Facts,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Some(node) = &self.node else {
            return Ok(());
        };
        let fuel = fuel_for(cursor.left_bits());
        let Node::Struct {
            members,
            align_bits,
        } = node
        else {
            return Ok(());
        };
        cursor.align(*align_bits);
        for (member, kept) in members.iter().zip(&self.kept) {
            let read = if *kept {
                run(&member.node, cursor, slots, facts, out, fuel)
            } else {
                run(&member.node, cursor, slots, facts, &mut (), fuel)
            };
            read.map_err(|mut fault| {
                if fault.field.is_empty() {
                    fault.field.clone_from(&member.name);
                }
                fault
            })?;
        }
        Ok(())
    }

    /// What is kept, as a type of its own.
    fn kept_node(&self) -> Option<Node> {
        let Some(Node::Struct { members, .. }) = &self.node else {
            return None;
        };
        let members = members
            .iter()
            .zip(&self.kept)
            .filter(|(_, kept)| **kept)
            .map(|(member, _)| NodeMember {
                name: member.name.clone(),
                node: member.node.clone(),
            })
            .collect::<Vec<_>>();
        (!members.is_empty()).then_some(Node::Struct {
            members,
            align_bits: 1,
        })
    }
}

fn run<O: Output>(
    node: &Node,
    cursor: &mut Cursor<'_>,
    slots: &mut [u64],
    facts: &mut Facts,
    out: &mut O,
    fuel: u64,
) -> Result<(), Fault> {
    Exec {
        slots,
        facts,
        out,
        fuel,
    }
    .read(node, cursor)
}

/// Reads a record's scopes and writes them to `out` in whole bytes.
pub(super) fn transcode(
    nodes: &[Node],
    cursor: &mut Cursor<'_>,
    slots: &mut [u64],
    facts: &mut Facts,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let fuel = fuel_for(cursor.left_bits());
    for node in nodes {
        run(node, cursor, slots, facts, out, fuel)?;
    }
    Ok(())
}

/// A data stream class.
#[derive(Debug)]
pub(super) struct StreamPlan {
    pub(super) packet_header: Shared,
    pub(super) packet_context: Shared,
    pub(super) event_header: Shared,
    pub(super) fast: Option<FastHeader>,
    /// What records are aligned to: fewer bits at the end of a packet are no record.
    pub(super) record_align_bits: u32,
    /// Payloads begin with members of packets or headers.
    pub(super) has_prefix: bool,
    pub(super) clock: ClockMap,
    pub(super) slots: usize,
    pub(super) events: Vec<EventPlan>,
    /// Index of an event by its id, plus one.
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
}

impl StreamPlan {
    /// The place of the event with that id in `events`.
    #[inline(always)]
    pub(super) fn event_index(&self, id: u64) -> Option<usize> {
        let index = match self.dense.get(usize::try_from(id).ok()?) {
            Some(index) => *index,
            None => *self.sparse.get(&id)?,
        };
        (index as usize).checked_sub(1)
    }
}

/// The payload class of an event and what is to be said of it.
pub(super) struct EventShape {
    pub(super) payload: StructureClass,
    /// Names of the scopes in the payload.
    pub(super) names: ScopeNames,
    pub(super) verbatim: bool,
}

/// Makes the plan of a stream class.
///
/// `register` gives an event's class its id.
pub(super) fn stream_plan(
    trace: &TraceClass,
    stream: &StreamType,
    clocks: &[ClockMap],
    mut register: impl FnMut(&EventType, EventShape) -> Result<ClassId, Unresolved>,
) -> Result<StreamPlan, Unresolved> {
    let mut resolver = Resolver::new();
    resolver.set(Origin::PacketHeader, trace.packet_header.as_deref());
    resolver.set(Origin::PacketContext, stream.packet_context.as_deref());
    resolver.set(Origin::EventHeader, stream.event_header.as_deref());
    resolver.set(Origin::StreamContext, stream.event_context.as_deref());
    let mut shared = [
        Origin::PacketHeader,
        Origin::PacketContext,
        Origin::EventHeader,
    ]
    .map(|origin| (origin, Shared::default()));
    for (origin, place) in &mut shared {
        place.node = resolver.resolve(*origin)?;
    }
    // What headers themselves refer to is no reason to keep it in payloads.
    let before = shared
        .each_ref()
        .map(|(origin, _)| resolver.referred(*origin));
    let mut stream_context = resolver.resolve(Origin::StreamContext)?;
    let mut bodies = Vec::with_capacity(stream.events.len());
    for event in &stream.events {
        resolver.set(Origin::EventContext, event.context.as_deref());
        resolver.set(Origin::Fields, event.fields.as_deref());
        let mut own = [Origin::EventContext, Origin::Fields].map(|o| (o, None));
        for (origin, node) in &mut own {
            *node = resolver.resolve(*origin).map_err(|e| Unresolved {
                field: format!("{}.{}", event.name, e.field),
                ..e
            })?;
        }
        for (origin, node) in &mut own {
            if let Some(node) = node {
                resolver.mark(*origin, node);
            }
        }
        bodies.push((own, resolver.slots()));
    }
    for (index, (origin, place)) in shared.iter_mut().enumerate() {
        let Some(node) = &mut place.node else {
            continue;
        };
        resolver.mark(*origin, node);
        let referred = resolver.referred(*origin);
        let needed = |member: usize| {
            referred
                .difference(&before[index])
                .any(|path| path.first() == Some(&(member as u32)))
        };
        if let Node::Struct { members, .. } = node {
            place.kept = members
                .iter()
                .enumerate()
                .map(|(at, m)| needed(at) || (index == 1 && is_data(&m.node)))
                .collect();
        }
    }
    if let Some(node) = &mut stream_context {
        resolver.mark(Origin::StreamContext, node);
    }
    let [packet_header, packet_context, event_header] = shared.map(|(_, s)| s);
    let prefixes = [
        (Origin::PacketHeader, packet_header.kept_node()),
        (Origin::PacketContext, packet_context.kept_node()),
        (Origin::EventHeader, event_header.kept_node()),
    ];
    let mut plan = StreamPlan {
        record_align_bits: event_header.node.as_ref().map_or(1, Node::align_bits),
        fast: event_header
            .node
            .as_ref()
            .filter(|_| !event_header.keeps_any())
            .and_then(FastHeader::of),
        has_prefix: prefixes.iter().any(|(_, node)| node.is_some()),
        clock: clock_of(trace, stream)
            .and_then(|index| clocks.get(index).copied())
            .unwrap_or(ClockMap::NONE),
        slots: usize::from(SHARED_SLOTS),
        events: Vec::with_capacity(stream.events.len()),
        dense: Vec::new(),
        sparse: HashMap::new(),
        packet_header,
        packet_context,
        event_header,
    };
    // perf aligns its fields to bits, but each has whole bytes.
    let whole_start = plan.fast.as_ref().is_some_and(FastHeader::is_whole);
    for (event, (own, slots)) in stream.events.iter().zip(bodies) {
        plan.slots = plan.slots.max(usize::from(slots));
        let [(_, context), (_, fields)] = own;
        let names = ScopeNames::unlike(fields.as_ref());
        let body = [
            (Origin::StreamContext, stream_context.as_ref()),
            (Origin::EventContext, context.as_ref()),
            (Origin::Fields, fields.as_ref()),
        ];
        let body = body
            .into_iter()
            .filter_map(|(o, n)| n.map(|n| (o, n)))
            .collect::<Vec<_>>();
        let prefix = prefixes
            .iter()
            .filter_map(|(o, n)| n.as_ref().map(|n| (*o, n)))
            .collect::<Vec<_>>();
        let inexpressible = || Unresolved {
            field: event.name.clone(),
            reason: "an array of more than 4294967295 elements".to_owned(),
        };
        let mut members: Vec<Member> = model::widened(&names, &prefix).ok_or_else(inexpressible)?;
        let (kind, align_mask) = match model::verbatim(&names, &body, whole_start) {
            Some(verbatim) => {
                members.extend(verbatim.members);
                let kind = match skim::fixed_bytes(&verbatim.ops).map(usize::try_from) {
                    Some(Ok(bytes)) => Kind::Fixed(bytes),
                    _ => Kind::Skim(verbatim.ops),
                };
                (kind, (verbatim.align_bits / 8).max(1) as usize - 1)
            }
            None => {
                members.extend(model::widened(&names, &body).ok_or_else(inexpressible)?);
                let nodes = body.iter().map(|(_, node)| (*node).clone()).collect();
                (Kind::Transcode(nodes), 0)
            }
        };
        let shape = EventShape {
            payload: StructureClass::new(members),
            names,
            verbatim: !matches!(kind, Kind::Transcode(_)),
        };
        let class = register(event, shape)?;
        plan.events.push(EventPlan {
            class,
            align_mask,
            kind,
        });
        let number = plan.events.len() as u32;
        if event.id < 1 << 16 {
            let at = event.id as usize;
            if plan.dense.len() <= at {
                plan.dense.resize(at + 1, 0);
            }
            plan.dense[at] = number;
        } else {
            plan.sparse.insert(event.id, number);
        }
    }
    Ok(plan)
}

/// Whether a member of a packet's context is there for people.
fn is_data(node: &Node) -> bool {
    match node {
        Node::Int(int) => int.class.roles.is_none(),
        Node::Array { roles, .. } => roles.is_none(),
        _ => true,
    }
}

/// The index of the clock that stamps a stream's events.
pub(super) fn clock_of(trace: &TraceClass, stream: &StreamType) -> Option<usize> {
    let mut name = None;
    for class in [&stream.event_header, &stream.packet_context]
        .into_iter()
        .flatten()
    {
        find_clock(class, &mut name);
    }
    trace.clock(name?)
}

fn find_clock<'t>(class: &'t crate::ir::Type, found: &mut Option<&'t str>) {
    if found.is_some() {
        return;
    }
    match &class.kind {
        TypeKind::Int(int) | TypeKind::VarInt(int)
            if int.roles.has(Roles(Roles::CLOCK.0 | Roles::END.0)) =>
        {
            *found = int.clock.as_deref();
        }
        TypeKind::Struct(s) => s.members.iter().for_each(|m| find_clock(&m.class, found)),
        TypeKind::Variant { options, .. } => {
            options.iter().for_each(|o| find_clock(&o.class, found));
        }
        _ => {}
    }
}
