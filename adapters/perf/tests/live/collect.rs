//! A sink that keeps everything, and the driving of a source.

use kstrace_perf::{EventRequest, PerfPlan, PerfSource, Period, Target};
use kstrace_schema::decode::{Field, FieldAccess, Value, Visitor, walk};
use kstrace_schema::{
    ClassId, ClassRegistry, Cpu, EventRecord, EventRecordClass, HopAccount, Loss, RecordStream,
    Result, Role, SessionTime, Sink, Source, SourceId,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A record, copied.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) class: Arc<EventRecordClass>,
    pub(crate) rest_len: u16,
    pub(crate) cpu: Cpu,
    pub(crate) time: SessionTime,
    pub(crate) payload: Vec<u8>,
}

impl Kept {
    pub(crate) fn u64(&self, role: Role) -> Option<u64> {
        FieldAccess::by_role(&self.class.payload, role)?.get_u64(&self.payload)
    }

    pub(crate) fn i64(&self, role: Role) -> Option<i64> {
        FieldAccess::by_role(&self.class.payload, role)?.get_i64(&self.payload)
    }

    pub(crate) fn field(&self, name: &str) -> Option<u64> {
        FieldAccess::by_name(&self.class.payload, name)?.get_u64(&self.payload)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        let mut finder = TextOf {
            name,
            found: String::new(),
        };
        walk(
            &self.class.payload,
            &self.payload,
            self.rest_len,
            &mut finder,
        )
        .unwrap();
        finder.found
    }
}

struct TextOf<'n> {
    name: &'n str,
    found: String,
}

impl<'a> Visitor<'a> for TextOf<'_> {
    fn value(&mut self, field: &Field<'a>, value: Value<'a>) -> ControlFlow<()> {
        if field.name == self.name
            && let Value::Str(text) = value
        {
            self.found = String::from_utf8_lossy(text).into_owned();
        }
        ControlFlow::Continue(())
    }
}

struct Ignore;

impl<'a> Visitor<'a> for Ignore {
    fn value(&mut self, _: &Field<'a>, _: Value<'a>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) classes: BTreeMap<ClassId, Arc<EventRecordClass>>,
    pub(crate) records: Vec<Kept>,
    pub(crate) losses: Vec<Loss>,
    last: BTreeMap<Cpu, SessionTime>,
}

impl Sink for Collector {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.classes.insert(class.id, Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let class = self
            .classes
            .get(&record.class)
            .expect("a class comes before its records");
        // What every record must hold to: sorted, and described to its last byte.
        let last = self
            .last
            .insert(record.cpu, record.time)
            .unwrap_or_default();
        assert!(
            record.time >= last,
            "{} after {last} on CPU {}",
            record.time,
            record.cpu
        );
        let walked = walk(
            &class.payload,
            record.payload,
            record.rest_len_bytes,
            &mut Ignore,
        )
        .unwrap_or_else(|e| panic!("{}: {e}: {:x?}", class.name, record.payload));
        assert_eq!(walked, record.payload.len(), "{}", class.name);
        let size = u16::from_ne_bytes([record.payload[6], record.payload[7]]);
        assert_eq!(usize::from(size), record.payload.len(), "{}", class.name);
        self.records.push(Kept {
            class: Arc::clone(class),
            rest_len: record.rest_len_bytes,
            cpu: record.cpu,
            time: record.time,
            payload: record.payload.to_vec(),
        });
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        assert!(loss.begin <= loss.end);
        self.losses.push(loss.clone());
        Ok(())
    }
}

impl Collector {
    pub(crate) fn of(&self, name: &str) -> Vec<&Kept> {
        self.records
            .iter()
            .filter(|r| r.class.name == name)
            .collect()
    }
}

/// A source at work with its streams and what came out of them.
pub(crate) struct Recording {
    pub(crate) source: PerfSource,
    pub(crate) streams: Vec<Box<dyn RecordStream>>,
    pub(crate) out: Collector,
    pub(crate) accounts: Vec<HopAccount>,
}

impl Recording {
    pub(crate) fn open(plan: PerfPlan) -> Self {
        let registry = Arc::new(ClassRegistry::new());
        let mut source = PerfSource::open(plan, SourceId(1), registry).unwrap();
        let mut out = Collector::default();
        let streams = source.streams(&mut out).unwrap();
        Recording {
            source,
            streams,
            out,
            accounts: Vec::new(),
        }
    }

    pub(crate) fn started(plan: PerfPlan) -> Self {
        let mut recording = Recording::open(plan);
        recording.source.start().unwrap();
        recording
    }

    /// Takes in and hands over what is complete.
    pub(crate) fn round(&mut self) {
        for stream in &mut self.streams {
            let mut more = true;
            while more {
                let fill = stream.fill(&mut self.out).unwrap();
                stream.emit(fill.complete_until, &mut self.out).unwrap();
                more = fill.more;
            }
        }
    }

    /// Stops and takes everything; gives what came, after checking the account.
    pub(crate) fn finish(mut self) -> Self {
        self.source.stop().unwrap();
        for stream in &mut self.streams {
            loop {
                let fill = stream.fill(&mut self.out).unwrap();
                stream.emit(fill.complete_until, &mut self.out).unwrap();
                if fill.complete_until == SessionTime::MAX {
                    break;
                }
            }
            assert_eq!(stream.peek(), None);
            let account = stream.finish(&mut self.out).unwrap();
            assert!(account.balances(), "{account:?}");
            self.accounts.push(account);
        }
        let written: u64 = self.accounts.iter().map(|a| a.written).sum();
        assert_eq!(written, self.out.records.len() as u64);
        let dropped: u64 = self.accounts.iter().map(HopAccount::dropped_total).sum();
        assert_eq!(
            dropped,
            self.out.losses.iter().map(|l| l.count).sum::<u64>()
        );
        self
    }
}

pub(crate) fn request(event: &str) -> EventRequest {
    EventRequest::new(event.parse().unwrap())
}

pub(crate) fn request_at(event: &str, period: Period) -> EventRequest {
    EventRequest {
        period,
        ..request(event)
    }
}

pub(crate) fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// A child that waits for a byte before it runs `work`, so that it can be opened first.
pub(crate) struct Child {
    pub(crate) pid: i32,
    go: std::os::fd::OwnedFd,
}

impl Child {
    /// Forks. `work` must only make system calls and count: the child of a
    /// threaded process may not allocate.
    #[expect(
        unsafe_code,
        reason = "a child with a known number of system calls needs fork"
    )]
    pub(crate) fn fork(work: impl FnOnce()) -> Self {
        let (wait, go) = nix::unistd::pipe().unwrap();
        // SAFETY: the child calls only `work`, read and _exit.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Parent { child } => Child {
                pid: child.as_raw(),
                go,
            },
            nix::unistd::ForkResult::Child => {
                drop(go);
                let mut byte = [0];
                let _ = nix::unistd::read(&wait, &mut byte);
                work();
                // SAFETY: ends the child at once, without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
        }
    }

    pub(crate) fn go(&self) {
        nix::unistd::write(&self.go, b"x").unwrap();
    }

    pub(crate) fn wait(self) {
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.pid), None).unwrap();
        assert!(
            matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)),
            "{status:?}"
        );
    }
}

pub(crate) fn pids_plan(pid: i32, events: Vec<EventRequest>) -> PerfPlan {
    PerfPlan::new(Target::Pids(vec![pid]), events)
}
