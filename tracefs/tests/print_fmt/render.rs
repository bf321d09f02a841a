//! Small print formats with known texts: C's types, the kernel's conversions, bad entries.

use tracefs::format::EventFormat;
use tracefs::print_fmt::{KernelText, NoSymbols, PrintFmt, PrintFmtErrorKind as Kind};

const FIELDS: &str = "name: e\nID: 1\nformat:\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:u8 byte;\toffset:8;\tsize:1;\tsigned:0;\n\
    \tfield:s8 sbyte;\toffset:9;\tsize:1;\tsigned:1;\n\
    \tfield:u16 half;\toffset:10;\tsize:2;\tsigned:0;\n\
    \tfield:int word;\toffset:12;\tsize:4;\tsigned:1;\n\
    \tfield:unsigned int uword;\toffset:16;\tsize:4;\tsigned:0;\n\
    \tfield:__data_loc char[] name;\toffset:20;\tsize:4;\tsigned:0;\n\
    \tfield:u64 big;\toffset:24;\tsize:8;\tsigned:0;\n\
    \tfield:long slong;\toffset:32;\tsize:8;\tsigned:1;\n\
    \tfield:char comm[8];\toffset:40;\tsize:8;\tsigned:0;\n\
    \tfield:unsigned long args[2];\toffset:48;\tsize:16;\tsigned:0;\n\
    \tfield:u8 addr[16];\toffset:64;\tsize:16;\tsigned:0;\n\
    \tfield:void * ptr;\toffset:80;\tsize:8;\tsigned:0;\n\
    \tfield:__rel_loc u32[] list;\toffset:88;\tsize:4;\tsigned:0;\n\
    \tfield:__data_loc cpumask_t[] mask;\toffset:92;\tsize:4;\tsigned:0;\n\
    \nprint fmt: ";

fn entry() -> Vec<u8> {
    let mut e = vec![0; 4];
    e.extend(77i32.to_ne_bytes());
    e.extend([200, (-3i8) as u8]);
    e.extend(0xbeefu16.to_ne_bytes());
    e.extend((-5i32).to_ne_bytes());
    e.extend(0xffff_fff0u32.to_ne_bytes());
    e.extend((6u32 << 16 | 96).to_ne_bytes()); // name: "hello\0"
    e.extend(u64::MAX.to_ne_bytes());
    e.extend((-7i64).to_ne_bytes());
    e.extend(b"comm\0\0\0\0");
    e.extend(0x1234u64.to_ne_bytes());
    e.extend(0x5678u64.to_ne_bytes());
    e.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    e.extend(0xffff_ffff_8100_0010u64.to_ne_bytes());
    e.extend((8u32 << 16 | 10).to_ne_bytes()); // list: from 92 + 10
    e.extend((8u32 << 16 | 110).to_ne_bytes()); // mask
    e.extend(b"hello\0");
    e.extend(1u32.to_ne_bytes());
    e.extend(0xabu32.to_ne_bytes());
    e.extend(0x8000_0003u64.to_ne_bytes());
    e
}

fn format(print_fmt: &str) -> EventFormat {
    EventFormat::parse(&format!("{FIELDS}{print_fmt}\n")).unwrap()
}

