//! The events of the file: attr, name and ids of each.

use super::raw;
use crate::attr::Attr;
use crate::layout::SampleIdShape;
use crate::uapi::{self, flag};
use kstrace_schema::SourceId;
use std::collections::BTreeMap;

/// Index of an event in the file.
pub(super) type EvselIndex = usize;

/// An event of the file.
#[derive(Debug)]
pub(super) struct Evsel {
    /// The attr as it goes into the file.
    pub(super) attr: Attr,
    /// Name for people.
    pub(super) name: String,
    /// Ids in the file.
    pub(super) ids: Vec<u64>,
    /// Whose records it is of.
    pub(super) source: SourceId,
    /// Shape of the trailers that the kernel wrote for it.
    pub(super) recorded_shape: SampleIdShape,
    /// Made for records that perf did not record.
    pub(super) made_up: bool,
    /// Records that are not its own name it.
    pub(super) told_of: bool,
}

impl Evsel {
    /// Shape of the trailers it has in the file.
    pub(super) fn shape(&self) -> SampleIdShape {
        SampleIdShape::new(self.attr.sample_type)
    }

    /// The id that records without a better one get.
    pub(super) fn first_id(&self) -> u64 {
        self.ids.first().copied().unwrap_or(0)
    }
}

/// What a recorded id stands for in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdEntry {
    pub(super) evsel: EvselIndex,
    /// The id in the file; another one where two sources used the same.
    pub(super) id: u64,
}

/// All events, with the ids that lead to them.
#[derive(Debug)]
pub(super) struct EvselTable {
    evsels: Vec<Evsel>,
    by_recorded_id: BTreeMap<(SourceId, u64), IdEntry>,
    taken: std::collections::BTreeSet<u64>,
    next_made_up_id: u64,
    dummy: Option<EvselIndex>,
}

/// The kernel counts event ids from 1 since boot; it never gets here.
const FIRST_MADE_UP_ID: u64 = 1 << 40;

impl Default for EvselTable {
    fn default() -> Self {
        EvselTable {
            evsels: Vec::new(),
            by_recorded_id: BTreeMap::new(),
            taken: Default::default(),
            next_made_up_id: FIRST_MADE_UP_ID,
            dummy: None,
        }
    }
}

impl EvselTable {
    /// All events, in the order of the file.
    pub(super) fn all(&self) -> &[Evsel] {
        &self.evsels
    }

    pub(super) fn all_mut(&mut self) -> &mut [Evsel] {
        &mut self.evsels
    }

    /// Notes that a record names it which is not its own.
    pub(super) fn tell_of(&mut self, index: EvselIndex) {
        self.evsels[index].told_of = true;
    }

    /// Leaves the others out. Indexes mean nothing any more after that.
    pub(super) fn retain(&mut self, keep: impl Fn(EvselIndex, &Evsel) -> bool) {
        let mut index = 0;
        self.evsels.retain(|evsel| {
            index += 1;
            keep(index - 1, evsel)
        });
    }

    /// The event with that index, which came from this table.
    pub(super) fn get(&self, index: EvselIndex) -> &Evsel {
        &self.evsels[index]
    }

    /// An event that perf recorded. What perf's reader needs of all events of a
    /// file with several is added: `IDENTIFIER` and `sample_id_all`.
    pub(super) fn add_recorded(
        &mut self,
        source: SourceId,
        name: &str,
        mut attr: Attr,
        recorded_ids: &[u64],
    ) -> EvselIndex {
        let recorded_shape = if attr.has(flag::SAMPLE_ID_ALL) {
            SampleIdShape::new(attr.sample_type)
        } else {
            SampleIdShape::NONE
        };
        attr.sample_type |= uapi::PERF_SAMPLE_IDENTIFIER;
        attr.flags |= flag::SAMPLE_ID_ALL;
        let index = self.evsels.len();
        self.evsels.push(Evsel {
            attr,
            name: name.to_owned(),
            ids: Vec::new(),
            source,
            recorded_shape,
            made_up: false,
            told_of: false,
        });
        for id in recorded_ids {
            self.add_recorded_id(index, *id);
        }
        index
    }

