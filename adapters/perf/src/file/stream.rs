//! The records, one by one.

use super::build_id::MappedFiles;
use super::evsel::{EvselIndex, EvselTable};
use super::kept::{Kept, TimePlace};
use super::made::MadePlan;
use super::mapping::{CommField, SamplePlan, SidebandPlan, TaskHook, TracepointPlan};
use super::output::Output;
use super::raw::{PerfEventHeader, TracepointSample};
use super::record::{self, KernelMap, Origin};
use super::task::{self, Comm, TaskTable};
use super::timeline::Timeline;
use super::tracing_data::TracingData;
use super::trailer::Trailer;
use super::writer::PerfDataOptions;
use crate::uapi::{self, HEADER_BYTES};
use kstrace_schema::builtin::ProcessPayload;
use kstrace_schema::{ConversionReport, Cpu, Error, EventRecord, Loss, Result, SourceId};
use kstrace_tracepoint::synthetic::Running;
use std::collections::BTreeSet;
use zerocopy::{FromBytes, IntoBytes};

const SAMPLE_BYTES: usize = size_of::<TracepointSample>();
/// An event has an id per CPU or thread; bytes from outside may claim more.
const MAX_IDS: usize = 1 << 20;
const RAW_SIZE_BYTES: usize = size_of::<u32>();
/// `CLONE_THREAD` of clone(2).
const CLONE_THREAD: u64 = 0x10000;

/// Why a record is not in the file.
pub(super) enum Refused {
    /// It cannot be.
    NotHeld,
    /// Nothing more can.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(e: Error) -> Self {
        Refused::Failed(e)
    }
}

/// Appends records to the file's data, and what is learned from them.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) output: Output,
    pub(super) evsels: EvselTable,
    pub(super) tasks: TaskTable,
    pub(super) files: MappedFiles,
    pub(super) formats: TracingData,
    /// Names to be told before the next record.
    untold_names: Vec<(u32, Comm)>,
    /// Sideband records tell all of tasks: tracepoints add nothing.
    tasks_are_told: bool,
    /// Where the kernel and its modules lie, to be told before the next record.
    untold_maps: Vec<KernelMap>,
    /// There is something to be told.
    untold: bool,
    /// Sources whose own records tell their loss.
    pub(super) told_by_records: BTreeSet<SourceId>,
    timeline: Timeline,
    /// Who runs where, as records of tracers without format files tell.
    running: Running,
    /// Room for an entry that is made.
    made_entry: Vec<u8>,
    added: u64,
    too_long: u64,
    unparsable: u64,
    lost: u64,
}

impl Stream {
    pub(super) fn new(output: Output, options: &PerfDataOptions) -> Self {
        Stream {
            output,
            evsels: EvselTable::default(),
            tasks: TaskTable::default(),
            files: MappedFiles::default(),
            formats: TracingData::default(),
            untold_names: Vec::new(),
            tasks_are_told: options.tasks_are_told,
            untold_maps: Vec::new(),
            untold: false,
            told_by_records: BTreeSet::new(),
            timeline: Timeline::new(options.round_records),
            running: Running::default(),
            made_entry: Vec::new(),
            added: 0,
            too_long: 0,
            unparsable: 0,
            lost: 0,
        }
    }

    /// What is known here; the counts by class are the caller's.
    pub(super) fn report(&self) -> ConversionReport {
        ConversionReport {
            added: self.added,
            too_long: self.too_long,
            unparsable: self.unparsable,
            out_of_order: self.timeline.late(),
            lost: self.lost,
            ..ConversionReport::default()
        }
    }

    /// Times of the first and the last sample, ns.
    pub(super) fn sample_times(&self) -> Option<(u64, u64)> {
        self.timeline.sample_times()
    }

    /// Names of tasks, a line each.
    pub(super) fn commands(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (tid, comm) in self.tasks.named() {
            lines.extend_from_slice(format!("{tid} ").as_bytes());
            lines.extend(comm.iter().map(|c| if *c == b'\n' { b' ' } else { *c }));
            lines.push(b'\n');
        }
        lines
    }

    /// A name that a task had before the first record.
    pub(super) fn name_at_start(&mut self, tid: u32, comm: &[u8]) {
        let comm = task::comm_of(comm);
        if self.tasks.set_comm(tid, comm) {
            self.untold_names.push((tid, comm));
            self.untold = true;
        }
    }

