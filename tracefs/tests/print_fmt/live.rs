//! The judge: the kernel's own text of the same events.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::time::Duration;
use tracefs::format::EventFormat;
use tracefs::print_fmt::{BtfConstants, KernelText, PrintFmt};
use tracefs::{Error, EventName, Instance, Tracefs};

/// Systems whose text the kernel does not make from the print format.
///
/// `syscalls` has a function of its own ("sys_openat(dfd: ...)"); so have the
/// events of `ftrace`, which are no tracepoints.
const OTHER_TEXT: [&str; 2] = ["syscalls", "ftrace"];

/// What differs for a reason: event, reason.
const TOLERATED: [(&str, &str); 0] = [];

fn tracefs() -> Option<Tracefs> {
    match Tracefs::discover() {
        Ok(found) => Some(found),
        Err(e) if e.is_permission() || matches!(e, Error::NotMounted { .. }) => {
            eprintln!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// Makes many kinds of events fire.
fn work() {
    let directory = tempdir();
    let path = directory.join("file");
    let status = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            "echo text > \"$1\"; cat \"$1\" > /dev/null; ls -l / > /dev/null; sleep 0.01 & wait",
            "sh",
        ])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&[7; 100_000]).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(&path, directory.join("renamed")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = std::net::TcpListener::bind(address) else {
            continue;
        };
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"request").unwrap();
        server.write_all(b"answer").unwrap();
        drop(server);
        let _ = client.read_to_end(&mut Vec::new());
        let udp = std::net::UdpSocket::bind(address).unwrap();
        udp.send_to(b"datagram", udp.local_addr().unwrap()).unwrap();
    }
    let threads: Vec<_> = (0..4)
        .map(|i| std::thread::spawn(move || std::thread::sleep(Duration::from_millis(i))))
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let memory = vec![1u8; 8 << 20];
    assert_eq!(memory.iter().map(|b| u64::from(*b)).sum::<u64>(), 8 << 20);
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGWINCH).unwrap();
}

fn tempdir() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("tracefs-print-fmt-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

struct Compiled {
    name: String,
    system: String,
    print_fmt: PrintFmt,
}

fn compile_all(tracefs: &Tracefs) -> HashMap<u16, Compiled> {
    let catalog = tracefs.events().unwrap();
    let mut compiled = HashMap::new();
    let constants = BtfConstants::running_kernel(|_| true).unwrap();
    for event in catalog
        .names()
        .iter()
        .cloned()
        .chain(catalog.internal().unwrap())
    {
        let Ok(text) = catalog.format(&event) else {
            continue;
        };
        let format = EventFormat::parse(&text).unwrap();
        let print_fmt = PrintFmt::compile_with(&format, &constants)
            .unwrap_or_else(|_| PrintFmt::fields(&format));
        let id = u16::try_from(format.id).unwrap();
        compiled.insert(
            id,
            Compiled {
                name: format.name,
                system: event_system(&event),
                print_fmt,
            },
        );
    }
    compiled
}

fn event_system(event: &EventName) -> String {
    event.to_string().split(':').next().unwrap().to_owned()
}

/// Records what happens meanwhile, and compares. Returns how often each kind was compared.
fn judge(tracefs: &Tracefs, instance: &Instance, meanwhile: impl Fn()) -> BTreeMap<String, u64> {
    let compiled = compile_all(tracefs);
    let symbols = KernelText::new(
        &std::fs::read_to_string("/proc/kallsyms").unwrap(),
        &tracefs.printk_formats().unwrap(),
    );
    instance.set_tracing_on(true).unwrap();
    meanwhile();
    instance.set_tracing_on(false).unwrap();

    let layout = tracefs.page_layout().unwrap();
    let mut room = vec![0; instance.sub_buffer_size_bytes().unwrap()];
    let mut compared = BTreeMap::new();
    let mut wrong: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for cpu in instance.buffer_cpus().unwrap() {
        let path = instance
            .shown_path()
            .join(format!("per_cpu/cpu{cpu}/trace"));
        let kernel = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        // Comments come first.
        let mut kernel = kernel.as_str();
        while kernel.starts_with('#') {
            kernel = kernel.split_once('\n').map_or("", |(_, rest)| rest);
        }
        let pipe = instance.open_raw_pipe(cpu).unwrap();
        while let Some(n) = pipe.read_sub_buffer(&mut room).unwrap() {
            let page = layout.page(&room[..n]).unwrap();
            for event in page.events() {
                let id = u16::from_ne_bytes([event.data[0], event.data[1]]);
                let Some(known) = compiled.get(&id) else {
                    panic!("event of unknown id {id}")
                };
                // An event's text may itself have several lines.
                let prefix = format!("{}: ", known.name);
                let other_text = OTHER_TEXT.contains(&known.system.as_str());
                if other_text {
                    kernel = kernel.split_once('\n').map_or("", |(_, rest)| rest);
                    continue;
                }
                while !kernel.starts_with(&prefix) {
                    let (line, rest) = kernel
                        .split_once('\n')
                        .unwrap_or_else(|| panic!("the kernel's text has no more {prefix}"));
                    wrong
                        .entry(format!("a line before {prefix}"))
                        .or_insert((0, line.to_owned()))
                        .0 += 1;
                    kernel = rest;
                }
                let mut ours = Vec::new();
                known.print_fmt.render(event.data, &symbols, &mut ours);
                let ours = String::from_utf8_lossy(&ours).into_owned();
                let name = format!("{}:{}", known.system, known.name);
                match strip(&kernel[prefix.len()..], &ours) {
                    Some(rest) => {
                        kernel = rest;
                        *compared.entry(name).or_default() += 1;
                    }
                    None => {
                        let (line, rest) = kernel.split_once('\n').unwrap_or((kernel, ""));
                        let example = format!("\n  kernel {line}\n  ours   {prefix}{ours}");
                        kernel = rest;
                        wrong.entry(name).or_insert((0, example)).0 += 1;
                    }
                }
            }
        }
    }
    wrong.retain(|name, _| !TOLERATED.iter().any(|(event, _)| event == name));
    let shown: String = wrong
        .iter()
        .map(|(n, (c, e))| format!("\n{n}, {c} times: {e}"))
        .collect();
    assert!(wrong.is_empty(), "{} kinds differ: {shown}", wrong.len());
    compared
}

/// Takes our text and a newline off the kernel's; what we call `<unknown>` may be anything.
fn strip<'a>(kernel: &'a str, ours: &str) -> Option<&'a str> {
    let mut parts = ours.split("<unknown>");
    let mut rest = kernel.strip_prefix(parts.next()?)?;
    for part in parts {
        let line_end = rest.find('\n')?;
        let at = if part.is_empty() {
            line_end
        } else {
            rest[..line_end].find(part)?
        };
        rest = &rest[at + part.len()..];
    }
    rest.strip_prefix('\n')
}

#[test]
fn the_text_of_every_event_that_fires_is_the_kernels() {
    let Some(tracefs) = tracefs() else { return };
    let instance = tracefs.create_instance("tracefs-test").unwrap();
    instance.set_tracing_on(false).unwrap();
    instance.set_buffer_size_kib(8192).unwrap();
    // Only the event and its text; and pointers as they are.
    instance.set_option("context-info", false).unwrap();
    instance.set_option("hash-ptr", false).unwrap();
    std::fs::write(instance.shown_path().join("events/enable"), "1").unwrap();
    let compared = judge(&tracefs, &instance, work);
    let total: u64 = compared.values().sum();
    println!(
        "{total} events of {} kinds have the kernel's text",
        compared.len()
    );
    assert!(compared.len() >= 60, "only {compared:#?}");
}
