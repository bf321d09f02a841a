//! What the tests share.

use kstrace_ctf::{PacketBuilder, uuid_bytes};
use kstrace_schema::{
    Capture, ClassId, ClockDescriptor, ClockKind, ClockPair, Cpu, EventRecord, EventRecordClass,
    FieldClass, HopAccount, HostInfo, IntegerClass, Loss, Member, NativeDescription, Result,
    SessionInfo, SessionTime, Sink, SourceId, SourceInfo, StructureClass, namespace,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

pub(crate) const UUID: &str = "2f4dfe6c-4f7f-4b3a-9d0e-0123456789ab";

pub(crate) fn session() -> SessionInfo {
    SessionInfo {
        uuid: UUID.to_owned(),
        clock: ClockDescriptor {
            kind: ClockKind::Monotonic,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 0,
            boot_id: "6e2b7c6a-96a8-4e25-9f6d-0a1b2c3d4e5f".to_owned(),
        },
        host: HostInfo {
            hostname: "box".to_owned(),
            cpus_online: 2,
            ..HostInfo::default()
        },
        capture: Capture::default(),
        sources: vec![SourceInfo {
            id: SourceId::KSTRACE,
            kind: namespace::KSTRACE.to_owned(),
            description: "test".to_owned(),
            attributes: BTreeMap::new(),
        }],
    }
}

pub(crate) fn int(size_bytes: u8) -> FieldClass {
    FieldClass::Integer(IntegerClass::unsigned(size_bytes))
}

pub(crate) fn class(id: u16, name: &str, members: Vec<Member>) -> Arc<EventRecordClass> {
    let mut class = EventRecordClass::new(
        SourceId(1),
        namespace::FTRACE,
        name,
        StructureClass::new(members),
        NativeDescription::TracefsFormat {
            format: format!("name: {name}\n"),
        },
    );
    class.id = ClassId(id);
    Arc::new(class)
}

pub(crate) fn record(
    time_ns: u64,
    class: u16,
    rest_len_bytes: u16,
    payload: &[u8],
) -> EventRecord<'_> {
    EventRecord {
        class: ClassId(class),
        rest_len_bytes,
        cpu: Cpu(0),
        time: SessionTime::from_ns(time_ns),
        payload,
    }
}

pub(crate) fn builder(lane: u32) -> PacketBuilder {
    PacketBuilder::new(uuid_bytes(UUID).unwrap(), lane, Cpu(lane), 1 << 16)
}

/// What babeltrace2 says of a trace: its lines, and its complaints.
pub(crate) struct Text {
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
    pub(crate) success: bool,
}

pub(crate) fn babeltrace2(dir: &Path) -> Text {
    let output = Command::new("babeltrace2")
        .args(["--no-delta", "--clock-cycles"])
        .arg(dir)
        .output()
        .expect("babeltrace2 is needed for these tests");
    Text {
        lines: String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
    }
}

/// Reads a trace that must be in order, and gives its lines.
pub(crate) fn babeltrace2_ok(dir: &Path) -> Vec<String> {
    let text = babeltrace2(dir);
    assert!(text.success && text.stderr.is_empty(), "{}", text.stderr);
    text.lines
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) time_ns: u64,
    pub(crate) class: u16,
    pub(crate) rest_len_bytes: u16,
    pub(crate) cpu: u32,
    pub(crate) payload: Vec<u8>,
}

/// Keeps all it is given.
#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) sessions: Vec<SessionInfo>,
    pub(crate) classes: Vec<Arc<EventRecordClass>>,
    pub(crate) records: Vec<Owned>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) clock_pairs: Vec<ClockPair>,
    pub(crate) accounts: Vec<HopAccount>,
    pub(crate) finished: u32,
}

impl Sink for Collect {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.sessions.push(session.clone());
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.classes.push(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.records.push(Owned {
            time_ns: record.time.as_ns(),
            class: record.class.0,
            rest_len_bytes: record.rest_len_bytes,
            cpu: record.cpu.0,
            payload: record.payload.to_vec(),
        });
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.losses.push(loss.clone());
        Ok(())
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.clock_pairs.push(*pair);
        Ok(())
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.accounts.push(account.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.finished += 1;
        Ok(())
    }
}
