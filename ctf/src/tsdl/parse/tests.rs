use super::*;

#[test]
fn a_type_is_what_stands_left_of_a_name() {
    let trace = parse(
        "trace { major = 1; minor = 8; byte_order = be; };
         typealias integer { size = 32; align = 32; signed = false; } := unsigned int;
         typedef unsigned int counters[2][3];
         event { name = e; fields := struct { counters _c; unsigned int _n; string _s[_n]; }; };",
    )
    .unwrap();
    let fields = trace.streams[0].events[0].fields.as_ref().unwrap();
    let names = fields.as_struct().unwrap().members.iter();
    assert_eq!(
        names.map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["c", "n", "s"]
    );
    assert_eq!(fields.align_bits(), 32);
}

#[test]
fn errors_say_where() {
    for (text, line, part) in [
        (
            "trace { major = 1;\n};\nevent { fields := struct { nope x; }; };",
            3,
            "unknown type 'nope'",
        ),
        ("\n\nstream {", 3, "ends within"),
        ("typealias integer { size = 65; } := x;", 1, "1 to 64"),
        (
            "typealias integer { size = 8;\n align = 3; } := x;",
            2,
            "powers of two",
        ),
        ("clock { name = \"c; };", 1, "without end"),
        ("/* never\n closed", 1, "comment"),
        (
            "clock { name = c; freq = 99999999999999999999; };",
            1,
            "64-bit",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.reason.contains(part), "{text}: {error}");
        assert_eq!(error.line, line, "{text}: {error}");
    }
}

#[test]
fn metadata_that_would_grow_without_bound_is_refused() {
    let mut text = String::from("typealias integer { size = 8; } := t0;");
    for level in 1..40 {
        text += &format!(
            "typealias struct {{ t{0} a; t{0} b; }} := t{level};",
            level - 1
        );
    }
    assert!(parse(&text).unwrap_err().reason.contains("too many parts"));
    let deep = "struct {".repeat(10_000);
    assert!(parse(&deep).unwrap_err().reason.contains("braces"));
}

#[test]
fn a_text_that_is_cut_describes_what_is_whole() {
    let text = "trace { major = 1; minor = 8; byte_order = le; };
         stream { id = 0; };
         event { name = \"a\"; id = 0; fields := struct { string s; }; };
         event { name = \"b\"; id = 1; fields := struct { string s; }; };\n";
    let whole = parse(text).unwrap();
    let second = text.find("event { name = \"b\"").unwrap();
    for len in second + 1..text.trim_end().len() - 1 {
        let (trace, cut) = parse_so_far(&text[..len]).unwrap();
        let cut = cut.unwrap();
        assert_eq!(cut.whole_bytes, text[..second].trim_end().len(), "{len}");
        assert_eq!(cut.reason.line, 4, "{len}");
        let [event] = trace.streams[0].events.as_slice() else {
            panic!("{len}: {:?}", trace.streams[0].events);
        };
        let expected = &whole.streams[0].events[0];
        assert_eq!(
            (&event.name, &event.fields),
            (&expected.name, &expected.fields)
        );
    }
    // What is wrong within a whole block is wrong.
    assert!(parse_so_far(&text.replace("string s", "nothing s")).is_err());
}