    /// Where the kernel of this machine lies, so that perf can name its functions.
    pub(super) fn kernel_maps(&mut self, maps: Vec<KernelMap>) {
        self.untold |= !maps.is_empty();
        self.untold_maps = maps;
    }

    /// Ends the round of records that perf sorts together.
    pub(super) fn end_round(&mut self) -> Result<()> {
        self.output.reserve()?;
        record::push_finished_round(&mut self.output);
        self.timeline.end_round();
        self.added += 1;
        Ok(())
    }

    /// Makes room and keeps the time line for a record to be written.
    #[inline]
    fn begin(&mut self, time_ns: u64) -> Result<()> {
        if self.untold {
            self.tell(time_ns)?;
        }
        if self.timeline.round_is_full() {
            self.end_round()?;
        }
        self.timeline.advance(time_ns);
        self.output.reserve()
    }

    #[cold]
    fn tell(&mut self, time_ns: u64) -> Result<()> {
        self.untold = false;
        for map in std::mem::take(&mut self.untold_maps) {
            let origin = self.added_origin(u32::MAX, 0, time_ns, Cpu(0));
            self.output.reserve()?;
            record::push_kernel_map(&mut self.output, &origin, &map);
            self.files.note_kernel_map(&map.name);
            self.added += 1;
        }
        for (tid, comm) in std::mem::take(&mut self.untold_names) {
            self.tell_name(tid, comm, false, time_ns, Cpu(0))?;
        }
        Ok(())
    }

    /// A sample made of the kernel's raw tracepoint data.
    #[inline]
    pub(super) fn tracepoint(
        &mut self,
        plan: &TracepointPlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        let payload = record.payload;
        let Some(tid) = u32_at(payload, plan.tid_offset) else {
            self.unparsable += 1;
            return Err(Refused::NotHeld);
        };
        let size = self.size_of_raw_sample(payload.len())?;
        self.begin(record.time.as_ns())?;
        if !plan.hooks.is_empty() {
            self.run_hooks(plan, record, tid)?;
        }
        let ip = plan.ip_offset.and_then(|at| u64_at(payload, at));
        self.put_raw_sample(size, plan.id, tid, ip.unwrap_or(0), payload, record);
        if let Some(id) = plan.common_type {
            let from_end = usize::from(size) - SAMPLE_BYTES - RAW_SIZE_BYTES;
            self.output.last_mut(from_end)[..2].copy_from_slice(&id.to_ne_bytes());
        }
        Ok(())
    }

    /// Size of the sample that has so many bytes of raw data.
    #[inline]
    fn size_of_raw_sample(&mut self, raw_bytes: usize) -> Result<u16, Refused> {
        // As the kernel does: size field and data together end on 8 bytes, the padding counts.
        let padded = (raw_bytes + RAW_SIZE_BYTES).next_multiple_of(8);
        u16::try_from(SAMPLE_BYTES + padded).map_err(|_| {
            self.too_long += 1;
            Refused::NotHeld
        })
    }

    /// Writes a sample of [`TRACEPOINT_SAMPLE_TYPE`](super::raw::TRACEPOINT_SAMPLE_TYPE).
    #[inline]
    fn put_raw_sample(
        &mut self,
        size: u16,
        id: u64,
        tid: u32,
        ip: u64,
        raw_data: &[u8],
        record: &EventRecord<'_>,
    ) {
        let time_ns = record.time.as_ns();
        self.timeline.sampled(time_ns);
        let sample = TracepointSample {
            header: PerfEventHeader {
                r#type: uapi::PERF_RECORD_SAMPLE,
                misc: uapi::PERF_RECORD_MISC_KERNEL,
                size,
            },
            sample_id: id,
            ip,
            pid: self.tasks.pid(tid),
            tid,
            time: time_ns,
            cpu: record.cpu.0,
            res: 0,
            period: 1,
        };
        let size = usize::from(size);
        let place = self.output.place(size);
        // The padding at the end first; the payload then covers what is not padding.
        let (_, end) = place.split_at_mut(size - 8);
        end.fill(0);
        let (head, raw) = place.split_at_mut(SAMPLE_BYTES);
        head.copy_from_slice(sample.as_bytes());
        let (raw_size, raw) = raw.split_at_mut(RAW_SIZE_BYTES);
        // Less than 64 KiB.
        raw_size.copy_from_slice(&(raw.len() as u32).to_ne_bytes());
        raw[..raw_data.len()].copy_from_slice(raw_data);
    }

