//! Format files: every one of this kernel, and broken ones.

use std::path::PathBuf;
use tracefs::format::{EventFormat, FieldKind};

/// The text of every format file of the running kernel, by path.
pub(crate) fn live_formats() -> Vec<(PathBuf, String)> {
    let root = std::path::Path::new("/sys/kernel/tracing/events");
    let mut found = Vec::new();
    let Ok(systems) = std::fs::read_dir(root) else {
        println!(
            "skipped: {} cannot be read: no tracefs or no privilege",
            root.display()
        );
        return found;
    };
    for system in systems.flatten() {
        let Ok(events) = std::fs::read_dir(system.path()) else {
            continue;
        };
        for event in events.flatten() {
            let path = event.path().join("format");
            if let Ok(text) = std::fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn every_format_file_of_this_kernel_is_written_back_byte_for_byte() {
    let formats = live_formats();
    if formats.is_empty() {
        return;
    }
    assert!(formats.len() > 500, "only {} format files", formats.len());
    let mut opaque = Vec::new();
    for (path, text) in &formats {
        let format = EventFormat::parse(text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(&format.to_string(), text, "{}", path.display());
        for field in format.all_fields() {
            if let (
                FieldKind::Array {
                    element_size_bytes, ..
                },
                Some(t),
            ) = (&field.kind, field.known_type())
            {
                assert_eq!(
                    *element_size_bytes,
                    t.size_bytes,
                    "{}: {field}",
                    path.display()
                );
            }
            if let (FieldKind::Scalar, Some(t)) = (&field.kind, field.known_type())
                && !field.c_type.starts_with("enum")
            // may be packed
            {
                // The kernel's "pid_t", "loff_t" and "enum" of system calls are widened to a register.
                assert!(
                    field.size_bytes >= t.size_bytes,
                    "{}: {field}",
                    path.display()
                );
            }
            if field.kind == FieldKind::Opaque {
                opaque.push(format!("{}: {field}", path.display()));
            }
        }
    }
    assert!(opaque.is_empty(), "fields without a kind: {opaque:#?}");
}

const SAMPLE: &str = "name: sample\nID: 300\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;\n\
    \tfield:__rel_loc u64[] values;\toffset:12;\tsize:4;\tsigned:0;\n\
    \tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n\
    \tfield:char comm[TASK_COMM_LEN];\toffset:64;\tsize:16;\tsigned:0;\n\
    \tfield:const struct iovec * vec;\toffset:80;\tsize:8;\tsigned:0;\n\
    \tfield:struct thing thing;\toffset:88;\tsize:12;\tsigned:0;\n\
    \tfield:u32 buf[];\toffset:100;\tsize:0;\tsigned:0;\n\n\
    print fmt: \"%s\n second line\", __get_str(name)\n";

#[test]
fn kinds_of_fields() {
    let format = EventFormat::parse(SAMPLE).unwrap();
    assert_eq!((format.name.as_str(), format.id), ("sample", 300));
    assert_eq!(format.common_fields.len(), 2);
    assert_eq!(format.print_fmt, "\"%s\n second line\", __get_str(name)");
    assert_eq!(format.to_string(), SAMPLE);
    assert_eq!(format.fixed_len_bytes(), 100);
    let kind = |name: &str| format.field(name).unwrap().kind.clone();
    assert_eq!(kind("common_type"), FieldKind::Scalar);
    assert!(matches!(kind("name"), FieldKind::DataLoc { element: Some(t) } if t.text));
    assert!(matches!(kind("values"), FieldKind::RelLoc { element: Some(t) } if t.size_bytes == 8));
    assert_eq!(
        kind("args"),
        FieldKind::Array {
            count: 6,
            element_size_bytes: 8
        }
    );
    assert_eq!(kind("comm"), FieldKind::String);
    assert_eq!(kind("vec"), FieldKind::Pointer);
    assert_eq!(format.field("vec").unwrap().c_type, "const struct iovec *");
    assert_eq!(kind("thing"), FieldKind::Opaque);
    assert!(
        matches!(kind("buf"), FieldKind::FlexibleArray { element: Some(t) } if t.size_bytes == 4)
    );
}

#[test]
fn an_error_names_line_found_and_expected() {
    let cases = [
        ("", "line 1: expected 'name: EVENT', found nothing"),
        (
            "name: x\nId: 3\n",
            "line 2: expected 'ID: NUMBER', found \"Id: 3\"",
        ),
        (
            "name: x\nID: -3\n",
            "line 2: expected a number of 32 bits, found \"-3\"",
        ),
        (
            "name: x\nID: 3\nformat\n",
            "line 3: expected 'format:', found \"format\"",
        ),
        (
            "name: x\nID: 3\nformat:\n\tfield:int a;\toffset:x;\tsize:4;\tsigned:1;\n",
            "line 4: expected '\\tfield:DECLARATION;",
        ),
        (
            "name: x\nID: 3\nformat:\n\tfield:int a[3];\toffset:0;\tsize:4;\tsigned:1;\n",
            "line 4: expected an array size that is a multiple of the array's length",
        ),
        (
            "name: x\nID: 3\nformat:\n\tfield:__data_loc char[] a;\toffset:0;\tsize:8;\tsigned:1;\n",
            "line 4: expected size:4 for __data_loc or __rel_loc",
        ),
        (
            "name: x\nID: 3\nformat:\n\tfield:int a;\toffset:4294967295;\tsize:4;\tsigned:1;\n",
            "line 4: expected a field that ends below 1 MiB",
        ),
        (
            "name: x\nID: 3\nformat:\n\tfield:int;\toffset:0;\tsize:4;\tsigned:1;\n",
            "line 4: expected a C declaration with a name, found \"int\"",
        ),
        (
            "name: x\nID: 3\nformat:\n\n\nprint: \"\"\n",
            "line 6: expected 'print fmt: '",
        ),
    ];
    for (text, message) in cases {
        let error = EventFormat::parse(text).unwrap_err().to_string();
        assert!(
            error.contains(message),
            "{text:?} gives {error:?}, not {message:?}"
        );
    }
}
