//! From records to the pages of buffers.

use super::clock::FileClock;
use super::compression::Compression;
use super::lanes::{InPlace, Lane, WaitingFile};
use super::limits;
use super::plan::{EntryPlan, ForkPlan, MadePlan, NameField, SamplePlan};
use super::tasks::TaskNames;
use kstrace_schema::{ConversionReport, Cpu, Error, EventRecord, Loss, Result, SourceId};
use kstrace_tracepoint::Entry;
use kstrace_tracepoint::synthetic::Running;
use std::fs::File;
use std::path::Path;
use tracefs::{Endian, PageLayout};

/// Why a record is not in the file.
#[derive(Debug)]
pub(super) enum Refused {
    /// The format has no place for it.
    NotHeld,
    /// The file could not be written.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Failed(error)
    }
}

/// A buffer that is being written.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Empty for the top one.
    pub(super) name: String,
    /// Its own trace clock, if it differs.
    pub(super) clock: Option<String>,
    pub(super) page_size_bytes: u32,
    pub(super) sources: Vec<SourceId>,
    /// Its records tell names of tasks.
    learns_names: bool,
    /// By CPU.
    lanes: Vec<Option<Box<Lane>>>,
}

impl Buffer {
    pub(super) fn lane(&self, cpu: u32) -> Option<&Lane> {
        self.lanes.get(cpu as usize)?.as_deref()
    }

    /// The CPU whose pages are in the output already, and where.
    pub(super) fn in_place(&self) -> Option<(u32, u64)> {
        (0..).zip(&self.lanes).find_map(|(cpu, lane)| {
            let start = lane.as_ref()?.in_place()?;
            Some((cpu, start))
        })
    }
}

/// All buffers, and what their records have told.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) buffers: Vec<Buffer>,
    waiting: WaitingFile,
    layout: PageLayout,
    clock: FileClock,
    clock_is_plain: bool,
    names: TaskNames,
    saved_names: Vec<u8>,
    /// Who runs on each CPU, by what records have told.
    running: Running,
    /// An entry that is being made.
    entry: Vec<u8>,
    /// A record or a loss without a CPU was put to CPU 0.
    without_cpu: bool,
    too_long: u64,
    unparsable: u64,
    out_of_order: u64,
    lost: u64,
}

impl Stream {
    pub(super) fn create(
        directory: &Path,
        compression: Compression,
        layout: PageLayout,
    ) -> Result<Self> {
        Ok(Stream {
            buffers: Vec::new(),
            waiting: WaitingFile::create(directory, compression, Endian::NATIVE)?,
            layout,
            clock: FileClock::new("local", &[], Endian::NATIVE),
            clock_is_plain: true,
            names: TaskNames::default(),
            saved_names: Vec::new(),
            running: Running::default(),
            entry: Vec::new(),
            without_cpu: false,
            too_long: 0,
            unparsable: 0,
            out_of_order: 0,
            lost: 0,
        })
    }

    pub(super) fn set_layout(&mut self, layout: PageLayout, endian: Endian) {
        self.layout = layout;
        self.waiting.set_endian(endian);
    }

    pub(super) fn set_clock(&mut self, clock: FileClock) {
        self.clock_is_plain = clock.is_plain();
        self.clock = clock;
    }

    /// Lines of a `saved_cmdlines`. The first ones are kept as they are.
    pub(super) fn saved_names(&mut self, lines: Vec<u8>) {
        if self.saved_names.is_empty() {
            self.saved_names = lines;
        } else {
            self.names.learn(&lines);
        }
    }

    pub(super) fn command_lines(&self) -> Vec<u8> {
        self.names.lines(&self.saved_names)
    }

    /// The first pages can be written to the output at once.
    pub(super) fn set_in_place(&mut self, in_place: InPlace) {
        self.waiting.set_in_place(in_place);
    }

    pub(super) fn waiting(&self) -> &File {
        self.waiting.file()
    }

