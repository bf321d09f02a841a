//! The kstrace event model, version 1.
//!
//! Everything that crosses a border between two rooms of kstrace is defined
//! here, and nothing else: what an event record is ([`EventRecord`]), how its
//! bytes are described ([`EventRecordClass`], [`FieldClass`]), how loss and
//! clocks are stated ([`Loss`], [`ClockPair`]), how records come in
//! ([`Source`], [`RecordStream`]) and go out ([`Sink`]), and the byte layout
//! that the ring and the trace on disk share ([`wire`]).
//!
//! The vocabulary is that of CTF 2: trace, data stream, packet, event record,
//! and for each a *class*. The payload of a record is the kernel's own bytes;
//! its class describes them and nobody rewrites them.
//!
//! This crate does no input or output and contains no `unsafe`.
#![forbid(unsafe_code)]

pub mod address_space;
pub mod builtin;
pub mod canonical;
mod class;
mod clock;
pub mod decode;
mod error;
mod field;
mod file;
mod ids;
mod loss;
pub mod merge;
pub mod model_schema;
mod pending_file;
mod record;
mod registry;
mod role;
mod session;
mod sink;
mod source;
pub mod wire;

pub use class::{EventRecordClass, Fingerprint, NativeDescription, namespace};
pub use clock::{Clock, ClockDescriptor, ClockKind, ClockPair};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use field::{
    Base, ByteOrder, FieldClass, FieldPath, FloatClass, IntegerClass, IntegerRange, Length,
    Mapping, Member, StructureClass, VariantOption,
};
pub use file::{ConversionReport, FileInput, FileOutput};
pub use ids::{ClassId, Cpu, SessionTime, SourceId};
pub use loss::{Certainty, HopAccount, Loss, LossReason};
pub use pending_file::{FileAccess, PendingFile};
pub use record::EventRecord;
pub use registry::ClassRegistry;
pub use role::Role;
pub use session::{Capture, HostInfo, SessionInfo, SourceInfo};
pub use sink::Sink;
pub use source::{Fill, RecordStream, Source};

/// Major and minor version of the event model that this crate implements.
///
/// A different major is another model; a higher minor only adds. See
/// `schema/v1/VERSIONING.md`.
pub const MODEL_VERSION: (u16, u16) = (1, 0);
