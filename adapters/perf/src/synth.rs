//! What ran before recording began, as the records that the kernel would have
//! written had it been recording.
//!
//! Sideband events are enabled first and `/proc` is read afterwards, so that
//! nothing is missed; what changes meanwhile is told twice. All of it is stamped
//! with the time of the start (a nanosecond later for each batch), where perf
//! itself writes 0, so that it comes before everything else in the one order.

pub(crate) mod encode;
pub(crate) mod kernel;
mod processes;

use crate::plan::Target;
use crate::ring::Shared;
use crate::target;
use crate::uapi::*;
use crate::{classes::Announced, classes::RecordClass, layout::RecordForm};
use encode::Stamp;
use kstrace_schema::{
    ClassId, Cpu, EventRecord, Fill, HopAccount, RecordStream, Result, SessionTime, Sink, SourceId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// About how many bytes are read from `/proc` at once.
const BATCH_BYTES: usize = 256 << 10;

/// What remains to be told.
#[derive(Debug)]
enum Stage {
    Kernel,
    Processes(std::vec::IntoIter<i32>),
    Done,
}

/// The stream of synthesized records; it has no CPU.
#[derive(Debug)]
pub(crate) struct SynthStream {
    shared: Arc<Shared>,
    target: Target,
    /// When recording began; 0 before.
    start_ns: Arc<AtomicU64>,
    stage: Stage,
    batch: u64,
    bytes: Vec<u8>,
    /// Class, offset and length in `bytes`, length of the rest.
    records: Vec<(ClassId, usize, usize, u16)>,
    next: usize,
    known: Vec<RecordClass>,
    announced: Announced,
    account: HopAccount,
}

impl SynthStream {
    pub(crate) fn new(shared: Arc<Shared>, target: Target, start_ns: Arc<AtomicU64>) -> Self {
        SynthStream {
            account: HopAccount::new(shared.source, "perf-synthesis", Cpu::NONE),
            shared,
            target,
            start_ns,
            stage: Stage::Kernel,
            batch: 0,
            bytes: Vec::new(),
            records: Vec::new(),
            next: 0,
            known: Vec::new(),
            announced: Announced::default(),
        }
    }

    pub(crate) fn announced(&mut self, class: ClassId) {
        self.announced.insert(class);
    }

    fn time_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire) + self.batch
    }

    fn stamp(&self, pid: i32, tid: i32) -> Stamp {
        Stamp {
            trailer: self.shared.records.trailer(),
            pid,
            tid,
            time_ns: self.time_ns(),
        }
    }

    /// Notes that a record of `len` bytes was appended to `bytes`.
    fn note(&mut self, record_type: u32, len: usize, sink: &mut dyn Sink) -> Result<()> {
        let form = RecordForm {
            record_type,
            build_id: false,
        };
        let known = match self.known.iter().find(|c| c.layout.form == form) {
            Some(known) => known.clone(),
            None => {
                let class = self.shared.records.of_form(form)?;
                self.known.push(class.clone());
                class
            }
        };
        if self.announced.insert(known.class.id) {
            sink.class(&known.class)?;
        }
        let start = self.bytes.len() - len;
        // Never `None`: the record was made for this layout.
        let rest_len = known
            .layout
            .rest_len_bytes(&self.bytes[start..])
            .unwrap_or(0);
        self.records.push((known.class.id, start, len, rest_len));
        Ok(())
    }

    fn kernel(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let stamp = self.stamp(-1, 0);
        if let Some((start, len)) = kernel::text_range() {
            let mapping = kernel::mapping(kernel::KERNEL_NAME, start, len, start);
            let len = encode::kernel_mmap(&mut self.bytes, stamp, &mapping);
            self.note(PERF_RECORD_MMAP, len, sink)?;
        }
        for (path, start, len) in kernel::modules() {
            let mapping = kernel::mapping(path.as_bytes(), start, len, 0);
            let len = encode::kernel_mmap(&mut self.bytes, stamp, &mapping);
            self.note(PERF_RECORD_MMAP, len, sink)?;
        }
        Ok(())
    }

    /// A process with its threads; nothing if it has gone.
    fn process(&mut self, pid: i32, sink: &mut dyn Sink) -> Result<()> {
        for tid in target::threads(pid).unwrap_or_default() {
            let Some(name) = processes::comm(pid, tid) else {
                continue;
            };
            let stamp = self.stamp(pid, tid);
            let len = encode::comm(&mut self.bytes, stamp, &name);
            self.note(PERF_RECORD_COMM, len, sink)?;
        }
        if matches!(self.target, Target::Command(_)) {
            // What it maps now is this program, which it is about to replace.
            return Ok(());
        }
        let stamp = self.stamp(pid, pid);
        for line in processes::maps(pid).split(|b| *b == b'\n') {
            if let Some(mapping) = processes::executable_mapping(line) {
                let len = encode::mmap2(&mut self.bytes, stamp, &mapping);
                self.note(PERF_RECORD_MMAP2, len, sink)?;
            }
        }
        Ok(())
    }

    fn pids(&self) -> Vec<i32> {
        match &self.target {
            Target::System => processes::all_pids(),
            Target::Pids(pids) => pids.clone(),
            Target::Command(pid) => vec![*pid],
        }
    }

    /// Reads the next batch. Whether there may be another.
    fn next_batch(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        while self.bytes.len() < BATCH_BYTES {
            match &mut self.stage {
                Stage::Kernel => {
                    self.kernel(sink)?;
                    self.stage = Stage::Processes(self.pids().into_iter());
                }
                Stage::Processes(pids) => match pids.next() {
                    Some(pid) => self.process(pid, sink)?,
                    None => self.stage = Stage::Done,
                },
                Stage::Done => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl RecordStream for SynthStream {
    fn source(&self) -> SourceId {
        self.shared.source
    }

    fn cpu(&self) -> Cpu {
        Cpu::NONE
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        let start_ns = self.start_ns.load(Ordering::Acquire);
        if start_ns == 0 {
            // Stopped without ever having begun.
            let stopped = self.shared.stopped.load(Ordering::Acquire);
            let complete_until = if stopped {
                SessionTime::MAX
            } else {
                SessionTime::ZERO
            };
            return Ok(Fill {
                complete_until,
                more: false,
            });
        }
        if self.next < self.records.len() {
            return Ok(Fill {
                complete_until: SessionTime::from_ns(self.time_ns()),
                more: false,
            });
        }
        if !self.records.is_empty() {
            self.records.clear();
            self.bytes.clear();
            self.next = 0;
            self.batch += 1;
        }
        let more = self.next_batch(sink)?;
        if !more && self.records.is_empty() {
            self.bytes = Vec::new();
            self.records = Vec::new();
        }
        let complete_until = match more {
            true => SessionTime::from_ns(self.time_ns()),
            false => SessionTime::MAX,
        };
        Ok(Fill {
            complete_until,
            more,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        (self.next < self.records.len()).then(|| SessionTime::from_ns(self.time_ns()))
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let time = SessionTime::from_ns(self.time_ns());
        if time > until {
            return Ok(0);
        }
        let mut emitted = 0;
        while let Some((class, start, len, rest_len_bytes)) = self.records.get(self.next).copied() {
            let payload = &self.bytes[start..start + len];
            sink.record(&EventRecord {
                class,
                rest_len_bytes,
                cpu: Cpu::NONE,
                time,
                payload,
            })?;
            self.next += 1;
            self.account.seen += 1;
            self.account.written += 1;
            emitted += 1;
        }
        Ok(emitted)
    }

    fn finish(&mut self, _: &mut dyn Sink) -> Result<HopAccount> {
        Ok(self.account.clone())
    }
}
