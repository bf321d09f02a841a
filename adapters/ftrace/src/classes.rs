//! From the type number in an entry to its class.

use kstrace_schema::{
    ByteOrder, ClassId, ClassRegistry, EventRecordClass, FieldClass, IntegerClass, Length, Member,
    NativeDescription, Result, Role, Sink, SourceId, StructureClass, namespace,
};
use kstrace_tracepoint::{MAX_SLACK_BYTES, Measured, TracepointLayout};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tracefs::EventName;
use tracefs::format::EventFormat;

/// Bytes of the common fields, which every entry begins with.
const COMMON_LEN_BYTES: usize = 8;
/// The attribute that tells an event's classes apart.
const LAYOUT: &str = "kstrace.layout";

/// Where the names and formats of events that nobody announced come from.
pub(crate) trait Formats: Send + Sync + fmt::Debug {
    /// The event with that type number, and the text of its format file; empty if it has none.
    fn with_id(&self, id: u16) -> Option<(EventName, String)>;
}

/// What is known of one type of entry.
#[derive(Debug)]
struct Known {
    event: String,
    format: String,
    id: u16,
    system: String,
    /// `None` if there is no format file or it cannot be understood.
    layout: Option<TracepointLayout>,
    regular: OnceLock<ClassId>,
    /// For entries whose dynamic arrays stand elsewhere.
    odd: OnceLock<ClassId>,
    /// For entries that no description fits: common fields and the rest.
    raw: OnceLock<ClassId>,
}

impl Known {
    fn new(
        id: u16,
        event: Option<&EventName>,
        format: String,
        parsed: Option<&EventFormat>,
        byte_order: ByteOrder,
    ) -> Self {
        let system = event.map_or("unknown", |e| &e.system).to_owned();
        let layout = parsed
            .and_then(|parsed| TracepointLayout::describe_in(&system, parsed, byte_order).ok())
            // Entries are told apart and cut by their common fields.
            .filter(|layout| layout.fixed_len_bytes as usize >= COMMON_LEN_BYTES);
        Known {
            event: event.map_or_else(|| format!("unknown:{id}"), ToString::to_string),
            format,
            id,
            system,
            layout,
            regular: OnceLock::new(),
            odd: OnceLock::new(),
            raw: OnceLock::new(),
        }
    }
}

/// Which of an event's classes.
#[derive(Clone, Copy, Debug)]
enum Variety {
    Regular,
    Odd,
    Raw,
}

/// The classes of one ftrace source, shared by its streams.
#[derive(Debug)]
pub(crate) struct ClassBook {
    source: SourceId,
    registry: Arc<ClassRegistry>,
    formats: Box<dyn Formats>,
    byte_order: ByteOrder,
    known: Mutex<HashMap<u16, Arc<Known>>>,
}

impl ClassBook {
    pub(crate) fn new(
        source: SourceId,
        registry: Arc<ClassRegistry>,
        formats: Box<dyn Formats>,
        byte_order: ByteOrder,
    ) -> Self {
        ClassBook {
            source,
            registry,
            formats,
            byte_order,
            known: Mutex::default(),
        }
    }

    /// Registers the class of an event that has, or may have, records.
    pub(crate) fn add(&self, event: &EventName, id: u16, text: String) -> Result<()> {
        let format = EventFormat::parse(&text).ok();
        let known = Known::new(id, Some(event), text, format.as_ref(), self.byte_order);
        if known.layout.is_some() {
            self.class_id(&known, Variety::Regular, None)?;
        }
        self.lock().insert(id, Arc::new(known));
        Ok(())
    }

    /// The classes registered so far.
    pub(crate) fn classes(&self) -> Vec<Arc<EventRecordClass>> {
        let mut ids: Vec<ClassId> = self
            .lock()
            .values()
            .flat_map(|k| [k.regular.get(), k.odd.get(), k.raw.get()])
            .flatten()
            .copied()
            .collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.registry.get(id))
            .collect()
    }

    /// What is known of a type that no stream has met yet.
    fn find(&self, id: u16) -> Result<Arc<Known>> {
        if let Some(known) = self.lock().get(&id) {
            return Ok(Arc::clone(known));
        }
        let (event, text) = match self.formats.with_id(id) {
            Some((event, text)) => (Some(event), text),
            None => (None, String::new()),
        };
        let format = EventFormat::parse(&text).ok();
        let known = Known::new(id, event.as_ref(), text, format.as_ref(), self.byte_order);
        Ok(Arc::clone(
            self.lock().entry(id).or_insert_with(|| Arc::new(known)),
        ))
    }

    /// The id of one of an event's classes, registered now if it is not yet and
    /// then told to `sink`, before any stream can use it.
    fn class_id(
        &self,
        known: &Known,
        variety: Variety,
        sink: Option<&mut dyn Sink>,
    ) -> Result<ClassId> {
        let cell = match variety {
            Variety::Regular => &known.regular,
            Variety::Odd => &known.odd,
            Variety::Raw => &known.raw,
        };
        if let Some(id) = cell.get() {
            return Ok(*id);
        }
        let _alone = self.lock();
        if let Some(id) = cell.get() {
            return Ok(*id);
        }
        let payload = match (variety, &known.layout) {
            (Variety::Regular, Some(layout)) => layout.payload.clone(),
            (Variety::Odd, Some(layout)) => layout.odd_payload.clone(),
            _ => raw_payload(self.byte_order),
        };
        let native = NativeDescription::TracefsFormat {
            format: known.format.clone(),
        };
        let event = known.event.as_str();
        let mut class =
            EventRecordClass::new(self.source, namespace::FTRACE, event, payload, native)
                .with_attribute("ftrace.id", known.id)
                .with_attribute("ftrace.system", known.system.as_str());
        match variety {
            Variety::Regular => {}
            Variety::Odd => class = class.with_attribute(LAYOUT, "odd"),
            Variety::Raw => class = class.with_attribute(LAYOUT, "raw"),
        }
        let class = self.registry.register(class)?;
        if let Some(sink) = sink {
            sink.class(&class)?;
        }
        Ok(*cell.get_or_init(|| class.id))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Arc<Known>>> {
        // Only single insertions happen under it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The common fields as every kernel since 2.6.31 has them, and all the rest.
fn raw_payload(byte_order: ByteOrder) -> StructureClass {
    let integer = |bytes, signed| {
        FieldClass::Integer(IntegerClass {
            signed,
            byte_order,
            ..IntegerClass::unsigned(bytes)
        })
    };
    let unsigned = |bytes| integer(bytes, false);
    StructureClass::new(vec![
        Member::new("common_type", unsigned(2)),
        Member::new("common_flags", unsigned(1)),
        Member::new("common_preempt_count", unsigned(1)),
        Member::new("common_pid", integer(4, true)).with_role(Role::Tid),
        Member::new(
            "_rest",
            FieldClass::DynamicBlob {
                length: Length::Rest,
            },
        ),
    ])
}

/// An entry's class and how much of it the class covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classified {
    pub(crate) class: ClassId,
    pub(crate) len_bytes: usize,
    pub(crate) rest_len_bytes: u16,
}

/// A type whose entries are all equally long: everything the fast path needs.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    class: ClassId,
    /// [`NOT_FIXED`] if the entries must be measured, or the type is yet unknown.
    len_bytes: u32,
}