    /// A record of a tracer without format files.
    pub(super) fn made(
        &mut self,
        plan: &MadePlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        let mut entry = std::mem::take(&mut self.made_entry);
        let tid = self.running.tid(&plan.task, record).cast_unsigned();
        let fits = plan.encode(record.payload, tid, &mut entry);
        let outcome = self.made_entry_of(plan, record, tid, fits.then_some(&entry));
        self.made_entry = entry;
        outcome
    }

    fn made_entry_of(
        &mut self,
        plan: &MadePlan,
        record: &EventRecord<'_>,
        tid: u32,
        entry: Option<&Vec<u8>>,
    ) -> Result<(), Refused> {
        let Some(entry) = entry else {
            self.too_long += 1;
            return Err(Refused::NotHeld);
        };
        let size = self.size_of_raw_sample(entry.len())?;
        let time_ns = record.time.as_ns();
        self.begin(time_ns)?;
        if let Some(pid) = plan.pid(record.payload) {
            self.tasks.set_pid(tid, pid);
        }
        for (tid, comm) in plan.names(record.payload) {
            if self.tasks.set_comm(tid, comm) {
                self.tell_name(tid, comm, false, time_ns, record.cpu)?;
            }
        }
        self.output.reserve()?;
        self.put_raw_sample(size, plan.id, tid, 0, entry, record);
        Ok(())
    }

    /// A sample as perf recorded it.
    #[inline]
    pub(super) fn sample(
        &mut self,
        plan: &mut SamplePlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        let payload = record.payload;
        let header = self.header(payload)?;
        let recorded_id = match plan.id_offset.map(|at| u64_at(payload, at)) {
            Some(Some(id)) => id,
            // Only one event of its source can lack all ids.
            None => 0,
            Some(None) => {
                self.unparsable += 1;
                return Err(Refused::NotHeld);
            }
        };
        let id = match plan
            .ids
            .binary_search_by_key(&recorded_id, |(recorded, _)| *recorded)
        {
            Ok(at) => plan.ids[at].1,
            Err(_) if plan.ids.len() >= MAX_IDS => plan.ids[0].1,
            Err(at) => {
                let id = self.evsels.add_recorded_id(plan.evsel, recorded_id);
                plan.ids.insert(at, (recorded_id, id));
                id
            }
        };
        let added_bytes = if plan.has_identifier { 0 } else { 8 };
        let Some(size) = header.size.checked_add(added_bytes) else {
            self.too_long += 1;
            return Err(Refused::NotHeld);
        };
        let time_ns = record.time.as_ns();
        self.begin(time_ns)?;
        self.timeline.sampled(time_ns);
        let output = &mut self.output;
        if plan.has_identifier && id == recorded_id {
            output.push(payload);
        } else {
            output.push(PerfEventHeader { size, ..header }.as_bytes());
            output.push(&id.to_ne_bytes());
            let old_id_bytes = 8 - usize::from(added_bytes);
            output.push(&payload[HEADER_BYTES + old_id_bytes..]);
        }
        Ok(())
    }

