//! How the records of a stream are laid out, and what of the input's types is said of it.

use crate::ir::{IntType, Roles, StreamType, Type, TypeKind};
use crate::tsdl::rewrite::{self, Layout};
use kstrace_schema::Base;
use std::fmt::Write as _;

/// Members of a stream's packet context.
#[derive(Debug)]
pub(super) enum ContextMember {
    /// The CPU, as so many bytes in that order.
    Cpu(IntType),
    /// The next member of the payload's packet context.
    Data,
}

#[derive(Debug)]
pub(super) struct StreamShape {
    pub(super) timed: bool,
    pub(super) context: Vec<ContextMember>,
    /// Events begin at multiples of this many bytes.
    pub(super) align: usize,
    pub(super) blocks: String,
    pub(super) head: String,
    pub(super) context_types: String,
    pub(super) event_context: String,
    /// Scopes cannot be told apart: all is in the fields.
    pub(super) flat: bool,
    /// That of the event context.
    pub(super) layout: Layout,
    /// The event context is the same in either layout.
    pub(super) tight: bool,
}

/// Whether every integer is of whole bytes.
pub(super) fn whole_bytes(class: &Type) -> bool {
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
pub(super) fn start_align(scopes: &[&Option<std::sync::Arc<Type>>]) -> usize {
    let mut align = 1;
    let _ = scopes
        .iter()
        .copied()
        .flatten()
        .any(|scope| first_alignment(scope, &mut align));
    (align / 8).max(1) as usize
}

pub(super) fn first_alignment(class: &Type, align: &mut u32) -> bool {
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

pub(super) fn shape(
    stream: &StreamType,
    id: u64,
    layout: Layout,
    facts: &mut Vec<String>,
) -> StreamShape {
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
                let name = format!("the packet context's {}", member.name);
                width_changes(&member.class, &name, Layout::WholeBytes, facts);
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
            Ok(text) => {
                event_context = format!("\tevent.context := {text};\n");
                width_changes(class, "the streams' context", layout, facts);
            }
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

pub(super) fn has_clock(class: &Type) -> bool {
    match &class.kind {
        TypeKind::Int(int) | TypeKind::VarInt(int) => int.clock.is_some(),
        TypeKind::Struct(s) => s.members.iter().any(|m| has_clock(&m.class)),
        TypeKind::Variant { options, .. } => options.iter().any(|o| has_clock(&o.class)),
        _ => false,
    }
}

/// Members whose integers have other widths than before, so far as readers show that: all digits of a binary number
/// are printed, and the high bits of a negative one in another base than ten.
pub(super) fn width_changes(class: &Type, name: &str, layout: Layout, facts: &mut Vec<String>) {
    match &class.kind {
        TypeKind::Int(int) => {
            let shown = match int.base {
                Base::Decimal => false,
                Base::Binary => true,
                Base::Octal | Base::Hexadecimal => int.signed,
            };
            if shown && rewrite::size_in(layout, int.size_bits) != int.size_bits {
                facts.push(format!("the width of {name} ({} bits)", int.size_bits));
            }
        }
        TypeKind::Struct(s) => {
            for member in &s.members {
                width_changes(
                    &member.class,
                    &format!("{name}.{}", member.name),
                    layout,
                    facts,
                );
            }
        }
        TypeKind::Array { element, .. } => width_changes(element, name, layout, facts),
        TypeKind::Variant { options, .. } => {
            for option in options {
                width_changes(
                    &option.class,
                    &format!("{name}.{}", option.name),
                    layout,
                    facts,
                );
            }
        }
        TypeKind::Float { .. } | TypeKind::Text(_) | TypeKind::VarInt(_) => {}
    }
}