    /// Adds a buffer for a source, with lanes for so many CPUs.
    pub(super) fn add_buffer(
        &mut self,
        source: SourceId,
        name: &str,
        clock: Option<String>,
        page_size_bytes: u32,
        cpu_count: u32,
        learns_names: bool,
    ) -> usize {
        let mut unique = name.to_owned();
        let mut number = 2;
        while self.buffers.iter().any(|b| b.name == unique) {
            // Two top buffers there cannot be.
            unique = match name {
                "" => format!("trace-{number}"),
                name => format!("{name}-{number}"),
            };
            number += 1;
        }
        self.buffers.push(Buffer {
            name: unique,
            clock,
            page_size_bytes,
            sources: vec![source],
            learns_names,
            lanes: Vec::new(),
        });
        let index = self.buffers.len() - 1;
        for cpu in 0..cpu_count {
            self.make_lane(index, cpu);
        }
        index
    }

    /// The buffer of a source, and whether its records tell names of tasks.
    pub(super) fn buffer_of(
        &mut self,
        source: SourceId,
        kind: &str,
        page_size_bytes: u32,
    ) -> (usize, bool) {
        let found = self
            .buffers
            .iter()
            .position(|b| b.sources.contains(&source));
        let index = match found {
            Some(index) => index,
            // kstrace's own records stand beside the others.
            None if source == SourceId::KSTRACE && !self.buffers.is_empty() => 0,
            None => {
                let name = if self.buffers.is_empty() { "" } else { kind };
                self.add_buffer(source, name, None, page_size_bytes, 0, true)
            }
        };
        let learns = self.buffers.get(index).is_some_and(|b| b.learns_names);
        (index, learns)
    }

    /// CPUs that have a lane: one more than the largest.
    pub(super) fn cpu_count(&self) -> u32 {
        let count = self.buffers.iter().map(|b| b.lanes.len()).max();
        // Bounded by `limits::CPUS`.
        count.unwrap_or(0) as u32
    }

    #[cold]
    fn make_lane(&mut self, buffer: usize, cpu: u32) -> bool {
        let layout = self.layout;
        let Some(buffer) = self.buffers.get_mut(buffer) else {
            return false;
        };
        if cpu >= limits::CPUS {
            return false;
        }
        let index = cpu as usize;
        if buffer.lanes.len() <= index {
            buffer.lanes.resize_with(index + 1, || None);
        }
        let Some(place) = buffer.lanes.get_mut(index) else {
            return false;
        };
        if place.is_none() {
            let page = buffer.page_size_bytes as usize;
            *place = Lane::new(layout, page).map(Box::new);
        }
        place.is_some()
    }

    /// A CPU's number in the file.
    #[inline]
    fn cpu_in_file(&mut self, cpu: Cpu) -> u32 {
        if cpu == Cpu::NONE {
            self.without_cpu = true;
            return 0;
        }
        cpu.0
    }

    /// Puts an entry into its lane.
    #[inline]
    fn put(
        &mut self,
        buffer: usize,
        record: &EventRecord<'_>,
        entry: &[u8],
        common_type: Option<[u8; 2]>,
        slack_bytes: usize,
    ) -> Result<(), Refused> {
        let cpu = self.cpu_in_file(record.cpu);
        let has_lane = |buffers: &[Buffer]| {
            buffers
                .get(buffer)
                .and_then(|b| b.lanes.get(cpu as usize))
                .is_some_and(Option::is_some)
        };
        if !has_lane(&self.buffers) && !self.make_lane(buffer, cpu) {
            return Err(Refused::NotHeld);
        }
        let lane = self
            .buffers
            .get_mut(buffer)
            .and_then(|b| b.lanes.get_mut(cpu as usize)?.as_deref_mut());
        let Some(lane) = lane else {
            return Err(Refused::NotHeld);
        };
        let shown = record.time.as_ns();
        if shown < lane.last_ns {
            self.out_of_order += 1;
        }
        lane.last_ns = shown;
        let raw = if self.clock_is_plain {
            shown
        } else {
            self.clock.raw(shown)
        };
        let len_bytes = entry.len() + slack_bytes;
        let Some(place) = lane.add(&mut self.waiting, raw, len_bytes)? else {
            self.too_long += 1;
            return Err(Refused::NotHeld);
        };
        if let Some((data, slack)) = place.split_at_mut_checked(entry.len()) {
            data.copy_from_slice(entry);
            slack.fill(0);
        }
        if let (Some(id), Some(field)) = (common_type, place.get_mut(..2)) {
            field.copy_from_slice(&id);
        }
        Ok(())
    }