    /// One more id of a recorded event. Says which id it has in the file.
    pub(super) fn add_recorded_id(&mut self, index: EvselIndex, recorded_id: u64) -> u64 {
        let source = self.evsels[index].source;
        if let Some(known) = self.by_recorded_id.get(&(source, recorded_id))
            && known.evsel == index
        {
            return known.id;
        }
        // Id 0 means "none" to perf.
        let id = if recorded_id != 0 && self.taken.insert(recorded_id) {
            recorded_id
        } else {
            self.make_up_id()
        };
        self.evsels[index].ids.push(id);
        self.by_recorded_id
            .entry((source, recorded_id))
            .or_insert(IdEntry { evsel: index, id });
        id
    }

    /// An event made for records that came through ftrace.
    pub(super) fn add_tracepoint(
        &mut self,
        source: SourceId,
        name: &str,
        config: u64,
    ) -> EvselIndex {
        let mut attr = Attr::new(uapi::PERF_TYPE_TRACEPOINT, config);
        attr.sample_type = raw::TRACEPOINT_SAMPLE_TYPE;
        self.add_made_up(source, name, attr)
    }

    /// The event that added records belong to: one that never fires, as perf
    /// itself uses for names and mappings.
    pub(super) fn dummy(&mut self) -> EvselIndex {
        if let Some(index) = self.dummy {
            return index;
        }
        let mut attr = Attr::new(uapi::PERF_TYPE_SOFTWARE, uapi::PERF_COUNT_SW_DUMMY);
        attr.sample_type = raw::TRACEPOINT_SAMPLE_TYPE & !uapi::PERF_SAMPLE_RAW;
        attr.flags = flag::COMM | flag::TASK | flag::COMM_EXEC;
        let index = self.add_made_up(SourceId::KSTRACE, "dummy:HG", attr);
        self.dummy = Some(index);
        index
    }

    /// What a recorded id of a source stands for.
    pub(super) fn by_recorded_id(&self, source: SourceId, recorded_id: u64) -> Option<IdEntry> {
        self.by_recorded_id.get(&(source, recorded_id)).copied()
    }

    /// The first event of a source.
    pub(super) fn first_of(&self, source: SourceId) -> Option<EvselIndex> {
        self.evsels.iter().position(|e| e.source == source)
    }

    fn add_made_up(&mut self, source: SourceId, name: &str, mut attr: Attr) -> EvselIndex {
        let id = self.make_up_id();
        attr.sample_period = 1;
        attr.read_format = uapi::PERF_FORMAT_ID;
        attr.flags |= flag::SAMPLE_ID_ALL;
        let recorded_shape = SampleIdShape::new(attr.sample_type);
        self.evsels.push(Evsel {
            attr,
            name: name.to_owned(),
            ids: vec![id],
            source,
            recorded_shape,
            made_up: true,
            told_of: false,
        });
        self.evsels.len() - 1
    }

    fn make_up_id(&mut self) -> u64 {
        loop {
            let id = self.next_made_up_id;
            self.next_made_up_id += 1;
            if self.taken.insert(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_with_the_same_ids_are_kept_apart() {
        let mut table = EvselTable::default();
        let attr = Attr {
            sample_type: uapi::PERF_SAMPLE_TIME,
            ..Attr::new(1, 0)
        };
        let a = table.add_recorded(SourceId(1), "a", attr, &[7, 8]);
        let b = table.add_recorded(SourceId(2), "b", attr, &[8, 9]);
        assert_eq!(table.get(a).ids, [7, 8]);
        let entry = table.by_recorded_id(SourceId(2), 8).unwrap();
        assert_eq!(entry.evsel, b);
        assert_ne!(entry.id, 8);
        assert_eq!(table.get(b).ids, [entry.id, 9]);
        assert_eq!(table.add_recorded_id(b, 8), entry.id);
        assert_ne!(
            table.get(b).attr.sample_type & uapi::PERF_SAMPLE_IDENTIFIER,
            0
        );
        assert!(table.by_recorded_id(SourceId(3), 8).is_none());
    }
}
