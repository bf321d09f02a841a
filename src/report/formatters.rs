//! Lines made by several threads, in the order of their records.
//!
//! Which task a record is of depends on all records before it, so one thread goes through them
//! in order. The text of most records then depends on nothing but the record: those are copied
//! into batches, and made into lines by whoever has time, this thread included.

use super::class_plan::ClassPlan;
use super::kallsyms::Kallsyms;
use super::text::TaskColumns;
use kstrace_schema::{Cpu, EventRecord, SessionTime};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Bytes of records that make a batch: they stay in a cache, and are worth a hand-over.
const BATCH_BYTES: usize = 64 << 10;
/// Batches waiting for each thread.
const WAITING_PER_THREAD: usize = 2;
/// More than this gains nothing: the thread that goes through the records is the bound.
const MAX_THREADS: usize = 4;

/// Makes a line of a record; the same for all threads.
pub(super) type Format = fn(&mut Vec<u8>, &ClassPlan, &EventRecord<'_>, &TaskColumns, &Kallsyms);

/// What lines are made by.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) format: Format,
    pub(super) plans: Arc<Vec<Option<Arc<ClassPlan>>>>,
    pub(super) kernel: Arc<Kallsyms>,
}

enum Item {
    /// A record whose payload is the next so many bytes.
    Record {
        plan: u16,
        rest_len_bytes: u16,
        cpu: Cpu,
        time: SessionTime,
        task: TaskColumns,
        len: u32,
    },
    /// The next so many bytes are lines already.
    Lines(u32),
}

/// Records, and lines between them, in order.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl Batch {
    fn format(&self, shared: &Shared, out: &mut Vec<u8>) {
        let mut rest = self.bytes.as_slice();
        for item in &self.items {
            match item {
                Item::Lines(len) => {
                    let (lines, after) = rest.split_at(*len as usize);
                    rest = after;
                    out.extend_from_slice(lines);
                }
                Item::Record {
                    plan,
                    rest_len_bytes,
                    cpu,
                    time,
                    task,
                    len,
                } => {
                    let (payload, after) = rest.split_at(*len as usize);
                    rest = after;
                    let Some(Some(plan)) = shared.plans.get(usize::from(*plan)) else {
                        continue;
                    };
                    let record = EventRecord {
                        class: plan.class.id,
                        rest_len_bytes: *rest_len_bytes,
                        cpu: *cpu,
                        time: *time,
                        payload,
                    };
                    (shared.format)(out, plan, &record, task, &shared.kernel);
                }
            }
        }
    }

    fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }
}

/// What a thread is asked to do, and where the answer goes.
struct Job {
    batch: Batch,
    out: Vec<u8>,
    shared: Shared,
    done: Sender<(Batch, Vec<u8>)>,
}

/// Lines in the order of their batches.
enum Slot {
    Ready(Vec<u8>),
    Waiting(Receiver<(Batch, Vec<u8>)>),
}

/// Collects records and gives lines back.
pub(super) struct Formatters {
    shared: Shared,
    open: Batch,
    /// Lines that are made at once, where there is no other thread to make them.
    direct: Vec<u8>,
    slots: VecDeque<Slot>,
    waiting: usize,
    /// `None` until the first full batch: a short trace needs no threads.
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    thread_count: usize,
    /// A thread died with records in its hands.
    broken: bool,
    /// Kept for their allocations.
    spare: Vec<(Batch, Vec<u8>)>,
}

impl Formatters {
    /// For `threads` threads besides the caller's.
    pub(super) fn new(shared: Shared, threads: usize) -> Self {
        Formatters {
            shared,
            open: Batch::default(),
            direct: Vec::new(),
            slots: VecDeque::new(),
            waiting: 0,
            jobs: None,
            threads: Vec::new(),
            thread_count: threads.min(MAX_THREADS),
            broken: false,
            spare: Vec::new(),
        }
    }

    /// Lines of records to come are made by these.
    pub(super) fn set_shared(&mut self, shared: Shared) {
        // Records that wait know the classes before; those keep their places.
        self.shared = shared;
    }

    /// A record whose line depends on nothing else.
    #[inline]
    pub(super) fn record(
        &mut self,
        plan: &ClassPlan,
        record: &EventRecord<'_>,
        task: &TaskColumns,
    ) {
        if self.thread_count == 0 {
            let shared = &self.shared;
            return (shared.format)(&mut self.direct, plan, record, task, &shared.kernel);
        }
        self.open.bytes.extend_from_slice(record.payload);
        self.open.items.push(Item::Record {
            plan: record.class.0,
            rest_len_bytes: record.rest_len_bytes,
            cpu: record.cpu,
            time: record.time,
            task: *task,
            len: record.payload.len() as u32,
        });
    }