    /// The payload is the entry.
    #[inline]
    pub(super) fn entry(
        &mut self,
        plan: &EntryPlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        if !plan.names.is_empty() {
            self.learn(&plan.names, None, record.payload);
        }
        self.put(
            plan.buffer,
            record,
            record.payload,
            plan.common_type,
            plan.slack_bytes,
        )
    }

    /// The entry is within the payload.
    #[inline]
    pub(super) fn sample(
        &mut self,
        plan: &SamplePlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        let Some(entry) = plan.entry(record.payload) else {
            self.unparsable += 1;
            return Err(Refused::NotHeld);
        };
        if !plan.names.is_empty() {
            self.learn(&plan.names, Some(&plan.entry), record.payload);
        }
        self.put(plan.buffer, record, entry, plan.common_type, 0)
    }

    /// An entry is made.
    pub(super) fn made(
        &mut self,
        plan: &MadePlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        self.learn(&plan.names, None, record.payload);
        let tid = self.running.tid(&plan.task, record);
        let mut entry = std::mem::take(&mut self.entry);
        let fits = plan.synthetic.encode(record.payload, tid, &mut entry);
        let outcome = if fits {
            self.put(plan.buffer, record, &entry, Some(plan.common_type), 0)
        } else {
            self.too_long += 1;
            Err(Refused::NotHeld)
        };
        self.entry = entry;
        outcome
    }

    /// A record that only tells a name.
    pub(super) fn name(
        &mut self,
        fields: &[NameField],
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        self.learn(fields, None, record.payload);
        Ok(())
    }

    /// A record of a task that was made.
    pub(super) fn fork(
        &mut self,
        plan: &ForkPlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        let tid = plan.tid.get_u64(record.payload);
        let parent = plan.parent.get_u64(record.payload);
        if let (Some(tid), Some(parent)) = (tid, parent) {
            self.names.forked(parent as u32, tid as u32);
        }
        Err(Refused::NotHeld)
    }

    fn learn(&mut self, fields: &[NameField], entry: Option<&Entry>, payload: &[u8]) {
        for field in fields {
            let tid = field.tid.get_i32(entry, payload);
            let tid = tid.and_then(|tid| u32::try_from(tid).ok());
            if let (Some(tid), Some(comm)) = (tid, field.comm.get_bytes(entry, payload)) {
                self.names.set(tid, comm);
            }
        }
    }

    /// Loss, told at this point of its CPU's records.
    pub(super) fn lost(&mut self, loss: &Loss, page_size_bytes: u32) {
        self.lost = self.lost.saturating_add(loss.count);
        let (buffer, _) = self.buffer_of(loss.source, "lost", page_size_bytes);
        let cpu = self.cpu_in_file(loss.cpu);
        self.make_lane(buffer, cpu);
        let lane = self
            .buffers
            .get_mut(buffer)
            .and_then(|b| b.lanes.get_mut(cpu as usize)?.as_deref_mut());
        if let Some(lane) = lane {
            lane.mark_loss(loss.count, loss.certainty);
        }
    }

    /// Passes on the pages that are still being filled.
    pub(super) fn complete(&mut self) -> Result<()> {
        for lane in self.buffers.iter_mut().flat_map(|b| &mut b.lanes).flatten() {
            lane.complete(&mut self.waiting)?;
        }
        if self.buffers.is_empty() {
            let size = self.layout.page_size_bytes() as u32;
            self.add_buffer(SourceId::KSTRACE, "", None, size, 0, false);
        }
        Ok(())
    }

    /// What became of the records, but for those of each class.
    pub(super) fn report(&self) -> ConversionReport {
        let mut report = ConversionReport {
            too_long: self.too_long,
            unparsable: self.unparsable,
            out_of_order: self.out_of_order,
            lost: self.lost,
            ..ConversionReport::default()
        };
        if self.without_cpu {
            let fact = "records and losses of no CPU other than as of CPU 0";
            report.facts_not_held.push(fact.to_owned());
        }
        report
    }
}