    /// Another record as perf recorded it. Its trailer must name an event of
    /// the file and have the shape of that event's trailers.
    pub(super) fn sideband(
        &mut self,
        plan: &SidebandPlan,
        record: &EventRecord<'_>,
    ) -> Result<(), Refused> {
        let payload = record.payload;
        let header = self.header(payload)?;
        let trailer_bytes = plan.shape.size_bytes();
        let Some(body) = payload
            .len()
            .checked_sub(trailer_bytes)
            .filter(|end| *end >= HEADER_BYTES)
            .map(|end| &payload[..end])
        else {
            self.unparsable += 1;
            return Err(Refused::NotHeld);
        };
        let said = self.note_sideband(plan.source, &header, body);
        // The trailer begins with pid and tid, if it has them.
        let (pid, tid) = match plan.shape.bits() & uapi::PERF_SAMPLE_TID {
            0 => said,
            _ => (
                u32_at(payload, body.len()).unwrap_or(said.0),
                u32_at(payload, body.len() + 4).unwrap_or(said.1),
            ),
        };
        let recorded_id = plan
            .shape
            .id_from_end_bytes()
            .and_then(|from_end| u64_at(payload, payload.len().checked_sub(from_end)?));
        let named = recorded_id
            .and_then(|id| self.evsels.by_recorded_id(plan.source, id))
            .filter(|entry| self.evsels.get(entry.evsel).recorded_shape == plan.shape);
        let time_ns = record.time.as_ns();
        let (index, id) = match named {
            Some(entry) => (entry.evsel, entry.id),
            // Records about what ran before name no event.
            None => {
                let index = plan.event.unwrap_or_else(|| self.evsels.dummy());
                (index, self.evsels.get(index).first_id())
            }
        };
        let shape = self.evsels.get(index).shape();
        let about = id_in_body(header.r#type)
            .and_then(|at| Some((at, u64_at(body, at)?)))
            .and_then(|(at, id)| Some((at, id, self.evsels.by_recorded_id(plan.source, id)?.id)))
            .filter(|(_, recorded, id)| recorded != id);
        if named.is_some() && shape == plan.shape && recorded_id == Some(id) && about.is_none() {
            self.begin(time_ns)?;
            self.output.push(payload);
            return Ok(());
        }
        let Ok(size) = u16::try_from(body.len() + shape.size_bytes()) else {
            self.too_long += 1;
            return Err(Refused::NotHeld);
        };
        self.begin(time_ns)?;
        let start = self.output.position();
        self.output
            .push(PerfEventHeader { size, ..header }.as_bytes());
        match about {
            Some((at, _, id)) => {
                self.output.push(&body[HEADER_BYTES..at]);
                self.output.push(&id.to_ne_bytes());
                self.output.push(&body[at + 8..]);
            }
            None => self.output.push(&body[HEADER_BYTES..]),
        }
        let trailer = Trailer {
            pid,
            tid,
            time_ns,
            cpu: record.cpu.0,
            id,
        };
        trailer.push(shape, &mut self.output);
        debug_assert_eq!(self.output.position() - start, u64::from(size));
        Ok(())
    }

    /// Learns from a record; says whose it is, as far as its body says so.
    fn note_sideband(
        &mut self,
        source: SourceId,
        header: &PerfEventHeader,
        body: &[u8],
    ) -> (u32, u32) {
        let word = |at: usize| u32_at(body, at).unwrap_or(0);
        match header.r#type {
            uapi::PERF_RECORD_COMM => {
                let (pid, tid) = (word(8), word(12));
                self.tasks.set_pid(tid, pid);
                self.tasks
                    .set_comm(tid, task::comm_of(body.get(16..).unwrap_or_default()));
                (pid, tid)
            }
            uapi::PERF_RECORD_FORK => {
                self.tasks.forked(word(16), word(8));
                (word(12), word(20))
            }
            uapi::PERF_RECORD_EXIT => (word(8), word(16)),
            uapi::PERF_RECORD_MMAP => {
                self.files.note_mmap(body);
                (word(8), word(12))
            }
            uapi::PERF_RECORD_MMAP2 => {
                self.files.note_mmap2(body);
                (word(8), word(12))
            }
            uapi::PERF_RECORD_READ
            | uapi::PERF_RECORD_NAMESPACES
            | uapi::PERF_RECORD_ITRACE_START => (word(8), word(12)),
            // Counted when it is told in the other way.
            uapi::PERF_RECORD_LOST | uapi::PERF_RECORD_LOST_SAMPLES
                if self.told_by_records.contains(&source) =>
            {
                (0, 0)
            }
            uapi::PERF_RECORD_LOST => {
                self.lost = self.lost.saturating_add(u64_at(body, 16).unwrap_or(0));
                (0, 0)
            }
            uapi::PERF_RECORD_LOST_SAMPLES => {
                self.lost = self.lost.saturating_add(u64_at(body, 8).unwrap_or(0));
                (0, 0)
            }
            _ => (0, 0),
        }
    }

