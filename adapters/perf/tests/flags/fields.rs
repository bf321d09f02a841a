//! The fields of a file's samples, as this crate's reader and the classes it gives say.

use kstrace_perf::file::{PerfDataReader, ReadOptions};
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    EventRecord, EventRecordClass, FileInput, Loss, NativeDescription, Sink, Source,
};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A sample's numbers by name; an array's are those of eight bytes that it is made of, one after
/// the other, and bytes are theirs.
pub(crate) type Fields = BTreeMap<String, Vec<u64>>;

/// By the bytes of the whole record.
pub(crate) fn by_record(path: &Path) -> HashMap<Vec<u8>, Fields> {
    let mut reader = PerfDataReader::open(path, ReadOptions::default()).unwrap();
    let mut samples = Samples::default();
    samples.session(reader.session()).unwrap();
    let mut merger = Merger::new(reader.streams(&mut samples).unwrap());
    while !merger.round(&mut samples).unwrap().finished() {}
    let damage = merger.take_errors();
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(reader.statistics().opaque, 0, "all are as their attr says");
    samples.fields
}

#[derive(Default)]
struct Samples {
    classes: BTreeMap<u16, Arc<EventRecordClass>>,
    fields: HashMap<Vec<u8>, Fields>,
}

impl Sink for Samples {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> kstrace_schema::Result<()> {
        self.classes.insert(class.id.0, Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> kstrace_schema::Result<()> {
        let class = &self.classes[&record.class.0];
        if let NativeDescription::PerfSample { .. } = class.native {
            let mut numbers = Numbers::default();
            let rest = record.rest_len_bytes;
            let end = walk(&class.payload, record.payload, rest, &mut numbers).unwrap();
            assert_eq!(end, record.payload.len());
            self.fields.insert(record.payload.to_vec(), numbers.fields);
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> kstrace_schema::Result<()> {
        panic!("nothing was lost: {loss:?}")
    }
}

#[derive(Default)]
struct Numbers {
    fields: Fields,
    /// Of structures, whose numbers are all its own.
    array: Option<String>,
}

impl<'a> Visitor<'a> for Numbers {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        let words = |bytes: &[u8]| -> Vec<u64> {
            let chunks = bytes.chunks_exact(8);
            chunks
                .map(|c| u64::from_ne_bytes(c.try_into().unwrap()))
                .collect()
        };
        let numbers = match &value {
            Value::Array(array) => words(array.bytes),
            Value::Bytes(bytes) => bytes.iter().map(|b| u64::from(*b)).collect(),
            other => other.as_u64().into_iter().collect(),
        };
        let name = self.array.as_deref().unwrap_or(field.name);
        let place = self.fields.entry(name.to_owned()).or_default();
        assert!(
            place.is_empty() || self.array.is_some(),
            "{name} comes twice"
        );
        place.extend(numbers);
        ControlFlow::Continue(())
    }

    fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
        self.array = Some(field.name.to_owned());
        self.fields.entry(field.name.to_owned()).or_default();
        ControlFlow::Continue(())
    }

    fn end_array(&mut self) -> ControlFlow<()> {
        self.array = None;
        ControlFlow::Continue(())
    }
}
