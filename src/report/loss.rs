//! Loss, said clearly.

use super::class_plan::LostFields;
use super::json::Object;
use super::number;
use kstrace_schema::{Certainty, Cpu, Loss, LossReason, SessionTime, SourceId};

impl LostFields {
    /// The loss that a `kstrace:lost` record states.
    pub(super) fn read(&self, payload: &[u8]) -> Option<Loss> {
        let reason = self.reason.get_u64(payload)? as u32;
        Some(Loss {
            source: SourceId(self.source.get_u64(payload)? as u16),
            cpu: Cpu(self.cpu.get_u64(payload)? as u32),
            reason: LossReason::from_number(reason).unwrap_or(LossReason::StatedByInput),
            count: self.count.get_u64(payload)?,
            certainty: match self.certainty.get_u64(payload)? {
                0 => Certainty::Exact,
                _ => Certainty::AtLeast,
            },
            class: None,
            begin: SessionTime::from_ns(self.begin_ns.get_u64(payload)?),
            end: SessionTime::from_ns(self.end_ns.get_u64(payload)?),
        })
    }
}

/// `LOST 123 events on cpu 1 (kernel-ring-full, perf) between 1.000000000 and 2.000000000`
pub(super) fn write_text(out: &mut Vec<u8>, loss: &Loss, source: &str) {
    out.extend_from_slice(b"LOST ");
    if loss.certainty == Certainty::AtLeast {
        out.extend_from_slice(b"at least ");
    }
    number::unsigned(out, loss.count);
    out.extend_from_slice(if loss.count == 1 {
        b" event"
    } else {
        b" events"
    });
    if let Some(cpu) = loss.cpu.known() {
        out.extend_from_slice(b" on cpu ");
        number::unsigned(out, cpu.0.into());
    }
    out.extend_from_slice(b" (");
    out.extend_from_slice(loss.reason.word().as_bytes());
    out.extend_from_slice(b", ");
    out.extend_from_slice(source.as_bytes());
    out.extend_from_slice(b") between ");
    number::time(out, loss.begin.as_ns(), 0);
    out.extend_from_slice(b" and ");
    number::time(out, loss.end.as_ns(), 0);
    out.push(b'\n');
}

pub(super) fn write_json(out: &mut Vec<u8>, time: SessionTime, loss: &Loss, source: &str) {
    let mut object = Object::begin(out);
    object.unsigned("time_ns", time.as_ns());
    if let Some(cpu) = loss.cpu.known() {
        object.unsigned("cpu", cpu.0.into());
    }
    object.text("event", kstrace_schema::builtin::LOST.as_bytes());
    object.text("source", source.as_bytes());
    object.key("fields");
    let mut fields = Object::begin(object.out);
    fields.unsigned("count", loss.count);
    fields.text("reason", loss.reason.word().as_bytes());
    let certainty: &[u8] = if loss.certainty == Certainty::Exact {
        b"exact"
    } else {
        b"at-least"
    };
    fields.text("certainty", certainty);
    fields.unsigned("begin_ns", loss.begin.as_ns());
    fields.unsigned("end_ns", loss.end.as_ns());
    fields.end();
    object.end();
    out.push(b'\n');
}