    /// A record of a perf.data, as it is.
    #[inline]
    pub(super) fn keep(
        &mut self,
        kept: &Kept,
        place: TimePlace,
        is_sample: bool,
        payload: &[u8],
    ) -> Result<(), Refused> {
        match kept.order.header(payload, 0) {
            Some(head) if usize::from(head.size) == payload.len() => {}
            _ => {
                self.unparsable += 1;
                return Err(Refused::NotHeld);
            }
        }
        match kept.time_of(place, payload) {
            Some(time_ns) => {
                // The order that it comes in is the one that perf's reader shall show it in.
                if self.timeline.is_late(time_ns) {
                    self.hand_out_all(kept)?;
                }
                if self.timeline.round_is_full() {
                    self.end_kept_round(kept)?;
                }
                self.timeline.advance(time_ns);
                if is_sample {
                    self.timeline.sampled(time_ns);
                }
            }
            // It is handed out where it stands, before what is kept back for sorting.
            None => self.hand_out_all(kept)?,
        }
        self.output.reserve()?;
        self.output.push(payload);
        Ok(())
    }

    /// Ends the round of records that perf sorts together, in a file that is written again.
    pub(super) fn end_kept_round(&mut self, kept: &Kept) -> Result<()> {
        self.output.reserve()?;
        kept.push_finished_round(&mut self.output);
        self.timeline.end_round();
        self.added += 1;
        Ok(())
    }

    /// Makes perf's reader hand out all it has before it reads on.
    fn hand_out_all(&mut self, kept: &Kept) -> Result<()> {
        while self.timeline.keeps_back() {
            self.end_kept_round(kept)?;
        }
        Ok(())
    }

    /// Loss that no record of the old file tells.
    pub(super) fn lost_of_kept(&mut self, kept: &Kept, loss: &Loss) -> Result<()> {
        self.lost = self.lost.saturating_add(loss.count);
        let time_ns = self.timeline.place(loss.end.as_ns());
        let record = kept.lost_record(loss.count, time_ns, loss.cpu.0);
        self.output.reserve()?;
        self.output.push(&record);
        self.added += 1;
        Ok(())
    }

    /// Loss that a record of the old file tells, which is written too.
    pub(super) fn lost_and_told(&mut self, count: u64) {
        self.lost = self.lost.saturating_add(count);
    }

    /// A task that ran before the first record.
    pub(super) fn process(&mut self, record: &EventRecord<'_>) -> Result<(), Refused> {
        let Ok(process) = ProcessPayload::read_from_bytes(record.payload) else {
            self.unparsable += 1;
            return Err(Refused::NotHeld);
        };
        let (Ok(pid), Ok(tid)) = (u32::try_from(process.pid), u32::try_from(process.tid)) else {
            self.unparsable += 1;
            return Err(Refused::NotHeld);
        };
        let time_ns = record.time.as_ns();
        self.begin(time_ns)?;
        self.tasks.set_pid(tid, pid);
        let comm = task::comm_of(&process.comm);
        if self.tasks.set_comm(tid, comm) {
            self.tell_name(tid, comm, false, time_ns, record.cpu)?;
        }
        Ok(())
    }

    /// Loss, told at this point of the stream.
    pub(super) fn lost(&mut self, loss: &Loss, evsel: Option<EvselIndex>) -> Result<()> {
        self.lost = self.lost.saturating_add(loss.count);
        let index = evsel
            .or_else(|| self.evsels.first_of(loss.source))
            .unwrap_or_else(|| self.evsels.dummy());
        self.evsels.tell_of(index);
        let evsel = self.evsels.get(index);
        let id = evsel.first_id();
        let time_ns = self.timeline.place(loss.end.as_ns());
        let trailer = Trailer {
            pid: 0,
            tid: 0,
            time_ns,
            cpu: loss.cpu.0,
            id,
        };
        let origin = Origin {
            shape: evsel.shape(),
            trailer,
        };
        self.begin(time_ns)?;
        record::push_lost(&mut self.output, &origin, id, loss.count);
        self.added += 1;
        Ok(())
    }

