//! Runs the committed inputs of every fuzz target, with the stable compiler.

use std::path::{Path, PathBuf};

#[expect(
    unreachable_pub,
    reason = "public for the fuzz crate, of which it is the root"
)]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

#[test]
fn every_input_of_the_corpus_does_no_harm() {
    for (name, run) in targets::TARGETS {
        let directory = corpus(name);
        let files = std::fs::read_dir(&directory)
            .unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            run(&std::fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count >= 3, "only {count} inputs in {}", directory.display());
    }
}

/// Makes first inputs from the running kernel.
#[test]
#[ignore = "writes fuzz/corpus; run it by hand as root"]
fn write_seeds() {
    use kstrace_ring::{LaneConfig, Mode, Ring, RingClock, RingConfig};
    let tracefs = tracefs::Tracefs::discover().unwrap();
    let catalog = tracefs.events().unwrap();
    let write = |target: &str, name: &str, data: &[u8]| {
        std::fs::create_dir_all(corpus(target)).unwrap();
        std::fs::write(corpus(target).join(name), data).unwrap();
    };
    let instance = tracefs.create_instance("kstrace-seeds").unwrap();
    let events = [
        "sched:sched_switch",
        "sched:sched_waking",
        "sched:sched_process_exec",
        "irq:softirq_entry",
        "kmem:kmalloc",
        "timer:hrtimer_start",
        "raw_syscalls:sys_enter",
        "tcp:tcp_probe",
    ];
    let mut formats = std::collections::HashMap::new();
    for event in events {
        let event = catalog.find(event).unwrap().remove(0);
        let text = catalog.format(&event).unwrap();
        let name = event.to_string().replace(':', "-");
        write("format", &name, text.as_bytes());
        instance.enable_event(&event).unwrap();
        formats.insert(catalog.id(&event).unwrap(), (name, text));
    }
    instance.set_tracing_on(true).unwrap();
    std::process::Command::new("true").status().unwrap();
    instance.set_tracing_on(false).unwrap();
    let layout = tracefs.page_layout().unwrap();
    let mut room = vec![0; instance.sub_buffer_size_bytes().unwrap()];
    for cpu in instance.buffer_cpus().unwrap() {
        let pipe = instance.open_raw_pipe(cpu).unwrap();
        let mut first = true;
        while let Some(n) = pipe.read_sub_buffer(&mut room).unwrap() {
            let page = layout.page(&room[..n]).unwrap();
            if std::mem::take(&mut first) {
                let whole = page.data().len() + layout.header_size_bytes();
                write("page", &format!("cpu{cpu}"), &room[..whole.min(n)]);
                write(
                    "page",
                    &format!("cpu{cpu}-cut"),
                    &room[..whole.min(n) / 2 + 1],
                );
            }
            for event in page.events() {
                let id = u16::from_ne_bytes([event.data[0], event.data[1]]);
                if let Some((name, text)) = formats.get(&id) {
                    let mut input = text.clone().into_bytes();
                    input.push(0);
                    input.extend_from_slice(event.data);
                    write("print_fmt", name, &input);
                }
            }
        }
    }
    for lanes in [1, 2, 5] {
        let lane = |cpu| LaneConfig::new(kstrace_schema::Cpu(cpu), Mode::Discard, 1 << 20);
        let config = RingConfig::new(
            [7; 16],
            RingClock::default(),
            (0..lanes).map(lane).collect(),
        );
        let ring = Ring::create(&config).unwrap();
        let layout = ring.layout();
        let mut input = (layout.total_bytes as u64).to_le_bytes().to_vec();
        input.extend(layout.header());
        write("ring_superblock", &format!("lanes{lanes}"), &input);
    }
}
