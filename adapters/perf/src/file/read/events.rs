//! The events of a file: attrs, ids, names and formats.

use super::attr_bytes;
use super::order::Order;
use super::tracing_text::TracingText;
use crate::attr::{ATTR_MIN_BYTES, Attr};
use crate::uapi::{self, flag};
use kstrace_tracepoint::TracepointLayout;
use tracefs::format::EventFormat;

/// More events than any kernel has.
pub(super) const MAX_EVENTS: usize = 1 << 15;
/// Ids of all events together.
pub(super) const MAX_IDS: usize = 1 << 22;
/// An attr is a page at most, as for the kernel itself.
pub(super) const MAX_ATTR_BYTES: usize = 4096;

/// One event.
#[derive(Clone, Debug)]
pub(super) struct FileEvent {
    /// The attr as it lies in the file.
    pub(super) bytes: Vec<u8>,
    pub(super) attr: Attr,
    pub(super) ids: Vec<u64>,
    /// As the file names it.
    pub(super) name: Option<String>,
    /// System and text of its format file.
    pub(super) format: Option<(String, String)>,
}

impl FileEvent {
    /// From an attr of a file, or why it is none.
    pub(super) fn new(bytes: &[u8], ids: Vec<u64>, order: Order) -> Result<Self, String> {
        let attr = attr_bytes::decode(bytes, order).ok_or_else(|| {
            format!(
                "{} bytes, an attr has at least {ATTR_MIN_BYTES}",
                bytes.len()
            )
        })?;
        // A size of 0 is the first version's.
        let stated = match attr.size as usize {
            0 => ATTR_MIN_BYTES,
            size => size,
        };
        if stated < ATTR_MIN_BYTES || stated > bytes.len() {
            let most = bytes.len();
            return Err(format!(
                "states a size of {stated} bytes, {ATTR_MIN_BYTES} to {most} are possible"
            ));
        }
        // Bytes behind the stated size are the container's, not the attr's.
        let attr = attr_bytes::decode(&bytes[..stated], order).unwrap_or(attr);
        Ok(FileEvent {
            bytes: bytes.to_vec(),
            attr,
            ids,
            name: None,
            format: None,
        })
    }

    pub(super) fn take_format(&mut self, texts: &TracingText) {
        if self.attr.kind == uapi::PERF_TYPE_TRACEPOINT && self.format.is_none() {
            self.format = texts.formats.get(&self.attr.config).cloned();
        }
    }

    /// How the raw data are laid out.
    pub(super) fn layout(&self, order: Order) -> Option<TracepointLayout> {
        let (system, text) = self.format.as_ref()?;
        let parsed = EventFormat::parse(text).ok()?;
        TracepointLayout::describe_in(system, &parsed, order.byte_order()).ok()
    }

    /// The event's name as the file gives it, or made of its numbers.
    pub(super) fn event_name(&self) -> String {
        match &self.name {
            Some(name) if !name.is_empty() => name.clone(),
            _ => self.class_name(),
        }
    }

    /// The event's name without modifiers where that can be told.
    pub(super) fn class_name(&self) -> String {
        if let Some((system, text)) = &self.format
            && let Some(name) = text.lines().find_map(|l| l.strip_prefix("name:"))
        {
            return format!("{system}:{}", name.trim());
        }
        if let Some(name) = self.name.as_ref().filter(|n| !n.is_empty()) {
            return name.clone();
        }
        let (kind, config) = (self.attr.kind, self.attr.config);
        crate::event::name_of(kind, config)
            .unwrap_or_else(|| format!("type-{kind}-config-{config:#x}"))
    }

    pub(super) fn has_trailer(&self) -> bool {
        self.attr.has(flag::SAMPLE_ID_ALL)
    }
}