fn text_of(print_fmt: &str, entry: &[u8]) -> String {
    let compiled =
        PrintFmt::compile(&format(print_fmt)).unwrap_or_else(|e| panic!("{print_fmt}: {e}"));
    let symbols = KernelText::new(
        "ffffffff81000000 T start\nffffffff81000100 t second\nffffffffa0000000 t in_module [mod]\n\
         ffffffffa0000020 t last [mod]\n",
        "0xffffffff81000010 : \"a string\"\n",
    );
    let mut out = b"before ".to_vec();
    compiled.render(entry, &symbols, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("before ")
        .expect("the text is appended")
        .to_owned()
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (print_fmt, expected) in cases {
        assert_eq!(&text_of(print_fmt, &entry()), expected, "{print_fmt}");
    }
}

#[test]
fn integer_types_and_promotions() {
    check(&[
        (
            r#""%d %d %d", REC->byte, REC->sbyte, REC->half"#,
            "200 -3 48879",
        ),
        (
            r#""%x %llx", REC->sbyte, (u64)REC->sbyte"#,
            "fffffffd fffffffffffffffd",
        ),
        (
            r#""%hhx %hx %hhd", REC->word, REC->word, REC->byte"#,
            "fb fffb -56",
        ),
        // An unsigned int meets an int: unsigned arithmetic.
        (r#""%d", REC->uword > REC->word"#, "0"),
        (r#""%d", REC->word < 0u"#, "0"),
        (r#""%d", REC->word < 0"#, "1"),
        (r#""%d", (long)REC->uword > REC->word"#, "1"),
        (r#""%d", REC->byte + 100"#, "300"),
        (r#""%u", REC->uword + 0x20"#, "16"),
        (r#""%llu", REC->uword + 0x20ull"#, "4294967312"),
        (r#""%d %d", REC->word / 2, REC->word % 2"#, "-2 -1"),
        (
            r#""%d %u", REC->word >> 1, (unsigned int)REC->word >> 28"#,
            "-3 15",
        ),
        (r#""%lld", REC->slong >> 1"#, "-4"),
        (r#""%d", ~REC->byte"#, "-201"),
        (r#""%d %d", !REC->byte, !!REC->byte"#, "0 1"),
        (r#""%lu", (unsigned long)(u8)0x1ff"#, "255"),
        (r#""%d", 1 + 2 * 3 << 1 | 1 & 3 ^ 2"#, "15"),
        (r#""%d", 10 - 4 - 3"#, "3"),
        (r#""%d", 1 ? 2 : 0 ? 3 : 4"#, "2"),
        (r#""%d", REC->byte == 200 && REC->word || 1 / 0"#, "1"),
        (r#""%d", 'a' + '\n'"#, "107"),
        (r#""%d %d", 010, 0xFFUL"#, "8 255"),
        (
            r#""%zu %zu %zu", sizeof(u16), sizeof(REC->args), sizeof(unsigned long)"#,
            "2 16 8",
        ),
        (
            r#""%u", ({ int a = (REC->byte); int b = (5); ((a) < (b) ? (a) : (b)); })"#,
            "5",
        ),
        (
            r#""%lx %lx", REC->args[0], REC->args[REC->byte - 199]"#,
            "1234 5678",
        ),
        (
            r#""%x %x", *(u16 *)REC->addr, ((u8 *)REC->addr)[15]"#,
            "80fe 1",
        ),
        (r#""%x", __builtin_bswap16(REC->half)"#, "efbe"),
        (r#""%d", __builtin_expect(!!(REC->byte), 0) ? 3 : 4"#, "3"),
        (
            r#""%llu.%09u", __print_ns_to_secs(REC->args[0] * 1000000), __print_ns_without_secs(REC->args[0] * 1000000)"#,
            "4.660000000",
        ),
    ]);
}

#[test]
fn conversions() {
    check(&[
        (
            r#""100%% %c|%5d|%-5d|%05d|%+d", 65, 42, 42, 42, 42"#,
            "100% A|   42|42   |00042|+42",
        ),
        (
            r#""%#x %#o %X %08lx %o", 255, 8, 255, REC->args[0], 8"#,
            "0xff 010 FF 00001234 10",
        ),
        (
            r#""%*d|%-*d|%.*s", 4, 7, 4, 7, 3, "abcdef""#,
            "   7|7   |abc",
        ),
        (
            r#""%8s|%-8s|%.2s|%s" "joined", REC->comm, REC->comm, REC->comm, REC->comm"#,
            "    comm|comm    |co|commjoined",
        ),
        (
            r#""%s %s", __get_str(name), __get_str(name)[0] ? "yes" : "no""#,
            "hello yes",
        ),
        (
            r#""%p %px", REC->ptr, REC->ptr"#,
            "ffffffff81000010 ffffffff81000010",
        ),
        (
            r#""%pS|%ps|%pS", REC->ptr, REC->ptr, (void *)0xffffffffa0000000UL"#,
            "start+0x10/0x100|start|in_module+0x0/0x20 [mod]",
        ),
        (r#""%pS", (void *)1UL"#, "0x1"),
        (
            r#""%s %s", (char *)REC->ptr, (char *)0x99UL"#,
            "a string 0x99",
        ),
        (r#""%s", REC->word ? NULL : "x""#, "(null)"),
        (
            r#""%pI4 %pi4", REC->addr, REC->addr"#,
            "254.128.0.0 254.128.000.000",
        ),
        (
            r#""%pI6c %pI6 %pi6", REC->addr, REC->addr, REC->addr"#,
            "fe80::1 fe80:0000:0000:0000:0000:0000:0000:0001 fe800000000000000000000000000001",
        ),
        (
            r#""%pM %pMR %pm", REC->addr, REC->addr, REC->addr"#,
            "fe:80:00:00:00:00 00:00:00:00:80:fe fe8000000000",
        ),
        (
            r#""%pU %pUl %pUB", REC->addr, REC->addr, REC->addr"#,
            "fe800000-0000-0000-0000-000000000001 000080fe-0000-0000-0000-000000000001 FE800000-0000-0000-0000-000000000001",
        ),
        (
            r#""%*ph|%4phC|%3phN|%2phD", 3, REC->addr, REC->addr, REC->addr, REC->addr"#,
            "fe 80 00|fe:80:00:00|fe8000|fe-80",
        ),
        (
            r#""%*pb %*pbl", 32, __get_dynamic_array(mask), 32, __get_dynamic_array(mask)"#,
            "80000003 0-1,31",
        ),
        (r#""%s", __get_bitmask(mask)"#, "00000000,80000003"),
        (
            r#""%s %d", __print_array(__get_dynamic_array(list), __get_dynamic_array_len(list) / sizeof(u32), sizeof(u32)), __get_rel_dynamic_array_len(list)"#,
            "{0x1,0xab} 8",
        ),
        (r#""%s", __print_dynamic_array(list, 4)"#, "{0x1,0xab}"),
        (
            r#""%s|%s", __print_hex(REC->addr, 3), __print_hex_str(REC->addr, 3)"#,
            "fe 80 00|fe8000",
        ),
        (
            r#""%s", __print_flags(REC->byte, "|", { 0x80, "HIGH" }, { 0x40, "MID" }, { 1, "LOW" })"#,
            "HIGH|MID|0x8",
        ),
        (
            r#""<%s>", __print_flags(0, "|", { 0, "NONE" }, { 1, "LOW" })"#,
            "<>",
        ),
        (
            r#""%s %s", __print_symbolic(REC->word, { -5, "minus five" }), __print_symbolic(REC->word, { 5, "five" })"#,
            "minus five 0xfffffffffffffffb",
        ),
        // The last entry of the kernel's own tables; a constant that only it knows.
        (
            r#""%s", __print_symbolic(REC->byte, { KERNEL_ONLY, "x" }, { 200, "two hundred" }, { 0, NULL })"#,
            "two hundred",
        ),
    ]);
}

#[test]
fn what_is_wrong_has_a_place_and_a_reason() {
    let error = |print_fmt: &str| PrintFmt::compile(&format(print_fmt)).unwrap_err();
    type Check = fn(&Kind) -> bool;
    let cases: [(&str, usize, Check); 20] = [
        ("", 0, |k| matches!(k, Kind::Unexpected { .. })),
        ("x", 0, |k| matches!(k, Kind::Unexpected { .. })),
        ("\"abc", 0, |k| matches!(k, Kind::Malformed("string"))),
        ("\"%d\", 99999999999999999999", 6, |k| {
            matches!(k, Kind::Malformed("number"))
        }),
        ("\"%d\", 1 @ 2", 8, |k| matches!(k, Kind::BadCharacter('@'))),
        (
            "\"%d\", REC->nothing",
            11,
            |k| matches!(k, Kind::UnknownField(n) if n == "nothing"),
        ),
        (
            "\"%d\", NOTHING",
            6,
            |k| matches!(k, Kind::UnknownName(n) if n == "NOTHING"),
        ),
        (
            "\"%d\", f(1)",
            6,
            |k| matches!(k, Kind::UnknownFunction(n) if n == "f"),
        ),
        (
            "\"%d\", (foo_t)1",
            7,
            |k| matches!(k, Kind::UnknownType(n) if n == "foo_t"),
        ),
        ("\"%d %d\", 1", 0, |k| {
            matches!(k, Kind::TooFewArguments(2, 1))
        }),
        ("\"%q\", 1", 0, |k| matches!(k, Kind::UnknownConversion(_))),
        (
            "\"%pZ\", 1",
            0,
            |k| matches!(k, Kind::UnknownConversion(n) if n == "pZ"),
        ),
        ("\"%d\", \"s\"", 6, |k| matches!(k, Kind::WrongOperand(_))),
        ("\"%d\", REC", 6, |k| matches!(k, Kind::WrongOperand(_))),
        ("\"%d\", *REC->ptr", 6, |k| matches!(k, Kind::KernelOnly(_))),
        ("\"%pI4\", REC->ptr", 8, |k| {
            matches!(k, Kind::KernelOnly(_))
        }),
        ("\"%lu\", (unsigned long)REC->addr", 7, |k| {
            matches!(k, Kind::KernelOnly(_))
        }),
        ("\"%lu\", REC->args[2]", 16, |k| {
            matches!(k, Kind::WrongOperand(_))
        }),
        ("\"%s\", __get_str(byte)", 16, |k| {
            matches!(k, Kind::WrongOperand(_))
        }),
        ("\"%d\", 1; 2", 7, |k| matches!(k, Kind::Unexpected { .. })),
    ];
    for (print_fmt, position, check) in cases {
        let error = error(print_fmt);
        assert_eq!(error.position, position, "{print_fmt}: {error}");
        assert!(check(&error.kind), "{print_fmt}: {error}");
    }
}

#[test]
fn nesting_and_growth_are_bounded() {
    for deep in [
        format!("\"%d\", {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("\"%d\", {}1", "- ".repeat(50_000)),
        format!("\"%d\", {}1", "(int)".repeat(50_000)),
        format!("\"%d\", REC->byte{}", " + REC->byte".repeat(50_000)),
        format!("\"%d\", {}1", "1 ? REC->byte : ".repeat(50_000)),
        format!(
            "\"%d\", ({{ long a0 = REC->byte; {} a60; }})",
            (1..61)
                .map(|i| format!("long a{i} = a{0} + a{0};", i - 1))
                .collect::<String>()
        ),
    ] {
        let error = PrintFmt::compile(&format(&deep)).unwrap_err();
        assert!(matches!(error.kind, Kind::TooComplex(_)), "{error}");
    }
    // What real print formats do is far below.
    let fine = format!("\"%d\", {}REC->byte{}", "(".repeat(60), ")".repeat(60));
    assert_eq!(text_of(&fine, &entry()), "200");
}

#[test]
fn short_and_hostile_entries_leave_markers() {
    let all = r#""%d %s %s %s %pI4 %lx %s", REC->byte, __get_str(name), REC->comm,
        __print_dynamic_array(list, 4), REC->addr, REC->args[1], __get_bitmask(mask)"#;
    let whole = entry();
    let full = text_of(all, &whole);
    assert!(!full.contains("truncated"), "{full}");
    for len in 0..whole.len() {
        let text = text_of(all, &whole[..len]);
        assert!(text.contains("<truncated>"), "{len}: {text}");
    }
    assert_eq!(
        text_of(r#""%d %s", REC->byte, REC->comm"#, &whole[..20]),
        "200 <truncated>"
    );
    let mut hostile = whole.clone();
    hostile[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(
        text_of(r#""<%s>", __get_str(name)"#, &hostile),
        "<<truncated>>"
    );
    // A dynamic array of no bytes has no place.
    hostile[20..24].copy_from_slice(&0xffffu32.to_ne_bytes());
    assert_eq!(text_of(r#""<%s>", __get_str(name)"#, &hostile), "<>");
    assert_eq!(
        text_of(r#""%d", REC->word / (REC->byte - 200)"#, &whole),
        "<division by zero>"
    );
    // A width from the entry is bounded.
    assert!(text_of(r#""%*d", REC->args[0] * 1000, 1"#, &whole).len() <= 1024);
    assert_eq!(
        text_of(r#""%lx", REC->args[REC->uword]"#, &whole),
        "<truncated>"
    );
    assert_eq!(
        text_of(r#""%s", __print_hex(REC->addr, REC->uword)"#, &whole),
        ""
    );
    assert_eq!(text_of(r#""%lx", jiffies - 1"#, &whole), "<unknown>");
}

#[test]
fn fields_stand_in_for_what_cannot_be_compiled() {
    let format = format("no print format at all");
    let (compiled, error) = PrintFmt::compile_or_fields(&format);
    assert!(error.is_some());
    let mut out = Vec::new();
    compiled.render(&entry(), &NoSymbols, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "byte=200 sbyte=-3 half=48879 word=-5 uword=4294967280 name=hello \
         big=18446744073709551615 slong=-7 comm=comm args={0x1234,0x5678} \
         addr={0xfe,0x80,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x1} \
         ptr=0xffffffff81000010 list={0x1,0xab} mask={0x3,0x0,0x0,0x80,0x0,0x0,0x0,0x0}"
    );
}
