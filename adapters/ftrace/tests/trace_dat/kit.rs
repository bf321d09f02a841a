//! Recording with trace-cmd, reading and writing, and asking trace-cmd what it sees.

use kstrace_ftrace::file::{TraceDatOptions, TraceDatReader, TraceDatSink};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    ClassId, ConversionReport, Cpu, Error, EventRecord, EventRecordClass, FileInput, FileOutput,
    HopAccount, Loss, Result, SessionInfo, SessionTime, Sink, Source,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// A directory that goes with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("kstrace-trace-dat-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// An instance that no other test has; trace-cmd makes it, and we remove it.
pub(crate) struct Instance(pub(crate) String);

impl Instance {
    pub(crate) fn new(name: &str) -> Self {
        Instance(format!("kst_{name}_{}", std::process::id()))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nothing to remove if trace-cmd failed.
        let _ = std::fs::remove_dir(format!("/sys/kernel/tracing/instances/{}", self.0));
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Records with `trace-cmd record`, which also sets up the top buffer: one at a time.
pub(crate) fn record(path: &Path, arguments: &[&str], workload: &[&str]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..5 {
        let mut command = Command::new("trace-cmd");
        // Without function tracing, which this kernel may refuse, and with what is set up left so.
        command.args(["record", "-d", "--no-filter", "-k", "-o"]);
        run(command.arg(path).args(arguments).args(workload));
        if report(path, &[]).lines().count() > 2 {
            return;
        }
        // Another trace-cmd on this machine, when it ends, stops every instance.
        println!("nothing was recorded, once more");
    }
    panic!("trace-cmd record {arguments:?} records nothing");
}

/// `trace-cmd convert`.
pub(crate) fn convert(from: &Path, to: &Path, arguments: &[&str]) {
    let mut command = Command::new("trace-cmd");
    command.arg("convert").args(arguments);
    run(command.arg("-i").arg(from).arg("-o").arg(to));
}

/// What `trace-cmd report` prints.
pub(crate) fn report(path: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("trace-cmd");
    command.arg("report").args(arguments).arg(path);
    String::from_utf8_lossy(&run(&mut command)).into_owned()
}

/// The ways of `trace-cmd report` that must agree.
pub(crate) const WAYS: [&[&str]; 5] = [&[], &["-R"], &["-t"], &["--ts-diff"], &["-l"]];

/// All records, in the order in which they came.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) session: Option<SessionInfo>,
    pub(crate) classes: BTreeMap<ClassId, Arc<EventRecordClass>>,
    pub(crate) records: Vec<SeenRecord>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) accounts: Vec<HopAccount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenRecord {
    pub(crate) class: ClassId,
    pub(crate) cpu: Cpu,
    pub(crate) time: SessionTime,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    /// Name, CPU, time and payload of each record.
    pub(crate) fn events(&self) -> Vec<(&str, u32, u64, &[u8])> {
        let name = |id| self.classes[&id].name.as_str();
        self.records
            .iter()
            .map(|r| (name(r.class), r.cpu.0, r.time.as_ns(), r.payload.as_slice()))
            .collect()
    }
}

impl Sink for Seen {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        assert!(self.session.replace(session.clone()).is_none());
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let told = self.classes.insert(class.id, Arc::clone(class));
        assert!(told.is_none(), "{} is told twice", class.name);
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let class = self.classes.get(&record.class).expect("a class first");
        if let Some(size) = class.payload.static_size_bytes() {
            assert_eq!(record.payload.len(), size as usize, "{}", class.name);
        }
        let last = self.records.last().map_or(SessionTime::ZERO, |r| r.time);
        assert!(record.time >= last, "time goes back");
        self.records.push(SeenRecord {
            class: record.class,
            cpu: record.cpu,
            time: record.time,
            payload: record.payload.to_vec(),
        });
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.losses.push(loss.clone());
        Ok(())
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        assert!(account.balances(), "{account:?}");
        self.accounts.push(account.clone());
        Ok(())
    }
}

/// Hands all of an input to a sink. The damage that was found is no panic.
pub(crate) fn drive(reader: &mut TraceDatReader, sink: &mut dyn Sink) -> Result<Vec<Error>> {
    sink.session(&reader.session().clone())?;
    let mut merger = Merger::new(reader.streams(sink)?);
    let mut rounds = 0u64;
    while !merger.round(sink)?.finished() {
        rounds += 1;
        assert!(rounds < 1_000_000, "reading does not end");
    }
    merger.finish(sink)?;
    let damage = merger.take_errors().into_iter().map(|e| e.error).collect();
    sink.finish()?;
    Ok(damage)
}

/// All records of a file, and what is damaged of it.
pub(crate) fn read(path: &Path) -> Result<(Seen, Vec<Error>)> {
    let mut reader = TraceDatReader::open(path)?;
    let mut seen = Seen::default();
    let damage = drive(&mut reader, &mut seen)?;
    Ok((seen, damage))
}

/// Reads a file that is whole, and writes it again.
pub(crate) fn rewrite(from: &Path, to: &Path, options: TraceDatOptions) -> ConversionReport {
    let mut reader = TraceDatReader::open(from).unwrap();
    let mut sink = TraceDatSink::create(to, options).unwrap();
    let damage = drive(&mut reader, &mut sink).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    sink.report()
}

/// Says where two long texts differ.
pub(crate) fn assert_same(one: &str, other: &str, what: &str) {
    if one == other {
        return;
    }
    let differing = one.lines().zip(other.lines()).find(|(a, b)| a != b);
    panic!(
        "{what}: {} and {} lines, first difference {differing:?}",
        one.lines().count(),
        other.lines().count()
    );
}
