//! The blocks of a trace's TSDL metadata.
//!
//! Two things are arranged for the reader's eye, without a byte of the stream
//! being different for it. `rest_len` and `payload_len` of the record header
//! are no part of `event.header`, since readers warn of header fields they do
//! not know: events that need one find it in their `context`, at its place;
//! for the others it is the gap before the payload's alignment. Likewise
//! `record_count` is the gap between `cpu_id` and the first record's alignment.

use super::field::{aliases, payload_fields};
use super::name::{literal, uri_part};
use kstrace_schema::wire::STREAM_CLASS_ID;
use kstrace_schema::{ByteOrder, ClockKind, EventRecordClass, MODEL_VERSION, SessionInfo};
use std::fmt::Write as _;

/// Name of the clock class of kstrace's traces.
fn clock_name(kind: ClockKind) -> &'static str {
    kind.word()
}

/// Everything before the first event block: types, `trace`, `env`, `clock` and `stream`.
pub fn preamble(session: &SessionInfo) -> String {
    let order = match ByteOrder::NATIVE {
        ByteOrder::LittleEndian => "le",
        ByteOrder::BigEndian => "be",
    };
    let uuid = &session.uuid;
    let mut text = String::from("/* CTF 1.8 */\n\n");
    text.push_str(&aliases());
    let _ = write!(
        text,
        "
trace {{
	major = 1;
	minor = 8;
	uuid = {uuid};
	byte_order = {order};
	packet.header := struct {{
		uint32_hex_t magic;
		uint8_hex_t uuid[16];
		uint32_t stream_id;
		uint64_t stream_instance_id;
	}};
}};
",
        uuid = literal(uuid),
    );
    text.push_str(&env(session));
    text.push_str(&clock(session));
    let clock = clock_name(session.clock.kind);
    let _ = write!(
        text,
        "
typealias integer {{ size = 64; align = 64; signed = false; map = clock.{clock}.value; }} := time_t;
typealias integer {{ size = 64; align = 8; signed = false; map = clock.{clock}.value; }} := packet_time_t;
typealias integer {{ size = 16; align = 16; signed = false; }} := rest_len_t;
typealias integer {{ size = 32; align = 32; signed = false; }} := payload_len_t;

stream {{
	id = {STREAM_CLASS_ID};
	packet.context := struct {{
		packet_time_t timestamp_begin;
		packet_time_t timestamp_end;
		uint64_t content_size;
		uint64_t packet_size;
		uint64_t packet_seq_num;
		uint64_t events_discarded;
		uint32_t cpu_id;
	}};
	event.header := struct {{
		time_t timestamp;
		uint16_t id;
	}};
}};
"
    );
    text
}

fn env(session: &SessionInfo) -> String {
    let host = &session.host;
    let mut text = String::from("\nenv {\n");
    let mut entry = |key: &str, value: &str| {
        let _ = writeln!(text, "\t{key} = {};", literal(value));
    };
    entry("hostname", &host.hostname);
    entry("domain", "kernel");
    entry("sysname", "Linux");
    entry("kernel_release", &host.os_release);
    entry("kernel_version", &host.os_version);
    entry("architecture", &host.arch);
    entry("tracer_name", "kstrace");
    entry("tracer_version", env!("CARGO_PKG_VERSION"));
    entry(
        "kstrace_model_version",
        &format!("{}.{}", MODEL_VERSION.0, MODEL_VERSION.1),
    );
    text.push_str("};\n");
    text
}

/// Whether `text` is a UUID as readers expect it: 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups = text.split('-').collect::<Vec<_>>();
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn clock(session: &SessionInfo) -> String {
    let clock = &session.clock;
    const NS_PER_S: i64 = 1_000_000_000;
    let mut text = String::from("\nclock {\n");
    let _ = writeln!(text, "\tname = {};", clock_name(clock.kind));
    // Clocks of one kind are the same clock within one boot.
    if is_uuid(&clock.boot_id) {
        let _ = writeln!(text, "\tuuid = {};", literal(&clock.boot_id));
    }
    let _ = writeln!(
        text,
        "\tdescription = {};",
        literal(&format!("Linux {}", clock.kind))
    );
    let _ = writeln!(text, "\tfreq = {NS_PER_S};");
    let _ = writeln!(text, "\tprecision = {};", clock.mapping_error_bound_ns);
    let _ = writeln!(
        text,
        "\toffset_s = {};",
        clock.offset_to_realtime_ns.div_euclid(NS_PER_S)
    );
    let _ = writeln!(
        text,
        "\toffset = {};",
        clock.offset_to_realtime_ns.rem_euclid(NS_PER_S)
    );
    text.push_str("\tabsolute = FALSE;\n};\n");
    text
}

/// The block of one event.
///
/// A payload that TSDL cannot express is given as bytes: `payload[payload_len]`.
pub fn event_block(class: &EventRecordClass) -> String {
    let (context, fields, align) = match payload_fields(&class.payload) {
        Ok(fields) if class.payload.ends_with_rest() => (Some("rest_len_t rest_len"), fields, ""),
        Ok(fields) => (None, fields, ""),
        Err(reason) => (
            Some("payload_len_t payload_len"),
            "\t\tuint8_hex_t _payload[event.context.payload_len];\n".to_owned(),
            // For people who wonder; a comment has no meaning to a reader.
            match reason {
                super::field::Inexpressible::UnknownKind => " /* of unknown kind */",
                _ => " /* not expressible in TSDL */",
            },
        ),
    };
    let uri = format!(
        "kstrace:{}/{}?v={}&fp={}",
        uri_part(&class.namespace),
        uri_part(&class.name),
        class.version,
        class.fingerprint
    );
    let mut text = format!(
        "\nevent {{\n\tname = {};\n\tid = {};\n\tstream_id = {STREAM_CLASS_ID};\n\tmodel.emf.uri = {};\n",
        literal(&class.name),
        class.id,
        literal(&uri)
    );
    if let Some(context) = context {
        let _ = writeln!(text, "\tcontext := struct {{ {context}; }};");
    }
    let _ = write!(
        text,
        "\tfields := struct {{{align}\n{fields}\t}} align(64);\n}};\n"
    );
    text
}