    /// Lines that are there already, made by `write`.
    pub(super) fn lines(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.thread_count == 0 {
            return write(&mut self.direct);
        }
        let start = self.open.bytes.len();
        write(&mut self.open.bytes);
        let len = self.open.bytes.len() - start;
        self.open.items.push(Item::Lines(len as u32));
    }

    /// Whether lines are missing because a thread died.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the open batch should be handed over.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.open.bytes.len().max(self.direct.len()) >= BATCH_BYTES
    }

    /// Hands the open batch over, and `take`s what lines are ready, in order. `all`: waits for
    /// every one.
    pub(super) fn turn<E>(
        &mut self,
        all: bool,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.open.items.is_empty() {
            self.hand_over(all);
        }
        if self.thread_count == 0 && !self.direct.is_empty() {
            // Whatever waits was made before: when there were to be threads.
            self.take_slots(true, &mut take)?;
            take(&self.direct)?;
            self.direct.clear();
            return Ok(());
        }
        self.take_slots(all, &mut take)
    }

    fn take_slots<E>(
        &mut self,
        all: bool,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let must_wait = all || self.slots.len() > 4 * (self.thread_count + 1);
            let ready = match self.slots.front() {
                None => return Ok(()),
                Some(Slot::Ready(_)) => None,
                Some(Slot::Waiting(receiver)) if must_wait => receiver.recv().ok(),
                Some(Slot::Waiting(receiver)) => match receiver.try_recv() {
                    Ok(done) => Some(done),
                    Err(TryRecvError::Empty) => return Ok(()),
                    Err(TryRecvError::Disconnected) => None,
                },
            };
            match (self.slots.pop_front(), ready) {
                (Some(Slot::Ready(lines)), _) => {
                    take(&lines)?;
                    self.keep(Batch::default(), lines);
                }
                (_, Some((batch, lines))) => {
                    self.waiting -= 1;
                    take(&lines)?;
                    self.keep(batch, lines);
                }
                _ => {
                    self.waiting = self.waiting.saturating_sub(1);
                    self.broken = true;
                }
            }
        }
    }

    fn keep(&mut self, mut batch: Batch, mut lines: Vec<u8>) {
        batch.clear();
        lines.clear();
        if self.spare.len() <= 4 * (self.thread_count + 1) {
            self.spare.push((batch, lines));
        }
    }

    fn hand_over(&mut self, last: bool) {
        let (empty, out) = self.spare.pop().unwrap_or_default();
        let batch = std::mem::replace(&mut self.open, empty);
        // The last one is soonest done where it is.
        let use_threads = !last && self.waiting < self.thread_count * WAITING_PER_THREAD;
        if use_threads && (self.jobs.is_some() || self.start()) {
            let (done, receiver) = channel();
            let job = Job {
                batch,
                out,
                shared: self.shared.clone(),
                done,
            };
            let sent = match &self.jobs {
                Some(jobs) => jobs.try_send(job).map_err(|e| match e {
                    std::sync::mpsc::TrySendError::Full(job)
                    | std::sync::mpsc::TrySendError::Disconnected(job) => job,
                }),
                None => Err(job),
            };
            match sent {
                Ok(()) => {
                    self.waiting += 1;
                    self.slots.push_back(Slot::Waiting(receiver));
                    return;
                }
                Err(job) => return self.here(job.batch, job.out),
            }
        }
        self.here(batch, out);
    }

    /// Makes the lines in this thread.
    fn here(&mut self, mut batch: Batch, mut out: Vec<u8>) {
        batch.format(&self.shared, &mut out);
        batch.clear();
        self.spare.push((batch, Vec::new()));
        self.slots.push_back(Slot::Ready(out));
    }

    /// Starts the threads; false if there are to be none.
    fn start(&mut self) -> bool {
        if self.thread_count == 0 {
            return false;
        }
        let (jobs, queue) = sync_channel::<Job>(self.thread_count * WAITING_PER_THREAD);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..self.thread_count {
            let queue = Arc::clone(&queue);
            let started = std::thread::Builder::new()
                .name("kstrace-format".to_owned())
                .spawn(move || work(&queue));
            match started {
                Ok(thread) => self.threads.push(thread),
                // No more threads to be had: go on with those there are.
                Err(_) => break,
            }
        }
        self.thread_count = self.threads.len();
        self.jobs = (self.thread_count > 0).then_some(jobs);
        self.jobs.is_some()
    }
}

impl Drop for Formatters {
    fn drop(&mut self) {
        // Ends the threads.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic was told when it happened.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = job else { return };
        job.batch.format(&job.shared, &mut job.out);
        // Whoever asked may have gone.
        let _ = job.done.send((job.batch, job.out));
    }
}
