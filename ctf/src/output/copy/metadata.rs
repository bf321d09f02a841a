//! The metadata of a copied trace.

use super::shape::StreamShape;
use crate::ir::{EnvValue, TraceClass};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(super) fn metadata(trace: &TraceClass, shapes: &BTreeMap<u64, StreamShape>) -> String {
    let order = match kstrace_schema::ByteOrder::NATIVE {
        kstrace_schema::ByteOrder::LittleEndian => "le",
        kstrace_schema::ByteOrder::BigEndian => "be",
    };
    let mut text = String::from("/* CTF 1.8 */\n\n");
    text.push_str(&crate::tsdl::aliases());
    let int = "integer { size = 64; align = 8; signed = false; }";
    let byte = "integer { size = 8; align = 8; signed = false; base = 16; }";
    text.push_str("trace {\n\tmajor = 1;\n\tminor = 8;\n");
    let uuid_name = match trace.uuid {
        Some(uuid) => {
            let hex = uuid.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let _ = writeln!(
                text,
                "\tuuid = \"{}-{}-{}-{}-{}\";",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            );
            "uuid"
        }
        None => "unused",
    };
    let _ = write!(
        text,
        "\tbyte_order = {order};\n\tpacket.header := struct {{\n\t\tinteger {{ size = 32; align = 8; signed = false; base = 16; }} magic;\n\t\t{byte} {uuid_name}[16];\n\t\t{int} stream_id;\n\t\t{int} stream_instance_id;\n\t}};\n}};\n"
    );
    if !trace.env.is_empty() {
        text.push_str("\nenv {\n");
        for (key, value) in &trace.env {
            let value = match value {
                EnvValue::Integer(number) => number.to_string(),
                EnvValue::Text(text) => crate::tsdl::literal(text),
            };
            let _ = writeln!(text, "\t{key} = {value};");
        }
        text.push_str("};\n");
    }
    // The streams' times are nanoseconds of one clock.
    if let Some(clock) = trace.clocks.first() {
        let offset = crate::input::offset_ns(clock);
        let _ = writeln!(
            text,
            "\nclock {{\n\tname = {};",
            crate::tsdl::literal(&clock.name)
        );
        if let Some(uuid) = &clock.uuid {
            let _ = writeln!(text, "\tuuid = {};", crate::tsdl::literal(uuid));
        }
        if let Some(description) = &clock.description {
            let _ = writeln!(
                text,
                "\tdescription = {};",
                crate::tsdl::literal(description)
            );
        }
        text.push_str("\tfreq = 1000000000;\n");
        if let Some(precision) = clock.precision {
            let precision = crate::input::ns_of_cycles(precision, clock.frequency_hz);
            let _ = writeln!(text, "\tprecision = {precision};");
        }
        let _ = writeln!(
            text,
            "\toffset_s = {};\n\toffset = {};\n\tabsolute = {};\n}};",
            offset.div_euclid(1_000_000_000),
            offset.rem_euclid(1_000_000_000),
            if clock.absolute { "TRUE" } else { "FALSE" }
        );
        let _ = writeln!(
            text,
            "\ntypealias integer {{ size = 64; align = 8; signed = false; map = clock.{}.value; }} := kstrace_time_t;",
            clock.name
        );
    }
    for shape in shapes.values() {
        text.push_str(&shape.head);
        let _ = write!(
            text,
            "\tpacket.context := struct {{\n\t\t{int} content_size;\n\t\t{int} packet_size;\n\t\t{int} packet_seq_num;\n"
        );
        if shape.timed {
            let _ = write!(
                text,
                "\t\tkstrace_time_t timestamp_begin;\n\t\tkstrace_time_t timestamp_end;\n\t\t{int} events_discarded;\n"
            );
        }
        text.push_str(&shape.context_types);
        text.push_str("\t};\n\tevent.header := struct {");
        if shape.timed {
            text.push_str(" kstrace_time_t timestamp;");
        }
        let _ = writeln!(text, " {int} id; }} align({});", shape.align.max(1) * 8);
        text.push_str(&shape.event_context);
        text.push_str("};\n");
        text.push_str(&shape.blocks);
    }
    text
}