    fn run_hooks(
        &mut self,
        plan: &TracepointPlan,
        record: &EventRecord<'_>,
        current_tid: u32,
    ) -> Result<()> {
        if self.tasks_are_told {
            return self.output.reserve();
        }
        let payload = record.payload;
        let time_ns = record.time.as_ns();
        for hook in &plan.hooks {
            match *hook {
                TaskHook::Name { tid, comm } => {
                    let Some(tid) = u32_at(payload, tid) else {
                        continue;
                    };
                    let Some(bytes) = bytes_at(payload, comm) else {
                        continue;
                    };
                    let whole: Result<Comm, _> = bytes.try_into();
                    if let Ok(whole) = whole
                        && self.tasks.has_seen(tid, &whole)
                    {
                        continue;
                    }
                    let comm = task::comm_of(bytes);
                    if self.tasks.set_comm(tid, comm) {
                        self.tell_name(tid, comm, false, time_ns, record.cpu)?;
                    }
                    if let Ok(whole) = whole {
                        self.tasks.note_seen(tid, whole);
                    }
                }
                TaskHook::Exec { tid, path } => {
                    if let (Some(tid), Some(path)) = (u32_at(payload, tid), bytes_at(payload, path))
                    {
                        let end = path.iter().position(|c| *c == 0).unwrap_or(path.len());
                        let name = path[..end]
                            .rsplit(|c| *c == b'/')
                            .next()
                            .unwrap_or_default();
                        let comm = task::comm_of(name);
                        if self.tasks.set_comm(tid, comm) {
                            self.tell_name(tid, comm, true, time_ns, record.cpu)?;
                        }
                    }
                }
                TaskHook::NewTask {
                    tid,
                    comm,
                    clone_flags,
                } => {
                    if let (Some(tid), Some(comm), Some(flags)) = (
                        u32_at(payload, tid),
                        comm_at(payload, comm),
                        u64_at(payload, clone_flags),
                    ) {
                        let parent = self.tasks.pid(current_tid);
                        let pid = if flags & CLONE_THREAD != 0 {
                            parent
                        } else {
                            tid
                        };
                        self.tasks.forked(tid, pid);
                        self.tasks.set_comm(tid, comm);
                        let origin = self.added_origin(parent, current_tid, time_ns, record.cpu);
                        self.output.reserve()?;
                        record::push_fork(&mut self.output, &origin, pid, tid);
                        self.added += 1;
                        self.tell_name(tid, comm, false, time_ns, record.cpu)?;
                    }
                }
                TaskHook::Fork { tid } => {
                    if let Some(tid) = u32_at(payload, tid) {
                        self.tasks.forked_somewhere(tid);
                    }
                }
            }
        }
        self.output.reserve()
    }

    fn tell_name(
        &mut self,
        tid: u32,
        comm: Comm,
        exec: bool,
        time_ns: u64,
        cpu: Cpu,
    ) -> Result<()> {
        let origin = self.added_origin(self.tasks.pid(tid), tid, time_ns, cpu);
        self.output.reserve()?;
        record::push_comm(&mut self.output, &origin, comm, exec);
        self.added += 1;
        Ok(())
    }

    fn added_origin(&mut self, pid: u32, tid: u32, time_ns: u64, cpu: Cpu) -> Origin {
        let index = self.evsels.dummy();
        let evsel = self.evsels.get(index);
        let trailer = Trailer {
            pid,
            tid,
            time_ns,
            cpu: cpu.0,
            id: evsel.first_id(),
        };
        Origin {
            shape: evsel.shape(),
            trailer,
        }
    }

    /// The header of a perf record, which must be as long as it says.
    #[inline]
    fn header(&mut self, payload: &[u8]) -> Result<PerfEventHeader, Refused> {
        match PerfEventHeader::read_from_prefix(payload) {
            Ok((header, _)) if usize::from(header.size) == payload.len() => Ok(header),
            _ => {
                self.unparsable += 1;
                Err(Refused::NotHeld)
            }
        }
    }
}

/// Where a record names the event it is about, other than in its trailer.
fn id_in_body(record_type: u32) -> Option<usize> {
    match record_type {
        uapi::PERF_RECORD_LOST => Some(8),
        // After the time.
        uapi::PERF_RECORD_THROTTLE | uapi::PERF_RECORD_UNTHROTTLE => Some(16),
        _ => None,
    }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_ne_bytes(field.try_into().ok()?))
}

fn bytes_at(payload: &[u8], field: CommField) -> Option<&[u8]> {
    let (offset, size) = match field {
        CommField::Fixed { offset, size } => (offset, size),
        CommField::Located { at } => {
            let word = u32_at(payload, at)?;
            ((word & 0xffff) as usize, (word >> 16) as usize)
        }
    };
    payload.get(offset..offset + size)
}

#[inline]
fn comm_at(payload: &[u8], field: CommField) -> Option<Comm> {
    Some(task::comm_of(bytes_at(payload, field)?))
}