const NOT_FIXED: u32 = u32::MAX;

/// One stream's own table of types: no lock and no hash on the fast path.
#[derive(Debug)]
pub(crate) struct ClassTable {
    book: Arc<ClassBook>,
    /// The entries are of a machine of the other byte order.
    swapped: bool,
    /// By type number.
    fixed: Vec<Fixed>,
    measured: HashMap<u16, Arc<Known>>,
}

impl ClassTable {
    pub(crate) fn new(book: Arc<ClassBook>) -> Self {
        let mut table = ClassTable {
            swapped: book.byte_order != ByteOrder::NATIVE,
            book: Arc::clone(&book),
            fixed: Vec::new(),
            measured: HashMap::new(),
        };
        for known in book.lock().values() {
            table.learn(known);
        }
        table
    }

    fn learn(&mut self, known: &Arc<Known>) {
        let static_len = known
            .layout
            .as_ref()
            .and_then(|layout| layout.static_len_bytes);
        if let (Some(len_bytes), Some(class)) = (static_len, known.regular.get()) {
            let at = usize::from(known.id);
            if self.fixed.len() <= at {
                self.fixed.resize(
                    at + 1,
                    Fixed {
                        class: ClassId(0),
                        len_bytes: NOT_FIXED,
                    },
                );
            }
            if let Some(slot) = self.fixed.get_mut(at) {
                *slot = Fixed {
                    class: *class,
                    len_bytes,
                };
            }
        }
        self.measured.insert(known.id, Arc::clone(known));
    }

    /// The class of an entry; `None` if it is too short or too long to have one.
    #[inline]
    pub(crate) fn classify(
        &mut self,
        entry: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<Option<Classified>> {
        if let Some(id) = entry.first_chunk::<2>() {
            let mut id = u16::from_ne_bytes(*id);
            if self.swapped {
                id = id.swap_bytes();
            }
            if let Some(Fixed { class, len_bytes }) = self.fixed.get(usize::from(id)).copied() {
                let len_bytes = len_bytes as usize;
                // False for NOT_FIXED: no entry is that long.
                if entry.len().wrapping_sub(len_bytes) <= MAX_SLACK_BYTES {
                    return Ok(Some(Classified {
                        class,
                        len_bytes,
                        rest_len_bytes: 0,
                    }));
                }
            }
            return self.classify_slowly(id, entry, sink);
        }
        Ok(None)
    }

    #[inline(never)]
    fn classify_slowly(
        &mut self,
        id: u16,
        entry: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<Option<Classified>> {
        if entry.len() < COMMON_LEN_BYTES {
            return Ok(None);
        }
        let known = match self.measured.get(&id) {
            Some(known) => known,
            None => {
                let known = self.book.find(id)?;
                if known.layout.is_some() {
                    self.book.class_id(&known, Variety::Regular, Some(sink))?;
                }
                self.learn(&known);
                self.measured.entry(id).or_insert(known)
            }
        };
        let measured = known.layout.as_ref().map(|layout| layout.measure(entry));
        let (variety, len_bytes, rest_len_bytes) = match measured {
            Some(Measured::Regular {
                len_bytes,
                rest_len_bytes,
            }) => (Variety::Regular, len_bytes, rest_len_bytes),
            Some(Measured::Odd {
                len_bytes,
                rest_len_bytes,
            }) => (Variety::Odd, len_bytes, rest_len_bytes),
            Some(Measured::TooShort | Measured::TooLong) | None => {
                let Ok(rest) = u16::try_from(entry.len() - COMMON_LEN_BYTES) else {
                    return Ok(None);
                };
                (Variety::Raw, entry.len(), rest)
            }
        };
        let class = self.book.class_id(known, variety, Some(sink))?;
        Ok(Some(Classified {
            class,
            len_bytes,
            rest_len_bytes,
        }))
    }
}
